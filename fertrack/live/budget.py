"""Analysis budget of a live run, such that the display keeps its rate: measured cost in, a decision out.

Nothing here reads images or clocks, so the same measurements always give the same decisions.

What can be given up, in this order: how often expressions are estimated, then the size of the detector's input (both
while analysis alone is slower than ``results_hz``); and which frames are looked at at all (while the display is slower
than it should be, so that analysis leaves it more of the machine). Everything is given up at once and taken back
slowly, and only with room to spare, so that a decision does not flutter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fertrack.types import AnalysisRequest

__all__ = ["AnalysisSchedule", "Budget", "BudgetController", "CostMeter", "Costs", "input_sizes"]


_ASKED_EVERY_S = 1.0
_SMOOTHING = 0.2
"""Weight of the newest analysis in the running means."""


class CostMeter:
    """Running means of the cost of analysis, and frame rates since they were last asked for.

    Reads no clock: callers pass the time.

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
        """Add one analysis.

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
            displayed: images displayed so far.
        """
        if self._asked is None:
            self._asked = now_s, captured, displayed
        since_s = now_s - self._asked[0]
        if since_s < _ASKED_EVERY_S:
            return None
        source_fps, display_fps = (captured - self._asked[1]) / since_s, (displayed - self._asked[2]) / since_s
        self._asked = now_s, captured, displayed
        return Costs(self._detect_ms, self._classify_ms, self._faces, source_fps, display_fps)


_SLOW_ESTIMATES_HZ = (8.0, 5.0)
"""How often expressions are estimated when there is no time to do it with every analysis."""
_ROOM = 1.3
"""What is given up is taken back only when it would cost this much less than there is."""
_PATIENCE_S = 3.0
_MIN_SHARE = 0.25
_GIVE_WAY, _TAKE_BACK = 0.85, 0.05
_TOLERATED = 0.95
"""A display at this share of the rate it should have is good enough."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Budget of the analysis.

    Attributes:
        detect_every: analyse one captured frame in so many, at most.
        long_side: longer side of the detector's input, px; 0 = the detector's own.
        classify_hz: expression estimates a second; 0 = with every analysis.
    """

    detect_every: int = 1
    long_side: int = 0
    classify_hz: float = 0.0


@dataclass(frozen=True, slots=True)
class Costs:
    """Recent measurements of the analysis.

    Attributes:
        detect_ms: of one detection, at the input size in force.
        classify_ms: of aligning and classifying one face.
        faces: in a frame.
        source_fps: frames captured a second.
        display_fps: images displayed a second.
    """

    detect_ms: float
    classify_ms: float
    faces: float
    source_fps: float
    display_fps: float


