"""Face tracking measured end to end on composed scenes, where every identity is known for certain.

Each scene is composed, processed by fertrack as a user would, and scored twice: with the tracks' IDs, and with the
persons that re-linking made of them. A face of which less than half can be seen counts neither way: a box on it is not
wrong, and none is not missed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fertrack.build import build_pipeline
from fertrack.config import Settings
from fertrack.detectors import build_detector
from fertrack.errors import EvaluationError, reason_of
from fertrack.evaluation.tracking.actors import CLIPS, Actor, load_actor
from fertrack.evaluation.tracking.face_scores import FaceScores, SceneScores
from fertrack.evaluation.tracking.mot import MotRows
from fertrack.evaluation.tracking.scene_scripts import SCENES
from fertrack.evaluation.tracking.scenes import Scene, Truth, compose
from fertrack.evaluation.tracking.scores import TOGETHER, SequenceResult, TrackingScores, score
from fertrack.imaging.geometry import iou_matrix
from fertrack.process import plan_outputs, process_planned
from fertrack.sinks.relinker import build_relinker
from fertrack.storage.engine import open_database
from fertrack.storage.queries.timeline import timeline
from fertrack.types import BoolArray, IntArray

__all__ = ["COMPOSITE", "evaluate_faces", "read_composite_truth"]

COMPOSITE = "composite_5faces"
"""A composed video that exists as a file, with its ground truth beside it."""

_SEEN = 0.5
"""Share of a face that must be visible for it to count."""
_SAME = 0.3
"""Overlap (IoU) from which on a box is taken to be on a face that does not count."""
_CAST_LONG_SIDE = 320
"""Detector input for cutting out heads: they are large in their clips."""


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    """Result of fertrack for a video: timeline, tracks by person (None: no re-identification), and cuts."""

    rows: pd.DataFrame
    person_of: dict[int, int] | None = None
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Filmed:
    """A video with its truth."""

    scene: str
    shows: str
    people: int
    meets_px: float
    cuts: tuple[int, ...]
    video: Path
    truth: Truth


def evaluate_faces(
    clips: Path,
    settings: Settings | None = None,
    *,
    only: Sequence[str] = (),
    work: Path | None = None,
    on_scene: Callable[[str], None] | None = None,
) -> list[SceneScores]:
    """Compose the scenes, process them, and score the result.

    Args:
        clips: folder with the single-person clips (``actors.CLIPS``) and, if it is to be scored,
            ``composite_5faces.mp4`` with its ``_gt.txt``.
        settings: of fertrack; the defaults if None. Nothing is drawn or reported, whatever they say.
        only: names of scenes; all if empty.
        work: folder for the videos and the database; a temporary one, removed afterwards, if None.
        on_scene: told the name of each scene before it begins.

    Returns:
        One entry for each scene; with more than one, a last one for all ``TOGETHER``.

    Raises:
        EvaluationError: there is no scene of that name, or a clip shows no face where it should.
        VideoOpenError: a clip is missing.
        ConfigError: TrackEval is not installed.
    """
    known = [*(scene.name for scene in SCENES), COMPOSITE]
    for name in only:
        if name not in known:
            raise EvaluationError(f"no scene {name!r}: there are {', '.join(known)}")
    if work is None:
        with tempfile.TemporaryDirectory(prefix="fertrack-scenes-") as folder:
            return evaluate_faces(clips, settings, only=only, work=Path(folder), on_scene=on_scene)
    settings = _quiet(settings or Settings())
    pipeline, relinker = build_pipeline(settings), build_relinker(settings.linking)
    results: list[tuple[_Filmed, _Outcome]] = []
    with open_database(work / "scenes.db", create=True) as database:
        for filmed in _films(clips, work, [name for name in known if not only or name in only], on_scene):
            (plan,) = plan_outputs([str(filmed.video)], work, settings, overwrite=True)
            run = process_planned(plan, pipeline, database, settings, relinker=relinker, overwrite=True).run
            with database.run(run) as stored:
                outcome = _Outcome(
                    timeline(stored),
                    stored.subjects.first_tracks() if relinker else None,
                    tuple(stored.cuts.frame.tolist()),
                )
            results.append((filmed, outcome))
    linked_by = relinker.embedder.fingerprint if relinker else ""
    return [replace(row, linked_by=linked_by) for row in _score(results)]


def read_composite_truth(path: Path) -> Truth:
    """Read the ground truth of ``composite_5faces``: MOT16 text; the ninth column is the visible share.

    Raises:
        EvaluationError: it cannot be read.
    """
    try:
        table = np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path} cannot be read: {reason_of(error)}") from error
    if table.shape[1] < 9:
        raise EvaluationError(f"{path} has {table.shape[1]} columns instead of 9: it does not say what is visible")
    table = table[np.argsort(table[:, 0], kind="stable")]
    return Truth(
        table[:, 0].astype(np.int64) - 1,
        table[:, 1].astype(np.int64),
        np.hstack([table[:, 2:4], table[:, 2:4] + table[:, 4:6]]),
        table[:, 8],
    )


def _quiet(settings: Settings) -> Settings:
    return settings.model_copy(
        update={
            "video": settings.video.model_copy(update={"enabled": False}),
            "report": settings.report.model_copy(update={"html": False, "csv": False}),
        }
    )


def _films(clips: Path, work: Path, names: Sequence[str], on_scene: Callable[[str], None] | None) -> Iterable[_Filmed]:
    """Compose one scene after another; heads are cut out when they are first needed."""
    detector = None
    cast: dict[str, Actor] = {}
    for scene in SCENES:
        if scene.name not in names:
            continue
        if on_scene:
            on_scene(scene.name)
        for who in scene.cast:
            if who not in cast:
                detector = detector or build_detector(_cast_detection())
                cast[who] = load_actor(CLIPS[who], clips, detector)
        yield _film(scene, cast, work / f"{scene.name}.mp4")
    if COMPOSITE in names:
        if on_scene:
            on_scene(COMPOSITE)
        truth = read_composite_truth(clips / f"{COMPOSITE}_gt.txt")
        shows = "five faces: two cross with one hidden, one enters and is covered, one leaves, one appears"
        yield _Filmed(COMPOSITE, shows, 5, 90.0, (), clips / f"{COMPOSITE}.mp4", truth)


def _cast_detection() -> Any:
    return Settings().detection.model_copy(update={"long_side": _CAST_LONG_SIDE})


def _film(scene: Scene, cast: dict[str, Actor], path: Path) -> _Filmed:
    truth = compose(scene, cast, path)
    return _Filmed(scene.name, scene.shows, len(scene.cast), scene.meets_px, scene.cuts, path, truth)


def _score(results: Sequence[tuple[_Filmed, _Outcome]]) -> list[SceneScores]:
    linked = all(outcome.person_of is not None for _, outcome in results)
    by_track = score(_sequence(filmed, outcome.rows, _tracks(outcome)) for filmed, outcome in results)
    by_person = score(_sequence(filmed, outcome.rows, _persons(outcome)) for filmed, outcome in results)
    counts = [(len(np.unique(_tracks(outcome))), len(np.unique(_persons(outcome)))) for _, outcome in results]
    if len(results) > 1:
        counts.append((sum(tracks for tracks, _ in counts), sum(persons for _, persons in counts)))
    rows = []
    for position, (tracks, persons) in enumerate(counts):
        row = SceneScores(
            scene=by_track[position].sequence,
            shows="all scenes together",
            people=sum(filmed.people for filmed, _ in results),
            meets_px=0.0,
            tracks=_face_scores(by_track[position], tracks),
            persons=_face_scores(by_person[position], persons) if linked else None,
        )
        if row.scene != TOGETHER:
            filmed, outcome = results[position]
            row = replace(
                row,
                shows=filmed.shows,
                people=filmed.people,
                meets_px=filmed.meets_px,
                cuts=filmed.cuts,
                cuts_found=outcome.cuts,
            )
        rows.append(row)
    return rows


def _face_scores(scores: TrackingScores, found: int) -> FaceScores:
    return FaceScores(
        idf1=scores.idf1,
        hota=scores.hota,
        mota=scores.mota,
        switches=scores.switches,
        fragmentations=scores.fragmentations,
        missed=scores.missed,
        false=scores.false,
        found=found,
    )


def _tracks(outcome: _Outcome) -> IntArray:
    return outcome.rows["track"].to_numpy(np.int64)


def _persons(outcome: _Outcome) -> IntArray:
    """Person of each row; the track itself where there was no re-identification."""
    tracks = _tracks(outcome)
    if outcome.person_of is None:
        return tracks
    return np.array([outcome.person_of[track] for track in tracks.tolist()], np.int64)


def _sequence(filmed: _Filmed, rows: pd.DataFrame, ids: IntArray) -> SequenceResult:
    """Faces and boxes that are scored: visible faces, and boxes that are not on faces that do not count."""
    truth = filmed.truth
    faces = MotRows(truth.frame_index + 1, truth.identity, truth.xyxy, truth.visible)
    boxes = MotRows(
        rows["frame_index"].to_numpy(np.int64) + 1,
        ids,
        rows[["x1", "y1", "x2", "y2"]].to_numpy(np.float64),
        rows["score"].to_numpy(np.float64),
    )
    counts = [
        _count(inside, found)
        for inside, found in zip(
            faces.per_frame(max(faces.last_frame, boxes.last_frame)),
            boxes.per_frame(max(faces.last_frame, boxes.last_frame)),
            strict=True,
        )
    ]
    kept = np.concatenate(counts) if counts else np.empty(0, np.bool_)
    return SequenceResult(filmed.scene, boxes.at(kept), faces.at(faces.confidence >= _SEEN))


def _count(faces: MotRows, boxes: MotRows) -> BoolArray:
    """Mask of the boxes of one frame that count: all but those whose nearest face is hardly visible."""
    overlap = iou_matrix(boxes.xyxy, faces.xyxy)
    if not overlap.size:
        return np.ones(len(boxes), np.bool_)
    nearest = overlap.argmax(axis=1)
    hidden = faces.confidence[nearest] < _SEEN
    counted: BoolArray = ~(hidden & (overlap.max(axis=1) >= _SAME))
    return counted
