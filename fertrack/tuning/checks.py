"""Checks of a run's faces and labels, each one number with the limit from which on it is a problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fertrack.imaging.alignment import DEFAULT_TEMPLATE, aligned_landmarks
from fertrack.storage.queries.run_faces import RunFaces
from fertrack.storage.queries.segments import unbroken
from fertrack.tuning.diagnosis import Effect
from fertrack.types import EXPRESSIONS, BoolArray, FloatArray, IntArray

__all__ = [
    "CHANGES",
    "TOP_LABEL_SHARE",
    "UNCERTAIN_SHARE",
    "Measure",
    "changes_per_minute",
    "confirmed_only",
    "is_worse",
    "label_checks",
    "landmarks_are_wrong",
    "most_frequent",
    "small",
    "swaps_limit",
    "swaps_per_minute",
    "taken_for_each_other",
    "time_between_frames_s",
    "torn_between",
    "turned",
    "uncertain_share",
]

ONE_EXPRESSION = 0.9
"""Share of one expression in the labels."""

MANY_UNCERTAIN = 0.3
"""Share of uncertain faces; the default leaves about 0.14 on calm clips."""

FLICKER_PER_MINUTE = 90.0
"""Changes of label per minute and person; the default leaves about 60."""

LAG_S = 0.3
"""Age of what is shown, exceeded in one frame of twenty, s."""

SMALL_PX = 48.0
"""Shorter side of a box under which little is left of a face."""

TURNED = 0.35
"""Sideways offset of the nose, in eye distances; at 0.5 one eye is about to vanish."""

MANY_FACES = 0.3
"""Share of faces that are small, or turned."""

OFTEN_TORN = 0.1
"""Share of faces whose two likeliest expressions are a pair, both with more than 0.2."""

OFTEN_CONFUSED = 0.15
"""Share of a pair's corrected faces that were taken for the other."""

SWAPS_PER_MINUTE = 6.0
"""Changes from one of a pair to the other, per minute."""

ODD_LANDMARKS = 0.25
"""Median distance of landmarks from the template, in eye distances; real faces had 0.05 to 0.1."""

ODD_IF_TILTED = 0.16
"""The same, of faces whose eyes are not side by side: found in an image on its side they had 0.2, tilted ones 0.14."""

TILTED_DEG = 40.0
"""Median angle between the line of the eyes and the horizontal."""

OUTSIDE = 0.1
"""Share of landmarks outside their own face's box."""

PAIRS = tuple(
    (EXPRESSIONS.index(one), EXPRESSIONS.index(other)) for one, other in (("anger", "fear"), ("neutral", "sadness"))
)
"""Expressions that classifiers are known to take for each other."""

UNCERTAIN_SHARE = "share uncertain"
TOP_LABEL_SHARE = "share of the commonest label"
CHANGES = "changes per minute and person"

_MIN_HARM = 0.05
"""A measure at or beyond its limit must not grow by more than this share of that limit."""

_BREAK_S = 1.0
"""A person unseen for longer than this begins anew."""


def confirmed_only(faces: RunFaces) -> RunFaces:
    """The faces of confirmed tracks."""
    rows = faces.confirmed
    return replace(
        faces,
        frame_index=faces.frame_index[rows],
        time_s=faces.time_s[rows],
        track=faces.track[rows],
        label=faces.label[rows],
        logits=faces.logits[rows],
        smoothed=faces.smoothed[rows],
        xyxy=faces.xyxy[rows],
        landmarks=faces.landmarks[rows],
    )


def most_frequent(labels: IntArray) -> tuple[int, float]:
    """Most frequent label and its share of all that are certain; (-1, 0) if none is."""
    certain = labels[labels >= 0]
    if not len(certain):
        return -1, 0.0
    counts = np.bincount(certain, minlength=len(EXPRESSIONS))
    return int(counts.argmax()), float(counts.max() / len(certain))


