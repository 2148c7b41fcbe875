"""Reads MOTChallenge text: detections, tracks and ground truth, one box a line; and finds the files of sequences.

::

    frame, id, left, top, width, height, confidence, ...

Frames count from 1, boxes are in px, what follows the seventh column is not used. Detections have the ID -1. In ground
truth the seventh column is a flag: rows with 0 there mark what is to be ignored, and are left out.
"""

from __future__ import annotations

import configparser
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fertrack.errors import EvaluationError, reason_of
from fertrack.types import Detections, Float64Array, IntArray

__all__ = ["NO_TRACK", "MotRows", "SequenceFiles", "find_sequences", "read_ground_truth", "read_mot"]

NO_TRACK = -1
"""ID of a box that is nobody's, a mere detection."""

_COLUMNS = 7
_MAX_NUMBER = 2.0**53  # of a frame or a track: larger ones are not whole any more


@dataclass(frozen=True, slots=True, eq=False)
class MotRows:
    """Boxes of a sequence, ordered by frame.

    Attributes:
        frame: int64 (N,), from 1.
        track: int64 (N,), whose box it is; -1 = nobody's.
        xyxy: float64 (N, 4), px.
        confidence: float64 (N,); 1 where the file has no such column.
    """

    frame: IntArray
    track: IntArray
    xyxy: Float64Array
    confidence: Float64Array

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def last_frame(self) -> int:
        """Number of the last frame with a box; 0 if there is none."""
        return int(self.frame[-1]) if len(self) else 0

    @property
    def has_tracks(self) -> bool:
        """Whether any box has a track ID."""
        return bool((self.track != NO_TRACK).any())

    def at(self, rows: npt.NDArray[Any] | slice) -> MotRows:
        """The boxes at ``rows`` (a mask, indices or a slice)."""
        return MotRows(self.frame[rows], self.track[rows], self.xyxy[rows], self.confidence[rows])

    def per_frame(self, frames: int) -> Iterator[MotRows]:
        """The boxes of frame 1, of frame 2, and so on to ``frames``."""
        bounds = np.searchsorted(self.frame, np.arange(1, frames + 2)).tolist()
        for start, end in itertools.pairwise(bounds):
            yield self.at(slice(start, end))

    def as_detections(self) -> Detections:
        """These boxes as a detector would have found them; the landmarks are not known, and all 0."""
        landmarks = np.zeros((len(self), 5, 2), np.float32)
        return Detections(self.xyxy.astype(np.float32), self.confidence.astype(np.float32), landmarks)


def read_mot(path: Path) -> MotRows:
    """Read detections or tracks.

    Raises:
        EvaluationError: the file is missing or not such text, or a frame has two boxes of one ID.
    """
    table = _table(path)
    table = table[np.argsort(table[:, 0], kind="stable")]
    rows = MotRows(
        frame=table[:, 0].astype(np.int64),
        track=table[:, 1].astype(np.int64),
        xyxy=np.hstack([table[:, 2:4], table[:, 2:4] + table[:, 4:6]]),
        confidence=table[:, 6],
    )
    if len(rows) and rows.frame[0] < 1:
        raise EvaluationError(f"{path}: frames count from 1 in MOTChallenge text, but there is a frame {rows.frame[0]}")
    _check_unique(rows, path)
    return rows


def read_ground_truth(path: Path) -> MotRows:
    """Read ground truth, without the rows marked to be ignored (seventh column 0).

    Raises:
        EvaluationError: as ``read_mot``.
    """
    rows = read_mot(path)
    return rows.at(rows.confidence != 0.0)


