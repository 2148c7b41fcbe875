"""Persons of a run: their tracks, and how sure the links between them are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError
from fertrack.storage.models import Link, Person, TrackRow
from fertrack.storage.people.plain_text import MAX_NAME, check_plain
from fertrack.storage.people.reference import ByName, RunPerson, hint, matching, parse, person_label
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.stored_run import StoredRun
from fertrack.types import LABELS

__all__ = [
    "check_name",
    "find_person",
    "links",
    "persons",
    "persons_of_run",
    "tracks_of_person",
]


def check_name(name: str) -> None:
    """Refuse a name that means somebody else wherever persons are named: ``P3``, ``3`` and ``ID 5``, in any case.

    Raises:
        ValueError: it is one of these, immense, or no plain text.
    """
    check_plain(name, "a name", MAX_NAME)
    if not isinstance(parse(name), ByName):
        raise ValueError(f"{name!r} cannot be a name, as it means the person or track of that number: choose another")


def persons(run: StoredRun) -> pd.DataFrame:
    """One row per person of a run: which tracks, when seen, and what share of that time each label took.

    A track that is linked to nobody counts as a person of its own. Shares are as in ``tracks``, over all of the
    person's tracks together.

    Returns:
        Columns track (the first one), track_ids (all, a tuple such as (1, 4)), person (display name, or ``P3``; missing
        where no person is recorded), number (the number in ``P3``; 0 where no person is recorded), first_s, last_s
        (s), frames, share_<expression> (seven), share_uncertain; in the order in which the persons were first seen.
    """
    of_run = sa.select(TrackRow).where(TrackRow.run_id == run.number)
    stored = {row.number: row for row in run.connection.execute(of_run).all()}
    found = [person for person in persons_of_run(run.connection, run.number) if person.tracks]
    found.sort(key=lambda person: (min(stored[track].first_s for track in person.tracks), person.tracks))
    place = {track: row for row, person in enumerate(found) for track in person.tracks}
    rows = run.segments.rows
    shares = rows.regrouped(np.array([place[track] for track in rows.group.tolist()], np.int64)).label_shares(
        len(found)
    )
    of = [[stored[track] for track in person.tracks] for person in found]
    table = pd.DataFrame(
        {
            "track": np.array([person.tracks[0] for person in found], np.int64),
            "track_ids": pd.Series([person.tracks for person in found], dtype="object"),
            "person": pd.Series([person.label if person.id else None for person in found], dtype="str"),
            "number": np.array([person.number for person in found], np.int64),
            "first_s": np.array([min(track.first_s for track in tracks) for tracks in of], np.float64),
            "last_s": np.array([max(track.last_s for track in tracks) for tracks in of], np.float64),
            "frames": np.array([sum(track.faces for track in tracks) for tracks in of], np.int64),
            **{f"share_{name}": shares[:, i] for i, name in enumerate(LABELS)},
        }
    )
    units = {"first_s": "s", "last_s": "s", **{f"share_{name}": "1" for name in LABELS}}
    table.attrs.update(run=run.number, units=units)
    return note_columns(table)


def links(run: StoredRun) -> pd.DataFrame:
    """Links between tracks and persons: accepted, suggested, manual or rejected.

    Returns:
        Columns track, person (label), similarity (1 minus distance; missing where people said so), state ("accepted",
        "suggested", "rejected" or "manual"), embedder, created_at (UTC); by track.
    """
    columns = (Link.track, Person.display_name, Person.number, Link.similarity, Link.state, Link.embedder)
    rows = run.connection.execute(
        sa.select(*columns, Link.created_at)
        .join(Person, Person.id == Link.person_id)
        .where(Link.run_id == run.number)
        .order_by(Link.track, Link.id)
    ).all()
    table = pd.DataFrame(
        {
            "track": np.array([row.track for row in rows], np.int64),
            "person": pd.Series([person_label(row.display_name, row.number) for row in rows], dtype="str"),
            "similarity": np.array([np.nan if row.similarity is None else row.similarity for row in rows], np.float64),
            "state": pd.Series([row.state for row in rows], dtype="str"),
            "embedder": pd.Series([row.embedder for row in rows], dtype="str"),
            "created_at": pd.Series(pd.to_datetime([row.created_at for row in rows], utc=True)).dt.as_unit("us"),
        }
    )
    table.attrs.update(run=run.number, units={"similarity": "1", "created_at": "UTC"})
    return note_columns(table)


def tracks_of_person(run: StoredRun, person: str) -> tuple[int, ...]:
    """IDs of the tracks by which somebody was followed in a run.

    Args:
        run: the run.
        person: who: a name, ``P3``, or ``ID 5`` for whoever that track is.

    Raises:
        RunNotFoundError: there is no such person in the run.
    """
    return find_person(run.connection, run.number, person).tracks


def persons_of_run(connection: sa.Connection, run: int) -> list[RunPerson]:
    """Persons of a run by number, then tracks without a person; with those who are only suggested."""
    tracks = connection.execute(
        sa.select(TrackRow.number, TrackRow.person_id).where(TrackRow.run_id == run).order_by(TrackRow.number)
    ).all()
    mentioned: sa.CompoundSelect[int | None] = sa.union(
        sa.select(TrackRow.person_id).where(TrackRow.run_id == run), sa.select(Link.person_id).where(Link.run_id == run)
    )
    stored = connection.execute(
        sa.select(Person.id, Person.number, Person.display_name)
        .where(Person.id.in_(mentioned))
        .order_by(Person.number, Person.id)
    ).all()
    tracks_of: dict[int, list[int]] = {}
    for row in tracks:
        if row.person_id is not None:
            tracks_of.setdefault(row.person_id, []).append(row.number)
    rows = [
        RunPerson(person.id, person.number, person.display_name, tuple(tracks_of.get(person.id, ())))
        for person in stored
    ]
    return rows + [RunPerson(0, 0, "", (row.number,)) for row in tracks if row.person_id is None]


def find_person(connection: sa.Connection, run: int, reference: str) -> RunPerson:
    """Person of a run that a reference means; see ``reference.matching``.

    Raises:
        RunNotFoundError: there is no such person in the run, or several go by that name.
    """
    everybody = persons_of_run(connection, run)
    named = [everybody[index] for index in matching(reference, everybody)]
    if len(named) == 1:
        return named[0]
    if named:
        which = " and ".join(f"ID {person.tracks[0]}" if person.tracks else "one of another run" for person in named)
        raise RunNotFoundError(f"{reference!r} can mean several persons of run {run}: name one by its track, {which}")
    raise RunNotFoundError(f"there is no person {reference!r} in run {run}{hint(reference, everybody)}")
