"""A session's numbers as the page gets them: small, without gaps in JSON, the last minute in half-second columns."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    from fertrack.live.session import LiveSession
    from fertrack.live.state import LivePerson, LiveState

__all__ = ["NOBODY", "STRIP_S", "Numbers", "farewell", "numbers", "strip"]

STRIP_S = 60.0
"""Length of the strip, seconds."""

COLUMN_S = 0.5
"""Time that one column of the strip stands for, seconds."""

NOBODY, UNCERTAIN = -2, -1
"""Column without an estimate; column of an undecided one. From 0 on it is an index into ``EXPRESSIONS``."""

_INDEX = {name: index for index, name in enumerate(EXPRESSIONS)}


def strip(estimates: Sequence[tuple[float, str, float]], now_s: float) -> dict[str, list[int]]:
    """The last minute in columns that stay what they are while they move: what was shown longest in each half second.

    Args:
        estimates: time in s, label, probability; each holds until the next one, the last until now; "" = not seen.
        now_s: end of the strip, on the same clock.

    Returns:
        ``labels``: index into ``EXPRESSIONS``, -1 uncertain, -2 not seen; ``percent``: the label's mean probability.
        Both oldest first, one entry a column.

    >>> columns = strip([(0.0, "happiness", 0.8), (0.6, "happiness", 0.6), (0.8, "fear", 0.9)], 0.9)
    >>> columns["labels"][-3:], columns["percent"][-3:]
    ([-2, 3, 3], [0, 80, 73])
    """
    last = math.floor(now_s / COLUMN_S)
    first = last - int(STRIP_S / COLUMN_S) + 1
    shown: dict[int, dict[str, tuple[float, float]]] = {}  # column: label: seconds, seconds x probability
    ends = [*(time_s for time_s, _, _ in estimates), now_s][1:]
    for (start_s, label, probability), end_s in zip(estimates, ends, strict=True):
        for column in range(max(first, math.floor(start_s / COLUMN_S)), math.floor(end_s / COLUMN_S) + 1):
            seconds = min(end_s, (column + 1) * COLUMN_S) - max(start_s, column * COLUMN_S)
            if label and seconds > 0:
                total_s, weighted = shown.setdefault(column, {}).get(label, (0.0, 0.0))
                shown[column][label] = (total_s + seconds, weighted + seconds * probability)
    labels, percent = [], []
    for column in range(first, last + 1):
        label, (seconds, weighted) = max(
            shown.get(column, {"": (1.0, 0.0)}).items(), key=lambda label_and_time: label_and_time[1][0]
        )
        labels.append(_INDEX.get(label, UNCERTAIN) if label else NOBODY)
        percent.append(round(100 * weighted / seconds))
    return {"labels": labels, "percent": percent}


def numbers(state: LiveState) -> dict[str, Any]:
    """Everything the page shows besides the picture, as JSON-able values; what is not known is None."""
    return {
        "source": state.source,
        "status": asdict(state.status),
        "recording": state.recording,
        "display_fps": _finite(state.display_fps),
        "results_hz": _finite(state.results_hz),
        "latency_ms": {name: _finite(value) for name, value in asdict(state.latency_ms).items()},
        "age_ms": {name: _finite(value) for name, value in asdict(state.age_ms).items()},
        "dropped": state.dropped,
        "frames": state.frames,
        "reconnects": state.reconnects,
        "budget": asdict(state.budget),
        "persons": [_person(person, state.time_s) for person in state.persons],
    }


def farewell(session: LiveSession, *, interrupted: bool) -> dict[str, Any]:
    """The last thing the page is told: what was saved where, or what went wrong."""
    summary = session.summary
    if summary is None:
        return {"interrupted": interrupted, "finished": False, "error": session.state().error}
    return {
        "interrupted": interrupted,
        "finished": True,
        "error": summary.error,
        "run": summary.run,
        "database": summary.database,
        "recordings": list(summary.recordings),
        "report": summary.report,
        "frames": summary.frames,
        "dropped": summary.dropped,
        "duration_s": _finite(summary.duration_s),
        "notes": list(summary.notes),
    }


class Numbers:
    """The numbers as JSON, worked out at most every ``interval_s`` however many pages ask."""

    def __init__(self, session: LiveSession, interval_s: float) -> None:
        self._session = session
        self._interval_s = interval_s
        self._made_s = -math.inf
        self._text = ""

    def outdate(self) -> None:
        """Have them worked out again for whoever asks next."""
        self._made_s = -math.inf

    def text(self) -> str:
        """JSON of :func:`numbers`, in one line."""
        now_s = time.monotonic()
        if now_s - self._made_s >= self._interval_s:
            self._text = json.dumps(numbers(self._session.state()), allow_nan=False, separators=(",", ":"))
            self._made_s = now_s
        return self._text


def _person(person: LivePerson, now_s: float) -> dict[str, Any]:
    return {
        "track": person.track,
        "person": person.person,
        "name": person.name,
        "label": person.label,
        "certain": person.certain,
        "probability": _finite(person.probability),
        "probabilities": {name: _finite(person.probabilities.get(name)) for name in EXPRESSIONS},
        "visible": person.visible,
        "unseen_s": max(0.0, round(now_s - person.last_seen_s, 1)),
        "strip": strip(person.strip, now_s),
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 4)
