"""Subjects of the answers: the tracks of one person count as one; a track without a person counts by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError
from fertrack.storage.models import Person, TrackRow
from fertrack.storage.people.reference import RunPerson, hint, matching
from fertrack.types import IntArray

__all__ = ["Subjects", "load_subjects", "subject_columns"]

_MAX_TRACKS = 1 << 32


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """The people of some runs, S of them, by run and then by their first track. One who is in two runs counts twice.

    Attributes:
        people: each of them.
        run: int64 (S,), number of each one's run.
        track: int64 (S,), ID of the first track.
        label: object (S,), ``RunPerson.label``.
    """

    people: tuple[RunPerson, ...]
    run: IntArray
    track: IntArray
    label: npt.NDArray[np.object_]
    _keys: IntArray
    _subject_of_key: IntArray

    def __len__(self) -> int:
        return len(self.run)

    def of(self, run: IntArray | int, track: IntArray) -> IntArray:
        """Index of the subject of each track; all tracks must be confirmed ones of these runs."""
        found: IntArray = self._subject_of_key[np.searchsorted(self._keys, run * np.int64(_MAX_TRACKS) + track)]
        return found

    def first_tracks(self) -> dict[int, int]:
        """Of one run: for each track the first track of its person; itself, where it is the only one or nobody's."""
        return {track: person.tracks[0] for person in self.people for track in person.tracks}

    def labels(self) -> dict[int, str]:
        """Of one run: what the persons are called, by track; nothing for tracks that are nobody's."""
        return {track: person.label for track, person in self._of_persons()}

    def full_labels(self) -> dict[int, str]:
        """Of one run: ``Ada (P3)`` or ``P3``, by track; nothing for tracks that are nobody's."""
        return {track: person.full_label for track, person in self._of_persons()}

    def numbers(self) -> dict[int, str]:
        """Of one run: ``P3``, whatever the person is called, by track; nothing for tracks that are nobody's."""
        return {track: f"P{person.number}" for track, person in self._of_persons()}

    def person_numbers(self) -> dict[int, int]:
        """Of one run: the number in ``P3``, by track; nothing for tracks that are nobody's."""
        return {track: person.number for track, person in self._of_persons()}

    def _of_persons(self) -> Iterator[tuple[int, RunPerson]]:
        """Tracks that are somebody's, and whose."""
        return ((track, person) for person in self.people if person.id for track in person.tracks)

    def find(self, who: str | int) -> IntArray:
        """Indexes of the subjects somebody means, at most one a run.

        Args:
            who: a name; ``P3``; ``ID 5`` for whoever track 5 is; or a bare number, which means that person, or where
                no person has that number, that track.

        Raises:
            RunNotFoundError: nobody in these runs is called so, or several in one run.
        """
        text = str(who).strip()
        found = self._candidates(text)
        if not len(found):
            raise RunNotFoundError(f"there is nobody called {text!r} in {self._where()}{hint(text, self.people)}")
        if len(np.unique(self.run[found])) < len(found):
            twice = [f"ID {self.track[each]}" for each in found if np.sum(self.run[found] == self.run[each]) > 1]
            raise RunNotFoundError(f"{text!r} can mean {' or '.join(twice)}: name one by its track")
        return found

    def knows(self, who: str | int) -> bool:
        """Whether anybody in these runs is called so."""
        return len(self._candidates(str(who).strip())) > 0

    def _candidates(self, text: str) -> IntArray:
        return np.array(matching(text, self.people), np.int64)

    def _where(self) -> str:
        runs = np.unique(self.run)
        return f"run {runs[0]}" if len(runs) == 1 else "the runs asked for"


def load_subjects(connection: sa.Connection, runs: Sequence[int]) -> Subjects:
    """The people of some runs, given by their numbers, ascending."""
    rows: Sequence[Any] = []
    if runs:
        rows = connection.execute(
            sa.select(
                TrackRow.run_id,
                TrackRow.number,
                TrackRow.person_id,
                Person.number.label("person"),
                Person.display_name,
            )
            .join(Person, Person.id == TrackRow.person_id, isouter=True)
            .where(TrackRow.run_id.between(runs[0], runs[-1]))
            .order_by(TrackRow.run_id, TrackRow.number)
        ).all()
    wanted = set(runs)
    tracks_of: dict[tuple[int, int, int], list[int]] = {}  # run, person, and the track where there is no person
    called: dict[int, tuple[int, str]] = {0: (0, "")}
    subject_of: list[tuple[int, tuple[int, int, int]]] = []
    for run, track, person_id, number, name in rows:
        if run not in wanted:
            continue
        key = (run, person_id or 0, 0 if person_id else track)
        tracks_of.setdefault(key, []).append(track)
        if person_id:
            called[person_id] = (number, name)
        subject_of.append((run * _MAX_TRACKS + track, key))
    people = tuple(RunPerson(key[1], *called[key[1]], tuple(tracks)) for key, tracks in tracks_of.items())
    place = {key: index for index, key in enumerate(tracks_of)}
    labels = np.empty(len(people), object)
    labels[:] = [person.label for person in people]
    return Subjects(
        people=people,
        run=np.array([key[0] for key in place], np.int64),
        track=np.array([person.tracks[0] for person in people], np.int64),
        label=labels,
        _keys=np.array([packed for packed, _ in subject_of], np.int64),
        _subject_of_key=np.array([place[key] for _, key in subject_of], np.int64),
    )


def subject_columns(subjects: Subjects, index: npt.NDArray[Any]) -> dict[str, Any]:
    """The columns by which every answer says whom a row is about: run, person, track (the first one)."""
    return {
        "run": subjects.run[index],
        "person": pd.Series(subjects.label[index], dtype="str"),
        "track": subjects.track[index],
    }
