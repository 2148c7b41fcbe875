"""Frame ordinals: pairs decoded frames with the packets that went in.

A decoder takes packets in decode order, gives frames in presentation order some packets later, and drops what it
cannot decode without saying which. Counting what comes out would number the frames after a lost one too low, and
would depend on how many threads decode.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Protocol

__all__ = ["ByCount", "ByRank", "ByTime", "FrameOrder"]


class FrameOrder(Protocol):
    """Gives each frame its ordinal and its time stamp.

    Attributes:
        lost: frames that went in and did not come out.
    """

    lost: int

    def sent(self, pts: int | None, dts: int | None) -> None:
        """A packet goes to the decoder."""
        ...

    def failed(self, pts: int | None, dts: int | None) -> None:
        """The decoder refused that packet."""
        ...

    def placed(self, pts: int | None, dts: int | None) -> tuple[int, int | None]:
        """A frame came out: its 0-based ordinal, and its stamp in ticks if it has one."""
        ...

    def ended(self) -> None:
        """The decoder was drained: what has not come out is lost."""
        ...


class ByTime:
    """For streams whose packets are frames with presentation stamps: paired by stamp, so exact whatever is lost.

    Args:
        count_from: frames stamped earlier are not expected to come out (reading starts there), so not called lost.
    """

    def __init__(self, count_from: int | None = None) -> None:
        self.lost = 0
        self._count_from = count_from
        self._expected: list[int] = []
        self._ordinal = 0

    def skip(self, packets: int) -> None:
        """Counts packets that were not sent to the decoder at all and are presented before any other."""
        self._ordinal += packets

    def sent(self, pts: int | None, dts: int | None) -> None:
        """Expect a frame with that presentation stamp."""
        if pts is not None:
            heapq.heappush(self._expected, pts)

    def failed(self, pts: int | None, dts: int | None) -> None:
        """Nothing to do: the frame will be missed when a later one comes out."""

    def placed(self, pts: int | None, dts: int | None) -> tuple[int, int | None]:
        """Number a frame; those stamped earlier that have not come out by now are lost."""
        if pts is not None:
            while self._expected and self._expected[0] < pts:
                self._lose(heapq.heappop(self._expected))
            if self._expected and self._expected[0] == pts:
                heapq.heappop(self._expected)
        ordinal = self._ordinal
        self._ordinal += 1
        return ordinal, pts if pts is not None else dts

    def ended(self) -> None:
        """Everything still expected is lost."""
        while self._expected:
            self._lose(heapq.heappop(self._expected))

    def _lose(self, pts: int) -> None:
        self._ordinal += 1
        if self._count_from is None or pts >= self._count_from:
            self.lost += 1


class ByRank:
    """For containers that stamp packets in decode order only (AVI), or not: the i-th frame shown has the i-th stamp.

    A packet may come to nothing without an error: a frame that is not coded (the one before is shown on), or one
    that needs a key frame that the file does not have (it begins inside a group of pictures). Its stamp must not go
    to a later frame, or all that follows is shown too early. Such packets are told by counting: the decoder holds
    back no more packets than its reordering needs, so of more than those the oldest have come to nothing.

    Attributes:
        empty: packets that came to nothing without an error.
    """

    def __init__(self) -> None:
        self.lost = 0
        self.empty = 0
        self._stamps: list[int] = []
        self._inside: dict[int, None] = {}
        self._unplaced: set[int] = set()
        self._sent = 0
        self._ordinal = 0

    def sent(self, pts: int | None, dts: int | None) -> None:
        """Expect one more frame."""
        self._sent += 1
        if dts is not None:
            heapq.heappush(self._stamps, dts)
            self._inside[dts] = None

    def failed(self, pts: int | None, dts: int | None) -> None:
        """Leave this packet's place empty."""
        self.lost += 1
        if dts is not None:
            self._leave_empty(dts)

    def returned(self, sent_dts: Sequence[int | None], held: int) -> None:
        """The frames of the packets sent with these stamps came out; ``held`` packets may still be in the decoder.

        To be called after every packet, before ``placed``.
        """
        for dts in sent_dts:
            if dts is not None and dts in self._inside:
                del self._inside[dts]
            elif dts in self._unplaced:  # the decoder did not say at first that it reorders
                self._unplaced.discard(dts)
                self.empty -= 1
        while len(self._inside) > held:
            self.empty += 1
            self._leave_empty(next(iter(self._inside)))
        if sent_dts and not self._ordinal and self._unplaced and min(self._unplaced) < (sent_dts[0] or 0):
            # The file begins inside a group: what follows its first key frame and is shown before it is missing too.
            while self._ordinal < self._sent - len(sent_dts) - held and self._stamps:
                heapq.heappop(self._stamps)
                self._ordinal += 1
            self._unplaced.clear()  # their places are the ones before it

    def placed(self, pts: int | None, dts: int | None) -> tuple[int, int | None]:
        """Give the frame the earliest stamp left."""
        while self._stamps and self._stamps[0] in self._unplaced:
            self._unplaced.discard(heapq.heappop(self._stamps))
            self._ordinal += 1
        ordinal = self._ordinal
        self._ordinal += 1
        return ordinal, heapq.heappop(self._stamps) if self._stamps else None

    def ended(self) -> None:
        """Nothing to do: what had to be counted was counted when the decoder was drained."""

    def _leave_empty(self, dts: int) -> None:
        self._inside.pop(dts, None)
        self._unplaced.add(dts)


class ByCount:
    """For streams where a packet may hold no frame, a field, or several: frames are counted as they come out."""

    def __init__(self) -> None:
        self.lost = 0
        self._ordinal = 0

    def sent(self, pts: int | None, dts: int | None) -> None:
        """Nothing to remember."""

    def failed(self, pts: int | None, dts: int | None) -> None:
        """One failure; whether it was a whole frame cannot be known, so no ordinal is used up."""
        self.lost += 1

    def placed(self, pts: int | None, dts: int | None) -> tuple[int, int | None]:
        """The next number, and the presentation stamp or else the decode stamp."""
        ordinal = self._ordinal
        self._ordinal += 1
        return ordinal, pts if pts is not None else dts

    def ended(self) -> None:
        """Nothing to do."""
