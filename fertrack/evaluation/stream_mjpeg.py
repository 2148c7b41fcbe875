"""An MJPEG camera over HTTP, for measurements over loopback."""

from __future__ import annotations

import http.server
import threading
from types import TracebackType
from typing import Self

from fertrack.evaluation.stream_show import Show

__all__ = ["MjpegServer"]

_BOUNDARY = "fertrack-picture"


class MjpegServer:
    """Serves a show of JPEG pictures on 127.0.0.1 until it is left.

    Args:
        show: what to send.
        port: 0 = a free one.

    Attributes:
        address: where it is to be seen.
    """

    def __init__(self, show: Show, port: int = 0) -> None:
        self._show = show
        self._server = _Server(("127.0.0.1", port), _Handler, show)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/video"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="fertrack-mjpeg"
        )

    def __enter__(self) -> Self:
        """Start serving."""
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the show and all connections."""
        self._show.end()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # so that server_close waits for them
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[http.server.BaseHTTPRequestHandler], show: Show) -> None:
        super().__init__(address, handler)
        self.show = show


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        show = self.server.show
        if show.down:
            return  # closes the connection without an answer
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.end_headers()
        try:
            for picture in show.pictures():
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture.content)}\r\n\r\n"
                self.wfile.write(head.encode() + picture.content + b"\r\n")
        except OSError:
            pass  # the watcher left

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""