def uncertain_share(labels: IntArray) -> float:
    """Share of faces that are uncertain."""
    return float((labels < 0).mean()) if len(labels) else 0.0


def changes_per_minute(faces: RunFaces, labels: IntArray) -> float:
    """Changes of label, to and from uncertain too, per minute in which a person is seen."""
    before, after, seen_s = _steps(faces, labels)
    return 60.0 * float((before != after).sum()) / seen_s if seen_s else 0.0


def swaps_per_minute(faces: RunFaces, labels: IntArray, pair: tuple[int, int]) -> float:
    """Changes within a pair of labels, directly or through uncertain, per minute in which a person is seen."""
    order, segment = _segments(faces)
    seen_s = _steps(faces, labels)[2]
    certain = labels[order] >= 0
    named, segment = labels[order][certain], segment[certain]
    before, after = named[:-1], named[1:]
    swapped = (np.diff(segment) == 0) & (before != after) & np.isin(before, pair) & np.isin(after, pair)
    return 60.0 * float(swapped.sum()) / seen_s if seen_s else 0.0


def swaps_limit(faces: RunFaces) -> float:
    """Limit of swaps per minute: ``SWAPS_PER_MINUTE``, and never as few as two in all."""
    seen_s = _steps(faces, faces.label)[2]
    return max(SWAPS_PER_MINUTE, 2.5 * 60.0 / seen_s) if seen_s else SWAPS_PER_MINUTE


def torn_between(smoothed: FloatArray, pair: tuple[int, int]) -> float:
    """Share of faces whose two likeliest expressions are the pair, both with more than 0.2."""
    if not len(smoothed):
        return 0.0
    least = smoothed[:, list(pair)].min(axis=1)
    others = np.delete(smoothed, list(pair), axis=1).max(axis=1)
    return float(((least > 0.2) & (least > others)).mean())


def taken_for_each_other(estimates: IntArray, labels: IntArray, pair: tuple[int, int]) -> float:
    """Share of the faces labelled as one of a pair that were taken for the other; 0 without such faces."""
    ours = np.isin(labels, pair)
    if not ours.any():
        return 0.0
    return float((np.isin(estimates[ours], pair) & (estimates[ours] != labels[ours])).mean())


def small(faces: RunFaces) -> BoolArray:
    """Mask of the faces whose shorter side is under ``SMALL_PX``, bool (N,)."""
    sides = faces.xyxy[:, 2:] - faces.xyxy[:, :2]
    return np.asarray(sides.min(axis=1) < SMALL_PX, np.bool_)


def turned(faces: RunFaces) -> BoolArray:
    """Mask of the faces turned far to the side, nose ``TURNED`` eye distances off the middle; bool (N,)."""
    points = faces.landmarks.astype(np.float64)
    across = points[:, 1] - points[:, 0]
    squared = np.maximum((across**2).sum(axis=1), 1e-12)
    sideways = ((points[:, 2] - points[:, :2].mean(axis=1)) * across).sum(axis=1) / squared
    return np.asarray(np.abs(sideways) > TURNED, np.bool_)


def time_between_frames_s(faces: RunFaces) -> float:
    """Time from one analysed frame to the next that one in twenty reaches, s; 0 for fewer than two."""
    return float(np.percentile(np.diff(faces.frame_time_s), 95)) if len(faces.frame_time_s) > 1 else 0.0


def landmarks_are_wrong(faces: RunFaces) -> str:
    """In what way the landmarks are not those of upright faces, so that crops cannot be aligned; empty if they are."""
    if not len(faces.landmarks):
        return ""
    points, boxes = faces.landmarks, faces.xyxy[:, None]
    outside = float(((points < boxes[..., :2]) | (points > boxes[..., 2:])).any(axis=2).mean())
    if outside > OUTSIDE:
        return f"{outside:.0%} of the landmarks lie outside their face's box: px of an image of another size?"
    odd, tilted_deg = _misfit(faces), _tilt_deg(faces)
    far = f"landmarks lie {odd:.0%} of the eye distance from where a face has them"
    if tilted_deg > TILTED_DEG and odd > ODD_IF_TILTED:
        return f"{far}, and the eyes' line is turned by {tilted_deg:.0f} degrees"
    return far if odd > ODD_LANDMARKS else ""


