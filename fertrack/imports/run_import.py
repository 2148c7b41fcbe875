"""Results of other programs stored as runs, so that episodes, statistics, exports and reports work on them.

A run says that it was imported, from what, and that nobody has calibrated its probabilities. Py-Feat's seven
probabilities are smoothed and labelled as fertrack's own would be, with its thresholds for classifiers that are not
calibrated. OpenFace estimates action units and no expressions; none are made up from them, so every face is
*uncertain* until people label it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fertrack.errors import TableError
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig, SmoothingConfig
from fertrack.expression.fold import ExpressionFold
from fertrack.imports.other_tools import TOOLS, ToolFaces, read_tool
from fertrack.storage.runs import RunRecord
from fertrack.storage.writer import RunWriter
from fertrack.storage.written_files import file_digest
from fertrack.tracking.config import TrackerConfig
from fertrack.tracking.tracker import SortTracker
from fertrack.types import (
    UNCONFIRMED,
    Detections,
    Faces,
    Float64Array,
    FrameResult,
    IntArray,
    RunSummary,
    VideoInfo,
)

if TYPE_CHECKING:
    from fertrack.storage.engine import Database

__all__ = ["ImportRules", "ImportedRun", "import_run"]

_MAX_FRAMES = 5_000_000
_FRAMES_AT_ONCE = 500
_MIN_PROBABILITY = 1e-7
_UNCALIBRATED = (
    "its probabilities are the program's own and were not calibrated: how often a face given 80 % is right is not known"
)
_NO_EXPRESSIONS = (
    "OpenFace estimates action units, no expressions, so every face is uncertain until people label it; action units "
    "are not stored"
)


@dataclass(frozen=True, slots=True)
class ImportRules:
    """Rules by which rows become tracks and labels.

    Attributes:
        fps: frames a second, where the file has only numbers of frames; 0: not known. Overrules a file's own times.
        video: facts about the video; None: not known.
        calibration: options of labels.
        smoothing: of probabilities over time.
        tracking: of faces over time, where the program does not say who is who.
    """

    fps: float = 0.0
    video: VideoInfo | None = None
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    tracking: TrackerConfig = field(default_factory=TrackerConfig)


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """The new run: its number, and numbers of its frames, faces and tracks; sentences about what was done."""

    run: int
    frames: int
    faces: int
    tracks: int
    notes: tuple[str, ...]


def import_run(db: Database, tool: str, path: Path, record: RunRecord, rules: ImportRules | None = None) -> ImportedRun:
    """Store another program's results as a new run.

    Args:
        db: the open database.
        tool: one of ``other_tools.TOOLS``.
        path: its CSV file.
        record: settings and purpose; the networks are filled in here.
        rules: how rows become tracks and labels; the defaults if None.

    Raises:
        StorageError: the run cannot be written.
        TableError: the file cannot be read, is no file of that program, or does not say when its frames are shown.
    """
    rules, program = rules or ImportRules(), TOOLS[tool]
    started = time.perf_counter()
    read = read_tool(tool, path)
    frames, times_s, filled = _all_frames(path, read, rules)
    tracks, how = _tracks(read, rules)
    origin = f"{program}, imported, sha256:{file_digest(path)[:12]}"
    calibrator = Calibrator(rules.calibration, ClassifierCalibration.uncalibrated(origin))
    notes = (
        f"imported from {program}'s {path.name}: {_NO_EXPRESSIONS if tool == 'openface' else _UNCALIBRATED}",
        *read.notes,
        *_left_out(filled),
        how,
    )
    info = rules.video or _info(path, read, frames, times_s)
    record = replace(record, detector=origin, classifier=origin, calibration=calibrator.record)
    writer = RunWriter(db, info, record)
    batch: list[FrameResult] = []
    try:
        for result in _results(read, tracks, frames, times_s, ExpressionFold(calibrator, rules.smoothing)):
            batch.append(result)
            if len(batch) == _FRAMES_AT_ONCE:
                writer.write(batch)
                batch.clear()
        writer.write(batch)
    except BaseException as error:
        writer.finish(writer.so_far("failed", str(error)))
        raise
    so_far = writer.so_far("complete")
    step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
    elapsed_s = time.perf_counter() - started
    summary: RunSummary = replace(so_far, notes=notes, video_s=so_far.video_s + step_s, elapsed_s=elapsed_s)
    writer.finish(summary)
    return ImportedRun(writer.run_id, summary.frames, summary.faces, summary.tracks, notes)


def _left_out(frames: int) -> list[str]:
    rows = "1 frame without a row in the file counts" if frames == 1 else f"{frames} frames without a row in it count"
    return [f"{rows} as without a face"] if frames else []


def _all_frames(path: Path, read: ToolFaces, rules: ImportRules) -> tuple[IntArray, Float64Array, int]:
    """Frames with their times, those that the file leaves out included, and how many these are."""
    present = read.frames
    if present[0] < 0:
        raise TableError(f"{path}: frames are numbered from {present[0]}: is it the right program's file?")
    step = max(1, int(np.median(np.diff(present)))) if len(present) > 1 else 1
    if present[-1] // step > _MAX_FRAMES:
        raise TableError(f"{path} has frames up to number {present[-1]}: more than {_MAX_FRAMES:,} cannot be imported")
    before = np.arange(present[0] % step, present[0], step)
    gaps = [np.arange(a + step, b, step) for a, b in pairwise(present.tolist()) if b - a > 1.5 * step]
    frames = np.unique(np.concatenate([before, present, *gaps])).astype(np.int64)
    fps = rules.fps or (rules.video.fps if rules.video is not None and np.isnan(read.times_s).any() else 0.0)
    if fps > 0.0:
        times_s: Float64Array = frames / fps
    elif np.isnan(read.times_s).any():
        raise TableError(f"{path} has no times: say how many frames there are a second with --fps, or give --video")
    else:
        times_s = np.interp(frames, present, read.times_s)
        if len(present) > 1 and len(before):
            per_frame_s = float(np.median(np.diff(read.times_s) / np.diff(present)))
            early = frames < present[0]
            times_s[early] = np.maximum(read.times_s[0] - (present[0] - frames[early]) * per_frame_s, 0.0)
    if len(times_s) > 1 and (np.diff(times_s) < 0.0).any():
        raise TableError(f"{path}: its times go back: say how many frames there are a second with --fps")
    return frames, times_s, len(frames) - len(present)


def _tracks(read: ToolFaces, rules: ImportRules) -> tuple[IntArray, str]:
    """ID of each face's track, -1 for none, and a sentence about where they come from."""
    _, counts = np.unique(read.frame, return_counts=True)
    if read.person is not None:
        _, first, number = np.unique(read.person, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first)) + 1  # in the order in which they come
        found: IntArray = rank[number].astype(np.int64)
        keys = read.frame * (len(first) + 1) + found
        twice = np.ones(len(keys), bool)
        twice[np.unique(keys, return_index=True)[1]] = False  # nobody is in a frame twice: the better face counts
        found[twice] = UNCONFIRMED
        return found, "who is who is as the program says"
    if not len(counts) or counts.max() == 1:
        return np.ones(len(read.frame), np.int64), "no frame has two faces, so all are taken for one person"
    tracker = SortTracker(rules.tracking)
    starts = np.flatnonzero(np.diff(read.frame, prepend=-1))
    keys_of = []
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(read.frame)], strict=True):
        part = slice(start, end)
        detections = Detections(read.xyxy[part], read.score[part], read.landmarks[part])
        keys_of.append(tracker.update(detections, int(read.frame[start])).keys)
    keys_all = np.concatenate(keys_of)
    return np.array([tracker.track_id(int(key)) for key in keys_all], np.int64), "faces were followed by their boxes"


