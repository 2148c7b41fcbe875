"""What looks cost lately, as the budget wants to know it about once a second."""

from __future__ import annotations

from fertrack.live.budget import Costs

__all__ = ["CostMeter"]

_ASKED_EVERY_S = 1.0
_SMOOTHING = 0.2
"""Weight of the newest look in the running means."""


class CostMeter:
    """Running means of what looks cost, and frame rates since the last time they were asked for.

    Looks at no clock: whoever enters or asks says what time it is.

    >>> meter = CostMeter()
    >>> meter.add(30.0, 10.0, 2)
    >>> meter.due(5.0, captured=0, displayed=0) is None  # nothing to compare with yet
    True
    >>> meter.due(6.0, captured=30, displayed=25)
    Costs(detect_ms=30.0, classify_ms=5.0, faces=2.0, source_fps=30.0, display_fps=25.0)
    """

    def __init__(self) -> None:
        self._detect_ms = self._classify_ms = self._faces = 0.0
        self._seen = False
        self._asked: tuple[float, int, int] | None = None

    def add(self, detect_ms: float, classify_ms: float | None, faces: int) -> None:
        """Take one look.

        Args:
            detect_ms: of its detection.
            classify_ms: of aligning and classifying all its faces; None if none was classified.
            faces: how many.
        """
        weight = _SMOOTHING if self._seen else 1.0
        self._detect_ms += weight * (detect_ms - self._detect_ms)
        self._faces += weight * (faces - self._faces)
        if classify_ms is not None and faces:
            weight = _SMOOTHING if self._classify_ms else 1.0
            self._classify_ms += weight * (classify_ms / faces - self._classify_ms)
        self._seen = True

    def due(self, now_s: float, *, captured: int, displayed: int) -> Costs | None:
        """The costs, about once a second; None in between.

        Args:
            now_s: on any clock that does not go back.
            captured: frames captured so far.
            displayed: pictures displayed so far.
        """
        if self._asked is None:
            self._asked = now_s, captured, displayed
        since_s = now_s - self._asked[0]
        if since_s < _ASKED_EVERY_S:
            return None
        source_fps, display_fps = (captured - self._asked[1]) / since_s, (displayed - self._asked[2]) / since_s
        self._asked = now_s, captured, displayed
        return Costs(self._detect_ms, self._classify_ms, self._faces, source_fps, display_fps)
