"""Changes of who is who, each recorded row by row so that it can be taken back exactly."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from fertrack.errors import StorageError
from fertrack.storage.models import Embedding, Link, Person, PersonAction, TrackRow
from fertrack.storage.people.track_cuts import join_tracks

__all__ = ["recorded", "sync_embeddings", "take_back"]

# Table, its key, and the columns that changes of persons may touch.
_KEYS: dict[str, tuple[type[Person | TrackRow | Link], tuple[str, ...]]] = {
    "persons": (Person, ("id",)),
    "tracks": (TrackRow, ("run_id", "number")),
    "links": (Link, ("id",)),
}
_COLUMNS = {
    "persons": ("display_name", "created_at", "number"),
    "tracks": ("person_id", "first_frame", "last_frame", "first_s", "last_s", "faces"),
    "links": ("run_id", "track", "person_id", "similarity", "state", "embedder", "created_at"),
}
_Key = tuple[str, tuple[int, ...]]
_Rows = dict[_Key, dict[str, Any]]


@contextmanager
def recorded(
    connection: sa.Connection, run: int, kind: str, sentence: str, *, persons: Iterable[int] = ()
) -> Iterator[None]:
    """Run a change of persons and log it with the rows that it changed, as they were and as they became.

    Args:
        connection: in a writing transaction.
        run: the run it is logged for.
        kind: "link", "rename", "merge" or "split".
        sentence: what was done, for people.
        persons: keys of persons without a track or a link in the run who are changed too.
    """
    scope = set(persons)
    before = _snapshot(connection, run, scope)
    yield
    after = _snapshot(connection, run, scope | {key[0] for table, key in before if table == "persons"})
    changed = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    _log(connection, run, kind, sentence, before=_as_json(before, changed), after=_as_json(after, changed))


def take_back(connection: sa.Connection, run: int) -> str:
    """Undo the last change of a run's persons that has not been undone; what automatic linking did stays.

    Returns:
        The sentence of the change that was undone.

    Raises:
        StorageError: there is nothing to undo, or the rows have been changed from another run since.
    """
    undone = sa.select(PersonAction.undoes).where(PersonAction.undoes.is_not(None))
    action = connection.execute(
        sa.select(PersonAction)
        .where(
            PersonAction.run_id == run,
            PersonAction.kind.in_(("rename", "merge", "split")),
            PersonAction.id.not_in(undone),
        )
        .order_by(PersonAction.id.desc())
        .limit(1)
    ).one_or_none()
    if action is None:
        raise StorageError(f"there is nothing to undo in run {run}: `fertrack person log {run}` lists what was done")
    before, after = _from_json(action.before), _from_json(action.after)
    if _current(connection, after) != after:
        raise StorageError(
            f"run {run}: {action.sentence!r} cannot be undone, because its persons were changed from another run "
            "since: undo that first"
        )
    _restore(connection, before)
    _log(
        connection,
        run,
        "undo",
        f"undid: {action.sentence}",
        before=action.after,
        after=action.before,
        undoes=action.id,
    )
    return str(action.sentence)


def sync_embeddings(connection: sa.Connection) -> None:
    """Stored embeddings follow their tracks to another person, and go when a track becomes nobody's."""
    owner = (
        sa.select(TrackRow.person_id)
        .where(TrackRow.run_id == Embedding.run_id, TrackRow.number == Embedding.track)
        .scalar_subquery()
    )
    connection.execute(sa.delete(Embedding).where(owner.is_(None)))
    connection.execute(sa.update(Embedding).where(Embedding.person_id != owner).values(person_id=owner))


def _log(
    connection: sa.Connection,
    run: int,
    kind: str,
    sentence: str,
    *,
    before: list[Any],
    after: list[Any],
    undoes: int | None = None,
) -> None:
    connection.execute(
        sa.insert(PersonAction).values(
            run_id=run,
            kind=kind,
            sentence=sentence,
            done_at=dt.datetime.now(dt.UTC),
            before=before,
            after=after,
            undoes=undoes,
        )
    )