def _results(
    read: ToolFaces, tracks: IntArray, frames: IntArray, times_s: Float64Array, fold: ExpressionFold
) -> Iterator[FrameResult]:
    logits = np.log(np.maximum(read.probabilities, _MIN_PROBABILITY)).astype(np.float32)
    starts = np.searchsorted(read.frame, frames)
    ends = np.searchsorted(read.frame, frames, side="right")
    for frame, time_s, start, end in zip(frames.tolist(), times_s.tolist(), starts, ends, strict=True):
        part = slice(int(start), int(end))
        faces = Faces(Detections(read.xyxy[part], read.score[part], read.landmarks[part]), logits[part])
        folded = fold.update(time_s, tracks[part], logits[part])
        yield FrameResult(
            frame_index=frame,
            timestamp_s=time_s,
            faces=faces,
            track_ids=tracks[part],
            track_xyxy=read.xyxy[part],
            probabilities=folded.probabilities,
            smoothed=folded.smoothed,
            labels=folded.labels,
        )


def _info(path: Path, read: ToolFaces, frames: IntArray, times_s: Float64Array) -> VideoInfo:
    """Facts about a video that nobody named: its size is at least that of the boxes."""
    right, bottom = np.ceil(read.xyxy[:, 2:].max(axis=0)).astype(int).tolist() if len(read.xyxy) else (1, 1)
    step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
    return VideoInfo(
        name=path.name,
        width=max(1, right),
        height=max(1, bottom),
        fps=1.0 / step_s if step_s > 0.0 else 0.0,
        frame_count=len(frames),
    )
