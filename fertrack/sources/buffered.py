"""Reads another source ahead in its own thread."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Literal, Self

from fertrack.protocols import VideoSource
from fertrack.types import Frame

__all__ = ["Buffered"]

logger = logging.getLogger(__name__)

_JOIN_S = 10.0


class Buffered:
    """A source that another source fills from its own thread, so that decoding and analysis overlap.

    The thread starts with the iteration and ends with it: at the end of the source, when the consumer stops early, or
    on ``close()`` from any thread. An error of the source is raised in the consumer, after the frames read before it.
    Closing closes the inner source too.

    Args:
        source: the source to read; not to be iterated by anyone else.
        size: most frames held; memory is bounded by these, one in the thread's hand and those the consumer keeps.
        policy: when full, ``"wait"`` stops reading until there is room and never loses a frame; ``"drop_oldest"``
            discards the oldest frame held and counts it in ``dropped``, so a slow consumer gets the newest.

    Raises:
        ValueError: ``size`` is below 1, or an unknown policy.
    """

    def __init__(self, source: VideoSource, size: int = 4, policy: Literal["wait", "drop_oldest"] = "wait") -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        if policy not in ("wait", "drop_oldest"):
            raise ValueError(f'policy must be "wait" or "drop_oldest", got {policy!r}')
        self.info = source.info
        self.notes = source.notes
        self.decode_failures = source.decode_failures
        self.dropped = source.dropped
        self._source = source
        self._size = size
        self._policy = policy
        self._held: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._dropped_here = 0
        self._stop = False
        self._ended = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the source's frames; starts the thread.

        Raises:
            ValueError: iterated a second time.
            Exception: whatever the source raised, once the frames before it are used up.
        """
        if self._thread is not None:
            raise ValueError(f"{self.info.name} was read before: open it again to read it again")
        self._thread = threading.Thread(target=self._fill, name="fertrack-read", daemon=True)
        if not self._stop:
            self._thread.start()
        return self._frames()

    def close(self) -> None:
        """Stop reading, end the thread and close the inner source. May be called more than once, from any thread."""
        with self._changed:
            self._stop = True
            self._held.clear()
            self._changed.notify_all()
        self._source.close()
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(_JOIN_S)
            if thread.is_alive():
                logger.warning("%s: the reading thread has not ended after %g s", self.info.name, _JOIN_S)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _frames(self) -> Generator[Frame, None, None]:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._held or self._ended or self._stop)
                    self._count()
                    if self._stop:
                        return
                    if not self._held:
                        break
                    frame = replace(self._held.popleft(), waiting=len(self._held))
                    self._changed.notify_all()
                yield frame
                del frame  # not held while waiting for the next
            if self._error is not None:
                raise self._error
        finally:
            self.close()

    def _count(self) -> None:
        self.decode_failures = self._source.decode_failures
        self.dropped = self._source.dropped + self._dropped_here

    def _fill(self) -> None:
        """The thread: source -> queue."""
        try:
            for frame in self._source:
                if not self._put(frame):
                    break
        except BaseException as error:  # raised again in the consumer
            self._error = error
        finally:
            with self._changed:
                self._count()
                self._ended = True
                self._changed.notify_all()

    def _put(self, frame: Frame) -> bool:
        """Queue a frame by the policy; False once reading should stop."""
        with self._changed:
            if self._policy == "wait":
                self._changed.wait_for(lambda: len(self._held) < self._size or self._stop)
            if self._stop:
                return False
            if len(self._held) >= self._size:
                self._held.popleft()
                self._dropped_here += 1
            self._held.append(frame)
            self._changed.notify_all()
            return True
