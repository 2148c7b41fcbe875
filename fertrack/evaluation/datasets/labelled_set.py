"""Labelled face images in one form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from fertrack.errors import EvaluationError
from fertrack.types import EXPRESSIONS, BoolArray, FloatArray, Image, IntArray, expression_index

__all__ = ["LabelledSet", "expression_index", "label_names", "no_part"]

_NAMED = 3
"""Unreadable images that are named; the others are only counted."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSet:
    """Images of one face each, with the expression given by their label. Row i is image i.

    Attributes:
        name: of the file or folder.
        kind: how it was stored, for people.
        labels: int64 (N,), index into ``EXPRESSIONS``.
        paths: the files; empty where the images are in ``images``.
        images: uint8 (N, H, W), grey, or (N, H, W, 3) BGR; (0, 0, 0) where the images are files.
        xyxy: float32 (N, 4), box of the face, px of the image; NaN where none is given.
        votes: float32 (N, 7), share of the raters for each expression; (0, 7) where nobody voted.
        tied: bool (N,), another expression has as many votes.
        subjects: whose face each is, "" where it is not said; empty where nothing says so.
        left_out: how many images are not in it, by reason.
    """

    name: str
    kind: str
    labels: IntArray
    paths: tuple[Path, ...] = ()
    images: Image = field(default_factory=lambda: np.empty((0, 0, 0), np.uint8))
    xyxy: FloatArray = field(default_factory=lambda: np.empty((0, 4), np.float32))
    votes: FloatArray = field(default_factory=lambda: np.empty((0, len(EXPRESSIONS)), np.float32))
    tied: BoolArray = field(default_factory=lambda: np.empty(0, np.bool_))
    subjects: tuple[str, ...] = ()
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
        """The image, uint8 (H, W, 3), BGR.

        Raises:
            EvaluationError: its file cannot be read as an image.
        """
        if not self.paths:
            stored = self.images[row]
            return stored if stored.ndim == 3 else np.asarray(cv2.cvtColor(stored, cv2.COLOR_GRAY2BGR), np.uint8)
        path = self.paths[row]
        try:
            content = np.frombuffer(path.read_bytes(), np.uint8)
            decoded = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
        except OSError as error:
            raise EvaluationError(f"{path} cannot be read as an image: {_reason(error)}") from error
        except cv2.error:
            decoded = None
        if decoded is None:
            raise EvaluationError(f"{path} is not an image that can be read: remove it, or its row in the list")
        return np.asarray(decoded, np.uint8)

    def without_unreadable(self, rows: Sequence[int]) -> LabelledSet:
        """The set without the images in ``rows``, whose files cannot be read; ``left_out`` counts and names them."""
        if not rows:
            return self
        shown = ", ".join(f"{self.paths[row].parent.name}/{self.paths[row].name}" for row in rows[:_NAMED])
        more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
        kept = self.some(np.delete(np.arange(len(self)), rows))
        return replace(kept, left_out={**self.left_out, f"unreadable: {shown}{more}": len(rows)})

    def some(self, rows: IntArray) -> LabelledSet:
        """Some of the images, in the order of ``rows``, int64 (M,)."""
        chosen = rows.tolist()
        return replace(
            self,
            labels=self.labels[rows],
            paths=tuple(self.paths[row] for row in chosen) if self.paths else (),
            images=self.images if self.paths else self.images[rows],
            xyxy=self.xyxy[rows],
            votes=self.votes[rows] if self.has_votes else self.votes,
            tied=self.tied[rows],
            subjects=tuple(self.subjects[row] for row in chosen) if self.subjects else (),
        )

    def digest(self) -> str:
        """SHA-256 over every image's content, box and label, in order: which data a calibration was fitted on."""
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


def no_part(data: Path, split: str, known: Iterable[str]) -> EvaluationError:
    """Error for a split that a labelled set does not have."""
    named = ", ".join(dict.fromkeys(name for name in known if name)) or "not named"
    return EvaluationError(f"{data} has no part {split!r}: its parts are {named}")


def label_names(labels: Sequence[int] | IntArray) -> list[str]:
    """Names of labels, -1 being "uncertain"."""
    return [EXPRESSIONS[label] if label >= 0 else "uncertain" for label in labels]


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
