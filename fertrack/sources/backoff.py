"""How long to wait before connecting again."""

from __future__ import annotations

import random

__all__ = ["Backoff"]

_STABLE_S = 2.0
_MOST_DOUBLINGS = 32


class Backoff:
    """Exponential backoff with jitter: each wait is drawn from the upper half of ``start_s * 2**attempt``.

    The jitter keeps several cameras behind one router from coming back at the same instant. A connection that showed
    pictures for at least 2 s makes the next outage start with the shortest wait; a shorter one does not, so that a
    source that fails right after connecting is not tried in a tight loop. No wait is shorter than ``start_s / 2``:
    that bounds the attempts per second, whatever the source does.

    Args:
        start_s: about the first wait.
        max_s: no wait is longer.
        rng: where the jitter comes from.
    """

    def __init__(self, start_s: float, max_s: float, rng: random.Random | None = None) -> None:
        self._start_s, self._max_s = start_s, max_s
        self._rng = rng or random.Random()
        self._attempt = 0

    def worked_for(self, live_s: float) -> None:
        """A connection was lost after it had shown pictures for ``live_s`` seconds."""
        if live_s >= _STABLE_S:
            self._attempt = 0

    def next_wait_s(self) -> float:
        """Seconds to wait before the next attempt."""
        longest_s = min(self._max_s, self._start_s * 2.0 ** min(self._attempt, _MOST_DOUBLINGS))
        self._attempt += 1
        return longest_s * self._rng.uniform(0.5, 1.0)
