"""Scenes filmed with the clips of a folder: who plays whom, and what was filmed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fertrack.config import Settings
from fertrack.detectors import build_detector
from fertrack.errors import EvaluationError, reason_of
from fertrack.evaluation.tracking.actors import CLIPS, Actor, Clip, load_actor
from fertrack.evaluation.tracking.scene_scripts import SCENES
from fertrack.evaluation.tracking.scenes import Scene, Truth, compose

__all__ = ["COMPOSITE", "Filmed", "castings", "films_in", "read_composite_truth"]

COMPOSITE = "composite_5faces"
"""A composed video that exists as a file, with its ground truth beside it."""

_CAST_LONG_SIDE = 320
"""Detector input for cutting out heads: they are large in their clips."""
_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
_MIN_CLIPS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Filmed:
    """A video with its truth."""

    scene: str
    shows: str
    people: int
    meets_px: float
    cuts: tuple[int, ...]
    video: Path
    truth: Truth


def castings(folder: Path) -> list[tuple[Scene, dict[str, Clip]]]:
    """The scenes that a folder's clips can play, and who plays whom.

    The nine clips that the scripts were written for (``actors.CLIPS``) play their own parts where all are there.
    Any others, one person each, take turns in the order of their names; a scene of more people than there are clips
    is left out.

    Raises:
        EvaluationError: there are fewer than two clips.
    """
    if all((folder / clip.file).is_file() for clip in CLIPS.values()):
        return [(scene, {role: CLIPS[role] for role in scene.cast}) for scene in SCENES]
    videos = sorted(path for path in folder.glob("*") if path.suffix.lower() in _SUFFIXES and path.stem != COMPOSITE)
    if len(videos) < _MIN_CLIPS:
        raise EvaluationError(
            f"{folder} has {len(videos)} video clips: scenes are composed of two or more, each of one person's face"
        )
    turns = itertools.cycle(Clip(path.name, first=None) for path in videos)
    return [
        (scene, dict(zip(scene.cast, itertools.islice(turns, len(scene.cast)), strict=True)))
        for scene in SCENES
        if len(scene.cast) <= len(videos)
    ]


def films_in(
    clips: Path, work: Path, only: Sequence[str] = (), on_scene: Callable[[str], None] | None = None
) -> Iterator[Filmed]:
    """Compose one scene after another; heads are cut out when they are first needed.

    Args:
        clips: folder of the clips.
        work: folder for the videos.
        only: names of scenes; all if empty.
        on_scene: told the name of each scene before it begins.

    Raises:
        EvaluationError: there is no scene of that name, or not with so few clips; or a clip shows no face.
        VideoOpenError: a clip cannot be read.
        VideoWriteError: a scene cannot be written.
    """
    names = [*(scene.name for scene in SCENES), COMPOSITE]
    for name in only:
        if name not in names:
            raise EvaluationError(f"no scene {name!r}: there are {', '.join(names)}")
    composite, truth = clips / f"{COMPOSITE}.mp4", clips / f"{COMPOSITE}_gt.txt"
    has_composite = composite.is_file() and truth.is_file()
    cast_of = castings(clips) if set(only) != {COMPOSITE} else []
    for name in only:
        if not (has_composite if name == COMPOSITE else any(scene.name == name for scene, _ in cast_of)):
            raise EvaluationError(f"scene {name!r} needs more clips than there are in {clips}")
    actors: dict[Clip, Actor] = {}
    detector = None
    for scene, cast in cast_of:
        if only and scene.name not in only:
            continue
        if on_scene:
            on_scene(scene.name)
        for clip in cast.values():
            if clip not in actors:
                detector = detector or build_detector(
                    Settings().detection.model_copy(update={"long_side": _CAST_LONG_SIDE})
                )
                actors[clip] = load_actor(clip, clips, detector)
        path = work / f"{scene.name}.mp4"
        shown = compose(scene, {role: actors[clip] for role, clip in cast.items()}, path)
        yield Filmed(scene.name, scene.shows, len(scene.cast), scene.meets_px, scene.cuts, path, shown)
    if has_composite and (not only or COMPOSITE in only):
        if on_scene:
            on_scene(COMPOSITE)
        shows = "five faces: two cross with one hidden, one enters and is covered, one leaves, one appears"
        yield Filmed(COMPOSITE, shows, 5, 90.0, (), composite, read_composite_truth(truth))


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
