"""Show of the senders: a clip that goes on by the clock, and the accidents that happen to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from fertrack.benchmarks.loopback.clip import EncodedFrame, StreamClip

__all__ = ["Show"]

_POLL_S = 0.01


class Show:
    """A clip playing in a loop for everyone who watches, until it is over; its controls may be used from any thread.

    Args:
        clip: what is shown first.

    Attributes:
        on_sent: called with each image's number just before it is sent, in the thread that sends it.
    """

    def __init__(self, clip: StreamClip) -> None:
        self.on_sent: Callable[[int], None] = lambda number: None
        self._clip = clip
        self._cuts = 0
        self._down_until_s = self._stalled_until_s = 0.0
        self._over = threading.Event()

    def cut(self, down_s: float = 0.0) -> None:
        """Break all connections off, and refuse new ones for so many seconds."""
        self._down_until_s = time.monotonic() + down_s
        self._cuts += 1

    def stall(self, seconds: float) -> None:
        """Send nothing for so many seconds, though the connections stay."""
        self._stalled_until_s = time.monotonic() + seconds

    def change(self, clip: StreamClip) -> None:
        """Go on with another clip of the same codec, for example of another size, on the same connections."""
        self._clip = clip

    def end(self) -> None:
        """Nothing is shown any more."""
        self._over.set()

    @property
    def over(self) -> bool:
        """Whether the show has ended."""
        return self._over.is_set()

    @property
    def down(self) -> bool:
        """Whether new connections are refused."""
        return self.over or time.monotonic() < self._down_until_s

    @property
    def clip(self) -> StreamClip:
        """Clip being shown."""
        return self._clip

    def frames(self) -> Iterator[EncodedFrame]:
        """Images for one watcher, each when it is due, from a keyframe on; ends when the connection is cut."""
        cuts, clip, number = self._cuts, self._clip, 0
        due_s = time.monotonic()
        while not self._over.wait(max(0.0, due_s - time.monotonic())):
            if self._cuts != cuts:
                return
            if time.monotonic() < self._stalled_until_s:
                due_s = time.monotonic() + _POLL_S
                continue
            if self._clip is not clip:
                clip, number = self._clip, 0
            self.on_sent(number)
            yield clip.pictures[number]
            number = (number + 1) % len(clip.pictures)
            due_s = max(due_s + 1 / clip.fps, time.monotonic() - 1 / clip.fps)
