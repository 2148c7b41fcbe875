"""Recomputes a stored run's probabilities, smoothing and labels from its raw logits, without the video."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from fertrack.errors import StorageError
from fertrack.expression.calibration import Calibrator
from fertrack.expression.config import SmoothingConfig
from fertrack.expression.fold import ExpressionFold
from fertrack.storage.connection import mask_passwords
from fertrack.storage.engine import Database
from fertrack.storage.facts import find_run, run_status
from fertrack.storage.models import Face, Rescore, Run
from fertrack.storage.packing import pack_rows, unpack_rows
from fertrack.storage.queries.episode_store import store_episodes
from fertrack.storage.queries.faces import load_frames
from fertrack.storage.readable import PROBABILITY_COLUMNS, probability_columns, quality_of
from fertrack.storage.stored_run import StoredRun
from fertrack.storage.writer import label_probability
from fertrack.types import EXPRESSIONS, UNCONFIRMED, FloatArray, IntArray

__all__ = ["RescoreReport", "original_config", "previous_config", "rescore"]

_FRAMES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class RescoreReport:
    """Result of rescoring.

    Attributes:
        run: number of the run.
        frames: frames with faces that were gone through.
        faces: faces whose probabilities were recomputed.
        labels_changed: faces whose label is another one now.
        elapsed_s: wall-clock time.
    """

    run: int
    frames: int
    faces: int
    labels_changed: int
    elapsed_s: float


@dataclass(frozen=True, slots=True, eq=False)
class _Faces:
    """Faces of some consecutive frames, by frame and then by row."""

    frame_index: IntArray
    face_index: IntArray
    track: IntArray
    label: IntArray
    logits: FloatArray
    quality: FloatArray


def rescore(
    db: Database,
    run: int | str,
    calibrator: Calibrator,
    smoothing: SmoothingConfig,
    *,
    config_toml: str = "",
    config_digest: str = "",
) -> RescoreReport:
    """Recompute every face of a run with another calibration and smoothing, in the order the video was analysed in.

    It all happens in one transaction: the run is either as before or rescored as a whole. What the labels were made
    with before is kept in the table ``rescores``.

    Args:
        db: the open database.
        run: number of the run, or "last".
        calibrator: turns the stored logits into probabilities.
        smoothing: how they are smoothed.
        config_toml: the configuration now in force, as TOML; the run keeps its own if empty.
        config_digest: its SHA-256.

    Raises:
        RunNotFoundError: no such run is stored.
        StorageError: the run is still being written, or the database cannot be written.
    """
    started = time.perf_counter()
    fold = ExpressionFold(calibrator, smoothing)
    frames = faces = changed = 0
    with db.writing() as connection:
        number = find_run(connection, db.name, run)
        record = connection.execute(sa.select(Run.__table__).where(Run.id == number)).mappings().one()
        if run_status(record, dt.datetime.now(dt.UTC)) == "running":
            raise StorageError(f"run {number} is still being written: rescore it when it has ended")
        for times_s, part in _parts(connection, number):
            rows, labels_changed, in_frames = _fold_part(fold, number, times_s, part)
            connection.execute(_UPDATE, rows)
            frames, faces, changed = frames + in_frames, faces + len(rows), changed + labels_changed
        _record(connection, record, calibrator, config_toml, config_digest)
        store_episodes(connection, number)
    return RescoreReport(number, frames, faces, changed, time.perf_counter() - started)


_DERIVED = ("label", "probability", "probabilities", "smoothed", *PROBABILITY_COLUMNS)
_KEY = ("run_id", "frame_index", "face_index")
_UPDATE = (
    sa.update(Face)
    .where(*(getattr(Face, name) == sa.bindparam(f"of_{name}") for name in _KEY))
    .values({name: sa.bindparam(f"new_{name}") for name in _DERIVED})
)


def original_config(run: StoredRun) -> str:
    """The configuration a run was made with, as TOML, however often it was rescored since."""
    first = sa.select(Rescore.config_toml).where(Rescore.run_id == run.number).order_by(Rescore.id).limit(1)
    return str(run.connection.scalar(first) or run.facts.config_toml)


def previous_config(run: StoredRun) -> str | None:
    """The configuration a run was scored with before the one now in force, as TOML; None if there is none.

    Going back to it is a rescoring too, so that what is previous then is the one before: a step back from A, B, C
    gives A, B, C, B, and the one before that is A, not C.
    """
    earlier = sa.select(Rescore.config_toml).where(Rescore.run_id == run.number).order_by(Rescore.id)
    steps: list[str] = []
    for state in (*run.connection.scalars(earlier), run.facts.config_toml):
        if len(steps) > 1 and state == steps[-2]:
            steps.pop()
        elif not steps or state != steps[-1]:
            steps.append(state)
    return steps[-2] if len(steps) > 1 else None


def _parts(connection: sa.Connection, run: int) -> Iterator[tuple[dict[int, float], _Faces]]:
    """The run's faces, some hundred frames at a time, with each frame's time."""
    frame_index, time_s = load_frames(connection, run)
    for start in range(0, len(frame_index), _FRAMES_AT_ONCE):
        part = slice(start, start + _FRAMES_AT_ONCE)
        times_s = dict(zip(frame_index[part].tolist(), time_s[part].tolist(), strict=True))
        first, last = int(frame_index[part][0]), int(frame_index[part][-1])
        rows = connection.execute(
            sa.select(Face.frame_index, Face.face_index, Face.track, Face.label, Face.logits, Face.quality_e4)
            .where(Face.run_id == run, Face.frame_index.between(first, last))
            .order_by(Face.frame_index, Face.face_index)
        ).all()
        if rows:
            yield (
                times_s,
                _Faces(
                    np.array([row[0] for row in rows], np.int64),
                    np.array([row[1] for row in rows], np.int64),
                    np.array([UNCONFIRMED if row[2] is None else row[2] for row in rows], np.int64),
                    np.array([row[3] for row in rows], np.int64),
                    unpack_rows([row[4] for row in rows], (len(EXPRESSIONS),)),
                    quality_of([row[5] for row in rows]),
                ),
            )


def _fold_part(
    fold: ExpressionFold, run: int, times_s: dict[int, float], faces: _Faces
) -> tuple[list[dict[str, Any]], int, int]:
    """New values of these faces, how many labels changed, and how many frames they are from."""
    starts = np.flatnonzero(np.diff(faces.frame_index, prepend=-1))
    ends = np.append(starts[1:], len(faces.frame_index))
    folded = [
        fold.update(
            times_s[int(faces.frame_index[start])],
            faces.track[start:end],
            faces.logits[start:end],
            faces.quality[start:end],
        )
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
    labels = np.concatenate([result.labels for result in folded])
    smoothed = np.concatenate([result.smoothed for result in folded])
    probabilities = np.concatenate([result.probabilities for result in folded])
    columns = {
        "of_run_id": [run] * len(labels),
        "of_frame_index": faces.frame_index.tolist(),
        "of_face_index": faces.face_index.tolist(),
        "new_label": labels.tolist(),
        "new_probability": np.nan_to_num(label_probability(smoothed, labels), nan=0.0).tolist(),
        "new_probabilities": pack_rows(probabilities),
        "new_smoothed": pack_rows(smoothed),
        **{f"new_{name}": values for name, values in probability_columns(smoothed, probabilities).items()},
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return rows, int(np.count_nonzero(labels != faces.label)), len(starts)


def _record(
    connection: sa.Connection, record: sa.RowMapping, calibrator: Calibrator, config_toml: str, config_digest: str
) -> None:
    connection.execute(
        sa.insert(Rescore).values(
            run_id=record["id"],
            rescored_at=dt.datetime.now(dt.UTC),
            config_toml=record["config_toml"],
            config_digest=record["config_digest"],
            calibration=record["calibration"],
        )
    )
    connection.execute(
        sa.update(Run)
        .where(Run.id == record["id"])
        .values(
            calibration=calibrator.record.to_json(),
            config_toml=mask_passwords(config_toml) or record["config_toml"],
            config_digest=config_digest or record["config_digest"],
        )
    )
