"""Actions on persons: rename, merge, split, undo, forget. All is logged; all but forget can be undone."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.errors import StorageError
from fertrack.storage.engine import Database
from fertrack.storage.facts import find_run, run_status
from fertrack.storage.models import Face, Link, Person, PersonAction, Run, TrackRow
from fertrack.storage.people.audit import recorded, sync_embeddings, take_back
from fertrack.storage.people.persons import check_name, find_person, persons_of_run
from fertrack.storage.people.reference import RunPerson, person_label
from fertrack.storage.people.track_cuts import cut_track, next_track
from fertrack.storage.rights_models import Thumbnail
from fertrack.storage.stored_run import StoredRun

__all__ = ["actions", "forget", "merge", "rename", "split", "undo"]

_MAX_NAMED = 6


def rename(db: Database, run: int | str, person: str, name: str) -> str:
    """Give a person a name, in every run the person is in. An empty name makes it ``P3`` again.

    Args:
        db: the open database.
        run: number of a run, or "last".
        person: who: a name, ``P3``, or ``ID 5`` for whoever that track is.
        name: any script; white space around it is dropped.

    Returns:
        What was done, as a sentence.

    Raises:
        RunNotFoundError: no such run or person.
        StorageError: another person of the run has that name, or it is like ``P3`` or ``ID 5``, or the run is still
            being written.
    """
    name = " ".join(name.split())
    try:
        check_name(name)
    except ValueError as error:
        raise StorageError(str(error)) from error
    with _changing(db, run) as (connection, number):
        who = find_person(connection, number, person)
        for other in persons_of_run(connection, number):
            if name and other.id != who.id and other.name.casefold() == name.casefold():
                raise StorageError(
                    f"run {number} has a {other.name!r} already: if both are the same person, "
                    f"`fertrack person merge {number} '{other.name}' '{who.label}'`"
                )
        sentence = f"{who.label} is now called {name}" if name else f"{who.label} has no name any more"
        with recorded(connection, number, "rename", sentence):
            key = _made_person(connection, number, who)
            connection.execute(sa.update(Person).where(Person.id == key).values(display_name=name))
    return sentence


def merge(db: Database, run: int | str, into: str, others: Sequence[str]) -> str:
    """Merge persons into one, in every run they are in.

    Args:
        db: the open database.
        run: number of a run, or "last".
        into: who stays, with the name.
        others: who they are too; their names are dropped, or the first one taken over if ``into`` has none.

    Returns:
        What was done, as a sentence.

    Raises:
        RunNotFoundError: no such run or person.
        StorageError: two of them are seen in one frame, so they cannot be one person.
    """
    with _changing(db, run) as (connection, number):
        target = find_person(connection, number, into)
        joined = {row.label: row for row in (find_person(connection, number, other) for other in others)}
        joined.pop(target.label, None)
        if not joined:
            raise StorageError(f"there is nobody else to merge {target.label} with: name at least two persons")
        _refuse_if_together(connection, number, [target, *joined.values()])
        sentence = f"{_listed(list(joined))} merged into {target.label}"
        with recorded(connection, number, "merge", sentence):
            key = _made_person(connection, number, target)
            name = target.name or next((row.name for row in joined.values() if row.name), "")
            for row in joined.values():
                _move(connection, number, row, key)
            sync_embeddings(connection)
            for row in joined.values():
                connection.execute(sa.delete(Person).where(Person.id == row.id))
            connection.execute(sa.update(Person).where(Person.id == key).values(display_name=name))
    return sentence


def split(db: Database, run: int | str, person: str, tracks: Sequence[int] = (), *, at_s: float | None = None) -> str:
    """Split tracks off the person they were linked to, or cut the track that goes on with somebody else.

    Args:
        db: the open database.
        run: number of a run, or "last".
        person: who: a name, ``P3``, or ``ID 5``.
        tracks: those of its tracks that are somebody else, together; none: each of its tracks is somebody else.
        at_s: seconds of the video: the track that is seen then is cut, and its later part alone is somebody else.
            Other tracks stay. ``tracks`` may name that track.

    Returns:
        What was done, as a sentence.

    Raises:
        RunNotFoundError: no such run or person.
        StorageError: a track is not one of the person's, nothing would stay, or no track of the person goes on at
            that time.
    """
    with _changing(db, run) as (connection, number):
        who = find_person(connection, number, person)
        strangers = [track for track in dict.fromkeys(tracks) if track not in who.tracks]
        if strangers:
            raise StorageError(
                f"ID {strangers[0]} is not {who.label}, who is {_ids(who.tracks)}: name tracks of theirs"
            )
        if at_s is not None:
            return _cut(connection, number, who, tracks, at_s)
        if len(who.tracks) < 2 or set(tracks) >= set(who.tracks):
            raise StorageError(f"{who.label} is {_ids(who.tracks)}: one track at least must stay")
        groups = [tuple(sorted(set(tracks)))] if tracks else [(track,) for track in who.tracks[1:]]
        sentence = f"{_ids([track for group in groups for track in group])} split from {who.label}"
        with recorded(connection, number, "split", sentence):
            for group in groups:
                key = _new_person(connection, number)
                moved = sa.and_(TrackRow.run_id == number, TrackRow.number.in_(group))
                connection.execute(sa.update(TrackRow).where(moved).values(person_id=key))
                connection.execute(
                    sa.update(Link)
                    .where(Link.run_id == number, Link.track.in_(group), Link.person_id == who.id)
                    .values(state="rejected")
                )
            sync_embeddings(connection)
    return sentence


def undo(db: Database, run: int | str) -> str:
    """Take back the last rename, merge or split of a run that has not been taken back, exactly.

    Returns:
        What was undone, as a sentence.

    Raises:
        RunNotFoundError: no such run.
        StorageError: there is nothing to undo.
    """
    with _changing(db, run) as (connection, number):
        return take_back(connection, number)


def forget(db: Database, run: int | str, person: str) -> str:
    """Delete a person: name, links, stored embeddings, thumbnails, and what the log says of them. Not to be undone.

    The faces stay, as tracks that are nobody's.

    Raises:
        RunNotFoundError: no such run or person.
    """
    with _changing(db, run) as (connection, number):
        who = find_person(connection, number, person)
        if not who.id:
            raise StorageError(f"{who.label} is nobody known: there is nothing to forget")
        entries = connection.execute(sa.select(PersonAction)).all()
        for entry in entries:
            if any(table == "persons" and key == [who.id] for table, key, _ in (*entry.before, *entry.after)):
                connection.execute(
                    sa.update(PersonAction)
                    .where(PersonAction.id == entry.id)
                    .values(
                        kind="forgotten", sentence=f"a change of P{who.number}, forgotten since", before=[], after=[]
                    )
                )
        theirs = sa.select(TrackRow.run_id, TrackRow.number).where(TrackRow.person_id == who.id)
        connection.execute(sa.delete(Thumbnail).where(sa.tuple_(Thumbnail.run_id, Thumbnail.track).in_(theirs)))
        connection.execute(sa.delete(Person).where(Person.id == who.id))
        sentence = f"P{who.number} was forgotten"
        connection.execute(
            sa.insert(PersonAction).values(
                run_id=number, kind="forget", sentence=sentence, done_at=dt.datetime.now(dt.UTC), before=[], after=[]
            )
        )
    return sentence


def actions(run: StoredRun) -> pd.DataFrame:
    """The audit log of a run's persons, oldest first.

    Returns:
        Columns action (its number), done_at (UTC), kind ("link", "rename", "merge", "split", "undo", "forget",
        "forgotten" or "erased"), what (a sentence), undone (whether it was taken back).
    """
    of_run = sa.select(PersonAction).where(PersonAction.run_id == run.number).order_by(PersonAction.id)
    rows = run.connection.execute(of_run).all()
    undone = {row.undoes for row in rows}
    table = pd.DataFrame(
        {
            "action": np.array([row.id for row in rows], np.int64),
            "done_at": pd.Series(pd.to_datetime([row.done_at for row in rows], utc=True)).dt.as_unit("us"),
            "kind": pd.Series([row.kind for row in rows], dtype="str"),
            "what": pd.Series([row.sentence for row in rows], dtype="str"),
            "undone": np.array([row.id in undone for row in rows], np.bool_),
        }
    )
    table.attrs.update(run=run.number, units={"done_at": "UTC"})
    return table


def _cut(connection: sa.Connection, run: int, who: RunPerson, tracks: Sequence[int], at_s: float) -> str:
    """Cut a person's track at a time; its later part is a new person's, or nobody's where the track is nobody's."""
    if len(tracks) > 1:
        raise StorageError(f"one track can be cut at {at_s:.2f} s, not {_ids(tracks)}: name one of them, or none")
    asked = tracks or who.tracks
    stored = connection.execute(
        sa.select(TrackRow.number, TrackRow.first_s, TrackRow.last_s)
        .where(TrackRow.run_id == run, TrackRow.number.in_(asked))
        .order_by(TrackRow.first_s)
    ).all()
    going_on = [row.number for row in stored if row.first_s < at_s <= row.last_s]
    if not going_on:
        seen = ", ".join(f"{row.first_s:.2f} to {row.last_s:.2f} s (ID {row.number})" for row in stored[:_MAX_NAMED])
        more = " and later" if len(stored) > _MAX_NAMED else ""
        raise StorageError(f"{who.label} has no track to cut at {at_s:.2f} s: theirs go from {seen}{more}")
    track, new = going_on[0], next_track(connection, run)
    later = f"ID {new}" if not who.id else f"{person_label('', _next_number(connection, run))} (ID {new})"
    sentence = f"ID {track} was cut at {at_s:.2f} s: {who.label} before, {later} from there on"
    with recorded(connection, run, "split", sentence):
        cut_track(connection, run, track, new, at_s)
        if who.id:
            moved = sa.and_(TrackRow.run_id == run, TrackRow.number == new)
            key = _new_person(connection, run)
            connection.execute(sa.update(TrackRow).where(moved).values(person_id=key))
    return sentence


@contextmanager
def _changing(db: Database, run: int | str) -> Iterator[tuple[sa.Connection, int]]:
    with db.writing() as connection:
        number = find_run(connection, db.name, run)
        record = connection.execute(sa.select(Run.__table__).where(Run.id == number)).mappings().one()
        if run_status(record, dt.datetime.now(dt.UTC)) == "running":
            raise StorageError(f"run {number} is still being written: change its persons when it has ended")
        yield connection, number


def _made_person(connection: sa.Connection, run: int, who: RunPerson) -> int:
    """Key of a person; made now for a track that was nobody's."""
    if who.id:
        return who.id
    key = _new_person(connection, run)
    connection.execute(
        sa.update(TrackRow).where(TrackRow.run_id == run, TrackRow.number.in_(who.tracks)).values(person_id=key)
    )
    return key


