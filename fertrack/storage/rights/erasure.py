"""Erasure of all rows about a person, in one transaction, with a note that it was done, not to whom.

What goes: the person's faces (rows with boxes, landmarks, logits, probabilities), corrections of them, tracks,
episodes, links, embeddings and thumbnails; faces that no track has claimed but that lie where the person was about
then; images of others that show the person too; every entry of the action log about them; and their names in notes,
markers, stated purposes and names of files. What stays: frames (times, without anybody), counts that fit what is left,
other people's rows bit for bit, and one row of ``erasures`` that says when, and how much.

Files are not touched here; those that show the person are marked stale, see ``fertrack.rights.erase``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import sqlalchemy as sa

from fertrack.imaging.geometry import iou_matrix
from fertrack.storage.answer_models import EpisodeRow
from fertrack.storage.engine import Database
from fertrack.storage.models import Correction, Embedding, Face, Link, Person, PersonAction, Run, TrackRow
from fertrack.storage.packing import unpack_rows
from fertrack.storage.rights.data_subject import (
    DataSubject,
    action_concerns,
    is_in_file_name,
    name_pattern,
    refuse_while_running,
    scrub_names,
    unclaimed_keys,
)
from fertrack.storage.rights_models import Erasure, Output, RunErasure, Thumbnail
from fertrack.storage.unfinished import forget_analysed
from fertrack.storage.written_files import PersonFolder, Report, outputs, store_marks

__all__ = ["count_rows", "erase_rows", "finish_erasures", "pending_erasures"]

_OF_TRACKS = {
    "tracks": (TrackRow, TrackRow.run_id, TrackRow.number),
    "faces": (Face, Face.run_id, Face.track),
    "episodes": (EpisodeRow, EpisodeRow.run_id, EpisodeRow.track),
    "links": (Link, Link.run_id, Link.track),
    "embeddings": (Embedding, Embedding.run_id, Embedding.track),
    "thumbnails": (Thumbnail, Thumbnail.run_id, Thumbnail.track),
}
_PORTRAIT = 1.6  # how much larger than the face's box a thumbnail is, at most
_BLANK = {"kind": "erased", "sentence": "a change, erased since", "before": [], "after": []}


def count_rows(connection: sa.Connection, subject: DataSubject) -> dict[str, int]:
    """Number of rows held about a data subject, by kind; kinds of which there are none are missing."""
    counts = {
        name: connection.scalar(sa.select(sa.func.count()).select_from(model).where(_is_theirs(run, track, subject)))
        for name, (model, run, track) in _OF_TRACKS.items()
    }
    counts["unclaimed faces"] = sum(len(unclaimed_keys(connection, subject, run)) for run in subject.runs)
    on_faces = sa.select(sa.func.count()).select_from(Correction).join(Face, _same_face())
    counts["corrections"] = connection.scalar(on_faces.where(_is_theirs(Face.run_id, Face.track, subject)))
    counts["log entries"] = sum(action_concerns(action, subject) for action in _actions(connection))
    return {name: int(count) for name, count in counts.items() if count}


def erase_rows(db: Database, subject: DataSubject) -> dict[str, int]:
    """Delete all rows about a data subject, all of them or none; returns what ``count_rows`` counted.

    Raises:
        StorageError: a run of theirs is still being written, or the database cannot be; nothing was deleted.
    """
    with db.writing() as connection:
        if connection.dialect.name == "sqlite":  # freed space is overwritten at once, not only by the vacuum later
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        refuse_while_running(connection, subject.runs)
        counts = count_rows(connection, subject)
        shared = _thumbnails_of_others(connection, subject)
        for run, track in shared:
            connection.execute(sa.delete(Thumbnail).where(Thumbnail.run_id == run, Thumbnail.track == track))
        _delete_faces(connection, subject)
        forget_analysed(connection, subject.runs)
        _blank_log(connection, subject)
        connection.execute(sa.delete(TrackRow).where(_is_theirs(TrackRow.run_id, TrackRow.number, subject)))
        connection.execute(sa.delete(Person).where(Person.id.in_(subject.identities)))
        scrubbed = scrub_names(connection, subject.names, subject.runs)
        _recount(connection, subject)
        _mark_outputs(connection, subject)
        counts |= {name: n for name, n in (("pictures of others", len(shared)), ("texts", scrubbed)) if n}
        now = dt.datetime.now(dt.UTC)
        connection.execute(sa.insert(Erasure).values(erased_at=now, finished_at=None, counts=counts))
    return counts


def pending_erasures(db: Database) -> int:
    """Erasures whose rows are gone but whose files, or the space in the database file, were not seen to yet."""
    with db.reading() as connection:
        unfinished = sa.select(sa.func.count()).select_from(Erasure).where(Erasure.finished_at.is_(None))
        return int(connection.scalar(unfinished) or 0)


def finish_erasures(db: Database, files: Mapping[str, int]) -> None:
    """Note that everything is done, with how many files were dealt with, by what was done to them."""
    with db.writing() as connection:
        for row in connection.execute(sa.select(Erasure).where(Erasure.finished_at.is_(None))).all():
            connection.execute(
                sa.update(Erasure)
                .where(Erasure.id == row.id)
                .values(finished_at=dt.datetime.now(dt.UTC), counts={**row.counts, **files})
            )


def _is_theirs(run: Any, track: Any, subject: DataSubject) -> sa.ColumnElement[bool]:
    per_run = [sa.and_(run == number, track.in_(subject.tracks_in(number))) for number in subject.runs]
    return sa.or_(sa.false(), *per_run)


def _same_face() -> sa.ColumnElement[bool]:
    names = ("run_id", "frame_index", "face_index")
    return sa.and_(*(getattr(Face, name) == getattr(Correction, name) for name in names))


def _actions(connection: sa.Connection) -> list[Any]:
    return list(connection.execute(sa.select(PersonAction).order_by(PersonAction.id)).all())


def _delete_faces(connection: sa.Connection, subject: DataSubject) -> None:
    stray = [
        {"of_run": run, "of_frame": frame, "of_face": face}
        for run in subject.runs
        for frame, face in unclaimed_keys(connection, subject, run)
    ]
    connection.execute(sa.delete(Face).where(_is_theirs(Face.run_id, Face.track, subject)))
    if stray:
        connection.execute(
            sa.delete(Face).where(
                Face.run_id == sa.bindparam("of_run"),
                Face.frame_index == sa.bindparam("of_frame"),
                Face.face_index == sa.bindparam("of_face"),
            ),
            stray,
        )


def _blank_log(connection: sa.Connection, subject: DataSubject) -> None:
    """Entries about the person say nothing any more; of what linking found, the others' rows stay."""
    for action in _actions(connection):
        if not action_concerns(action, subject):
            continue
        values: dict[str, Any] = dict(_BLANK)
        if action.kind == "link":
            values = {
                side: [row for row in getattr(action, side) if not action_concerns(_Rows([row], []), subject)]
                for side in ("before", "after")
            }
        connection.execute(sa.update(PersonAction).where(PersonAction.id == action.id).values(**values))


