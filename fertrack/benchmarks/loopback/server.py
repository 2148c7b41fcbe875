"""A server on this machine's loopback that ends when its show does."""

from __future__ import annotations

import socketserver
import threading
from types import TracebackType
from typing import Self

from fertrack.benchmarks.loopback.show import Show

__all__ = ["ShowServer"]


class ShowServer(socketserver.ThreadingTCPServer):
    """Serves a show on 127.0.0.1 while it is entered; each connection has a thread of its own.

    Args:
        show: what to send.
        port: 0 = a free one.
        handler: answers a connection; its ``server`` is this.
        name: of the thread that accepts connections.

    Attributes:
        show: what to send.
        port: where it listens.
    """

    daemon_threads = False  # so that server_close waits for them
    allow_reuse_address = True

    def __init__(self, show: Show, port: int, handler: type[socketserver.BaseRequestHandler], name: str) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.show = show
        self.port = int(self.server_address[1])
        self._accepting = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, name=name)

    def __enter__(self) -> Self:
        """Start serving."""
        self._accepting.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the show and all connections."""
        self.show.end()
        self.shutdown()
        self._accepting.join()
        self.server_close()
