"""Senders over loopback for the tests of live sources: they stall, cut, change size, refuse and send garbage on demand.

Each is a context manager that leaves no thread and no socket behind.
"""

from __future__ import annotations

import base64
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
from video_factory import picture


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
        garbage: bytes sent in place of pictures.
        status: HTTP status; 200 sends.
        account: ``"name:password"`` asked for.
        content_type: of the answer.
        with_length: whether each part names its length.
        connections: connections so far.
    """

    fps: float = 100.0
    size: tuple[int, int] = (128, 96)
    cut_after: int = 0
    stall_after: int = -1
    garbage: bytes = b""
    status: int = 200
    account: str = ""
    content_type: str = "multipart/x-mixed-replace; boundary=frame"
    with_length: bool = True
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
            expected = f"Basic {base64.b64encode(script.account.encode()).decode()}"
            status = script.status
            if script.account and self.headers.get("Authorization") != expected:
                status = 401
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.send_header("Content-Type", script.content_type)
            self.end_headers()
            if status == 200:
                self._play()

        def _play(self) -> None:
            number = 0
            try:
                while not over.is_set():
                    if script.cut_after and number >= script.cut_after:
                        return
                    if 0 <= script.stall_after <= number:
                        over.wait(0.02)
                        continue
                    if script.garbage:
                        self.wfile.write(script.garbage)
                        over.wait(0.01)
                        continue
                    image = jpeg(number % 1000, script.size)
                    length = f"Content-Length: {len(image)}\r\n" if script.with_length else ""
                    head = f"--frame\r\nContent-Type: image/jpeg\r\n{length}\r\n"
                    self.wfile.write(head.encode() + image + b"\r\n")
                    self.wfile.flush()
                    number += 1
                    over.wait(1 / script.fps)
            except OSError:
                pass  # the client left

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler, over, port) as bound:
        yield f"http://127.0.0.1:{bound}/video"


@contextmanager
def serving(
    handler: Callable[..., http.server.BaseHTTPRequestHandler], over: threading.Event, port: int = 0
) -> Iterator[int]:
    """Run an HTTP server; gives its port. ``over`` is set before it is stopped."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = False  # joined by server_close
        allow_reuse_address = True

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()
