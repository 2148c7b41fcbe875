"""Connecting in a thread of its own, so that waiting for it can be ended at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fertrack.sources.connection import Connection, ffmpeg_log_masked
from fertrack.sources.lifeline import Lifeline

__all__ = ["connect_aside"]

_POLL_S = 0.1


def connect_aside(connect: Callable[[Lifeline], Connection], lifeline: Lifeline) -> Connection:
    """Connect in a thread of its own and wait for it.

    Looking a name up and FFmpeg's own RTSP client cannot be interrupted from outside. If the source is closed or the
    deadline comes first, the thread is left to itself: it ends at once where it waits for a watched socket, else when
    its own time limit is over, and closes what it opened.

    Args:
        connect: makes the connection.
        lifeline: ends the waiting.

    Raises:
        Exception: whatever ``connect`` raised.
        SourceClosedError: the source is being closed.
        TimeoutError: the deadline is over.
    """
    attempt = _Attempt(connect, lifeline)
    attempt.start()
    return attempt.wait()


class _Attempt(threading.Thread):
    def __init__(self, connect: Callable[[Lifeline], Connection], lifeline: Lifeline) -> None:
        super().__init__(name="fertrack-connect", daemon=True)
        self._connect = connect
        self._lifeline = lifeline
        self._changed = threading.Condition()
        self._connection: Connection | None = None
        self._error: Exception | None = None
        self._abandoned = False

    def run(self) -> None:
        connection, error = None, None
        try:
            with ffmpeg_log_masked():
                connection = self._connect(self._lifeline)
        except Exception as failure:  # raised again where it is waited for
            error = failure
        with self._changed:
            abandoned = self._abandoned
            self._connection, self._error = connection, error
            self._changed.notify()
        if abandoned:
            if connection is not None:
                connection.close()
            self._lifeline.release()

    def wait(self) -> Connection:
        with self._changed:
            try:
                while self._connection is None and self._error is None:
                    self._changed.wait(min(_POLL_S, self._lifeline.remaining_s()))
            except BaseException:
                self._abandoned = True
                self._lifeline.cut()
                raise
        self.join()
        error, self._error = self._error, None
        if error is not None:
            raise error
        if self._connection is None:
            raise AssertionError("neither connected nor failed")
        return self._connection
