"""A session's numbers as the page gets them: small, without gaps in JSON, the last minute in half-second columns."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    from fertrack.web.session import Person, Session, State

__all__ = ["NOBODY", "STRIP_S", "Numbers", "farewell", "numbers", "strip"]

STRIP_S = 60.0
"""Length of the strip, seconds."""

COLUMN_S = 0.5
"""Time that one column of the strip stands for, seconds."""

NOBODY, UNCERTAIN = -2, -1
"""Column without an estimate; column of an undecided one. From 0 on it is an index into ``EXPRESSIONS``."""

_INDEX = {name: index for index, name in enumerate(EXPRESSIONS)}


def strip(estimates: Sequence[tuple[float, str, float]], now_s: float) -> dict[str, list[int]]:
    """The last minute in columns that stay what they are while they move: the most frequent label of each half second.

    Args:
        estimates: time in s, label, probability.
        now_s: end of the strip, on the same clock.

    Returns:
        ``labels``: index into ``EXPRESSIONS``, -1 uncertain, -2 nothing; ``percent``: the label's mean probability.
        Both oldest first, one entry a column.

    >>> strip([(0.1, "happiness", 0.8), (0.2, "happiness", 0.6), (0.3, "fear", 0.9)], 0.4)["percent"][-2:]
    [0, 70]
    """
    last = math.floor(now_s / COLUMN_S)
    first = last - int(STRIP_S / COLUMN_S) + 1
    found: dict[int, dict[str, list[float]]] = {}
    for time_s, label, probability in estimates:
        column = math.floor(time_s / COLUMN_S)
        if first <= column <= last:
            found.setdefault(column, {}).setdefault(label, []).append(probability)
    labels, percent = [], []
    for column in range(first, last + 1):
        by_label = found.get(column)
        if not by_label:
            labels.append(NOBODY)
            percent.append(0)
            continue
        label = max(by_label, key=lambda name: len(by_label[name]))
        labels.append(_INDEX.get(label, UNCERTAIN))
        percent.append(round(100 * sum(by_label[label]) / len(by_label[label])))
    return {"labels": labels, "percent": percent}


def numbers(state: State) -> dict[str, Any]:
    """Everything the page shows besides the picture, as JSON-able values; what is not known yet is None."""
    persons = state.persons
    newest = max((person.last_seen_s for person in persons), default=0.0)
    now_s = float(getattr(state, "time_s", newest))
    return {
        "source": str(getattr(state, "source", "")),
        "status": {"state": state.status.state, "attempt": state.status.attempt, "message": state.status.message},
        "recording": state.recording,
        "display_fps": _finite(state.display_fps),
        "results_hz": _finite(state.results_hz),
        "latency_ms": {name: _finite(_part(state.latency_ms, name)) for name in ("p50", "p95", "p99")},
        "age_ms": _finite(state.age_ms),
        "dropped": state.dropped,
        "frames": state.frames,
        "reconnects": state.reconnects,
        "budget": {
            "detect_every": _part(state.budget, "detect_every"),
            "long_side": _part(state.budget, "long_side"),
            "classify_hz": _finite(_part(state.budget, "classify_hz")),
            "fixed": _part(state.budget, "fixed"),
        },
        "persons": [_person(person, now_s) for person in persons],
    }


def farewell(session: Session, *, interrupted: bool) -> dict[str, Any]:
    """The last thing the page is told: what was saved where, or what went wrong."""
    summary = session.summary
    return {
        "interrupted": interrupted,
        "error": "" if session.error is None else (str(session.error) or type(session.error).__name__),
        "finished": summary is not None,
        "run": getattr(summary, "run", None),
        "database": str(getattr(summary, "database", None) or ""),
        "recordings": [str(path) for path in getattr(summary, "recordings", ())],
        "report": str(getattr(summary, "report", None) or ""),
        "frames": getattr(summary, "frames", None),
        "dropped": getattr(summary, "dropped", None),
        "duration_s": _finite(getattr(summary, "duration_s", None)),
    }


class Numbers:
    """The numbers as JSON, worked out at most every ``interval_s`` however many pages ask."""

    def __init__(self, session: Session, interval_s: float) -> None:
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


def _person(person: Person, now_s: float) -> dict[str, Any]:
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


def _part(whole: Any, name: str) -> Any:
    return whole.get(name) if isinstance(whole, dict) else getattr(whole, name, None)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 4)
