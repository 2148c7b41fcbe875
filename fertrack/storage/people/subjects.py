"""Subjects of the answers: the tracks of one person count as one; a track without a person counts by itself."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError
from fertrack.storage.models import Person, TrackRow
from fertrack.types import IntArray

__all__ = ["Subjects", "full_label", "load_subjects", "person_label", "subject_columns"]

_NUMBER = re.compile(r"p?\s*(\d+)", re.IGNORECASE)
_TRACK = re.compile(r"(?:id|track)\s*(\d+)", re.IGNORECASE)
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
            raise RunNotFoundError(f"there is nobody called {text!r} in {self._where()}{self._hint(text)}")
        if len(np.unique(self.run[found])) < len(found):
            twice = [f"ID {self.track[each]}" for each in found if np.sum(self.run[found] == self.run[each]) > 1]
            raise RunNotFoundError(f"{text!r} can mean {' or '.join(twice)}: name one by its track")
        return found

    def tracks_of(self, who: str | int) -> tuple[int, ...]:
        """Of one run: IDs of the tracks of whoever is meant; see ``find``.

        Raises:
            RunNotFoundError: nobody is called so, or several are.
        """
        return self.tracks[int(self.find(who)[0])]

    def knows(self, who: str | int) -> bool:
        """Whether anybody in these runs is called so."""
        return len(self._candidates(str(who).strip())) > 0

    def _candidates(self, text: str) -> IntArray:
        folded = text.casefold()
        named = [i for i in range(len(self)) if self.person_id[i] and self.label[i].casefold() == folded]
        if not named and (match := _NUMBER.fullmatch(text)):
            named = np.flatnonzero((self.number == int(match[1])) & (self.person_id > 0)).tolist()
            if not named and text.isdecimal():
                named = [i for i in range(len(self)) if not self.person_id[i] and int(text) in self.tracks[i]]
        if not named and (match := _TRACK.fullmatch(text)):
            named = [i for i in range(len(self)) if int(match[1]) in self.tracks[i]]
        return np.array(named, np.int64)

    def _where(self) -> str:
        runs = np.unique(self.run)
        return f"run {runs[0]}" if len(runs) == 1 else "the runs asked for"

    def _hint(self, text: str) -> str:
        if not len(self):
            return ": nobody was followed there"
        labels = list(dict.fromkeys(self.label.tolist()))
        close = difflib.get_close_matches(text, labels, n=1)
        if close:
            return f": did you mean {close[0]!r}?"
        return f": there are {', '.join(labels[:12])}{' and others' if len(labels) > 12 else ''}"


def full_label(name: str, number: int) -> str:
    """A person as reports and drawn videos write it: the name with the number that commands and notes may use.

    >>> full_label("", 3), full_label("李雷", 3), full_label("P3", 3), full_label("李雷", 0)
    ('P3', '李雷 (P3)', 'P3', '李雷')
    """
    short = person_label("", number)
    return f"{name} ({short})" if name and number and name != short else name or short


def person_label(name: str, number: int) -> str:
    """Label of a person: the name given, else ``P`` and the number.

    >>> person_label("", 3), person_label("李雷", 3)
    ('P3', '李雷')
    """
    return name or f"P{number}"


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
        called[key] = (name or f"P{number}", number, name) if person_id else (f"ID {track}", 0, "")
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
