"""Cancellation of a blocked network read: by closing the source from another thread, or by a deadline."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["Lifeline", "SourceClosedError"]

_T = TypeVar("_T")

_POLL_S = 0.1
_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY)


class SourceClosedError(Exception):
    """The source was closed while it was read; never leaves the sources."""


class Lifeline:
    """Deadline and switch-off of one connection, shared by everything that reads for it.

    Args:
        closing: set once the source is closed; belongs to the source.
        seconds: first deadline, from now.
    """

    def __init__(self, closing: threading.Event, seconds: float) -> None:
        self._closing = closing
        self._lock = threading.Lock()
        self._twins: list[socket.socket] = []
        self._failed = False
        self._deadline_s = 0.0
        self.extend(seconds)

    def extend(self, seconds: float) -> None:
        """The next frame has to come within so many seconds from now; too late once ``expire`` was called."""
        with self._lock:
            self._limit_s = seconds
            if self._deadline_s > -math.inf:
                self._deadline_s = time.monotonic() + seconds

    def expire(self) -> None:
        """End every read now, as if the deadline were over, from any thread."""
        with self._lock:
            self._deadline_s = -math.inf
        self.cut()

    def raise_if_closing(self) -> None:
        """Raise ``SourceClosedError`` if the source is being closed."""
        if self._closing.is_set():
            raise SourceClosedError

    def remaining_s(self) -> float:
        """Seconds until the deadline, above 0.

        Raises:
            SourceClosedError: the source is being closed.
            TimeoutError: the deadline is over.
        """
        self.raise_if_closing()
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"no picture for {self._limit_s:g} s")
        return left_s

    def guard(self, read: Callable[[], _T]) -> _T:
        """Do something for FFmpeg, and remember in ``failed`` whether that raised.

        FFmpeg may try again after a failure, but PyAV can hold only one exception until FFmpeg is done: readers that
        find ``failed`` set give nothing more.

        """
        try:
            return read()
        except BaseException:
            self._failed = True
            raise

    @property
    def failed(self) -> bool:
        """Whether something guarded has failed."""
        return self._failed

    def connect(self, host: str, port: int) -> socket.socket:
        """A TCP connection, watched, its timeout set to what is left.

        Raises:
            OSError: nobody is there; ``socket.gaierror`` if the name is unknown.
            SourceClosedError: see ``remaining_s``.
            TimeoutError: likewise.
        """
        error: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                return self._connected(socket.socket(family, kind, protocol), address)
            except TimeoutError:
                raise
            except OSError as refused:
                error = refused
        raise error or OSError(f"{host} has no address")

    def cut(self) -> None:
        """End every read that waits for a watched socket, from any thread."""
        with self._lock:
            for twin in self._twins:
                with contextlib.suppress(OSError):
                    twin.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Forget the sockets watched; the connection is over."""
        with self._lock:
            for twin in self._twins:
                twin.close()
            self._twins.clear()

    def _connected(self, fresh: socket.socket, address: object) -> socket.socket:
        try:
            fresh.setblocking(False)
            pending = fresh.connect_ex(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
            if pending in _UNDER_WAY:
                self._wait_until_writable(fresh)
                pending = fresh.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if pending:
                raise OSError(pending, os.strerror(pending))
            fresh.settimeout(self.remaining_s())
            fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._twins.append(fresh.dup())  # stays valid when TLS takes the socket itself over
            self.raise_if_closing()  # cut() may have come just before
        except BaseException:
            fresh.close()
            raise
        return fresh

    def _wait_until_writable(self, fresh: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(fresh, selectors.EVENT_WRITE)
            while not selector.select(min(_POLL_S, self.remaining_s())):
                pass
