"""Labelled face images in one form, whatever they were stored as.

``read_labelled`` knows, and tells apart by what it finds:

* a folder with one sub-folder per expression (names such as ``happiness`` or ``happy``, or RAF-DB's numbers 1 to 7);
* RAF-DB as published: ``list_partition_label.txt`` beside ``aligned/``;
* CSV files: our own (columns ``path`` or ``file``, and ``label``; if wanted ``x1 y1 x2 y2`` in px, ``split``,
  ``subject``, and raters' shares as ``share_happy`` and so on), AffectNet's (``subDirectory_filePath``, ``face_x`` ...,
  ``expression``), FER+'s ``fer2013new.csv`` and FER2013's ``fer2013.csv``;
* npz: FER2013 with FER+ votes (``images``, ``ferplus_votes``, ``split``), or just ``images``, ``labels`` and
  ``class_names``.

Images labelled with anything but the seven expressions (contempt, unknown, no face) are left out and counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from fertrack.errors import EvaluationError
from fertrack.evaluation.datasets import formats
from fertrack.evaluation.datasets.labelled_set import LabelledSet, expression_index, label_names
from fertrack.evaluation.datasets.npz import read_npz
from fertrack.types import EXPRESSIONS

__all__ = ["LabelledSet", "expression_index", "label_names", "read_labelled"]

_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def read_labelled(
    data: Path,
    *,
    split: str = "",
    pictures: Path | None = None,
    only: Mapping[str, Collection[str]] | None = None,
) -> LabelledSet:
    """Read labelled images; see the top of this module for what is understood.

    Args:
        data: the folder, CSV or npz file.
        split: which part, for data that has parts ("PublicTest", "train", ...); empty: the usual test part of that kind
            of data, or everything where there are no parts.
        pictures: folder that the paths in a CSV file start from; None: the CSV file's own.
        only: column of a CSV file -> values; rows that hold others are passed over.

    Raises:
        EvaluationError: it is missing, of no known kind, or has no image with one of the seven expressions.
    """
    if only and data.suffix.lower() not in (".csv", ".tsv"):
        raise EvaluationError(f"{data} has no columns to choose by: only a CSV file has")
    if data.is_dir():
        found = formats.read_rafdb(data, split) if formats.is_rafdb(data) else _read_folder(data, split)
    elif data.suffix.lower() == ".npz":
        found = read_npz(data, split)
    elif data.suffix.lower() in (".csv", ".tsv"):
        found = formats.read_csv(data, split, pictures, only)
    elif data.exists():
        raise EvaluationError(
            f"{data} is no labelled set: give a folder with a sub-folder per expression, a CSV file, or an npz file"
        )
    else:
        raise EvaluationError(f"there is no {data}: give a folder, a CSV file or an npz file of labelled images")
    if not len(found):
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
        raise EvaluationError(
            f"{data} has no image labelled with one of the seven expressions" + (f" ({reasons})" if reasons else "")
        )
    return found


def _read_folder(data: Path, split: str) -> LabelledSet:
    root = data / split if split else data
    if not root.is_dir():
        raise EvaluationError(f"{root} is not there: --split names a sub-folder of {data}")
    classes = sorted(child for child in root.iterdir() if child.is_dir())
    numbered = {child.name for child in classes} == {str(number) for number in range(1, len(EXPRESSIONS) + 1)}
    paths: list[Path] = []
    labels: list[int] = []
    left_out: dict[str, int] = {}
    for child in classes:
        # RAF-DB's own order is ours.
        label = int(child.name) - 1 if numbered else expression_index(child.name)
        inside = sorted(path for path in child.rglob("*") if path.suffix.lower() in _PICTURES)
        if label < 0:
            left_out[f"in {child.name}/, which is no expression"] = len(inside)
            continue
        paths += inside
        labels += [label] * len(inside)
    if not paths and not split:
        parts = [child.name for child in classes if any(expression_index(sub.name) >= 0 for sub in child.iterdir())]
        if any(path.suffix.lower() in _PICTURES for path in root.iterdir()):
            raise EvaluationError(
                f"{data} has images, but no sub-folders named after expressions: sort them into folders such as "
                "happiness/, or list them in a CSV file with the columns path and label"
            )
        if parts:
            raise EvaluationError(f"{data} has several parts: choose one with --split {' or --split '.join(parts)}")
    kind = "folder of sub-folders, numbered as in RAF-DB" if numbered else "folder of sub-folders"
    return LabelledSet(data.name, kind, np.array(labels, np.int64), tuple(paths), left_out=_counted(left_out))


def _counted(left_out: dict[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in left_out.items() if count}
