"""Opens what is live."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from fertrack.config import Settings
from fertrack.protocols import VideoSource
from fertrack.sources import open_source
from fertrack.types import Frame, VideoInfo

__all__ = ["PacedSource", "open_live"]


def open_live(location: str | int, settings: Settings, *, realtime: bool = False) -> VideoSource:
    """Open a camera, a stream, or a file to be played at its own speed."""
    return PacedSource(open_source(str(location), settings.input))


class PacedSource:
    """Another source, no faster than its timestamps say."""

    def __init__(self, source: VideoSource) -> None:
        self.info: VideoInfo = source.info
        self.notes = source.notes
        self._source = source
        self._is_closed = False
        self.decode_failures = self.dropped = 0

    def __iter__(self) -> Iterator[Frame]:
        """Yield its frames when they are due."""
        began_s: float | None = None
        for frame in self._source:
            if began_s is None:
                began_s = time.monotonic() - frame.timestamp_s
            wait_s = began_s + frame.timestamp_s - time.monotonic()
            if wait_s > 0.0:
                time.sleep(wait_s)
            if self._is_closed:
                return
            yield frame

    def close(self) -> None:
        """Close the source."""
        self._is_closed = True
        self._source.close()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()
