"""Scores tracks against ground truth with TrackEval, and runs our tracker over published detections.

Metrics are TrackEval's own (arXiv 2009.07736 for HOTA, arXiv 1609.01775 for IDF1, CLEAR MOT for the rest), at an
overlap (IoU) of 0.5 except HOTA's, which is the mean over 0.05 to 0.95. Nothing is computed here but the overlaps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fertrack.errors import MissingExtraError
from fertrack.evaluation.tracking.mot import NO_TRACK, MotRows, SequenceFiles, read_ground_truth, read_mot
from fertrack.imaging.geometry import iou_matrix
from fertrack.tracking.tracker import SortTracker, TrackerConfig, TrackUpdate
from fertrack.types import UNCONFIRMED

__all__ = ["TOGETHER", "SequenceResult", "TrackingScores", "evaluate", "run_tracker", "score"]

TOGETHER = "together"
"""Name under which the scores of all sequences together are listed."""

OVERLAP = 0.5
"""Smallest IoU at which a box counts as found."""


@dataclass(frozen=True, slots=True)
class TrackingScores:
    """Tracking scores against ground truth.

    Attributes:
        sequence: name of the sequence, or ``TOGETHER``.
        mota: 1 - (missed + false + switches) / true boxes; can be negative.
        motp: mean overlap (IoU) of the boxes found, 0.5 to 1.
        idf1: share of boxes that carry the right identity, judged over the whole sequence.
        hota: geometric mean of ``det_a`` and ``ass_a``, over all overlaps asked for.
        det_a: how well boxes are found.
        ass_a: how well boxes of one identity are kept together.
        switches: how often the ID on a person changed.
        fragmentations: how often a person's track was interrupted.
        mostly_tracked: people found in more than 80 % of their boxes.
        mostly_lost: people found in less than 20 % of their boxes.
        people: identities in the truth.
        boxes: boxes in the truth.
        missed: boxes of the truth that were not found.
        false: boxes that are not in the truth.
    """

    sequence: str
    mota: float
    motp: float
    idf1: float
    hota: float
    det_a: float
    ass_a: float
    switches: int
    fragmentations: int
    mostly_tracked: int
    mostly_lost: int
    people: int
    boxes: int
    missed: int
    false: int


@dataclass(frozen=True, slots=True, eq=False)
class SequenceResult:
    """One sequence's tracks and truth, ready to be scored.

    Attributes:
        name: of the sequence.
        tracks: boxes with IDs; boxes with the ID -1 are not counted.
        truth: the ground truth.
    """

    name: str
    tracks: MotRows
    truth: MotRows


def run_tracker(detections: MotRows, config: TrackerConfig, frames: int = 0, fps: float = 30.0) -> MotRows:
    """Track published detections as fertrack does offline: results held back, so a track's first rows have its ID too.

    Args:
        detections: of one sequence; IDs in them are not looked at.
        config: the tracker's options.
        frames: how many frames the sequence has; at least up to its last detection.
        fps: frames a second.

    Returns:
        The rows that carry an ID, with the tracks' own boxes.
    """
    tracker = SortTracker(config)
    held: deque[tuple[MotRows, TrackUpdate]] = deque()
    kept: list[MotRows] = []

    def release(keep: int) -> None:
        while len(held) > keep:
            rows, update = held.popleft()
            ids = update.track_ids
            if config.lookback:
                ids = np.fromiter(map(tracker.track_id, update.keys.tolist()), np.int64, len(rows))
            found = MotRows(rows.frame, ids, update.xyxy.astype(np.float64), rows.confidence)
            kept.append(found.at(ids != UNCONFIRMED))

    for number, rows in enumerate(detections.per_frame(max(frames, detections.last_frame)), start=1):
        held.append((rows, tracker.update(rows.as_detections(), number, number / fps)))
        release(config.lookback)
    release(0)
    return MotRows(
        np.concatenate([rows.frame for rows in kept] or [np.empty(0, np.int64)]),
        np.concatenate([rows.track for rows in kept] or [np.empty(0, np.int64)]),
        np.concatenate([rows.xyxy for rows in kept] or [np.empty((0, 4))]),
        np.concatenate([rows.confidence for rows in kept] or [np.empty(0)]),
    )


def evaluate(
    sequences: Iterable[SequenceFiles], config: TrackerConfig, *, track_again: bool = False
) -> list[TrackingScores]:
    """Score sequences: the tracks in their files, or ours where the files hold mere detections.

    Args:
        sequences: the files.
        config: the tracker's options.
        track_again: run our tracker even over files that hold tracks.

    Returns:
        One entry for each sequence; with more than one, a last one for all ``TOGETHER``.

    Raises:
        EvaluationError: a file cannot be read.
        ConfigError: TrackEval is not installed.
    """
    _trackeval()
    results = []
    for files in sequences:
        boxes, truth = read_mot(files.boxes), read_ground_truth(files.truth)
        if track_again or not boxes.has_tracks:
            boxes = run_tracker(boxes, config, max(files.frames, truth.last_frame), files.fps)
        results.append(SequenceResult(files.name, boxes, truth))
    return score(results)


def score(results: Iterable[SequenceResult]) -> list[TrackingScores]:
    """Score tracks against the truth.

    Returns:
        One entry for each sequence; with more than one, a last one for all ``TOGETHER``.

    Raises:
        ConfigError: TrackEval is not installed.
        ValueError: two sequences have the same name.
    """
    metrics = _metrics()
    truths: dict[str, MotRows] = {}
    found: dict[str, dict[str, Any]] = {name: {} for name in metrics}
    for result in results:
        if result.name in truths:
            raise ValueError(f"two sequences are called {result.name}")
        truths[result.name] = result.truth
        described = _for_trackeval(result)
        for name, metric in metrics.items():
            found[name][result.name] = metric.eval_sequence(described)
    scores = [
        _scores(name, {metric: found[metric][name] for metric in metrics}, [truth]) for name, truth in truths.items()
    ]
    if len(scores) > 1:
        together = {name: metric.combine_sequences(found[name]) for name, metric in metrics.items()}
        scores.append(_scores(TOGETHER, together, truths.values()))
    return scores


def _trackeval() -> Any:
    try:
        import trackeval
    except ImportError as error:
        raise MissingExtraError("scores of tracks need the package trackeval", "eval") from error
    return trackeval


def _metrics() -> dict[str, Any]:
    metrics = _trackeval().metrics
    options = {"THRESHOLD": OVERLAP, "PRINT_CONFIG": False}
    return {"clear": metrics.CLEAR(dict(options)), "identity": metrics.Identity(dict(options)), "hota": metrics.HOTA()}


def _for_trackeval(result: SequenceResult) -> dict[str, Any]:
    """A sequence as TrackEval's metrics take it: per frame, IDs counted from 0 and overlaps of truth x tracks."""
    truth, tracks = result.truth, result.tracks.at(result.tracks.track != NO_TRACK)
    frames = max(truth.last_frame, tracks.last_frame)
    true_ids, true_rows = np.unique(truth.track, return_inverse=True)
    ids, rows = np.unique(tracks.track, return_inverse=True)
    in_truth = [part.frame for part in truth.per_frame(frames)]
    true_ends = np.cumsum([len(part) for part in in_truth])[:-1]
    ends = np.cumsum([len(part) for part in tracks.per_frame(frames)])[:-1]
    return {
        "num_timesteps": frames,
        "num_gt_ids": len(true_ids),
        "num_tracker_ids": len(ids),
        "num_gt_dets": len(truth),
        "num_tracker_dets": len(tracks),
        "gt_ids": np.split(true_rows, true_ends),
        "tracker_ids": np.split(rows, ends),
        "similarity_scores": [
            iou_matrix(a, b) for a, b in zip(np.split(truth.xyxy, true_ends), np.split(tracks.xyxy, ends), strict=True)
        ],
    }


def _scores(name: str, found: Mapping[str, Mapping[str, Any]], truths: Iterable[MotRows]) -> TrackingScores:
    clear, identity, hota = found["clear"], found["identity"], found["hota"]
    return TrackingScores(
        sequence=name,
        mota=float(clear["MOTA"]),
        motp=float(clear["MOTP"]),
        idf1=float(identity["IDF1"]),
        hota=float(np.mean(hota["HOTA"])),
        det_a=float(np.mean(hota["DetA"])),
        ass_a=float(np.mean(hota["AssA"])),
        switches=int(clear["IDSW"]),
        fragmentations=int(clear["Frag"]),
        mostly_tracked=int(clear["MT"]),
        mostly_lost=int(clear["ML"]),
        people=sum(len(np.unique(truth.track)) for truth in truths),
        boxes=int(clear["CLR_TP"] + clear["CLR_FN"]),
        missed=int(clear["CLR_FN"]),
        false=int(clear["CLR_FP"]),
    )
