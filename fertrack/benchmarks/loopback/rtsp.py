"""An RTSP camera (RFC 2326) that sends H.264 in RTP (RFC 6184), for measurements and tests over loopback."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator

from fertrack.benchmarks.loopback.server import ShowServer
from fertrack.benchmarks.loopback.show import Show

__all__ = ["RtspServer"]

_PAYLOAD_BYTES = 1400
_PAYLOAD_TYPE = 96
_CLOCK_HZ = 90_000
_SOURCE_ID = 0x66657274
_FU_A = 28
_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=fertrack\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n"
    f"m=video 0 RTP/AVP {_PAYLOAD_TYPE}\r\na=rtpmap:{_PAYLOAD_TYPE} H264/{_CLOCK_HZ}\r\n"
    f"a=fmtp:{_PAYLOAD_TYPE} packetization-mode=1\r\na=control:video\r\n"
)


class RtspServer(ShowServer):
    """Serves a show of H.264 images on 127.0.0.1 over RTSP until it is left; RTP over TCP or UDP, as is asked for.

    Args:
        show: what to send.
        port: 0 = a free one.
        account: ``"name:password"`` that is asked for (Basic); empty = nobody is asked.

    Attributes:
        address: where it is to be seen, without the account.
        requests: methods asked for so far.
    """

    def __init__(self, show: Show, port: int = 0, account: str = "") -> None:
        super().__init__(show, port, _Handler, "fertrack-rtsp")
        self.account = account
        self.requests: list[str] = []
        self.address = f"rtsp://127.0.0.1:{self.port}/live"


class _Handler(socketserver.StreamRequestHandler):
    """One connection."""

    server: RtspServer

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(0.1)
        self._sending = threading.Lock()
        self._left = threading.Event()
        self._send_rtp: Callable[[bytes], None] = self._send_interleaved
        self._udp: socket.socket | None = None
        self._player: threading.Thread | None = None

    def handle(self) -> None:
        if self.server.show.down:
            return
        with contextlib.suppress(OSError):
            for method, headers in self._requests():
                self.server.requests.append(method)
                self._answer(method, headers)
                if method == "TEARDOWN":
                    return

    def finish(self) -> None:
        self._left.set()
        if self._player is not None:
            self._player.join()
        if self._udp is not None:
            self._udp.close()
        with contextlib.suppress(OSError):
            super().finish()

    def _requests(self) -> Iterator[tuple[str, dict[str, str]]]:
        held = b""
        while not self._left.is_set() and not self.server.show.over:
            while held:
                if held[:1] == b"$":  # a report of the receiver, between the requests
                    if len(held) < 4 or len(held) < 4 + int.from_bytes(held[2:4], "big"):
                        break
                    held = held[4 + int.from_bytes(held[2:4], "big") :]
                    continue
                head, found, rest = held.partition(b"\r\n\r\n")
                if not found:
                    break
                held = rest
                first, *lines = head.decode("utf-8", "replace").split("\r\n")
                fields = (line.partition(":") for line in lines)
                yield first.partition(" ")[0], {name.strip().lower(): value.strip() for name, _, value in fields}
            try:
                received = self.connection.recv(65536)
            except TimeoutError:
                continue
            if not received:
                return
            held += received

    def _answer(self, method: str, headers: dict[str, str]) -> None:
        sequence = headers.get("cseq", "0")
        account = self.server.account
        expected = f"Basic {base64.b64encode(account.encode()).decode()}"
        if account and method != "OPTIONS" and headers.get("authorization") != expected:
            self._reply(sequence, "401 Unauthorized", {"WWW-Authenticate": 'Basic realm="camera"'})
        elif method == "OPTIONS":
            self._reply(sequence, "200 OK", {"Public": "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"})
        elif method == "DESCRIBE":
            self._reply(sequence, "200 OK", {"Content-Type": "application/sdp"}, _SDP)
        elif method == "SETUP":
            self._reply(sequence, "200 OK", {"Session": "1;timeout=60", "Transport": self._transport(headers)})
        elif method == "PLAY":
            self._reply(sequence, "200 OK", {"Session": "1"})
            self._player = threading.Thread(target=self._play, name="fertrack-rtp")
            self._player.start()
        else:
            self._reply(sequence, "200 OK", {"Session": "1"})

    def _transport(self, headers: dict[str, str]) -> str:
        wanted = headers.get("transport", "")
        ports = re.search(r"client_port=(\d+)-(\d+)", wanted)
        if ports is None:
            return "RTP/AVP/TCP;unicast;interleaved=0-1"
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self._udp.connect(("127.0.0.1", int(ports[1])))
        self._send_rtp = self._send_datagram
        port = self._udp.getsockname()[1]
        return f"RTP/AVP;unicast;client_port={ports[1]}-{ports[2]};server_port={port}-{port + 1}"

    def _reply(self, sequence: str, status: str, headers: dict[str, str], body: str = "") -> None:
        if body:
            headers = headers | {"Content-Length": str(len(body))}
        lines = [f"RTSP/1.0 {status}", f"CSeq: {sequence}", *(f"{name}: {value}" for name, value in headers.items())]
        with self._sending:
            self.connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def _play(self) -> None:
        """The thread that sends images."""
        number = 0
        started_s = time.monotonic()
        with contextlib.suppress(OSError):
            for picture in self.server.show.frames():
                if self._left.is_set():
                    return
                ticks = round((time.monotonic() - started_s) * _CLOCK_HZ) & 0xFFFFFFFF
                for payload, last in _payloads(picture.content):
                    marker = 0x80 if last else 0
                    header = struct.pack(">BBHII", 0x80, marker | _PAYLOAD_TYPE, number & 0xFFFF, ticks, _SOURCE_ID)
                    self._send_rtp(header + payload)
                    number += 1
        self._left.set()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _send_interleaved(self, packet: bytes) -> None:
        with self._sending:
            self.connection.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)

    def _send_datagram(self, packet: bytes) -> None:
        if self._udp is not None:
            self._udp.send(packet)


def _payloads(picture: bytes) -> Iterator[tuple[bytes, bool]]:
    """RTP payloads of one image (RFC 6184, 5.6 single units and 5.8 FU-A), and whether each is its last."""
    units = [unit.rstrip(b"\0") for unit in picture.split(b"\0\0\1") if unit.rstrip(b"\0")]
    for index, unit in enumerate(units):
        last_unit = index == len(units) - 1
        if len(unit) <= _PAYLOAD_BYTES:
            yield unit, last_unit
            continue
        for start in range(1, len(unit), _PAYLOAD_BYTES):
            part = unit[start : start + _PAYLOAD_BYTES]
            first, last = start == 1, start + _PAYLOAD_BYTES >= len(unit)
            head = bytes(((unit[0] & 0xE0) | _FU_A, first << 7 | last << 6 | unit[0] & 0x1F))
            yield head + part, last and last_unit
