"""Ablation of the tracker's improvements: ``python -m fertrack.benchmarks tracker_ablation MOT [...]``.

Writes a table with the default tracker, the same with one improvement left out at a time, and plain SORT: on the MOT15
sequences in folder MOT (pedestrians, published detections), the half that the options were tuned on and the half that
was kept apart; with ``--known VIDEO GT`` on our own detections of a clip whose identities are known, at several
detector sizes; with ``--judged VIDEO`` on clips without ground truth, where a second, independent detector says which
of the boxes followed are faces ("borne out"), and how many of the faces it is sure of are followed. Every variant runs
without the cut detector and without linking.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fertrack.detectors import build_detector
from fertrack.detectors.config import DetectionConfig
from fertrack.errors import FertrackError
from fertrack.evaluation.tracking.mot import NO_TRACK, MotRows, find_sequences, read_ground_truth, read_mot
from fertrack.evaluation.tracking.scores import TOGETHER, SequenceResult, TrackingScores, run_tracker, score
from fertrack.imaging.geometry import iou_matrix
from fertrack.sources import open_source
from fertrack.tracking.tracker import PLAIN_SORT, TrackerConfig

__all__ = ["TUNED_ON", "VARIANTS", "Variant", "detect", "main", "to_markdown"]

TUNED_ON = ("PETS09-S2L1", "ETH-Sunnyday", "TUD-Campus")
"""Sequences the options were tuned on; the others were kept apart."""

_LOWEST = 0.1
_SIZES = (640, 320, 160)
_SEEN = 0.4
"""Overlap (IoU) of boxes of different detectors that are the same face."""
_SURE = 0.5
"""Score from which on a face of the second detector should have been followed."""
_EVERY = 6
"""The second detector looks at every such frame."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A row of the tables: a name, and what differs from the default."""

    name: str
    changed: dict[str, Any]
    base: TrackerConfig | None = None

    @property
    def config(self) -> TrackerConfig:
        """Its options."""
        return TrackerConfig.model_validate((self.base or TrackerConfig()).model_dump() | self.changed)

    @property
    def overrides(self) -> str:
        """Options that give this variant."""
        if self.base is PLAIN_SORT:
            return "--config plain_sort"
        return " ".join(f"{key}={str(value).lower()}" for key, value in self.changed.items()) or "-"


VARIANTS = (
    Variant("default", {}),
    Variant("without the second look at low scores", {"low_score": 0.6}),
    Variant("second look from 0.4", {"low_score": 0.4}),
    Variant("second look from 0.2", {"low_score": 0.2}),
    Variant("second look from 0.1", {"low_score": 0.1}),
    Variant("without score bands at all", {"high_score": 0.5, "low_score": 0.5, "new_track_score": 0.5}),
    Variant("tracks begin at 0.6", {"new_track_score": 0.6}),
    Variant("without the third pass by distance", {"reach": 0.0}),
    Variant("without rejoining lost tracks", {"rejoin_s": 0.0}),
    Variant("without the size limit", {"largest_size_ratio": 0.0}),
    Variant("without confirmed tracks first", {"confirmed_first": False}),
    Variant("without more velocity noise", {"velocity_noise": 1.0}),
    Variant("without retracing gaps", {"retrace": False}),
    Variant("without noise by time", {"noise_by_time": False}),
    Variant("without distrust of overlapping faces", {"crowding_iou": 0.0}),
    Variant("overlap 0.3 as in SORT", {"iou_threshold": 0.3}),
    Variant("min_hits 3 as in SORT", {"min_hits": 3}),
    Variant("max_age 1 as in SORT", {"max_age": 1, "max_age_s": 0.0}),
    Variant("plain SORT", {}, PLAIN_SORT),
)


def detect(video: Path, detection: DetectionConfig, *, every: int = 1) -> tuple[MotRows, int]:
    """All faces of a video as MOTChallenge rows without IDs, and the number of its frames.

    Args:
        video: any source that ``fertrack process`` takes.
        detection: the detector.
        every: look at every such frame only.
    """
    detector = build_detector(detection)
    found: list[MotRows] = []
    frames = 0
    with open_source(video) as source:
        for image_frame in source:
            frames += 1
            if image_frame.index % every == 0:
                faces = detector.detect([image_frame.image])[0]
                number = np.full(len(faces), image_frame.index + 1)
                boxes, scores = faces.xyxy.astype(np.float64), faces.score.astype(np.float64)
                found.append(MotRows(number, np.full(len(faces), NO_TRACK), boxes, scores))
    return MotRows(
        np.concatenate([rows.frame for rows in found]),
        np.concatenate([rows.track for rows in found]),
        np.concatenate([rows.xyxy for rows in found]),
        np.concatenate([rows.confidence for rows in found]),
    ), frames


