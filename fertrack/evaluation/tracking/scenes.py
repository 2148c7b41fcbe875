"""Composed videos of several people whose identities are known for certain, to measure face tracking with.

No public ground truth for tracking faces exists. Here, heads cut from real clips (``actors``) are moved on scripted
paths over a background, nearer ones covering farther ones. Who is who, where each face is and how much of it can be
seen then follow from the script and cannot be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from fertrack.errors import VideoWriteError, reason_of
from fertrack.evaluation.tracking.actors import CROP_H, CROP_W, FACE_PX, Actor
from fertrack.types import Float64Array, FloatArray, Image, IntArray

__all__ = ["FPS", "HEIGHT", "WIDTH", "Key", "Pillar", "Role", "Scene", "Shot", "Truth", "compose"]

WIDTH, HEIGHT = 640, 360
FPS = 25
_BOB_PX = 1.5


@dataclass(frozen=True, slots=True)
class Key:
    """Where a face is at one moment: its centre and its height, px; seconds since the shot began."""

    at_s: float
    x: float
    y: float
    face_px: float = 84.0


@dataclass(frozen=True, slots=True)
class Role:
    """A person in a shot.

    Attributes:
        who: name of the actor; the same person in every shot.
        path: where the face goes, in order of time, straight and at even speed between keys. Before the first key and
            after the last one, the person is not there.
    """

    who: str
    path: tuple[Key, ...]

    def place(self, time_s: float) -> Key | None:
        """Where the face is at a time of the shot; None while the person is not there."""
        if not self.path[0].at_s <= time_s <= self.path[-1].at_s:
            return None
        times = [key.at_s for key in self.path]
        x, y, face_px = (
            float(np.interp(time_s, times, [getattr(key, name) for key in self.path])) for name in ("x", "y", "face_px")
        )
        return Key(time_s, x, y, face_px)


@dataclass(frozen=True, slots=True)
class Pillar:
    """Upright occluder in front of everybody: from ``left`` to ``right``, px."""

    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Shot:
    """Scene of one camera without a cut.

    Attributes:
        duration_s: how long.
        roles: the people, farthest first: each covers those before.
        ground: which background; another number is another place.
        pillars: what covers everybody.
    """

    duration_s: float
    roles: tuple[Role, ...]
    ground: int = 1
    pillars: tuple[Pillar, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """A composed video.

    Attributes:
        name: short.
        shows: what happens, for people.
        shots: in order, with hard cuts between.
        meets_px: height of the smaller face where faces cross, px; 0 if none do.
    """

    name: str
    shows: str
    shots: tuple[Shot, ...]
    meets_px: float = 0.0

    @property
    def cast(self) -> tuple[str, ...]:
        """People in the scene, in order of first appearance; identity k of the truth is the k-th, from 1."""
        return tuple(dict.fromkeys(role.who for shot in self.shots for role in shot.roles))

    @property
    def cuts(self) -> tuple[int, ...]:
        """Frames with which a new shot begins."""
        ends = np.cumsum([_frames(shot) for shot in self.shots])
        return tuple(int(end) for end in ends[:-1])

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return sum(_frames(shot) for shot in self.shots)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Ground truth of a video: one row for each person and frame in which the person is in view at all.

    Attributes:
        frame_index: int64 (N,), from 0, ascending.
        identity: int64 (N,), from 1.
        xyxy: float64 (N, 4), px: the face box, uncovered; may reach beyond the image.
        visible: float64 (N,): share of the box that nothing covers and that lies inside the image.
    """

    frame_index: IntArray
    identity: IntArray
    xyxy: Float64Array
    visible: Float64Array


