"""Data subject, over all runs: the person or track that is meant, and everything the database holds about them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError, StorageError
from fertrack.storage.facts import find_run, run_status
from fertrack.storage.models import Person, PersonAction, Run, TrackRow
from fertrack.storage.people.persons import find_person
from fertrack.storage.people.reference import PersonRow
from fertrack.storage.queries.faces import load_cuts
from fertrack.storage.rights.sightings import face_keys, load_sightings
from fertrack.tracking.face_positions import NOBODY, with_unclaimed

__all__ = ["DataSubject", "action_concerns", "find_data_subject", "refuse_while_running", "unclaimed_keys"]


@dataclass(frozen=True, slots=True)
class DataSubject:
    """Person whose data are asked for.

    Attributes:
        person: key of the person; 0 for a track that is nobody's.
        label: name, ``P3``, or ``ID 5``.
        names: every name the person has had and nobody else bears now, the present one first.
        former: keys of persons who were merged into this one, and are no persons any more.
        tracks: run and number of each track, in order.
    """

    person: int
    label: str
    names: tuple[str, ...]
    former: tuple[int, ...]
    tracks: tuple[tuple[int, int], ...]

    @property
    def runs(self) -> tuple[int, ...]:
        """The runs in which they were followed, ascending."""
        return tuple(sorted({run for run, _ in self.tracks}))

    @property
    def identities(self) -> frozenset[int]:
        """Keys under which they are, or were, a person."""
        return frozenset(key for key in (self.person, *self.former) if key)

    def tracks_in(self, run: int) -> tuple[int, ...]:
        """Their tracks in one run."""
        return tuple(number for of, number in self.tracks if of == run)


def find_data_subject(connection: sa.Connection, database: str, person: str, run: int | str | None) -> DataSubject:
    """Data subject that a name or ID refers to, in all runs the person is in.

    Args:
        connection: an open connection.
        database: its name, for messages.
        person: a name, ``P3``, or ``ID 5`` for whoever that track is.
        run: number of the run in which they are called that, or "last"; None: any, if they are the only one.

    Raises:
        RunNotFoundError: no such run or person, or several go by that name.
    """
    if run is not None:
        number = find_run(connection, database, run)
        who, where = find_person(connection, number, person), number
    else:
        who, where = _the_only_one(connection, database, person)
    if not who.id:
        return DataSubject(0, who.label, (), (), ((where, who.tracks[0]),))
    tracks = connection.execute(
        sa.select(TrackRow.run_id, TrackRow.number)
        .where(TrackRow.person_id == who.id)
        .order_by(TrackRow.run_id, TrackRow.number)
    ).all()
    former, names = _history(connection, who)
    return DataSubject(who.id, who.label, names, former, tuple((row.run_id, row.number) for row in tracks))


def refuse_while_running(connection: sa.Connection, runs: Sequence[int]) -> None:
    """Pass if none of the runs is still being written.

    Raises:
        StorageError: one is.
    """
    rows = connection.execute(sa.select(Run.__table__).where(Run.id.in_(runs)).order_by(Run.id)).mappings()
    for row in rows:
        if run_status(row, dt.datetime.now(dt.UTC)) == "running":
            raise StorageError(f"run {row['id']} is still being written: wait until it has ended")


def unclaimed_keys(connection: sa.Connection, subject: DataSubject, run: int) -> list[tuple[int, int]]:
    """Frame and number of the faces that no track has claimed and that lie where the subject was about then."""
    seen = load_sightings(connection, run)
    own = _own_subjects(connection, subject, run)
    likely = with_unclaimed(seen, load_cuts(connection, run).time_s)
    theirs = (seen.subject == NOBODY) & np.isin(likely, list(own))
    return [(int(frame), int(face)) for frame, face in face_keys(connection, run)[theirs].tolist()]


def action_concerns(action: Any, subject: DataSubject) -> bool:
    """Whether an entry of the action log is about somebody."""
    return any(_row_concerns(row, subject) for row in (*action.before, *action.after))


def _own_subjects(connection: sa.Connection, subject: DataSubject, run: int) -> set[int]:
    """By which number sightings of the run know the subject: the person's first track in it."""
    tracks = subject.tracks_in(run)
    return {min(tracks)} if tracks else set()


def _row_concerns(row: Sequence[Any], subject: DataSubject) -> bool:
    table, key, values = row
    values = values or {}
    if table == "persons":
        return key[0] in subject.identities
    if values.get("person_id") in subject.identities:
        return True
    track = tuple(key) if table == "tracks" else (values.get("run_id"), values.get("track"))
    return track in subject.tracks


def _the_only_one(connection: sa.Connection, database: str, person: str) -> tuple[PersonRow, int]:
    found: dict[tuple[int, int], tuple[PersonRow, int]] = {}
    complaint: RunNotFoundError | None = None
    numbers = connection.scalars(sa.select(Run.id).order_by(Run.id)).all()
    for number in numbers:
        try:
            who = find_person(connection, number, person)
        except RunNotFoundError as error:
            complaint = error
            continue
        found.setdefault((who.id, 0) if who.id else (0, number), (who, number))
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        if complaint is not None and len(numbers) == 1:
            raise complaint
        find_run(connection, database, "last")
        raise RunNotFoundError(f"there is no person {person!r} in {database}: `fertrack person list RUN` names them")
    runs = ", ".join(str(number) for _, number in found.values())
    raise RunNotFoundError(f"{person!r} is somebody else in each of the runs {runs}: say which run, before the person")


def _history(connection: sa.Connection, who: PersonRow) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Persons who were merged into this one, and every name that is theirs alone."""
    living = {row.id: row.display_name for row in connection.execute(sa.select(Person.id, Person.display_name))}
    entries = connection.execute(sa.select(PersonAction.before, PersonAction.after).order_by(PersonAction.id)).all()
    same = {who.id}
    grown = True
    while grown:
        grown = False
        for entry in entries:
            before = {(table, tuple(key)): values for table, key, values in entry.before}
            for table, key, values in entry.after:
                was = (before.get((table, tuple(key))) or {}).get("person_id")
                now = (values or {}).get("person_id")
                if table == "tracks" and now in same and was and was not in same and was not in living:
                    same.add(was)
                    grown = True
    names = [who.name]
    for entry in entries:
        for table, key, values in (*entry.before, *entry.after):
            if table == "persons" and key[0] in same and values:
                names.append(values.get("display_name", ""))
    others = {name.casefold() for key, name in living.items() if key != who.id and name}
    own = [name for name in dict.fromkeys(names) if name and (name == who.name or name.casefold() not in others)]
    return tuple(sorted(same - {who.id})), tuple(own)
