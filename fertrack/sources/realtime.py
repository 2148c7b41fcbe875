"""A video file, played as if a camera were showing it."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from fertrack.sources.config import InputConfig
from fertrack.sources.open import open_source
from fertrack.sources.stream.clock import ArrivalClock
from fertrack.sources.stream.status import StreamStatus
from fertrack.types import Frame

__all__ = ["RealtimeFile"]


class RealtimeFile:
    """A file (or folder of images) whose frames come when they are due, by the file's own times; ends at its end.

    Times are those of arrival, counted from the first frame, as those of a camera. A frame that is asked for too
    late comes at once, and none is left out: wrap the source in ``Buffered(source, 1, "drop_oldest")`` for that.

    Args:
        path: what ``open_source`` opens.
        input_config: part, rate and rotation.
        closing: closes the source when set.

    Attributes:
        started_monotonic_s: ``time.monotonic()`` of timestamp 0; that of construction until the first frame.
        started_at: the same moment, UTC.

    Raises:
        VideoOpenError: it is missing or no video.
    """

    def __init__(
        self,
        path: str | Path,
        input_config: InputConfig | None = None,
        closing: threading.Event | None = None,
    ) -> None:
        self._source = open_source(path, input_config)
        self._closing = closing or threading.Event()
        self.info = replace(self._source.info, has_audio=False, time_base=Fraction(1, ArrivalClock.TICKS_PER_S))
        self.notes = self._source.notes
        self.decode_failures = 0
        self.dropped = 0
        self._start(time.monotonic())
        self._iterated = False
        self._status = StreamStatus("connecting", 1, f"{self.info.name} is about to be played")

    @property
    def status(self) -> StreamStatus:
        """State of the source now; from any thread."""
        return self._status

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames when they are due; the clock starts with the first.

        Raises:
            ValueError: iterated a second time.
            VideoError: see ``FileSource``.
        """
        if self._iterated:
            raise ValueError(f"{self.info.name} was read before: open it again to read it again")
        self._iterated = True
        return self._frames()

    def close(self) -> None:
        """Stop playing. May be called more than once, from any thread."""
        self._closing.set()
        self._source.close()
        self._end("was closed")

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _frames(self) -> Generator[Frame, None, None]:
        first_s: float | None = None
        clock = ArrivalClock(self.started_monotonic_s)
        try:
            for index, frame in enumerate(self._source):
                if first_s is None:
                    first_s = frame.timestamp_s
                    self._start(time.monotonic())
                    clock = ArrivalClock(self.started_monotonic_s)
                    self._status = StreamStatus("live", 0, f"{self.info.name} is playing")
                due_s = self.started_monotonic_s + frame.timestamp_s - first_s
                if self._closing.wait(max(0.0, due_s - time.monotonic())):
                    return
                self.decode_failures = self._source.decode_failures
                arrived_s = time.monotonic() if index else self.started_monotonic_s
                yield replace(frame, index=index, timestamp_s=clock.stamp(arrived_s))
            self.decode_failures = self._source.decode_failures
            self._end("has ended")
        finally:
            self.close()

    def _start(self, now_s: float) -> None:
        self.started_monotonic_s = now_s
        self.started_at = datetime.now(UTC)

    def _end(self, how: str) -> None:
        if self._status.state != "ended":
            self._status = StreamStatus("ended", 0, f"{self.info.name} {how}")