def _misfit(faces: RunFaces) -> float:
    """Distance of landmarks from those of an aligned face, in eye distances; median over faces."""
    aligned = aligned_landmarks(faces.landmarks, DEFAULT_TEMPLATE)
    eyes_px = float(np.linalg.norm(DEFAULT_TEMPLATE[1] - DEFAULT_TEMPLATE[0]))
    off = np.linalg.norm(aligned - DEFAULT_TEMPLATE, axis=2).mean(axis=1) / eyes_px
    off = off[np.isfinite(off)]
    return float(np.median(off)) if len(off) else 0.0


def _tilt_deg(faces: RunFaces) -> float:
    """Angle between the line from left to right eye and the horizontal, 0 to 180; median over faces."""
    across = faces.landmarks[:, 1] - faces.landmarks[:, 0]
    return float(np.median(np.abs(np.degrees(np.arctan2(across[:, 1], across[:, 0])))))


def _segments(faces: RunFaces) -> tuple[IntArray, IntArray]:
    """Order of the faces by person and time, and which unbroken segment of a person's each then belongs to."""
    order, segment = unbroken(faces.track, faces.time_s, faces.time_s, _BREAK_S)
    return order.astype(np.int64), segment


def _steps(faces: RunFaces, labels: IntArray) -> tuple[IntArray, IntArray, float]:
    """Labels before and after each step of a person from frame to frame, and the time that all steps take, s."""
    order, segment = _segments(faces)
    step_s = np.diff(faces.time_s[order])
    same = np.diff(segment) == 0
    ordered = labels[order]
    return ordered[:-1][same], ordered[1:][same], float(step_s[same].sum())


@dataclass(frozen=True, slots=True)
class Measure:
    """Measure of a run's labels; the lower the better.

    Attributes:
        name: as it is shown.
        of: takes labels, int64 (N,).
        limit: a problem from here on.
    """

    name: str
    of: Callable[[IntArray], float]
    limit: float


def label_checks(faces: RunFaces, among: BoolArray | None = None) -> dict[str, Measure]:
    """Problems that labels alone can show, by name.

    Args:
        faces: whose labels they are.
        among: of which of them the uncertain are counted, bool (N,); None: of all.
    """
    rows = np.ones(len(faces.label), np.bool_) if among is None else among
    uncertain = UNCERTAIN_SHARE if among is None else f"{UNCERTAIN_SHARE} of the other faces"
    found = [
        Measure(uncertain, lambda labels: uncertain_share(labels[rows]), MANY_UNCERTAIN),
        Measure(TOP_LABEL_SHARE, lambda labels: most_frequent(labels)[1], ONE_EXPRESSION),
        Measure(CHANGES, lambda labels: changes_per_minute(faces, labels), FLICKER_PER_MINUTE),
        *(_swaps(faces, pair) for pair in PAIRS),
    ]
    return {measure.name: measure for measure in found}


def is_worse(effect: Effect) -> bool:
    """Whether something becomes a problem, or is one and grows."""
    return effect.after >= effect.limit and effect.after - effect.before > _MIN_HARM * effect.limit


def _swaps(faces: RunFaces, pair: tuple[int, int]) -> Measure:
    """By the time in which there is a label: more labels mean more swaps, however firm they are."""

    def swaps(labels: IntArray) -> float:
        rate = swaps_per_minute(faces, labels, pair)
        return rate / (1.0 - uncertain_share(labels)) if rate else 0.0

    names = " and ".join(EXPRESSIONS[k] for k in pair)
    return Measure(f"{names} swapped, per minute with a label", swaps, swaps_limit(faces))