def _snapshot(connection: sa.Connection, run: int, persons: set[int]) -> _Rows:
    """Every row that a change of this run's persons, or of ``persons``, can touch, in whichever run."""
    mentioned: sa.CompoundSelect[int | None] = sa.union(
        sa.select(TrackRow.person_id).where(TrackRow.run_id == run, TrackRow.person_id.is_not(None)),
        sa.select(Link.person_id).where(Link.run_id == run),
    )
    everybody = persons | set(connection.scalars(mentioned))
    return (
        _read(connection, "persons", Person.id.in_(everybody))
        | _read(connection, "tracks", sa.or_(TrackRow.run_id == run, TrackRow.person_id.in_(everybody)))
        | _read(connection, "links", sa.or_(Link.run_id == run, Link.person_id.in_(everybody)))
    )


def _current(connection: sa.Connection, rows: dict[_Key, dict[str, Any] | None]) -> dict[_Key, dict[str, Any] | None]:
    """Rows stored now under the keys of ``rows``."""
    found: _Rows = {}
    for table, key in rows:
        found |= _read(connection, table, _is(table, key))
    return {key: _same_columns(found.get(key), values) for key, values in rows.items()}


def _same_columns(row: dict[str, Any] | None, recorded: dict[str, Any] | None) -> dict[str, Any] | None:
    """A row with the columns that were recorded: entries of earlier versions have fewer."""
    return row if row is None or recorded is None else {name: row[name] for name in recorded}


def _read(connection: sa.Connection, table: str, condition: sa.ColumnElement[bool]) -> _Rows:
    model, keys = _KEYS[table]
    columns = [getattr(model, name) for name in (*keys, *_COLUMNS[table])]
    rows = connection.execute(sa.select(*columns).where(condition)).mappings()
    return {
        (table, tuple(row[name] for name in keys)): {name: _plain(row[name]) for name in _COLUMNS[table]}
        for row in rows
    }


def _restore(connection: sa.Connection, rows: dict[_Key, dict[str, Any] | None]) -> None:
    """Make the rows what they were. Persons come first and go last, since the others point to them.

    A track that was not there is the later part of one that was cut: of the only other track in the entry.
    """
    gone = {key: values for key, values in rows.items() if values is None}
    kept = {key: values for key, values in rows.items() if values is not None}
    for table, key in sorted(gone):
        if table == "links":
            connection.execute(sa.delete(Link).where(_is(table, key)))
    for order in ("persons", "tracks", "links"):
        for table, key in sorted(kept):
            if table == order:
                values = {name: _moment(name, value) for name, value in kept[table, key].items()}
                _put(connection, table, key, values)
    for table, (run, *number) in sorted(gone):
        if table == "tracks":
            (origin,) = (key for other, key in kept if other == "tracks")
            join_tracks(connection, run, origin[1], number[0])
    sync_embeddings(connection)
    for table, key in sorted(gone):
        if table == "persons":
            connection.execute(sa.delete(Person).where(_is(table, key)))


def _put(connection: sa.Connection, table: str, key: tuple[int, ...], values: dict[str, Any]) -> None:
    model, keys = _KEYS[table]
    changed = connection.execute(sa.update(model).where(_is(table, key)).values(values))
    if changed.rowcount == 0 and table != "tracks":
        connection.execute(sa.insert(model).values({**dict(zip(keys, key, strict=True)), **values}))


def _is(table: str, key: tuple[int, ...]) -> sa.ColumnElement[bool]:
    model, keys = _KEYS[table]
    return sa.and_(*(getattr(model, name) == value for name, value in zip(keys, key, strict=True)))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.datetime) else value


def _moment(name: str, value: Any) -> Any:
    return dt.datetime.fromisoformat(value) if name == "created_at" else value


def _as_json(rows: _Rows, keys: Iterable[_Key]) -> list[Any]:
    return [[table, list(key), rows.get((table, key))] for table, key in sorted(keys)]


def _from_json(rows: list[Any]) -> dict[_Key, dict[str, Any] | None]:
    return {(table, tuple(key)): values for table, key, values in rows}
