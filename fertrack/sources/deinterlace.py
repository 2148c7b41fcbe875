"""Deinterlacing: frames woven of two fields become whole ones, one for one and at the same times.

FFmpeg's bwdif keeps the first field of each frame and fills its missing lines from that and the neighbouring
frames. Only frames that are flagged as interlaced are changed; a video without any never gets here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Generic, TypeVar

from av.error import BlockingIOError as NothingYetError
from av.error import EOFError as NothingMoreError
from av.filter import Graph
from av.video.frame import VideoFrame

__all__ = ["Deinterlacer", "OrderedFrame", "deinterlaced"]

_Item = TypeVar("_Item")
_CLOCK = Fraction(1, 1000)  # of the filter alone, which wants times that increase


@dataclass(frozen=True, slots=True)
class OrderedFrame:
    """A decoded frame in presentation order.

    Attributes:
        picture: what the decoder, or a filter after it, gave.
        ordinal: 0-based, of all frames of the stream.
        ticks: its stamp; None if it has none.
        duration: how long it is shown, in ticks; 0 if that is not said.
    """

    picture: VideoFrame
    ordinal: int
    ticks: int | None
    duration: int


class Deinterlacer(Generic[_Item]):
    """Passes frames on until the first interlaced one, and everything from there on through the filter.

    Each frame comes with an item of the caller's, which it keeps.

    Attributes:
        changed: interlaced frames so far.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.changed = 0
        self._enabled = enabled
        self._graph: Graph | None = None
        self._form: tuple[int, int, str] | None = None
        self._waiting: deque[_Item] = deque()
        self._pushed = 0

    def push(self, picture: VideoFrame, item: _Item) -> Iterator[tuple[VideoFrame, _Item]]:
        """Take the next frame; yield those that are whole, in their order: the filter needs the next one for that.

        Raises:
            av.error.FFmpegError: their pixel format cannot be filtered.
        """
        if picture.interlaced_frame:
            self.changed += 1
            if self._enabled and self._graph is None:
                self._start(picture)
        if self._graph is None:
            yield picture, item
            return
        if self._form != _form(picture):
            yield from self.finish()
            self._start(picture)
        self._waiting.append(item)
        picture.pts, picture.time_base = self._pushed, _CLOCK
        self._pushed += 1
        self._graph.vpush(picture)
        yield from self._pull()

    def finish(self) -> Iterator[tuple[VideoFrame, _Item]]:
        """Yield the frames that waited for a next one; there is none."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._pull()

    def _start(self, picture: VideoFrame) -> None:
        self._form = _form(picture)
        self._graph = Graph()
        source = self._graph.add_buffer(
            width=picture.width, height=picture.height, format=picture.format, time_base=_CLOCK
        )
        whole = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        self._graph.link_nodes(source, whole, self._graph.add("buffersink")).configure()

    def _pull(self) -> Iterator[tuple[VideoFrame, _Item]]:
        assert self._graph is not None
        while self._waiting:
            try:
                picture = self._graph.vpull()
            except (NothingYetError, NothingMoreError):
                return
            yield picture, self._waiting.popleft()


def deinterlaced(pictures: Iterator[OrderedFrame], whole: Deinterlacer[OrderedFrame]) -> Iterator[OrderedFrame]:
    """Frames of a file in their order, whole.

    Raises:
        av.error.FFmpegError: their pixel format cannot be filtered.
    """
    for item in pictures:
        for picture, own in whole.push(item.picture, item):
            yield own if picture is own.picture else replace(own, picture=picture)
    for picture, own in whole.finish():
        yield replace(own, picture=picture)


def _form(picture: VideoFrame) -> tuple[int, int, str]:
    return picture.width, picture.height, picture.format.name