def compose(scene: Scene, actors: Mapping[str, Actor], path: Path) -> Truth:
    """Write a scene as H.264 video, ``WIDTH`` x ``HEIGHT``, ``FPS`` frames a second.

    Args:
        scene: what to show.
        actors: everybody in its cast, by name.
        path: file to write; one that is there is replaced.

    Returns:
        Who is where.

    Raises:
        VideoWriteError: the file cannot be written.
    """
    rows: list[tuple[int, int, FloatArray, float]] = []
    try:
        with av.open(path, "w") as container:
            video = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "18"})
            video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            index = 0
            for shot in scene.shots:
                ground = background(shot.ground)
                for step in range(_frames(shot)):
                    picture, seen = _frame(shot, step, index, ground, actors)
                    rows += [(index, scene.cast.index(who) + 1, box, visible) for who, box, visible in seen]
                    frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                    frame.pts, frame.time_base = index, Fraction(1, FPS)
                    container.mux(video.encode(frame))
                    index += 1
            container.mux(video.encode(None))
    except OSError as error:
        raise VideoWriteError(f"the scene {path} cannot be written: {reason_of(error)}") from error
    return Truth(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[3] for row in rows], np.float64),
    )


def background(number: int) -> FloatArray:
    """A place: soft colours with a little grain, float32 (HEIGHT, WIDTH, 3), BGR."""
    rng = np.random.default_rng(number)
    coarse = rng.uniform(40, 190, (4, 7, 3)).astype(np.float32)
    grain = rng.normal(0, 5, (HEIGHT, WIDTH, 1)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) + grain, np.float32)


def _frames(shot: Shot) -> int:
    return round(shot.duration_s * FPS)


def _frame(
    shot: Shot, step: int, index: int, ground: FloatArray, actors: Mapping[str, Actor]
) -> tuple[Image, list[tuple[str, FloatArray, float]]]:
    """One frame, and of everybody in it: name, face box, and visible share of it."""
    picture = ground.copy()
    shown: list[tuple[str, FloatArray, FloatArray]] = []  # who, face box, what of the image is still this person
    for place_in_line, role in enumerate(shot.roles):
        key = role.place(step / FPS)
        if key is None:
            continue
        actor = actors[role.who]
        frame = actor.at(index)
        scale = key.face_px / FACE_PX
        bob = _BOB_PX * np.sin(2 * np.pi * (index / 31 + place_in_line / 3))
        corner = (key.x - scale * CROP_W / 2, key.y + bob - scale * CROP_H / 2)
        alpha = _lay_over(picture, actor.heads[frame], actor.alpha[frame], scale, corner)
        for _, _, kept in shown:
            np.multiply(kept, 1.0 - alpha, out=kept)
        box = actor.boxes[frame] * np.float32(scale) + np.tile(np.array(corner, np.float32), 2)
        shown.append((role.who, box, np.ones((HEIGHT, WIDTH), np.float32)))
    for pillar in shot.pillars:
        picture[:, pillar.left : pillar.right] = (52, 60, 66)
        for _, _, kept in shown:
            kept[:, pillar.left : pillar.right] = 0.0
    seen = [(who, box, _visible(box, kept)) for who, box, kept in shown]
    finished = np.clip(picture, 0, 255).astype(np.uint8)
    return finished, [(who, box, visible) for who, box, visible in seen if visible > 0.0]


def _lay_over(
    picture: FloatArray, head: Image, alpha: FloatArray, scale: float, corner: tuple[float, float]
) -> FloatArray:
    """Blend a head onto the image (in place) at sub-pixel precision; return how much of each pixel it covers."""
    to_image = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]], np.float32)
    if scale < 0.7:  # softened first: fine detail would flicker when every other pixel of it is picked
        head = np.asarray(cv2.GaussianBlur(head, (0, 0), 0.35 / scale), np.uint8)
    laid = cv2.warpAffine(head, to_image, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR).astype(np.float32)
    cover = np.asarray(cv2.warpAffine(alpha, to_image, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR), np.float32)
    picture += cover[:, :, None] * (laid - picture)
    return cover


def _visible(box: FloatArray, kept: FloatArray) -> float:
    """Share of a box that is inside the image and that nothing covers."""
    x1, y1, x2, y2 = np.rint(box).astype(int).tolist()
    area = max(1, (x2 - x1) * (y2 - y1))
    inside = kept[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)]
    return float(inside.sum() / area)
