"""Face tracking measured end to end on composed scenes, where every identity is known for certain.

Each scene is composed, processed by fertrack as a user would, and scored twice: with the tracks' IDs, and with the
persons that re-linking made of them. A face of which less than half can be seen counts neither way: a box on it is not
wrong, and none is not missed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from fertrack.build import build_pipeline
from fertrack.config import Settings
from fertrack.evaluation.tracking.face_scores import FaceScores, SceneScores
from fertrack.evaluation.tracking.films import Filmed, films_in
from fertrack.evaluation.tracking.mot import MotRows
from fertrack.evaluation.tracking.scores import TOGETHER, SequenceResult, TrackingScores, score
from fertrack.imaging.geometry import iou_matrix
from fertrack.outputs.plan import plan_outputs
from fertrack.process import process_planned
from fertrack.sinks.reidentifier import build_reidentifier
from fertrack.storage.engine import open_database
from fertrack.storage.queries.timeline import timeline
from fertrack.types import BoolArray, IntArray

__all__ = ["evaluate_faces"]

_SEEN = 0.5
"""Share of a face that must be visible for it to count."""
_SAME = 0.3
"""Overlap (IoU) from which on a box is taken to be on a face that does not count."""


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    """Result of fertrack for a video: timeline, tracks by person (None: no re-identification), and cuts."""

    rows: pd.DataFrame
    person_of: dict[int, int] | None = None
    cuts: tuple[int, ...] = ()


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
        clips: folder with two or more single-person clips, which scenes are composed of (see ``films.castings``);
            ``composite_5faces.mp4`` with its ``_gt.txt``, where it is there, is scored too.
        settings: of fertrack; the defaults if None. Nothing is drawn or reported, whatever they say.
        only: names of scenes; all that there are enough clips for if empty.
        work: folder for the videos and the database; a temporary one, removed afterwards, if None.
        on_scene: told the name of each scene before it begins.

    Returns:
        One entry for each scene; with more than one, a last one for all ``TOGETHER``.

    Raises:
        EvaluationError: there is no scene of that name, there are too few clips, or a clip shows no face where it
            should.
        VideoOpenError: a clip cannot be read.
        ConfigError: TrackEval is not installed.
    """
    if work is None:
        with tempfile.TemporaryDirectory(prefix="fertrack-scenes-") as folder:
            return evaluate_faces(clips, settings, only=only, work=Path(folder), on_scene=on_scene)
    settings = _quiet(settings or Settings())
    pipeline, reidentifier = build_pipeline(settings), build_reidentifier(settings.linking)
    results: list[tuple[Filmed, _Outcome]] = []
    with open_database(work / "scenes.db", create=True) as database:
        for filmed in films_in(clips, work, only, on_scene):
            (plan,) = plan_outputs([str(filmed.video)], work, settings, overwrite=True)
            run = process_planned(plan, pipeline, database, settings, reidentifier=reidentifier, overwrite=True).run
            with database.run(run) as stored:
                outcome = _Outcome(
                    timeline(stored),
                    stored.subjects.first_tracks() if reidentifier else None,
                    tuple(stored.cuts.frame.tolist()),
                )
            results.append((filmed, outcome))
    linked_by = reidentifier.embedder.fingerprint if reidentifier else ""
    return [replace(row, linked_by=linked_by) for row in _score(results)]


def _quiet(settings: Settings) -> Settings:
    return settings.model_copy(
        update={
            "video": settings.video.model_copy(update={"enabled": False}),
            "report": settings.report.model_copy(update={"html": False, "csv": False}),
        }
    )


def _score(results: Sequence[tuple[Filmed, _Outcome]]) -> list[SceneScores]:
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


def _sequence(filmed: Filmed, rows: pd.DataFrame, ids: IntArray) -> SequenceResult:
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
