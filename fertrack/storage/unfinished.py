"""Unfinished runs: what the networks saw of their frames, by which they go on to the very rows of an undisturbed run.

All that follows the networks (cuts, tracks, calibration, smoothing) is a deterministic fold over what they saw. So no
state of the fold is stored: a resumed run folds its first frames again, which takes microseconds each, and asks the
networks from the first frame on that they had not seen.
"""

from __future__ import annotations

import datetime as dt
import io
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from fertrack.errors import StorageError, reason_of
from fertrack.storage.answer_models import EpisodeSet
from fertrack.storage.engine import Database
from fertrack.storage.facts import process_exists, run_status
from fertrack.storage.models import (
    Correction,
    Embedding,
    Face,
    FrameRow,
    Link,
    Person,
    PersonAction,
    Rescore,
    Run,
    Source,
    StageTiming,
    TrackRow,
)
from fertrack.storage.recordings import AnalysedRow, RecordingRow
from fertrack.storage.rights_models import RunErasure
from fertrack.types import EXPRESSIONS, AnalysisMs, Detections, Faces, FrameFaces

__all__ = [
    "UnfinishedRun",
    "analysed_frames",
    "clear_rows",
    "count_analysed",
    "forget_analysed",
    "newest_run_of",
    "runs_of_path",
    "store_analysed",
    "trim_analysed",
    "unfinished_run",
]

_FORMAT = 1
"""Version of the packed arrays; others are not read."""

_MS = ("read", "detect", "align", "classify", "waiting")


@dataclass(frozen=True, slots=True)
class UnfinishedRun:
    """Run that can be resumed.

    Attributes:
        run: its number.
        source: name of its source.
        frames: frames that the networks have seen.
        content: digest of what its source held, as ``files.content_digest`` gives it.
        made_with: digest of its options and networks.
        config_toml: its options.
        networks: fingerprints of detector and classifier.
        version: of the program that began it.
    """

    run: int
    source: str
    frames: int
    content: str
    made_with: str
    config_toml: str
    networks: tuple[str, str]
    version: str

    @property
    def offer(self) -> str:
        """Sentence for who begins the same again."""
        return (
            f"run {self.run} of {self.source} was cut off after {self.frames} frames: go on with --resume, or begin "
            "again with --overwrite"
        )


def unfinished_run(db: Database, path: str, *, resume: bool) -> UnfinishedRun | None:
    """The newest run of a source, if it was cut off and can go on.

    Args:
        db: the open database.
        path: absolute path of the source.
        resume: whether it is to go on, so that it must not be in progress; else such a run is none.

    Raises:
        StorageError: the run is still being written, or people have changed it since.
    """
    with db.reading() as connection:
        newest = sa.select(sa.func.max(Run.id)).join(Source).where(Source.path == path).scalar_subquery()
        joined = sa.select(Run, Source.name, RecordingRow.content, RecordingRow.made_with).join(Source)
        row = connection.execute(joined.join(RecordingRow).where(Run.id == newest)).one_or_none()
        if row is None:
            return None
        frames = _counted(connection, row.id)
        if not frames:
            return None
        try:
            _refuse_if_alive(row)
        except StorageError:
            if resume:
                raise
            return None
        _refuse_if_edited(connection, row.id)
    networks = row.detector, row.classifier
    given = (row.config_toml, networks, row.fertrack_version)
    return UnfinishedRun(row.id, row.name, frames, row.content, row.made_with, *given)


def newest_run_of(db: Database, path: str) -> int:
    """Number of the newest run of a source, given by its absolute path; 0: there is none."""
    with db.reading() as connection:
        return int(connection.scalar(sa.select(sa.func.max(Run.id)).join(Source).where(Source.path == path)) or 0)


def count_analysed(db: Database, run: int) -> int:
    """Number of a run's frames that the networks have seen."""
    with db.reading() as connection:
        return _counted(connection, run)


def store_analysed(connection: sa.Connection, run: int, position: int, frames: Sequence[FrameFaces]) -> None:
    """Store what the networks saw of some frames, in a writing transaction.

    Args:
        connection: in a writing transaction.
        run: number of the run.
        position: number of frames of the run before these.
        frames: at least one, in order.
    """
    values = {"run_id": run, "position": position, "frames": len(frames), "packed": _pack(frames)}
    connection.execute(sa.insert(AnalysedRow).values(**values))


def analysed_frames(db: Database, run: int) -> Iterator[FrameFaces]:
    """First frames of a run as the networks saw them, in order, without images; a second of them in memory at a time.

    Raises:
        StorageError: it was stored in another format.
    """
    position = -1
    while True:
        following = (
            sa.select(AnalysedRow.position, AnalysedRow.packed)
            .where(AnalysedRow.run_id == run, AnalysedRow.position > position)
            .order_by(AnalysedRow.position)
            .limit(1)
        )
        with db.reading() as connection:
            row = connection.execute(following).one_or_none()
        if row is None:
            return
        yield from _unpack(row.packed)
        position = row.position


def trim_analysed(connection: sa.Connection, run: int, frames: int) -> None:
    """Forget what the networks saw beyond a run's first ``frames`` frames, in a writing transaction."""
    of_run = AnalysedRow.run_id == run
    beyond = sa.and_(of_run, AnalysedRow.position + AnalysedRow.frames > frames)
    for row in connection.execute(sa.select(AnalysedRow.position, AnalysedRow.packed).where(beyond)).all():
        connection.execute(sa.delete(AnalysedRow).where(of_run, AnalysedRow.position == row.position))
        if row.position < frames:
            store_analysed(connection, run, row.position, _unpack(row.packed)[: frames - row.position])


