"""Labelled face pictures in one form, whatever they were stored as.

``read_labelled`` knows, and tells apart by what it finds:

* a folder with one sub-folder per expression (names such as ``happiness`` or ``happy``, or RAF-DB's numbers 1 to 7);
* RAF-DB as published: ``list_partition_label.txt`` beside ``aligned/``;
* CSV files: our own (columns ``path`` and ``label``, if wanted ``x1 y1 x2 y2`` in px, and ``split``), AffectNet's
  (``subDirectory_filePath``, ``face_x`` ..., ``expression``), FER+'s ``fer2013new.csv`` and FER2013's ``fer2013.csv``;
* npz: FER2013 with FER+ votes (``images``, ``ferplus_votes``, ``split``), or just ``images``, ``labels`` and
  ``class_names``.

Pictures labelled with anything but the seven expressions (contempt, unknown, no face) are left out and counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fertrack.errors import EvaluationError
from fertrack.types import EXPRESSIONS, FloatArray, Image, IntArray

__all__ = ["LabelledSet", "expression_index", "label_names", "read_labelled"]

_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})

_OTHER_WORDS = {
    "surprised": "surprise",
    "suprise": "surprise",
    "fearful": "fear",
    "afraid": "fear",
    "disgusted": "disgust",
    "happy": "happiness",
    "joy": "happiness",
    "sad": "sadness",
    "angry": "anger",
    "calm": "neutral",
    "neutrality": "neutral",
}


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSet:
    """Pictures of one face each, with the expression it is said to show. Row i is picture i.

    Attributes:
        name: of the file or folder.
        kind: how it was stored, for people.
        labels: int64 (N,), index into ``EXPRESSIONS``.
        paths: the files; empty where the pictures are in ``images``.
        images: uint8 (N, H, W), grey, or (N, H, W, 3) BGR; (0, 0, 0) where the pictures are files.
        xyxy: float32 (N, 4), box of the face, px of the picture; NaN where none is given.
        votes: float32 (N, 7), share of the raters for each expression; (0, 7) where nobody voted.
        tied: bool (N,), another expression has as many votes.
        left_out: how many pictures are not in it, by reason.
    """

    name: str
    kind: str
    labels: IntArray
    paths: tuple[Path, ...] = ()
    images: Image = field(default_factory=lambda: np.empty((0, 0, 0), np.uint8))
    xyxy: FloatArray = field(default_factory=lambda: np.empty((0, 4), np.float32))
    votes: FloatArray = field(default_factory=lambda: np.empty((0, len(EXPRESSIONS)), np.float32))
    tied: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    left_out: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.labels)
        if not len(self.xyxy):
            object.__setattr__(self, "xyxy", np.full((count, 4), np.nan, np.float32))
        if not len(self.tied):
            object.__setattr__(self, "tied", np.zeros(count, np.bool_))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def has_votes(self) -> bool:
        """Whether several raters' votes are known."""
        return len(self.votes) == len(self.labels) > 0

    def image(self, row: int) -> Image:
        """The picture, uint8 (H, W, 3), BGR.

        Raises:
            EvaluationError: its file cannot be read as a picture.
        """
        if not self.paths:
            stored = self.images[row]
            return stored if stored.ndim == 3 else np.asarray(cv2.cvtColor(stored, cv2.COLOR_GRAY2BGR), np.uint8)
        path = self.paths[row]
        try:
            decoded = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        except (OSError, cv2.error) as error:
            raise EvaluationError(f"{path} cannot be read as a picture: {_reason(error)}") from error
        if decoded is None:
            raise EvaluationError(f"{path} is not a picture that can be read: remove it, or its row in the list")
        return np.asarray(decoded, np.uint8)

    def subset(self, rows: npt.NDArray[np.int64]) -> LabelledSet:
        """Only these pictures, in this order."""
        return LabelledSet(
            self.name,
            self.kind,
            self.labels[rows],
            tuple(self.paths[row] for row in rows) if self.paths else (),
            self.images[rows] if len(self.images) else self.images,
            self.xyxy[rows],
            self.votes[rows] if self.has_votes else self.votes,
            self.tied[rows],
            self.left_out,
        )

    def digest(self) -> str:
        """SHA-256 over every picture's content, box and label, in order: which data a calibration was fitted on."""
        sha = hashlib.sha256()
        for row, label in enumerate(self.labels.tolist()):
            try:
                content = self.paths[row].read_bytes() if self.paths else self.images[row].tobytes()
            except OSError as error:
                raise EvaluationError(f"{self.paths[row]} cannot be read: {_reason(error)}") from error
            sha.update(hashlib.sha256(content).digest())
            sha.update(self.xyxy[row].tobytes())
            sha.update(bytes([label]))
        return sha.hexdigest()


def read_labelled(data: Path, *, split: str = "", pictures: Path | None = None) -> LabelledSet:
    """Read labelled pictures; see the top of this module for what is understood.

    Args:
        data: the folder, CSV or npz file.
        split: which part, for data that has parts ("PublicTest", "train", ...); empty: the usual test part of that kind
            of data, or everything where there are no parts.
        pictures: folder that the paths in a CSV file start from; None: the CSV file's own.

    Raises:
        EvaluationError: it is missing, of no known kind, or has no picture with one of the seven expressions.
    """
    from fertrack.evaluation import labelled_formats as formats

    if data.is_dir():
        found = formats.read_rafdb(data, split) if formats.is_rafdb(data) else _read_folder(data, split)
    elif data.suffix.lower() == ".npz":
        found = formats.read_npz(data, split)
    elif data.suffix.lower() in (".csv", ".tsv"):
        found = formats.read_csv(data, split, pictures)
    elif data.exists():
        raise EvaluationError(
            f"{data} is no labelled set: give a folder with a sub-folder per expression, a CSV file, or an npz file"
        )
    else:
        raise EvaluationError(f"there is no {data}: give a folder, a CSV file or an npz file of labelled pictures")
    if not len(found):
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
        raise EvaluationError(
            f"{data} has no picture labelled with one of the seven expressions" + (f" ({reasons})" if reasons else "")
        )
    return found


def expression_index(word: str) -> int:
    """Index of the expression that a word names, synonyms included; -1 if it is none of the seven.

    >>> expression_index("Happy"), expression_index("contempt")
    (3, -1)
    """
    lower = word.strip().lower()
    name = _OTHER_WORDS.get(lower, lower)
    return EXPRESSIONS.index(name) if name in EXPRESSIONS else -1


def label_names(labels: Sequence[int] | IntArray) -> list[str]:
    """Names of labels, -1 being "uncertain"."""
    return [EXPRESSIONS[label] if label >= 0 else "uncertain" for label in labels]


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
        if parts:
            raise EvaluationError(f"{data} has several parts: choose one with --split {' or --split '.join(parts)}")
    kind = "folder of sub-folders, numbered as in RAF-DB" if numbered else "folder of sub-folders"
    return LabelledSet(data.name, kind, np.array(labels, np.int64), tuple(paths), left_out=_counted(left_out))


def _counted(left_out: dict[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in left_out.items() if count}


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