class BudgetController:
    """Turns costs into a budget, with hysteresis.

    Args:
        display_fps: images to be displayed a second, if the source has as many.
        results_hz: frames to be analysed a second.
        sizes: input sizes the detector can be had for, px, the largest (its own) first; empty: only its own.

    Attributes:
        budget: what is in force.

    >>> controller = BudgetController(display_fps=25, results_hz=10, sizes=(640, 480, 320))
    >>> controller.update(Costs(30.0, 5.0, 3, 30.0, 30.0), 0.0)
    Budget(detect_every=1, long_side=640, classify_hz=0.0)
    >>> controller.update(Costs(120.0, 5.0, 3, 30.0, 30.0), 1.0)
    Budget(detect_every=1, long_side=480, classify_hz=5.0)
    """

    def __init__(self, *, display_fps: float, results_hz: float, sizes: tuple[int, ...] = ()) -> None:
        self._display_fps = display_fps
        self._results_hz = results_hz
        sizes = sizes or (0,)
        # From the most to the least that can be asked for.
        self._ladder = [(sizes[0], hz) for hz in (0.0, *_SLOW_ESTIMATES_HZ)]
        self._ladder += [(size, _SLOW_ESTIMATES_HZ[-1]) for size in sizes[1:]]
        self._rung = 0
        self._share = 1.0
        self._room_since_s: float | None = None
        self._smooth_since_s: float | None = None
        self.budget = Budget(1, *self._ladder[0])

    def update(self, costs: Costs, now_s: float) -> Budget:
        """Decide anew; to be called about once a second.

        Args:
            costs: what was measured since the last time.
            now_s: seconds on any clock that does not go back.
        """
        self._give_way(costs, now_s)
        self._step(costs, now_s)
        side, hz = self._ladder[self._rung]
        self.budget = Budget(self._every(costs), side, hz)
        return self.budget

    def _give_way(self, costs: Costs, now_s: float) -> None:
        """Adapts the share of its thread's time that analysis may use: less at once while the display is too slow."""
        wanted = min(self._display_fps, costs.source_fps)
        if costs.display_fps < _TOLERATED * wanted:
            self._share = max(_MIN_SHARE, self._share * _GIVE_WAY)
            self._smooth_since_s = None
            return
        if self._smooth_since_s is None:
            self._smooth_since_s = now_s
        if now_s - self._smooth_since_s >= _PATIENCE_S and self._share < 1.0:
            self._share = min(1.0, self._share + _TAKE_BACK)

    def _step(self, costs: Costs, now_s: float) -> None:
        """Down the ladder as far as needed, up by one rung after some time with room to spare."""
        allowed_ms = self._share * 1e3 / self._results_hz
        if self._analysis_ms(self._rung, costs) > allowed_ms:
            self._room_since_s = None
            while self._rung + 1 < len(self._ladder) and self._analysis_ms(self._rung, costs) > allowed_ms:
                self._rung += 1
            return
        has_room = self._rung > 0 and _ROOM * self._analysis_ms(self._rung - 1, costs) <= allowed_ms
        if not has_room:
            self._room_since_s = None
        elif self._room_since_s is None:
            self._room_since_s = now_s
        elif now_s - self._room_since_s >= _PATIENCE_S:
            self._rung -= 1
            self._room_since_s = None

    def _every(self, costs: Costs) -> int:
        """One frame in so many, so that analysis keeps to its share of the time; all of them while it may use it all.

        A thread that analyses as fast as it can takes the newest frame each time, which is better than any fixed step.
        """
        if self._share >= 1.0 or not costs.source_fps:
            return 1
        exact = costs.source_fps * self._analysis_ms(self._rung, costs) / (self._share * 1e3)
        slowest = max(1, math.floor(costs.source_fps / self._results_hz))
        held = self.budget.detect_every
        if math.ceil(exact) < held and exact * _ROOM > held - 1:
            return min(held, slowest)
        return min(max(1, math.ceil(exact)), slowest)

    def _analysis_ms(self, rung: int, costs: Costs) -> float:
        """Expected time of one inference, ms; a detector's time goes with the area of its input."""
        side, hz = self._ladder[rung]
        measured_at = self.budget.long_side  # the size in force while the costs were measured
        detect_ms = costs.detect_ms * ((side / measured_at) ** 2 if measured_at else 1.0)
        looks_hz = max(self._results_hz, 1e-6)
        return detect_ms + costs.faces * costs.classify_ms * (min(1.0, hz / looks_hz) if hz else 1.0)


def input_sizes(own: int) -> tuple[int, ...]:
    """Sizes worth trying when a detector's own input is too large: three quarters and a half of it, px.

    >>> input_sizes(640), input_sizes(320)
    ((640, 480, 320), (320, 256))
    """
    smaller = (max(256, round(own * share / 32) * 32) for share in (0.75, 0.5))
    return (own, *dict.fromkeys(size for size in smaller if size < own))


class AnalysisSchedule:
    """Schedule of the analysis: the budget in force, and whether an estimate is due.

    While a face is not followed yet, every analysis makes an estimate, so that no person is shown without one.

    Args:
        controller: what decides; None: nothing is adapted.

    Attributes:
        budget: what is in force.
    """

    def __init__(self, controller: BudgetController | None = None) -> None:
        self._controller = controller
        self._last_estimate_s = -math.inf
        self._unsettled = True
        self.budget = controller.budget if controller else Budget()

    @property
    def fixed(self) -> bool:
        """Whether nothing is adapted."""
        return self._controller is None

    def adapt(self, costs: Costs, now_s: float) -> None:
        """Take what was measured; to be called about once a second."""
        if self._controller is not None:
            self.budget = self._controller.update(costs, now_s)

    def saw(self, *, unsettled: bool) -> None:
        """Take note of a result: whether it has faces that no confirmed track has claimed."""
        self._unsettled = unsettled

    def request(self, now_s: float) -> AnalysisRequest:
        """Request for the frame that is taken now."""
        budget = self.budget
        due = not budget.classify_hz or now_s - self._last_estimate_s >= 1.0 / budget.classify_hz - 1e-3
        classify = due or self._unsettled
        if classify:
            self._last_estimate_s = now_s
        return AnalysisRequest(classify, budget.long_side, budget.detect_every, budget.classify_hz)
