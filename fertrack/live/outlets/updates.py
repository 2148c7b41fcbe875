"""Updates that outlets send; events: who came or was lost, whose ID changed, when expressions began and ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from fertrack.live.state import LivePerson
from fertrack.types import FrameResult

__all__ = ["EventWatch", "LiveEvent", "Outlet", "Update"]


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One event.

    Attributes:
        event: "seen", "lost", "id" (the person goes on under another track), "onset" or "offset" of an expression;
            "outage", about nobody: the source was away, and is back with this frame.
        time_s: time of the frame, seconds since the first one.
        person: their number; 0 of an outage.
        name: the name they were given, else "P" and the number.
        track: ID of their newest track.
        expression: the expression estimate that began or ended; empty for other events.
        duration_s: how long it lasted, of an offset or outage; else 0.
    """

    event: str
    time_s: float
    person: int
    name: str
    track: int
    expression: str = ""
    duration_s: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values; those that say nothing of this event are left out."""
        told: dict[str, Any] = {"event": self.event, "time_s": round(self.time_s, 6)}
        if self.person:
            told |= {"person": self.person, "name": self.name, "track": self.track}
        if self.expression:
            told["expression"] = self.expression
        if self.event in {"offset", "outage"}:
            told["duration_s"] = round(self.duration_s, 6)
        return told


@dataclass(frozen=True, slots=True)
class _State:
    name: str
    track: int
    expression: str
    since_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """Update that outlets send of one result.

    Attributes:
        at_s: when the frame was captured, ``time.monotonic``.
        result: of the frame; None for the events at the end of the run.
        persons: everybody who is visible in it.
        events: what has happened since the result before.
    """

    at_s: float
    result: FrameResult | None
    persons: Sequence[LivePerson]
    events: Sequence[LiveEvent]


class Outlet(Protocol):
    """Sends updates to other programs; never waits for them.

    Attributes:
        notes: sentences that the user must see; complete after ``close``.
    """

    notes: list[str]

    def send(self, update: Update) -> None:
        """Send one update."""
        ...

    def close(self) -> None:
        """Send what waits, and end. May be called more than once."""
        ...


class EventWatch:
    """Tells what has happened from one result to the next."""

    def __init__(self) -> None:
        self._now: dict[int, _State] = {}

    def take(self, persons: Sequence[LivePerson], time_s: float) -> list[LiveEvent]:
        """Events between the result before and this one, ends before beginnings.

        Args:
            persons: everybody, visible or not.
            time_s: time of the result's frame, seconds since the first one.
        """
        visible = {each.person: each for each in persons if each.visible}
        ends: list[LiveEvent] = []
        begins: list[LiveEvent] = []
        for number, state in list(self._now.items()):
            person = visible.get(number)
            shown = person.label if person is not None and person.certain else ""
            if state.expression and shown != state.expression:
                ends.append(self._event("offset", time_s, number, state, time_s - state.since_s))
                self._now[number] = replace(state, expression="")
            if person is None:
                ends.append(self._event("lost", time_s, number, replace(state, expression="")))
                del self._now[number]
        for number, person in visible.items():
            before = self._now.get(number)
            state = _State(person.name, person.track, before.expression if before else "", time_s)
            if before is None:
                begins.append(self._event("seen", time_s, number, state))
            elif before.track != person.track:
                begins.append(self._event("id", time_s, number, replace(state, expression="")))
            if person.certain and not state.expression:
                state = replace(state, expression=person.label)
                begins.append(self._event("onset", time_s, number, state))
            elif before is not None:
                state = replace(state, since_s=before.since_s)
            self._now[number] = state
        return [*ends, *begins]

    def finish(self, time_s: float) -> list[LiveEvent]:
        """Ends of what is still going on when the run ends."""
        return self.take([], time_s)

    @staticmethod
    def _event(event: str, time_s: float, number: int, state: _State, duration_s: float = 0.0) -> LiveEvent:
        return LiveEvent(event, time_s, number, state.name, state.track, state.expression, duration_s)
