"""Lab Streaming Layer: a stream a person slot with seven probabilities, and a stream of markers.

=====================  ============  ===========================================================================
stream                 type          a sample is
=====================  ============  ===========================================================================
``fertrack person N``  Expression    seven smoothed probabilities (float32) whenever a result shows the person
``fertrack markers``   Markers       an event as JSON: ``{"event": "onset", "person": 1, ...}``, and ``slot``
=====================  ============  ===========================================================================

Slots are fixed, because recorders choose streams before anybody is seen. A person keeps a slot until it is needed for
somebody else and they are out of sight; a marker says who has it. A sample's time is that of the frame's capture on
LSL's clock; no sample is sent while a person is not seen. Format: LSL 1.16, by pylsl.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from fertrack.errors import MissingExtraError
from fertrack.live.outlets.updates import Update
from fertrack.types import EXPRESSIONS

__all__ = ["LslOutlet", "Slots", "clock_offset"]

_TRIES = 3
_LINGER_S = 0.3
"""For so long liblsl gets to send what waits: a stream that is withdrawn takes it along."""


def clock_offset(theirs: Callable[[], float], ours: Callable[[], float] = time.monotonic) -> float:
    """Seconds to add to our clock to get theirs: of a few readings the one that was interrupted least."""
    best = (float("inf"), 0.0)
    for _ in range(_TRIES):
        before = ours()
        at = theirs()
        after = ours()
        best = min(best, (after - before, at - (before + after) / 2))
    return best[1]


class Slots:
    """Assignment of persons to slots.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self._holder: list[int | None] = [None] * count
        self._seen_s = [-1.0] * count
        self.was_full = False

    def of(self, person: int, time_s: float, visible: set[int]) -> tuple[int | None, bool]:
        """Slot of a visible person, and whether they have just got it; None if everybody who has one is in sight."""
        is_new = person not in self._holder
        if is_new:
            free = [slot for slot, holder in enumerate(self._holder) if holder is None or holder not in visible]
            if not free:
                self.was_full = True
                return None, False
            slot = min(free, key=lambda each: (self._holder[each] is not None, self._seen_s[each]))
            self._holder[slot] = person
        slot = self._holder.index(person)
        self._seen_s[slot] = time_s
        return slot, is_new


class LslOutlet:
    """Outlet to Lab Streaming Layer.

    Args:
        slots: persons with a stream of their own.
        source: name of the source; with it receivers find the streams again.

    Attributes:
        notes: sentences that the user must see.

    Raises:
        MissingExtraError: pylsl is not installed.
    """

    def __init__(self, slots: int, source: str) -> None:
        try:
            import pylsl
        except (ImportError, RuntimeError) as error:  # RuntimeError: it finds no liblsl
            raise MissingExtraError("outlet.lsl needs the package pylsl", "lsl") from error
        self.notes: list[str] = []
        self._clock: Callable[[], float] = pylsl.local_clock
        self._slots = Slots(slots)
        self._count = slots
        self._persons: list[Any] = []
        for number in range(1, slots + 1):
            info = pylsl.StreamInfo(
                f"fertrack person {number}",
                "Expression",
                len(EXPRESSIONS),
                pylsl.IRREGULAR_RATE,
                pylsl.cf_float32,
                f"fertrack {source} person {number}",
            )
            channels = info.desc().append_child("channels")
            for name in EXPRESSIONS:
                channel = channels.append_child("channel")
                channel.append_child_value("label", name)
                channel.append_child_value("unit", "probability")
                channel.append_child_value("type", "expression estimate")
            self._persons.append(pylsl.StreamOutlet(info))
        info = pylsl.StreamInfo(
            "fertrack markers", "Markers", 1, pylsl.IRREGULAR_RATE, pylsl.cf_string, f"fertrack {source} markers"
        )
        self._markers: Any = pylsl.StreamOutlet(info)

    def send(self, update: Update) -> None:
        """Send one update; liblsl keeps it for receivers in threads of its own."""
        if self._markers is None:
            return
        at_s = update.at_s + clock_offset(self._clock)
        visible = {each.person for each in update.persons}
        for person in update.persons:
            slot, is_new = self._slots.of(person.person, at_s, visible)
            if slot is None:
                continue
            if is_new:
                told = {"event": "slot", "slot": slot + 1, "person": person.person, "name": person.name}
                self._markers.push_sample([json.dumps(told, ensure_ascii=False)], at_s)
            self._persons[slot].push_sample([person.probabilities[name] for name in EXPRESSIONS], at_s)
        for event in update.events:
            self._markers.push_sample([json.dumps(event.as_dict(), ensure_ascii=False)], at_s)

    def close(self) -> None:
        """Withdraw the streams."""
        if self._markers is None:
            return
        if self._slots.was_full:
            self.notes.append(
                f"more persons were in sight than there are LSL streams, {self._count}: raise outlet.lsl_slots"
            )
        if any(each.have_consumers() for each in (self._markers, *self._persons)):
            time.sleep(_LINGER_S)
        self._markers = None
        self._persons.clear()