def runs_of_path(connection: sa.Connection, path: str) -> list[int]:
    """Numbers of the runs of a source that can be resumed."""
    held = sa.select(Run.id).join(Source).where(Source.path == path, Run.id.in_(sa.select(AnalysedRow.run_id)))
    return list(connection.scalars(held))


def forget_analysed(connection: sa.Connection, runs: Sequence[int]) -> None:
    """Forget what the networks saw in some runs, in a writing transaction: they cannot be resumed any more."""
    connection.execute(sa.delete(AnalysedRow).where(AnalysedRow.run_id.in_(list(runs))))


def clear_rows(connection: sa.Connection, run: int) -> None:
    """Delete all that was derived of what the networks saw, in a writing transaction; it is derived anew.

    The last rows before a run was cut off may lack what later frames would have told of them.

    Raises:
        StorageError: another program has begun to resume the run.
    """
    held = sa.select(Run, Source.name).join(Source).where(Run.id == run).with_for_update(of=Run)
    _refuse_if_alive(connection.execute(held).one())
    persons = set(connection.scalars(sa.select(TrackRow.person_id).where(TrackRow.run_id == run)))
    for table in (EpisodeSet, StageTiming, Face, FrameRow, TrackRow, PersonAction):  # tracks: links, episodes, pictures
        connection.execute(sa.delete(table).where(table.run_id == run))
    for other in (TrackRow, Link, Embedding):
        persons -= set(connection.scalars(sa.select(other.person_id).distinct()))
    connection.execute(sa.delete(Person).where(Person.id.in_(sorted(persons - {None}))))


def _counted(connection: sa.Connection, run: int) -> int:
    counted = sa.select(sa.func.sum(AnalysedRow.frames)).where(AnalysedRow.run_id == run)
    return int(connection.scalar(counted) or 0)


def _refuse_if_alive(row: Any) -> None:
    """The program that writes a run, or what is made of it at its end, must be gone."""
    is_here = row.host == socket.gethostname()
    if is_here and row.pid == os.getpid():
        return
    is_running = run_status(row._mapping, dt.datetime.now(dt.UTC)) == "running"
    if is_running or (row.status == "complete" and is_here and process_exists(row.pid)):
        raise StorageError(
            f"run {row.id} of {row.name} is still being written by process {row.pid}: wait until it has finished"
        )


def _refuse_if_edited(connection: sa.Connection, run: int) -> None:
    for what, table in (("labels were corrected", Correction), ("labels were computed again", Rescore)):
        if connection.scalar(sa.select(table.run_id).where(table.run_id == run).limit(1)) is not None:
            raise StorageError(_edited(run, what))
    by_hand = PersonAction.run_id == run, PersonAction.kind != "link"
    if connection.scalar(sa.select(PersonAction.id).where(*by_hand).limit(1)) is not None:
        raise StorageError(_edited(run, "persons were changed"))
    if connection.scalar(sa.select(RunErasure.run_id).where(RunErasure.run_id == run)) is not None:
        raise StorageError(_edited(run, "persons were erased"))


def _edited(run: int, what: str) -> str:
    return f"run {run} cannot be resumed, as its {what} since: begin again with --overwrite"


def _pack(frames: Sequence[FrameFaces]) -> bytes:
    """Arrays by name, compressed, in NumPy's own format (.npz, without pickled objects)."""
    faces = [frame.faces for frame in frames]
    has_looks = all(len(frame.looks) == len(frame.faces) for frame in frames) and any(len(each) for each in faces)
    file = io.BytesIO()
    np.savez_compressed(
        file,
        allow_pickle=False,
        format=np.int64(_FORMAT),
        index=np.array([frame.frame_index for frame in frames], np.int64),
        time_s=np.array([frame.timestamp_s for frame in frames], np.float64),
        ms=np.array([[getattr(frame.ms, name) for name in _MS] for frame in frames], np.float64),
        count=np.array([len(each) for each in faces], np.int64),
        signature=np.stack([frame.signature for frame in frames]),
        xyxy=np.concatenate([each.detections.xyxy for each in faces]),
        score=np.concatenate([each.detections.score for each in faces]),
        landmarks=np.concatenate([each.detections.landmarks for each in faces]),
        logits=np.concatenate([each.logits for each in faces]),
        quality=np.concatenate([each.quality for each in faces]),
        looks=np.concatenate([frame.looks for frame in frames if len(frame.looks)]) if has_looks else np.empty((0, 0)),
    )
    return file.getvalue()


def _unpack(packed: bytes) -> list[FrameFaces]:
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError) as error:
        raise StorageError(
            f"what was stored to resume the run is damaged ({reason_of(error)}): use --overwrite"
        ) from error
    if int(arrays["format"]) != _FORMAT:
        raise StorageError("the run was cut off in another version of fertrack: use that one, or --overwrite")
    frames = []
    ends = np.cumsum(arrays["count"])
    for place, (end, count) in enumerate(zip(ends.tolist(), arrays["count"].tolist(), strict=True)):
        rows = slice(end - count, end)
        detections = Detections(*(arrays[name][rows] for name in ("xyxy", "score", "landmarks")))
        faces = Faces(detections, arrays["logits"][rows].reshape(count, len(EXPRESSIONS)), arrays["quality"][rows])
        read, detect, align, classify, waiting = arrays["ms"][place].tolist()
        looks = arrays["looks"]
        frames.append(
            FrameFaces(
                frame_index=int(arrays["index"][place]),
                timestamp_s=float(arrays["time_s"][place]),
                faces=faces,
                ms=AnalysisMs(read, detect, align, classify, int(waiting)),
                signature=arrays["signature"][place],
                looks=looks[rows] if len(looks) else np.empty((0, 0), np.float32),
            )
        )
    return frames
