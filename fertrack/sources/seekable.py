"""A video read from any time: for players, which jump about in it. Analysis reads from the beginning: ``file``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from av.video.frame import VideoFrame

from fertrack.sources.config import InputConfig
from fertrack.sources.container import Timeline, first_decoded_frame, open_container, video_stream
from fertrack.sources.open import open_source
from fertrack.sources.pixels import BgrConverter, Orientation
from fertrack.types import Image

__all__ = ["SeekableVideo"]

_BACK_S = (0.0, 2.0, 10.0, None)
"""Some containers, such as MPEG-TS, are sought in by guessing: where that lands too late, further back; None: anew."""


class SeekableVideo:
    """Images of a video from any time on. Not for use from several threads at once.

    A file that carries times is sought in; of anything else (pictures, streams without times) the images before the
    time are read and passed over.

    Args:
        path: a video file, a picture, or a folder of pictures.
        config: rotation, stream and rate, as the run read it.

    Raises:
        VideoOpenError: missing, or nothing that can be read.
    """

    def __init__(self, path: str | Path, config: InputConfig | None = None) -> None:
        self._path = Path(path)
        self._config = (config or InputConfig()).model_copy(update={"from_s": 0.0, "to_s": None, "rate_hz": None})
        self._container = None
        if not self._path.is_file():
            open_source(self._path, self._config).close()  # so that what cannot be read is said now
            return
        first, self._aspect = first_decoded_frame(self._path, self._config.stream)
        container = open_container(self._path)
        self._stream = video_stream(container, self._path, self._config.stream)
        self._timeline = Timeline.of(container, self._stream, self._config.fps)
        if not self._timeline.is_stamped or container.format.name in ("gif", "avi"):
            container.close()
            return
        self._container = container
        rotate = self._config.rotate
        orientation = Orientation.of(first) if rotate == "auto" else Orientation.clockwise(rotate)
        self._converter = BgrConverter(first, self._aspect, orientation)

    def images_from(self, time_s: float) -> Iterator[tuple[float, Image]]:
        """Presentation time (s) and image (uint8 (H, W, 3), BGR) from the one that is shown at ``time_s`` on.

        Starting another iteration ends the one before.
        """
        if self._container is None:
            yield from self._by_reading(time_s)
            return
        half_s = 0.5 * float(self._timeline.interval_ticks * self._timeline.time_base)
        for back_s in _BACK_S:
            pictures = self._decoded_from(max(0.0, time_s - back_s) if back_s is not None else None)
            first = next(pictures, None)
            if first is not None and first[0] <= time_s + half_s:
                break
        if first is None:
            return
        for shown_s, picture in itertools.chain([first], pictures):
            if shown_s + half_s >= time_s:
                yield shown_s, self._converter.convert(picture, self._aspect)

    def _decoded_from(self, time_s: float | None) -> Iterator[tuple[float, VideoFrame]]:
        """Decoded pictures and their times, from a key picture that should lie before; None: from the very first."""
        timeline = self._timeline
        assert self._container is not None
        if time_s is None:
            self._container.close()
            self._container = open_container(self._path)
            self._stream = video_stream(self._container, self._path, self._config.stream)
        else:
            ticks = round(time_s / timeline.time_base) + timeline.origin_ticks
            self._container.seek(ticks, stream=self._stream, backward=True)
        for picture in self._container.decode(self._stream):
            if picture.pts is not None:
                yield float((picture.pts - timeline.origin_ticks) * timeline.time_base), picture

    def close(self) -> None:
        """Release the file. May be called more than once."""
        if self._container is not None:
            self._container.close()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _by_reading(self, time_s: float) -> Iterator[tuple[float, Image]]:
        with open_source(self._path, self._config) as source:
            half_s = 0.5 / source.info.fps if source.info.fps > 0.0 else 0.0
            for frame in source:
                if frame.timestamp_s + half_s >= time_s:
                    yield frame.timestamp_s, frame.image
