"""People in a live run: one entry per person, kept up to date with every result."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

import numpy as np

from fertrack.live.state import LivePerson
from fertrack.storage.people.persons import check_name
from fertrack.types import EXPRESSIONS, UNCERTAIN, UNCONFIRMED, FrameResult, Image, RunSummary, label_name

__all__ = ["PeopleSink"]

_STRIP_S = 60.0
_STRIP_STEP_S = 0.5
_MAX_PERSONS = 200
_NOT_SEEN = ""


class _Person:
    """State of one person."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.track = UNCONFIRMED
        self.tracks: list[int] = []
        self.label = UNCERTAIN
        self.probability = 0.0
        self.smoothed = np.zeros(len(EXPRESSIONS), np.float32)
        self.last_seen_s = 0.0
        self.is_visible = False
        self.strip: deque[tuple[float, str, float]] = deque()

    def seen(self, result: FrameResult, row: int) -> None:
        self.track = int(result.track_ids[row])
        if self.tracks[-1:] != [self.track] and self.track not in self.tracks:
            self.tracks.append(self.track)
        self.label = int(result.labels[row])
        self.smoothed = result.smoothed[row]
        best = int(self.smoothed.argmax()) if self.label < 0 else self.label
        self.probability = float(self.smoothed[best])
        self.last_seen_s, self.is_visible = result.timestamp_s, True
        self._mark(result.timestamp_s, label_name(self.label), self.probability)

    def missed(self, time_s: float) -> None:
        if self.is_visible:
            self.is_visible = False
            self._mark(time_s, _NOT_SEEN, 0.0)
        self._forget(time_s)

    def absorb(self, other: _Person) -> None:
        """Take over what was seen of somebody who turns out to be this person."""
        self.tracks += [track for track in other.tracks if track not in self.tracks]
        self.strip = deque(sorted([*self.strip, *other.strip], key=lambda mark: mark[0]))

    def _mark(self, time_s: float, label: str, probability: float) -> None:
        if not self.strip or self.strip[-1][1] != label or time_s - self.strip[-1][0] >= _STRIP_STEP_S:
            self.strip.append((time_s, label, probability))
        self._forget(time_s)

    def _forget(self, time_s: float) -> None:
        while len(self.strip) > 1 and self.strip[1][0] <= time_s - _STRIP_S:
            self.strip.popleft()


