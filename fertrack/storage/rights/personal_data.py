"""Personal data of one person as tables, for ``fertrack person export``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.storage.answer_models import EpisodeRow, Marker
from fertrack.storage.models import (
    Correction,
    Embedding,
    Face,
    FrameRow,
    Link,
    Person,
    PersonAction,
    Run,
    Source,
    TrackRow,
)
from fertrack.storage.packing import unpack_rows
from fertrack.storage.people.reference import person_label
from fertrack.storage.recordings import RecordingRow
from fertrack.storage.rights.data_subject import (
    DataSubject,
    action_concerns,
    find_data_subject,
    name_pattern,
    unclaimed_keys,
)
from fertrack.storage.rights_models import Thumbnail
from fertrack.types import EXPRESSIONS, LABELS, label_name

__all__ = ["PersonalData", "read_personal_data"]

_POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


@dataclass(frozen=True, slots=True, eq=False)
class PersonalData:
    """Personal data held about one person.

    Attributes:
        subject: who it is.
        tables: by name: runs, tracks, faces, episodes, corrections, links, embeddings, log, markers; empty ones too.
        thumbnails: JPEG files by run and track.
    """

    subject: DataSubject
    tables: dict[str, pd.DataFrame]
    thumbnails: dict[tuple[int, int], bytes]


def read_personal_data(
    connection: sa.Connection, database: str, person: str, run: int | str | None = None
) -> PersonalData:
    """Gather all personal data of a person, in all runs, as they stand at one moment.

    Faces that no track has claimed but that lie where the person was about then are among the faces, marked so.

    Args:
        connection: in a transaction that sees one moment of the database.
        database: its name, for messages.
        person: a name, ``P3``, or ``ID 5`` for whoever that track is.
        run: number of the run in which they are called that, or "last"; None: any, if they are the only one.

    Raises:
        RunNotFoundError: no such run or person, or several go by that name.
    """
    subject = find_data_subject(connection, database, person, run)
    tables = {
        "runs": _runs(connection, subject),
        "tracks": _of_tracks(connection, subject, TrackRow, "number", ("person_id",)),
        "faces": _faces(connection, subject),
        "episodes": _labelled(_of_tracks(connection, subject, EpisodeRow, "track", ())),
        "corrections": _corrections(connection, subject),
        "links": _links(connection, subject),
        "embeddings": _embeddings(connection, subject),
        "log": _log(connection, subject),
        "markers": _markers(connection, subject),
    }
    pictures = connection.execute(
        sa.select(Thumbnail.run_id, Thumbnail.track, Thumbnail.picture).where(
            _theirs(Thumbnail.run_id, Thumbnail.track, subject)
        )
    ).all()
    return PersonalData(subject, tables, {(row.run_id, row.track): bytes(row.picture) for row in pictures})


def _theirs(run: Any, track: Any, subject: DataSubject) -> sa.ColumnElement[bool]:
    return sa.or_(sa.false(), *(sa.and_(run == n, track.in_(subject.tracks_in(n))) for n in subject.runs))


def _table(rows: Sequence[Any], columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame([tuple(row) for row in rows], columns=list(columns))


def _runs(connection: sa.Connection, subject: DataSubject) -> pd.DataFrame:
    columns = {
        "run": Run.id,
        "source": Source.name,
        "source_path": Source.path,
        "started_at": Run.started_at,
        "purpose": Run.purpose,
        "consent": Run.consent,
        "participant": RecordingRow.participant,
        "session": RecordingRow.session,
        "condition": RecordingRow.condition,
        "privacy_override": Run.privacy_override,
        "retention_days": Run.retention_days,
        "detector": Run.detector,
        "classifier": Run.classifier,
        "fertrack_version": Run.fertrack_version,
    }
    rows = connection.execute(
        sa.select(*columns.values())
        .join(Source)
        .join(RecordingRow, RecordingRow.run_id == Run.id, isouter=True)
        .where(Run.id.in_(subject.runs))
        .order_by(Run.id)
    )
    return _table(rows.all(), list(columns)).astype({"retention_days": "Int64"})


def _of_tracks(
    connection: sa.Connection, subject: DataSubject, model: Any, track: str, without: Sequence[str]
) -> pd.DataFrame:
    names = [column.name for column in model.__table__.columns if column.name not in without]
    key = getattr(model, track)
    statement = sa.select(*(getattr(model, name) for name in names)).where(_theirs(model.run_id, key, subject))
    rows = connection.execute(statement.order_by(*model.__table__.primary_key.columns)).all()
    return _table(rows, ["run" if name == "run_id" else "track" if name == track else name for name in names])


def _faces(connection: sa.Connection, subject: DataSubject) -> pd.DataFrame:
    parts = [_faces_of_run(connection, subject, run) for run in subject.runs]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _faces_of_run(connection: sa.Connection, subject: DataSubject, run: int) -> pd.DataFrame:
    stray = set(unclaimed_keys(connection, subject, run))
    mine = Face.track.in_(subject.tracks_in(run))
    statement = (
        sa.select(Face, FrameRow.time_s)
        .join(FrameRow, sa.and_(FrameRow.run_id == Face.run_id, FrameRow.frame_index == Face.frame_index))
        .where(Face.run_id == run, sa.or_(mine, Face.track.is_(None)) if stray else mine)
        .order_by(Face.frame_index, Face.face_index)
    )
    rows = [
        row
        for row in connection.execute(statement).all()
        if row.track is not None or (row.frame_index, row.face_index) in stray
    ]
    xyxy, points = unpack_rows([row.xyxy for row in rows], (4,)), unpack_rows([row.landmarks for row in rows], (10,))
    logits, raw, smoothed = (
        unpack_rows([getattr(row, name) for row in rows], (len(EXPRESSIONS),))
        for name in ("logits", "probabilities", "smoothed")
    )
    return pd.DataFrame(
        {
            "run": np.full(len(rows), run, np.int64),
            "frame_index": np.array([row.frame_index for row in rows], np.int64),
            "face_index": np.array([row.face_index for row in rows], np.int64),
            "time_s": np.array([row.time_s for row in rows], np.float64),
            "track": pd.array([row.track for row in rows], dtype="Int64"),
            **{name: xyxy[:, i] for i, name in enumerate(("x1", "y1", "x2", "y2"))},
            "score": np.array([row.score for row in rows], np.float32),
            **{f"{name}_{axis}": points[:, 2 * i + j] for i, name in enumerate(_POINTS) for j, axis in enumerate("xy")},
            "label": pd.Series([label_name(row.label) for row in rows], dtype="str"),
            "probability": np.array([row.probability for row in rows], np.float32),
            **{f"p_{name}": smoothed[:, i] for i, name in enumerate(EXPRESSIONS)},
            **{f"raw_{name}": raw[:, i] for i, name in enumerate(EXPRESSIONS)},
            **{f"logit_{name}": logits[:, i] for i, name in enumerate(EXPRESSIONS)},
        }
    )


def _labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Labels by name instead of number."""
    return table.assign(label=[LABELS[int(label)] for label in table["label"]])


