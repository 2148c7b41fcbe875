"""A session's numbers as the page gets them: small, and whole in JSON."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fertrack.imaging.palette import person_colour
from fertrack.live.strip import strip_columns
from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    from fertrack.live.session import LiveSession
    from fertrack.live.state import LivePerson, LiveState, Percentiles

__all__ = ["Numbers", "farewell", "numbers"]


def numbers(state: LiveState) -> dict[str, Any]:
    """Everything the page shows besides the image, as JSON-able values; what is not known is None."""
    return {
        "source": state.source,
        "status": asdict(state.status),
        "recording": state.recording,
        "display_fps": _finite(state.display_fps),
        "results_hz": _finite(state.results_hz),
        "latency_ms": _percentiles(state.latency_ms),
        "age_ms": _percentiles(state.age_ms),
        "dropped": state.dropped,
        "frames": state.frames,
        "reconnects": state.reconnects,
        "budget": asdict(state.budget),
        "notice": state.notice,
        "persons": [_person(person, state.time_s) for person in state.persons],
    }


def farewell(session: LiveSession, *, interrupted: bool) -> dict[str, Any]:
    """Last message to the page: what was saved where, or what went wrong."""
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
    labels, percent = strip_columns(person.strip, now_s)
    return {
        "track": person.track,
        "person": person.person,
        "name": person.name,
        "colour": person_colour(person.person),
        "label": person.label,
        "certain": person.certain,
        "probability": _finite(person.probability),
        "probabilities": {name: _finite(person.probabilities.get(name)) for name in EXPRESSIONS},
        "visible": person.visible,
        "unseen_s": max(0.0, round(now_s - person.last_seen_s, 1)),
        "strip": {"labels": labels, "percent": percent},
    }


def _percentiles(found: Percentiles | None) -> dict[str, float | None]:
    return {name: _finite(getattr(found, name, None)) for name in ("p50", "p95", "p99")}


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 4)