class PeopleSink:
    """A sink that keeps one entry per person. Written by the frame loop, read from any thread.

    Somebody new gets a number with the first result that shows them. If linking finds out later who they are, their
    entry becomes that person's; if it takes a track away from a person again, that track gets a number of its own.

    Args:
        linked: position of the person of each track that linking has decided so far (``ReidSink.persons``).
        names: names of persons that linking knows from earlier runs, by their position.
        numbers: their numbers; other persons are numbered on from the largest. A number that two have is not used.

    Attributes:
        name: "people".
        needs_image: False.
    """

    name = "people"
    needs_image = False

    def __init__(
        self,
        linked: Callable[[], Mapping[int, int]] = dict,
        names: Mapping[int, str] | None = None,
        numbers: Mapping[int, int] | None = None,
    ) -> None:
        self.notes: list[str] = []
        self.work_ms: tuple[float, ...] = ()
        self._linked = linked
        self._known_names = dict(names or {})
        self._names: dict[int, str] = {}
        self._renamed: set[int] = set()
        self._persons: dict[int, _Person] = {}
        self._of_track: dict[int, int] = {}
        taken = list((numbers or {}).values())
        self._of_position = {place: n for place, n in (numbers or {}).items() if taken.count(n) == 1}
        self._count = max(taken, default=0)
        self._shown: dict[int, int] = {}
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """Number of persons seen."""
        with self._lock:
            return len(set(self._of_track.values()))

    def write(self, result: FrameResult, image: Image | None = None) -> None:
        """Take one result."""
        linked = self._linked()
        with self._lock:
            seen = set()
            for row, track in enumerate(result.track_ids.tolist()):
                if track != UNCONFIRMED:
                    person = self._person(track, linked.get(track))
                    person.seen(result, row)
                    seen.add(person.number)
            for person in self._persons.values():
                if person.number not in seen:
                    person.missed(result.timestamp_s)
            if len(self._persons) > _MAX_PERSONS:
                self._drop_longest_gone()

    def persons(self, now_s: float) -> tuple[LivePerson, ...]:
        """Everybody, by number; those not seen for a minute only if they have a name.

        Args:
            now_s: seconds since the first frame.
        """
        with self._lock:
            return tuple(
                self._described(person)
                for person in sorted(self._persons.values(), key=lambda each: each.number)
                if person.number in self._names or person.is_visible or now_s - person.last_seen_s < _STRIP_S
            )

    def shown_names(self, tracks: Iterable[int]) -> dict[int, str]:
        """Labels drawn beside faces, by track: what their cards say, the name or ``P2``.

        Args:
            tracks: those that are drawn; a long run has seen many more. One that is drawn before its result came here
                gets its number now.
        """
        with self._lock:
            return {track: self._called(self._number(track, None)) for track in tracks}

    def drawn_numbers(self, tracks: Iterable[int]) -> dict[int, int]:
        """Numbers of the persons in whose colours faces are drawn, by track; see ``shown_names``."""
        with self._lock:
            return {track: self._number(track, None) for track in tracks}

    def shown_numbers(self) -> dict[int, int]:
        """The first track of everybody who got a number in this run, by number; also of numbers given up since."""
        with self._lock:
            return dict(self._shown)

    def shown_alike(self) -> list[list[int]]:
        """Tracks that were shown as one person, each such person's together, whatever was found out since.

        A recording has them all under the same name, also those that turn out to be somebody else.
        """
        with self._lock:
            return [sorted(person.tracks) for person in self._persons.values() if len(person.tracks) > 1]

    def rename(self, person: int, name: str) -> None:
        """Give a person a name; an empty one takes it away.

        Raises:
            ValueError: nobody has this number, or somebody else has this name, or it is like ``P3`` or ``ID 5``.
        """
        name = " ".join(name.split())
        check_name(name)
        with self._lock:
            if person not in self._persons:
                raise ValueError(f"there is no person {person} in this run")
            if name and any(name.casefold() == other.casefold() for n, other in self._names.items() if n != person):
                raise ValueError(f"somebody else is called {name} already")
            self._renamed.add(person)
            if name:
                self._names[person] = name
            else:
                self._names.pop(person, None)

    def given_names(self) -> list[tuple[int, str]]:
        """First track and name of everybody who was renamed, to be stored at the end."""
        with self._lock:
            return [
                (self._persons[number].tracks[0], self._names.get(number, ""))
                for number in sorted(self._renamed)
                if number in self._persons
            ]

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def finish(self, summary: RunSummary) -> None:
        """Nothing is left to do."""

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to release."""

    def _person(self, track: int, position: int | None) -> _Person:
        number = self._number(track, position)
        self._of_track[track] = number
        if number not in self._persons:
            self._persons[number] = _Person(number)
        return self._persons[number]

    def _called(self, number: int) -> str:
        return self._names.get(number, f"P{number}")

    def _number(self, track: int, position: int | None) -> int:
        given = self._of_track.get(track)
        if position is None:
            return given if given is not None else self._new_number(track)
        number = self._of_position.get(position)
        if number is None:  # a person whom linking has just found out to be somebody new
            taken = given in self._of_position.values()
            number = given if given is not None and not taken else self._new_number(track)
            self._of_position[position] = number
        elif given is not None and given != number and given not in self._of_position.values():
            self._merge(given, number)
        if position in self._known_names:
            self._names.setdefault(number, self._known_names.pop(position))
        return number

    def _merge(self, given: int, number: int) -> None:
        other = self._persons.pop(given, None)
        if other is not None:
            self._persons.setdefault(number, _Person(number)).absorb(other)
        if given in self._names:
            name = self._names.pop(given)
            if self._names.setdefault(number, name) == name:
                self._renamed.add(number)
        self._renamed.discard(given)

    def _new_number(self, track: int) -> int:
        self._count += 1
        self._shown[self._count] = track
        self._of_track[track] = self._count
        return self._count

    def _described(self, person: _Person) -> LivePerson:
        return LivePerson(
            track=person.track,
            person=person.number,
            name=self._called(person.number),
            label=label_name(person.label),
            certain=person.label >= 0,
            probability=person.probability,
            probabilities=dict(zip(EXPRESSIONS, map(float, person.smoothed), strict=True)),
            visible=person.is_visible,
            last_seen_s=person.last_seen_s,
            strip=tuple(person.strip),
        )

    def _drop_longest_gone(self) -> None:
        gone = [each for each in self._persons.values() if not each.is_visible and each.number not in self._names]
        for person in sorted(gone, key=lambda each: each.last_seen_s)[: len(self._persons) - _MAX_PERSONS]:
            del self._persons[person.number]
