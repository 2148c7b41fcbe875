"""MPEG-TS sent to a port by UDP, for measurements over loopback."""

from __future__ import annotations

import contextlib
import fractions
import socket
import threading
import time
from types import TracebackType
from typing import Self

import av
from av.packet import Packet

from fertrack.benchmarks.loopback.show import Show

__all__ = ["UdpSender"]

_DATAGRAM_BYTES = 7 * 188  # whole packets of the transport stream that fit into an Ethernet frame
_CLOCK_HZ = 90_000


class UdpSender:
    """Sends a show of H.264 images to a port of 127.0.0.1 until it is left. A cut is silence and a new beginning.

    Args:
        show: what to send.
        port: 0 = one that is free now.

    Attributes:
        address: where to receive it.
    """

    def __init__(self, show: Show, port: int = 0) -> None:
        self._show = show
        self._port = port or _free_port()
        self.address = f"udp://127.0.0.1:{self._port}"
        self._thread = threading.Thread(target=self._send, name="fertrack-udp-sender")

    def __enter__(self) -> Self:
        """Start sending."""
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the show."""
        self._show.end()
        self._thread.join()

    def _send(self) -> None:
        while not self._show.over:
            if self._show.down:
                time.sleep(0.01)
                continue
            with _Datagrams(self._port) as datagrams, av.open(datagrams, "w", format="mpegts") as container:
                clip = self._show.clip
                stream = container.add_stream("h264", rate=round(clip.fps))
                stream.width, stream.height = clip.width, clip.height
                stream.time_base = fractions.Fraction(1, _CLOCK_HZ)
                started_s = time.monotonic()
                for picture in self._show.frames():
                    packet = Packet(picture.content)
                    packet.stream = stream
                    packet.time_base = stream.time_base
                    packet.pts = packet.dts = round((time.monotonic() - started_s) * _CLOCK_HZ)
                    packet.is_keyframe = picture.key
                    container.mux(packet)
                    datagrams.flush()


class _Datagrams:
    """A file that sends what is written to it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._target = ("127.0.0.1", port)
        self._held = bytearray()

    def write(self, content: bytes) -> int:
        """Send all full datagrams."""
        self._held += content
        while len(self._held) >= _DATAGRAM_BYTES:
            self._emit(_DATAGRAM_BYTES)
        return len(content)

    def flush(self) -> None:
        """Send what is left."""
        if self._held:
            self._emit(len(self._held))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _emit(self, size: int) -> None:
        with contextlib.suppress(OSError):  # nobody listens at the moment
            self._socket.sendto(self._held[:size], self._target)
        del self._held[:size]


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