def _pedestrians(folder: Path) -> Iterator[str]:
    sequences = [
        (files.name, read_mot(files.boxes), read_ground_truth(files.truth), files.frames, files.fps)
        for files in find_sequences(folder, [])
    ]
    yield "| variant | options | MOTA | IDF1 | HOTA | sw. | MOTA | IDF1 | HOTA | sw. | MOTA | IDF1 | HOTA | sw. |"
    yield "|---|---|" + "---:|" * 12
    for variant in VARIANTS:
        results = [
            SequenceResult(name, run_tracker(found, variant.config, max(frames, truth.last_frame), fps), truth)
            for name, found, truth, frames, fps in sequences
        ]
        halves = [[r for r in results if (r.name in TUNED_ON) == tuned] for tuned in (True, False)]
        cells = [_cells(score(part)[-1:]) for part in (*halves, results)]
        yield f"| {variant.name} | `{variant.overrides}` | {' | '.join(cells)} |"


def _cells(scores: Sequence[TrackingScores]) -> str:
    if not scores:
        return "- | - | - | -"
    (s,) = scores
    return f"{s.mota:.3f} | {s.idf1:.3f} | {s.hota:.3f} | {s.switches}"


def _known_faces(video: Path, truth_file: Path) -> Iterator[str]:
    truth = read_ground_truth(truth_file)
    options = DetectionConfig(score_threshold=_LOWEST)
    found = {size: detect(video, options.model_copy(update={"long_side": size})) for size in _SIZES}
    yield "| variant |" + "".join(f" {size} px: MOTA | IDF1 | sw. | false | missed |" for size in _SIZES)
    yield "|---|" + "---:|" * (5 * len(_SIZES))
    for variant in VARIANTS:
        cells = []
        for rows, frames in found.values():
            tracks = run_tracker(rows.at(rows.confidence >= _asked_for(variant)), variant.config, frames)
            s = score([SequenceResult(TOGETHER, tracks, truth)])[0]
            cells.append(f"{s.mota:.3f} | {s.idf1:.3f} | {s.switches} | {s.false} | {s.missed}")
        yield f"| {variant.name} | {' | '.join(cells)} |"


def _asked_for(variant: Variant) -> float:
    """Lowest score that the detector reports for a variant; its own default where the tracker asks for nothing."""
    return variant.config.low_score or 0.5


def _judged_faces(video: Path, judge: DetectionConfig) -> Iterator[str]:
    rows, frames = detect(video, DetectionConfig(score_threshold=_LOWEST))
    judged, _ = detect(video, judge, every=_EVERY)
    yield "| variant | tracks | under 10 frames | median frames | rows | borne out | surely there and followed |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for variant in VARIANTS:
        tracks = run_tracker(rows.at(rows.confidence >= _asked_for(variant)), variant.config, frames)
        lengths = np.unique(tracks.track, return_counts=True)[1].tolist() or [0]
        borne_out, looked_at, followed, sure = 0, 0, 0, 0
        for index, (ours, theirs) in enumerate(zip(tracks.per_frame(frames), judged.per_frame(frames), strict=True)):
            if index % _EVERY == 0:
                same = iou_matrix(ours.xyxy, theirs.xyxy) >= _SEEN
                certain = theirs.confidence >= _SURE
                borne_out, looked_at = borne_out + int(same.any(axis=1).sum()), looked_at + len(ours)
                followed, sure = followed + int((same.any(axis=0) & certain).sum()), sure + int(certain.sum())
        yield (
            f"| {variant.name} | {len(lengths)} | {sum(n < 10 for n in lengths)} | {np.median(lengths):.0f} | "
            f"{len(tracks)} | {borne_out} of {looked_at} | {followed} of {sure} |"
        )


def to_markdown(sections: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Sections of a title and lines, as one report."""
    title, _, what = (__doc__ or "").partition(": ")
    command, _, explained = what.partition("\n\n")
    parts = [f"# {title}, {datetime.date.today().isoformat()}", f"Made by {command}", explained]
    for title, lines in sections:
        parts.append("\n".join([f"## {title}", "", *lines, ""]))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(prog="python -m fertrack.benchmarks tracker_ablation", description=__doc__)
    parser.add_argument("mot", type=Path, help="folder of MOT15 sequences")
    parser.add_argument("--known", type=Path, nargs=2, metavar=("VIDEO", "GT"))
    parser.add_argument("--judged", type=Path, action="append", default=[], metavar="VIDEO")
    parser.add_argument("--judge", default="yunet", help="second detector")
    parser.add_argument("--judge-weights", default=None)
    parser.add_argument("--out", type=Path, default=Path("reports/tracking_ablation.md"))
    options = parser.parse_args(arguments)
    judge = DetectionConfig(name=options.judge, weights=options.judge_weights, long_side=1280, score_threshold=0.3)
    halves = f"tuned on {', '.join(TUNED_ON)}; then the sequences kept apart; then all"
    try:
        sections = [(f"Pedestrians, MOT15: {halves}", list(_pedestrians(options.mot)))]
        if options.known:
            sections.append(
                (f"Faces with known identities: {options.known[0].name}", list(_known_faces(*options.known)))
            )
        sections += [
            (f"Faces judged by {options.judge}: {clip.name}", list(_judged_faces(clip, judge)))
            for clip in options.judged
        ]
    except FertrackError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    options.out.write_text(to_markdown(sections), encoding="utf-8")
    return 0