class _Rows:
    def __init__(self, before: list[Any], after: list[Any]) -> None:
        self.before, self.after = before, after


def _recount(connection: sa.Connection, subject: DataSubject) -> None:
    for run in subject.runs:
        faces, tracks = (
            connection.scalar(sa.select(sa.func.count()).select_from(table).where(table.run_id == run))
            for table in (Face, TrackRow)
        )
        connection.execute(sa.update(Run).where(Run.id == run).values(faces=faces, tracks=tracks))
        more = sa.update(RunErasure).where(RunErasure.run_id == run).values(persons=RunErasure.persons + 1)
        if connection.execute(more).rowcount == 0:
            connection.execute(sa.insert(RunErasure).values(run_id=run, persons=1))


def _mark_outputs(connection: sa.Connection, subject: DataSubject) -> None:
    """Reports and exports are to be written again, or deleted where they are about nobody else."""
    others = sa.select(TrackRow.run_id).where(TrackRow.run_id.in_(subject.runs))
    still_needed = set(connection.scalars(others.distinct()))  # the others in the run can be hidden in it only so
    pattern = name_pattern(subject.names)
    for file in outputs(connection, subject.runs):
        first = file.made.tracks[:1] if isinstance(file.made, PersonFolder) else ()
        if any((file.run, track) in subject.tracks for track in first):
            connection.execute(sa.delete(Output).where(Output.id == file.id))
            continue
        marked = file
        if file.is_rewritten and file.track is None:
            marked = replace(marked, stale=True)
        elif file.is_rewritten and (file.run, file.track) in subject.tracks:
            marked = replace(marked, stale=True, is_about_erased=True)
        named = [file.path, *([file.made.video] if isinstance(file.made, Report) and file.made.video else [])]
        if file.run not in still_needed and any(is_in_file_name(pattern, str(path)) for path in named):
            marked = replace(marked, names_erased=True)  # kept until the file has been seen to
        if marked != file:
            store_marks(connection, marked)


def _thumbnails_of_others(connection: sa.Connection, subject: DataSubject) -> list[tuple[int, int]]:
    """Thumbnails of other people in which the person can be seen beside them: run and track of each."""
    found = []
    for run in subject.runs:
        own = set(subject.tracks_in(run))
        stored = connection.execute(
            sa.select(Thumbnail.track, Thumbnail.frame_index).where(
                Thumbnail.run_id == run, Thumbnail.track.not_in(own)
            )
        ).all()
        for row in stored:
            faces = connection.execute(
                sa.select(Face.track, Face.xyxy).where(Face.run_id == run, Face.frame_index == row.frame_index)
            ).all()
            boxes = unpack_rows([face.xyxy for face in faces], (4,)).astype(np.float64)
            theirs = np.array([face.track in own for face in faces], np.bool_)
            shown = _enlarged(boxes[[face.track == row.track for face in faces]])
            if len(shown) and theirs.any() and iou_matrix(shown, boxes[theirs]).max() > 0:
                found.append((run, row.track))
    return found


def _enlarged(boxes: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * _PORTRAIT
    return np.concatenate([centre - half, centre + half], axis=1)
