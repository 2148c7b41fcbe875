"""Faces that other programs found, read from their CSV files: Py-Feat's and OpenFace's.

==========  =======================================================================================================
program     columns read
==========  =======================================================================================================
pyfeat      frame (from 0), FaceRectX, FaceRectY, FaceRectWidth, FaceRectHeight, FaceScore, seven emotions (anger or
            Anger, happiness or Happy, ...), and where there are any Identity, input, x_0 ... x_67, y_0 ... y_67
openface    frame (from 1), timestamp, confidence, success, x_0 ... x_67, y_0 ... y_67, and where there is one face_id;
            a face's box is that around its landmarks
==========  =======================================================================================================

Py-Feat's names are those of its files of versions 0.5 to 2.8 (py-feat.org), OpenFace's those of its wiki ("Output
format", version 2.2). Landmarks are the 68 points of the iBUG scheme.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fertrack.errors import TableError, reason_of
from fertrack.types import EXPRESSIONS, BoolArray, Float64Array, FloatArray, IntArray, expression_index

__all__ = ["TOOLS", "ToolFaces", "read_tool"]

TOOLS = {"pyfeat": "Py-Feat", "openface": "OpenFace"}
"""Programs by the name that the command takes."""

_POINTS = 68
_FIVE = ((36, 42), (42, 48), (30, 31), (48, 49), (54, 55))
"""Left eye, right eye, nose, mouth corners, as seen in the image: ranges of the 68 points, whose means they are."""

_BOX = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight")
_SUM_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class ToolFaces:
    """Faces of one file, N of them, in order of frame.

    Attributes:
        frames: int64 (F,), all frames that the file has, with a face or without, ascending.
        times_s: (F,), when they are shown, seconds; NaN where the file does not say.
        frame: int64 (N,), frame of each face, from 0.
        person: int64 (N,), whom the program took it for, any numbers; None: it does not say.
        xyxy: float32 (N, 4), px.
        score: float32 (N,), 0 to 1.
        landmarks: float32 (N, 5, 2), px; zeros where the file has none.
        probabilities: (N, 7), in ``EXPRESSIONS`` order, each row with the sum 1; NaN: no estimate.
        notes: sentences about what was found.
    """

    frames: IntArray
    times_s: Float64Array
    frame: IntArray
    person: IntArray | None
    xyxy: FloatArray
    score: FloatArray
    landmarks: FloatArray
    probabilities: Float64Array
    notes: tuple[str, ...] = ()


def read_tool(tool: str, path: Path) -> ToolFaces:
    """The faces in another program's file.

    Args:
        tool: one of ``TOOLS``.
        path: its CSV file.

    Raises:
        TableError: it cannot be read, or is no file of that program.
    """
    return _pyfeat(path) if tool == "pyfeat" else _openface(path)


def _pyfeat(path: Path) -> ToolFaces:
    table = _read(path, "Py-Feat", ("frame", *_BOX, "FaceScore"), (*EXPRESSIONS, "Identity", "input"))
    inputs = table["input"].dropna().nunique() if "input" in table else 1
    if inputs > 1:
        raise TableError(f"{path} is about {inputs} videos or pictures (column 'input'): give one file for each video")
    of_expression = {expression_index(name): name for name in table.columns if expression_index(name) >= 0}
    if missing := [name for place, name in enumerate(EXPRESSIONS) if place not in of_expression]:
        raise TableError(f"{path} has no column for {', '.join(missing)}: is it of Py-Feat, with an emotion model?")
    numbers = _numbers(path, table, ["frame", *_BOX, "FaceScore", *of_expression.values()])
    values = np.column_stack([numbers[of_expression[place]] for place in range(len(EXPRESSIONS))])
    corner = np.column_stack([numbers[name] for name in _BOX])
    there: BoolArray = np.isfinite(np.hstack([values, corner]).sum(axis=1))
    sums = values[there].sum(axis=1)
    if (values[there] < 0.0).any() or (sums <= 0.0).any():
        raise TableError(f"{path}: the columns of emotions hold no probabilities: values below 0, or none above it")
    notes = []
    if (np.abs(sums - 1.0) > _SUM_TOLERANCE).any():
        notes.append("its seven values did not add up to 1, so each was divided by their sum")
    person = None
    if "Identity" in table and table["Identity"].notna().any():
        person = pd.factorize(table["Identity"].astype(str).to_numpy()[there])[0].astype(np.int64)
    frame = _whole(path, numbers["frame"])
    box = corner[there]
    return _ordered(
        ToolFaces(
            frames=np.unique(frame),
            times_s=np.full(len(np.unique(frame)), np.nan),
            frame=frame[there],
            person=person,
            xyxy=np.column_stack([box[:, :2], box[:, :2] + box[:, 2:]]).astype(np.float32),
            score=np.clip(np.nan_to_num(numbers["FaceScore"][there]), 0.0, 1.0).astype(np.float32),
            landmarks=_five(path, table, there),
            probabilities=values[there] / sums[:, None],
            notes=tuple(notes),
        )
    )


def _openface(path: Path) -> ToolFaces:
    table = _read(path, "OpenFace", ("frame", "timestamp", "confidence", "success"), ("face_id",))
    if not _has_points(table):
        raise TableError(f"{path} has no landmarks x_0 to y_67, from which boxes are made: run OpenFace with -2Dfp")
    numbers = _numbers(path, table, ["frame", "timestamp", "confidence", "success"])
    there: BoolArray = np.logical_and(numbers["success"] > 0.0, np.isfinite(numbers["confidence"]))
    points = _points(path, table)[there]
    frame = _whole(path, numbers["frame"]) - 1
    frames, first = np.unique(frame, return_index=True)
    person = None
    if "face_id" in table:
        person = _whole(path, _numbers(path, table, ["face_id"])["face_id"])[there]
    return _ordered(
        ToolFaces(
            frames=frames,
            times_s=numbers["timestamp"][first],
            frame=frame[there],
            person=person,
            xyxy=np.hstack([points.min(axis=1), points.max(axis=1)]).astype(np.float32).reshape(-1, 4),
            score=np.clip(numbers["confidence"][there], 0.0, 1.0).astype(np.float32),
            landmarks=_five(path, table, there),
            probabilities=np.full((int(there.sum()), len(EXPRESSIONS)), np.nan),
        )
    )


def _read(path: Path, program: str, needed: Iterable[str], wanted: Iterable[str]) -> pd.DataFrame:
    """The columns of a file that are read; others, of which there may be thousands, are passed over."""
    names = {*needed, *wanted, *_names("x"), *_names("y")}
    try:
        table = pd.read_csv(
            path,
            skipinitialspace=True,
            encoding="utf-8-sig",
            low_memory=False,
            usecols=lambda name: name.strip() in names or expression_index(name) >= 0,
        )
    except (OSError, UnicodeDecodeError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise TableError(f"{path} cannot be read as {program}'s CSV: {reason_of(error)}") from error
    table.columns = [str(name).strip() for name in table.columns]
    if missing := [name for name in needed if name not in table]:
        raise TableError(f"{path} has no column {missing[0]!r}: is it a file of {program}?")
    if table.empty:
        raise TableError(f"{path} has no rows")
    return table


def _names(axis: str) -> list[str]:
    return [f"{axis}_{point}" for point in range(_POINTS)]


def _has_points(table: pd.DataFrame) -> bool:
    return {*_names("x"), *_names("y")} <= set(table.columns)


def _numbers(path: Path, table: pd.DataFrame, names: list[str]) -> dict[str, Float64Array]:
    found: dict[str, Float64Array] = {}
    for name in names:
        try:
            found[name] = pd.to_numeric(table[name]).to_numpy(np.float64)
        except (ValueError, TypeError) as error:
            raise TableError(f"{path}: column {name!r} holds something that is no number: {error}") from error
    return found


def _whole(path: Path, values: Float64Array) -> IntArray:
    if not np.isfinite(values).all() or (values != np.rint(values)).any() or (np.abs(values) > 1e9).any():
        raise TableError(f"{path}: numbers of frames and faces must be whole")
    return values.astype(np.int64)


def _points(path: Path, table: pd.DataFrame) -> Float64Array:
    """(rows, 68, 2)."""
    axes = [np.column_stack(list(_numbers(path, table, _names(axis)).values())) for axis in ("x", "y")]
    return np.stack(axes, axis=2)


def _five(path: Path, table: pd.DataFrame, there: BoolArray) -> FloatArray:
    if not _has_points(table):
        return np.zeros((int(there.sum()), 5, 2), np.float32)
    points = _points(path, table)[there]
    means = [points[:, first:end].mean(axis=1) for first, end in _FIVE]
    five: FloatArray = np.nan_to_num(np.stack(means, axis=1)).astype(np.float32)
    return five


def _ordered(faces: ToolFaces) -> ToolFaces:
    """The same, by frame, best score first."""
    order = np.lexsort((-faces.score, faces.frame))
    return ToolFaces(
        frames=faces.frames,
        times_s=faces.times_s,
        frame=faces.frame[order],
        person=None if faces.person is None else faces.person[order],
        xyxy=faces.xyxy[order],
        score=faces.score[order],
        landmarks=faces.landmarks[order],
        probabilities=faces.probabilities[order],
        notes=faces.notes,
    )
