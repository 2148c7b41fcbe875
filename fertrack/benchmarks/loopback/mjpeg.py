"""An MJPEG camera over HTTP, for measurements over loopback."""

from __future__ import annotations

import http.server

from fertrack.benchmarks.loopback.server import ShowServer
from fertrack.benchmarks.loopback.show import Show

__all__ = ["MjpegServer"]

_BOUNDARY = "fertrack-picture"


class MjpegServer(ShowServer):
    """Serves a show of JPEG images on 127.0.0.1 until it is left.

    Args:
        show: what to send.
        port: 0 = a free one.

    Attributes:
        address: where it is to be seen.
    """

    def __init__(self, show: Show, port: int = 0) -> None:
        super().__init__(show, port, _Handler, "fertrack-mjpeg")
        self.address = f"http://127.0.0.1:{self.port}/video"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: MjpegServer

    def do_GET(self) -> None:
        show = self.server.show
        if show.down:
            return  # closes the connection without an answer
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.end_headers()
        try:
            for picture in show.frames():
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture.content)}\r\n\r\n"
                self.wfile.write(head.encode() + picture.content + b"\r\n")
        except OSError:
            pass  # the watcher left

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""
