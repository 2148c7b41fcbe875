"""Senders over loopback for the tests of live sources: they stall, cut, change size, refuse and send garbage on demand.

Each is a context manager that leaves no thread and no socket behind.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2

from tests.support.video_factory import picture


def jpeg(number: int, size: tuple[int, int] = (128, 96)) -> bytes:
    """A numbered picture as JPEG."""
    return cv2.imencode(".jpg", picture(number, size), [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


@dataclass
class Script:
    """What the server does; may be changed while it runs.

    Attributes:
        fps: pictures per second.
        size: of the pictures.
        cut_after: pictures after which each connection is closed; 0 = never.
        stall_after: pictures after which nothing more is sent, though the connection stays; -1 = never.
        stalled_connections: how many connections, from the first, do so.
        garbage: bytes sent in place of pictures.
        status: HTTP status; 200 sends.
        account: ``"name:password"`` asked for.
        digest: ask for it by Digest instead of Basic authentication.
        redirect: address that is answered instead.
        damaged: numbers of pictures that are sent broken.
        tls: certificate and key, for https.
        content_type: of the answer.
        with_length: whether each part names its length.
        on_sent: called before each picture.
        connections: connections so far.
    """

    fps: float = 100.0
    size: tuple[int, int] = (128, 96)
    cut_after: int = 0
    stall_after: int = -1
    stalled_connections: int = 1_000_000
    garbage: bytes = b""
    status: int = 200
    account: str = ""
    digest: bool = False
    redirect: str = ""
    content_type: str = "multipart/x-mixed-replace; boundary=frame"
    with_length: bool = True
    damaged: tuple[int, ...] = ()
    tls: tuple[Path, Path] | None = None
    on_sent: Callable[[], None] = lambda: None
    connections: int = 0
    times: list[float] = field(default_factory=list)


@contextmanager
def mjpeg_server(script: Script, port: int = 0) -> Iterator[str]:
    """An MJPEG camera; gives its address."""
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.connections += 1
            script.times.append(time.monotonic())
            status = script.status
            if script.account and not self._knows_account():
                status = 401
            if script.redirect:
                status = 302
            self.send_response(status)
            if script.redirect:
                self.send_header("Location", script.redirect)
            if status == 401:
                asked = 'Digest realm="camera", nonce="abc", qop="auth"' if script.digest else 'Basic realm="camera"'
                self.send_header("WWW-Authenticate", asked)
            self.send_header("Content-Type", script.content_type)
            self.end_headers()
            if status == 200:
                self._play()

        def _knows_account(self) -> bool:
            given = self.headers.get("Authorization", "")
            if not script.digest:
                return given == f"Basic {base64.b64encode(script.account.encode()).decode()}"
            fields = dict(re.findall(r'(\w+)="?([^",]*)"?', given))
            if "response" not in fields:
                return False
            name, _, password = script.account.partition(":")

            def md5(text: str) -> str:
                return hashlib.md5(text.encode()).hexdigest()

            secret, asked = md5(f"{name}:camera:{password}"), md5(f"GET:{self.path}")
            return fields["response"] == md5(f"{secret}:abc:{fields['nc']}:{fields['cnonce']}:auth:{asked}")

        def _play(self) -> None:
            number = 0
            stall_after = script.stall_after if script.connections <= script.stalled_connections else -1
            try:
                while not over.is_set():
                    if script.cut_after and number >= script.cut_after:
                        return
                    if 0 <= stall_after <= number:
                        over.wait(0.02)
                        continue
                    if script.garbage:
                        self.wfile.write(script.garbage)
                        over.wait(0.01)
                        continue
                    image = jpeg(number % 1000, script.size)
                    if number in script.damaged:
                        image = image[:200] + bytes(len(image) - 200)
                    length = f"Content-Length: {len(image)}\r\n" if script.with_length else ""
                    head = f"--frame\r\nContent-Type: image/jpeg\r\n{length}\r\n"
                    script.on_sent()
                    self.wfile.write(head.encode() + image + b"\r\n")
                    self.wfile.flush()
                    number += 1
                    over.wait(1 / script.fps)
            except OSError:
                pass  # the client left

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler, over, port, script.tls) as bound:
        yield f"{'https' if script.tls else 'http'}://127.0.0.1:{bound}/video"


@contextmanager
def serving(
    handler: Callable[..., http.server.BaseHTTPRequestHandler],
    over: threading.Event,
    port: int = 0,
    tls: tuple[Path, Path] | None = None,
) -> Iterator[int]:
    """Run an HTTP server; gives its port. ``over`` is set before it is stopped."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = False  # joined by server_close
        allow_reuse_address = True

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", port), handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def folder_server(folder: Path, account: str = "") -> Iterator[tuple[str, list[str]]]:
    """Serves the files of a folder; gives its address and the list of requests, ``"PATH AUTHORIZATION"``."""
    over, asked = threading.Event(), list[str]()
    expected = f"Basic {base64.b64encode(account.encode()).decode()}"

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            asked.append(f"{self.path} {given}".strip())
            if account and given != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.end_headers()
                return
            super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with serving(partial(Handler, directory=str(folder)), over) as port:
        yield f"http://127.0.0.1:{port}", asked


@contextmanager
def mute_server() -> Iterator[int]:
    """Accepts connections and never says anything; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def closed_port() -> int:
    """A TCP port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]