def _corrections(connection: sa.Connection, subject: DataSubject) -> pd.DataFrame:
    names = ("run_id", "frame_index", "face_index", "label", "author", "imported_at")
    same = sa.and_(*(getattr(Face, name) == getattr(Correction, name) for name in names[:3]))
    rows = connection.execute(
        sa.select(*(getattr(Correction, name) for name in names))
        .join(Face, same)
        .where(_theirs(Face.run_id, Face.track, subject))
        .order_by(Correction.run_id, Correction.frame_index, Correction.face_index)
    ).all()
    return _labelled(_table(rows, ("run", *names[1:])))


def _links(connection: sa.Connection, subject: DataSubject) -> pd.DataFrame:
    """Links of their tracks, to them or to others; and of others' tracks to them."""
    columns = (Link.run_id, Link.track, Link.similarity, Link.state, Link.embedder, Link.created_at)
    about = sa.or_(_theirs(Link.run_id, Link.track, subject), Link.person_id.in_(subject.identities))
    rows = connection.execute(
        sa.select(*columns, Person.display_name, Person.number, Person.id)
        .join(Person, Person.id == Link.person_id)
        .where(about)
        .order_by(Link.run_id, Link.track, Link.id)
    ).all()
    # Another person's name is that person's own data.
    to = [person_label(row.display_name if row.id == subject.who.id else "", row.number) for row in rows]
    table = _table([row[:6] for row in rows], ("run", "track", "similarity", "state", "embedder", "created_at"))
    return table.assign(to=to)


def _embeddings(connection: sa.Connection, subject: DataSubject) -> pd.DataFrame:
    names = ("run_id", "track", "position", "embedder", "quality", "expires_at", "vector")
    statement = sa.select(*(getattr(Embedding, name) for name in names)).where(
        _theirs(Embedding.run_id, Embedding.track, subject)
    )
    rows = connection.execute(statement.order_by(Embedding.run_id, Embedding.track, Embedding.position)).all()
    table = _table(rows, ("run", *names[1:]))
    vectors = [np.frombuffer(row.vector, "<f4").tolist() for row in rows]
    return table.assign(vector=pd.Series(vectors, dtype="object"))


def _log(connection: sa.Connection, subject: DataSubject) -> pd.DataFrame:
    found = [
        (action.run_id, action.id, action.done_at, action.kind, action.sentence)
        for action in connection.execute(sa.select(PersonAction).order_by(PersonAction.id)).all()
        if action_concerns(action, subject)
    ]
    return _table(found, ("run", "action", "done_at", "kind", "what"))


def _markers(connection: sa.Connection, subject: DataSubject) -> pd.DataFrame:
    """Markers whose name or note names the person."""
    pattern = name_pattern(subject.names)
    names = ("run_id", "time_s", "end_s", "label", "note")
    rows = connection.execute(sa.select(*(getattr(Marker, name) for name in names)).order_by(Marker.id)).all()
    named = [row for row in rows if pattern is not None and pattern.search(f"{row.label}\n{row.note}")]
    return _table(named, ("run", *names[1:]))
