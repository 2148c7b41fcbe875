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
from fertrack.storage.people.reference import PersonRow, full_label, hint, matching, person_label
from fertrack.types import IntArray

__all__ = ["Subjects", "load_subjects", "subject_columns"]

_MAX_TRACKS = 1 << 32


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """The people of some runs, S of them, by run and then by their first track. One who is in two runs counts twice.

    Attributes:
        run: int64 (S,).
        track: int64 (S,), ID of the first track.
        person_id: int64 (S,), key of the person; 0 for a track that is nobody's.
        label: what each is called: a name, ``P3``, or ``ID 5`` for a track that is nobody's.
        tracks: the IDs of each one's tracks, ascending.
        number: int64 (S,), the number in ``P3``; 0 where ``person_id`` is.
        name: the display name of each; empty if none was given.
    """

    run: IntArray
    track: IntArray
    person_id: IntArray
    label: npt.NDArray[np.object_]
    tracks: tuple[tuple[int, ...], ...]
    number: IntArray
    name: tuple[str, ...]
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
        return {track: tracks[0] for tracks in self.tracks for track in tracks}

    def labels(self) -> dict[int, str]:
        """Of one run: what the persons are called, by track; nothing for tracks that are nobody's."""
        return {track: str(self.label[each]) for each, track in self._of_persons()}

    def full_labels(self) -> dict[int, str]:
        """Of one run: ``Ada (P3)`` or ``P3``, by track; nothing for tracks that are nobody's."""
        return {track: full_label(self.name[each], int(self.number[each])) for each, track in self._of_persons()}

    def numbers(self) -> dict[int, str]:
        """Of one run: ``P3``, whatever the person is called, by track; nothing for tracks that are nobody's."""
        return {track: f"P{self.number[each]}" for each, track in self._of_persons()}

    def person_numbers(self) -> dict[int, int]:
        """Of one run: the number in ``P3``, by track; nothing for tracks that are nobody's."""
        return {track: int(self.number[each]) for each, track in self._of_persons()}

    def _of_persons(self) -> Iterator[tuple[int, int]]:
        """Index of the subject, and track."""
        return ((each, track) for each in np.flatnonzero(self.person_id).tolist() for track in self.tracks[each])

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
            raise RunNotFoundError(f"there is nobody called {text!r} in {self._where()}{hint(text, self._rows())}")
        if len(np.unique(self.run[found])) < len(found):
            twice = [f"ID {self.track[each]}" for each in found if np.sum(self.run[found] == self.run[each]) > 1]
            raise RunNotFoundError(f"{text!r} can mean {' or '.join(twice)}: name one by its track")
        return found

    def knows(self, who: str | int) -> bool:
        """Whether anybody in these runs is called so."""
        return len(self._candidates(str(who).strip())) > 0

    def _candidates(self, text: str) -> IntArray:
        return np.array(matching(text, self._rows()), np.int64)

    def _rows(self) -> list[PersonRow]:
        columns = (self.person_id.tolist(), self.number.tolist(), self.name, self.tracks)
        return [PersonRow(*row) for row in zip(*columns, strict=True)]

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
    called: dict[tuple[int, int, int], tuple[str, int, str]] = {}
    subject_of: list[tuple[int, tuple[int, int, int]]] = []
    for run, track, person_id, number, name in rows:
        if run not in wanted:
            continue
        key = (run, person_id or 0, 0 if person_id else track)
        tracks_of.setdefault(key, []).append(track)
        called[key] = (person_label(name, number), number, name) if person_id else (f"ID {track}", 0, "")
        subject_of.append((run * _MAX_TRACKS + track, key))
    place = {key: index for index, key in enumerate(tracks_of)}
    labels = np.empty(len(place), object)
    labels[:] = [called[key][0] for key in place]
    return Subjects(
        run=np.array([key[0] for key in place], np.int64),
        track=np.array([tracks_of[key][0] for key in place], np.int64),
        person_id=np.array([key[1] for key in place], np.int64),
        label=labels,
        tracks=tuple(tuple(tracks_of[key]) for key in place),
        number=np.array([called[key][1] for key in place], np.int64),
        name=tuple(called[key][2] for key in place),
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