def _table(path: Path) -> Float64Array:
    """Columns frame, id, left, top, width, height, confidence: float64 (N, 7)."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path} cannot be read as MOTChallenge text: {reason_of(error)}") from error
    table = np.ones((len(lines), _COLUMNS))
    count = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = [float(value) for value in line.split(",")[:_COLUMNS]]
        except ValueError as error:
            raise EvaluationError(f"{path}, line {number}: {error}; numbers between commas are expected") from error
        is_whole = len(values) >= _COLUMNS - 1 and np.isfinite(values).all() and max(map(abs, values[:2])) < _MAX_NUMBER
        if not is_whole:
            raise EvaluationError(
                f"{path}, line {number}: expected frame,id,left,top,width,height[,confidence], got {line[:60]!r}"
            )
        table[count, : len(values)] = values
        count += 1
    return table[:count]


def _check_unique(rows: MotRows, path: Path) -> None:
    claimed = rows.track != NO_TRACK
    pairs, counts = np.unique(np.stack([rows.frame[claimed], rows.track[claimed]]), axis=1, return_counts=True)
    if (counts > 1).any():
        frame, track = pairs[:, np.argmax(counts > 1)].tolist()
        raise EvaluationError(f"{path}: ID {track} has more than one box in frame {frame}")


@dataclass(frozen=True, slots=True)
class SequenceFiles:
    """The files of one sequence.

    Attributes:
        name: what its scores are listed under.
        boxes: its detections or tracks.
        truth: its ground truth.
        frames: how many frames it has; 0 if that is written nowhere.
        fps: frames a second; 30 if that is written nowhere.
    """

    name: str
    boxes: Path
    truth: Path
    frames: int = 0
    fps: float = 30.0


def find_sequences(boxes: Path, truths: Sequence[Path]) -> list[SequenceFiles]:
    """Find what belongs together.

    Args:
        boxes: a file of detections or tracks, for a single ground truth; or a folder with ``<name>.txt`` or
            ``<name>/det/det.txt`` for each sequence; or a sequence's own folder, with ``det/det.txt``.
        truths: ground truth files, sequence folders (with ``gt/gt.txt``, and ``seqinfo.ini`` if there is one), or
            folders of such folders; where there is none, ``boxes`` itself.

    Raises:
        EvaluationError: something is missing, or cannot be told apart.
    """
    found = [file for truth in truths or [boxes] for file in _truth_files(truth)]
    if boxes.is_file():
        if len(found) != 1:
            raise EvaluationError(
                f"{boxes} is one file, but there are {len(found)} ground truths: give a folder with a <name>.txt or "
                "<name>/det/det.txt for each"
            )
        return [SequenceFiles(_name(found[0]), boxes, found[0], *_frames_and_fps(found[0]))]
    if not boxes.exists():
        raise EvaluationError(f"no such file or folder: {boxes}")
    return [SequenceFiles(_name(file), _boxes_of(_name(file), boxes), file, *_frames_and_fps(file)) for file in found]


def _truth_files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if (place / "gt" / "gt.txt").is_file():
        return [place / "gt" / "gt.txt"]
    inside = sorted(place.glob("*/gt/gt.txt"))
    if not inside:
        raise EvaluationError(f"no ground truth at {place}: neither a file, nor a folder with gt/gt.txt or */gt/gt.txt")
    return inside


def _is_standard(truth: Path) -> bool:
    return (truth.parent.name, truth.name) == ("gt", "gt.txt")


def _name(truth: Path) -> str:
    return truth.resolve().parent.parent.name if _is_standard(truth) else truth.stem.removesuffix("_gt")


def _boxes_of(name: str, folder: Path) -> Path:
    places = [folder / f"{name}.txt", folder / name / "det" / "det.txt"]
    if folder.resolve().name == name:
        places.append(folder / "det" / "det.txt")
    for place in places:
        if place.is_file():
            return place
    raise EvaluationError(f"no boxes for {name}: {' and '.join(map(str, places))} are not there")


def _frames_and_fps(truth: Path) -> tuple[int, float]:
    """Number of frames and frames a second from ``seqinfo.ini``; 0 and 30 without one."""
    path = truth.parent.parent / "seqinfo.ini"
    if not (_is_standard(truth) and path.is_file()):
        return 0, 30.0
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
        fps = parser.getfloat("Sequence", "frameRate", fallback=30.0)
        return parser.getint("Sequence", "seqLength"), fps if 0.0 < fps < float("inf") else 30.0
    except (OSError, ValueError, configparser.Error) as error:
        raise EvaluationError(f"{path} does not say how many frames there are: {reason_of(error)}") from error
