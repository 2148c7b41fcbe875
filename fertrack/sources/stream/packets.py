"""Packets of a live stream, taken from the network as they come, so that none waits there longer than it is known."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["ArrivedPacket", "LivePackets"]

_POLL_S = 0.1
_MAX_PACKETS = 2000
_MAX_BYTES = 32 << 20
_CATCH_UP_S = 2.0
_OLDEST_SHOWN = 3.0  # times the lag at which skipping begins
_SHOWN_EVERY_S = 0.2


class VideoPacket(Protocol):
    """Packet of a video stream; those of PyAV are."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def is_keyframe(self) -> bool:
        """Whether decoding can begin here."""
        ...


_P = TypeVar("_P", bound=VideoPacket)


@dataclass(frozen=True, slots=True)
class ArrivedPacket(Generic[_P]):
    """A packet and its time.

    Attributes:
        packet: one frame, or part of one.
        arrived_s: ``time.monotonic()`` when it was there.
        after_gap: whether packets before it were dropped, so that the decoder has to begin anew.
    """

    packet: _P
    arrived_s: float
    after_gap: bool = False


class LivePackets(Generic[_P]):
    """A thread that takes packets as they come; whoever decodes gets them in order, unless decoding falls behind.

    While the oldest packet has waited no longer than ``longest_lag_s``, none is left out. After that:

    1. Where a newer key frame waits, decoding goes on from the newest one; all packets before it are dropped. Of
       MJPEG every frame is one.
    2. Else packets have to be decoded in order, but not every frame has to be converted, which is most of the work:
       ``is_due`` says no to what is about to be overtaken, but for a few a second.
    3. If that does not help within two seconds, all packets are dropped up to the next key frame.

    So a frame that is shown is never older than three times ``longest_lag_s`` and its own decoding, and the newest
    there is is always shown. What waits is limited in number and bytes as well.

    Args:
        packets: the stream; read in the thread only. Its end or error is told once what came before was taken.
        longest_lag_s: see above, seconds.
        on_packet: called for each packet, in the thread; ends it by raising.
        clock_s: monotonic seconds.

    Attributes:
        dropped: packets and frames left out.
    """

    def __init__(
        self,
        packets: Iterator[_P],
        longest_lag_s: float,
        on_packet: Callable[[], None] = lambda: None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dropped = 0
        self._packets = packets
        self._longest_lag_s = longest_lag_s
        self._on_packet = on_packet
        self._clock_s = clock_s
        self._changed = threading.Condition()
        self._held: deque[ArrivedPacket[_P]] = deque()
        self._held_bytes = 0
        self._is_gap = self._awaits_key = False
        self._behind_since_s: float | None = None
        self._shown_s = clock_s()
        self._is_over = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read, name="fertrack-packets", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def take(self, remaining_s: Callable[[], float]) -> ArrivedPacket[_P] | None:
        """The next packet to be decoded; waits for it.

        Args:
            remaining_s: longest wait from now, seconds; may raise instead.

        Returns:
            None at the end.

        Raises:
            Exception: what reading raised, or ``remaining_s``.
        """
        with self._changed:
            while True:
                self._skip()
                if self._held:
                    taken = self._held.popleft()
                    self._held_bytes -= taken.packet.size
                    return taken
                if self._error is not None:
                    error, self._error = self._error, None
                    raise error
                if self._is_over:
                    return None
                self._changed.wait(min(_POLL_S, remaining_s()))

    def is_due(self, arrived_s: float) -> bool:
        """Whether a frame is to be shown that arrived then; if not, it counts as dropped, and newer ones wait."""
        with self._changed:
            now_s = self._clock_s()
            lag_s = now_s - arrived_s
            if self._held and lag_s > self._longest_lag_s:
                if self._behind_since_s is None:
                    self._behind_since_s = now_s
                too_old = lag_s > _OLDEST_SHOWN * self._longest_lag_s
                if too_old or now_s - self._shown_s < _SHOWN_EVERY_S:
                    self.dropped += 1
                    return False
            else:
                self._behind_since_s = None
            self._shown_s = now_s
            return True

    def join(self) -> None:
        """Wait for the thread; the caller has ended its reading."""
        if self._thread.ident is not None:
            self._thread.join()

    def _read(self) -> None:
        """The thread: network -> memory."""
        error = None
        try:
            for packet in self._packets:
                with self._changed:
                    self._put(packet)
                    self._changed.notify()
                self._on_packet()
        except Exception as failure:  # raised again in ``take``
            error = failure
        with self._changed:
            self._error, self._is_over = error, True
            self._changed.notify()

    def _put(self, packet: _P) -> None:
        if self._awaits_key and not packet.is_keyframe:
            self.dropped += 1
            return
        self._awaits_key = False
        self._held.append(ArrivedPacket(packet, self._clock_s(), self._is_gap))
        self._held_bytes += packet.size
        self._is_gap = False
        if (len(self._held) > _MAX_PACKETS or self._held_bytes > _MAX_BYTES) and not self._drop_to_key():
            self._drop_all()

    def _skip(self) -> None:
        """Leave out what need not be decoded."""
        now_s = self._clock_s()
        if not self._held or now_s - self._held[0].arrived_s <= self._longest_lag_s or self._drop_to_key():
            return
        since_s = self._behind_since_s
        if since_s is not None and now_s - since_s > _CATCH_UP_S:
            self._drop_all()

    def _drop_to_key(self) -> bool:
        """Drop everything before the newest key frame; False if none waits behind the first packet."""
        position = next((n for n in range(len(self._held) - 1, 0, -1) if self._held[n].packet.is_keyframe), 0)
        if not position:
            return False
        for _ in range(position):
            self._held_bytes -= self._held.popleft().packet.size
        self.dropped += position
        first = self._held[0]
        self._held[0] = ArrivedPacket(first.packet, first.arrived_s, after_gap=True)
        self._behind_since_s = None
        return True

    def _drop_all(self) -> None:
        self.dropped += len(self._held)
        self._held.clear()
        self._held_bytes = 0
        self._is_gap = self._awaits_key = True
        self._behind_since_s = None