def _new_person(connection: sa.Connection, run: int) -> int:
    number = _next_number(connection, run)
    made = connection.execute(
        sa.insert(Person).values(display_name="", created_at=dt.datetime.now(dt.UTC), number=number)
    )
    assert made.inserted_primary_key is not None
    return int(made.inserted_primary_key[0])


def _next_number(connection: sa.Connection, run: int) -> int:
    return 1 + max((person.number for person in persons_of_run(connection, run)), default=0)


def _move(connection: sa.Connection, run: int, who: RunPerson, key: int) -> None:
    """Give all tracks of a person to another, in every run, and say so in the links."""
    nobodys = sa.and_(TrackRow.run_id == run, TrackRow.number.in_(who.tracks))
    mine = TrackRow.person_id == who.id if who.id else nobodys
    moved = connection.execute(sa.select(TrackRow.run_id, TrackRow.number).where(mine)).all()
    connection.execute(sa.update(TrackRow).where(mine).values(person_id=key))
    for row in moved:
        is_this = sa.and_(Link.run_id == row.run_id, Link.track == row.number, Link.person_id == key)
        known = connection.execute(sa.update(Link).where(is_this).values(state="manual"))
        if known.rowcount == 0:
            values: dict[str, Any] = {"run_id": row.run_id, "track": row.number, "person_id": key}
            connection.execute(
                sa.insert(Link).values(
                    **values, similarity=None, state="manual", embedder="", created_at=dt.datetime.now(dt.UTC)
                )
            )


def _refuse_if_together(connection: sa.Connection, run: int, persons: Sequence[RunPerson]) -> None:
    """Nobody is in two places of one image.

    Raises:
        StorageError: two of the persons are seen in one frame of any run.
    """
    keys = [person.id for person in persons if person.id]
    nobodys = [track for person in persons if not person.id for track in person.tracks]
    rows = connection.execute(
        sa.select(Face.run_id, Face.frame_index, Face.track, TrackRow.person_id)
        .join(TrackRow, sa.and_(TrackRow.run_id == Face.run_id, TrackRow.number == Face.track))
        .where(sa.or_(TrackRow.person_id.in_(keys), sa.and_(TrackRow.run_id == run, TrackRow.number.in_(nobodys))))
        .order_by(Face.run_id, Face.frame_index, Face.track)
    ).all()
    for one, other in itertools.pairwise(rows):
        if (one.run_id, one.frame_index) == (other.run_id, other.frame_index):
            raise StorageError(
                f"{_listed([person.label for person in persons])} cannot be one person: ID {one.track} and ID "
                f"{other.track} are both seen in frame {one.frame_index} of run {one.run_id}"
            )


def _ids(tracks: Sequence[int]) -> str:
    return f"ID {', '.join(map(str, tracks))}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
