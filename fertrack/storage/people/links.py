"""Stores the result of re-identification: persons, links with their similarity and, if asked for, embeddings."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import numpy as np
import sqlalchemy as sa

from fertrack.reid.linker import KnownPerson, LinkPlan
from fertrack.reid.tracklets import Tracklet
from fertrack.storage.engine import Database
from fertrack.storage.models import Embedding, Link, Person, TrackRow
from fertrack.storage.packing import pack_rows, unpack_rows
from fertrack.storage.people.audit import recorded

__all__ = ["delete_expired", "load_known", "names_of", "store_embeddings", "store_plan"]


def store_plan(
    db: Database,
    run: int,
    plan: LinkPlan,
    *,
    embedder: str,
    known: Sequence[KnownPerson] = (),
    shown: Mapping[int, int] | None = None,
) -> list[KnownPerson]:
    """Store who the tracks of a run are, in one transaction, and log it.

    New persons get the next free numbers in order of first appearance. Numbers already shown to the user are kept and
    never reassigned. A known person who was erased while the run went on is a new one.

    Args:
        db: the open database.
        run: number of the run; its tracks are stored.
        plan: who is who.
        embedder: fingerprint of what faces were compared by.
        known: the persons of earlier runs that the plan was made with.
        shown: the track of each number that was shown while the run went on, none of them a known person's.

    Returns:
        Key and number of each person of the plan, in its order, without embeddings.

    Raises:
        StorageError: nothing was stored.
    """
    now = dt.datetime.now(dt.UTC)
    numbers = {person.id: person.number for person in known}
    shown = shown or {}
    following = 1 + max((*numbers.values(), *shown), default=0)
    nothing = np.empty((0, 0), np.float32)
    stored: list[KnownPerson] = []
    sentence = f"{sum(len(person.tracks) for person in plan.persons)} tracks linked to {len(plan.persons)} persons"
    with db.writing() as connection, recorded(connection, run, "link", sentence, persons=numbers):
        still_there = set(connection.scalars(sa.select(Person.id).where(Person.id.in_(list(numbers)))))
        for person in plan.persons:
            key, number = person.known, numbers.get(person.known or 0, 0)
            if key not in still_there:
                number = min((each for each, track in shown.items() if track in person.tracks), default=following)
                following += number == following
                key = _add_person(connection, number, now)
            stored.append(KnownPerson(key, number, nothing))
            connection.execute(
                sa.update(TrackRow)
                .where(TrackRow.run_id == run, TrackRow.number.in_(person.tracks))
                .values(person_id=key)
            )
        if plan.links:
            connection.execute(
                sa.insert(Link),
                [
                    {
                        "run_id": run,
                        "track": link.track,
                        "person_id": stored[link.person].id,
                        "similarity": link.similarity,
                        "state": link.state,
                        "embedder": embedder,
                        "created_at": now,
                    }
                    for link in plan.links
                ],
            )
    return stored


def store_embeddings(db: Database, run: int, tracklets: Sequence[Tracklet], *, embedder: str, ttl_days: float) -> int:
    """Keep the embeddings of a run's tracks with their persons, for a time.

    Args:
        db: the open database.
        run: number of the run; who its tracks are is stored.
        tracklets: its tracks with their embeddings.
        embedder: fingerprint of what made them.
        ttl_days: they expire after so many days.

    Returns:
        How many were stored.
    """
    expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(days=ttl_days)
    with db.writing() as connection:
        owners = dict(
            connection.execute(
                sa.select(TrackRow.number, TrackRow.person_id).where(
                    TrackRow.run_id == run, TrackRow.person_id.is_not(None)
                )
            ).all()
        )
        rows = [
            {
                "run_id": run,
                "track": each.track,
                "position": position,
                "person_id": owners[each.track],
                "embedder": embedder,
                "quality": quality,
                "vector": vector,
                "expires_at": expires_at,
            }
            for each in tracklets
            if each.track in owners
            for position, (vector, quality) in enumerate(
                zip(pack_rows(each.embeddings), each.quality.tolist(), strict=True)
            )
        ]
        if rows:
            connection.execute(sa.insert(Embedding), rows)
    return len(rows)


def load_known(db: Database, embedder: str) -> list[KnownPerson]:
    """The persons whose embeddings are stored and have not expired.

    Args:
        db: the open database.
        embedder: only embeddings that this one made can be compared.
    """
    now = dt.datetime.now(dt.UTC)
    statement = (
        sa.select(Person.id, Person.number, Embedding.vector)
        .join(Person)
        .where(Embedding.embedder == embedder, Embedding.expires_at > now)
        .order_by(Person.id, Embedding.run_id, Embedding.track, Embedding.position)
    )
    vectors: dict[tuple[int, int], list[bytes]] = {}
    with db.reading() as connection:
        for row in connection.execute(statement):
            vectors.setdefault((row.id, row.number), []).append(row.vector)
    return [
        KnownPerson(key, number, unpack_rows(packed, (len(packed[0]) // 4,)))
        for (key, number), packed in vectors.items()
    ]


def names_of(db: Database, persons: Sequence[int]) -> dict[int, str]:
    """Names of persons, by their key; without those who have none."""
    statement = sa.select(Person.id, Person.display_name).where(Person.id.in_(persons), Person.display_name != "")
    with db.reading() as connection:
        return {row.id: row.display_name for row in connection.execute(statement)}


def delete_expired(db: Database) -> int:
    """Delete the embeddings that have expired; called whenever a run begins.

    Returns:
        How many were deleted.
    """
    with db.writing() as connection:
        return connection.execute(sa.delete(Embedding).where(Embedding.expires_at <= dt.datetime.now(dt.UTC))).rowcount


def _add_person(connection: sa.Connection, number: int, now: dt.datetime) -> int:
    made = connection.execute(sa.insert(Person).values(display_name="", created_at=now, number=number))
    assert made.inserted_primary_key is not None
    return int(made.inserted_primary_key[0])
