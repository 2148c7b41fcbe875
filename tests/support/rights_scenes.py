"""A small clip of two textured patches that stand for faces, and its run as it is stored: no network is needed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import sqlalchemy as sa

from fertrack.config import Settings, load_settings, to_toml
from fertrack.storage.engine import Database
from fertrack.storage.models import Embedding, Person, TrackRow
from fertrack.types import Detections, Faces, FrameResult, VideoInfo
from tests.support.storage_scenes import RECORD, store

FPS, WIDTH, HEIGHT, FRAMES = 20, 320, 240, 24
GREY = 120
SIDE = 48
_CELL = 4

SETTINGS = load_settings([], ["video.audio=false", "video.crf=12"])

DETECTOR = '''
import cv2
import numpy as np
from fertrack.detectors.config import DetectorOptions
from fertrack.types import Detections


class Options(DetectorOptions):
    """None of its own."""


class TextureDetector:
    """Takes every strongly textured area for a face."""

    fingerprint = "texture 1"

    def detect(self, images):
        found = []
        for image in images:
            grey = image.mean(axis=2).astype(np.float32)
            rough = cv2.blur((grey - cv2.blur(grey, (9, 9))) ** 2, (9, 9)) > 400
            _, _, stats, _ = cv2.connectedComponentsWithStats(rough.astype(np.uint8))
            boxes = [(x, y, x + w, y + h) for x, y, w, h, area in stats[1:] if area > 400]
            xyxy = np.array(boxes, np.float32).reshape(-1, 4)
            found.append(Detections(xyxy, np.ones(len(xyxy), np.float32), np.zeros((len(xyxy), 5, 2), np.float32)))
        return found

    def smallest_face_px(self, width, height):
        return 20.0


def build(options, weights):
    return TextureDetector()
'''


def box(person: int, index: int) -> tuple[float, float, float, float]:
    """Where a person is: the first one walks, the second one stays."""
    left, top = (20 + 2 * index, 70) if person == 1 else (230, 110)
    return left, top, left + SIDE, top + SIDE


def texture(person: int) -> np.ndarray:
    """What a person looks like: cells of random brightness."""
    cells = np.random.default_rng(person).integers(0, 255, (SIDE // _CELL, SIDE // _CELL, 1), dtype=np.uint8)
    return np.repeat(np.repeat(np.repeat(cells, _CELL, axis=0), _CELL, axis=1), 3, axis=2)


def picture(index: int) -> np.ndarray:
    """A frame, uint8 (H, W, 3)."""
    image = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    for person in (1, 2):
        left, top, right, bottom = map(int, box(person, index))
        image[top:bottom, left:right] = texture(person)
    return image


def make_clip(path: Path, frames: int = FRAMES) -> Path:
    """Write the clip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "8", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index), "bgr24")))
        container.mux(stream.encode())
    return path


def info(path: Path) -> VideoInfo:
    """The clip as a source says it."""
    return VideoInfo(path.name, WIDTH, HEIGHT, float(FPS), FRAMES, path=str(path), time_base=Fraction(1, FPS * 512))


def results(
    seed: int = 0, *, seen: Sequence[tuple[int, int, int]] = ((1, 1, FRAMES), (2, 2, FRAMES))
) -> list[FrameResult]:
    """The clip's frames; ``seen`` says which track follows which person, and until before which frame it does.

    Logits and probabilities are random, so that no two rows hold the same bytes. From the 15th frame on, every fourth
    face of the first person is not claimed by its track.
    """
    random = np.random.default_rng(seed)
    made = []
    for index in range(FRAMES):
        rows = [(track, person) for track, person, until in seen if index < until]
        n = len(rows)
        xyxy = np.array([box(person, index) for _, person in rows], np.float32).reshape(n, 4)
        xyxy += random.random(xyxy.shape, np.float32) * 0.5
        points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32) * SIDE
        landmarks = xyxy[:, None, :2] + points + random.random((n, 5, 2), np.float32)
        logits = random.normal(size=(n, 7)).astype(np.float32)
        weights = np.exp(logits)
        probabilities = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        ids = [-1 if person == 1 and index >= 15 and index % 4 == 0 else track for track, person in rows]
        made.append(
            FrameResult(
                frame_index=index,
                timestamp_s=index / FPS,
                faces=Faces(Detections(xyxy, np.full(n, 0.9, np.float32), landmarks), logits),
                track_ids=np.array(ids, np.int64),
                track_xyxy=xyxy,
                probabilities=probabilities,
                smoothed=probabilities[:, ::-1].copy(),
                labels=np.array([index // 6 % 7] * n, np.int64),
            )
        )
    return made


def store_clip(
    db: Database, clip: Path, frames: Sequence[FrameResult], settings: Settings = SETTINGS, **stated: Any
) -> int:
    """Store a run of the clip."""
    record = replace(RECORD, config_toml=to_toml(settings), **stated)
    return store(db, list(frames), info=info(clip), record=record)


def add_person(db: Database, run: int, name: str, number: int, tracks: Sequence[int]) -> int:
    """Say that tracks are a person; with an embedding of random bytes for each. Returns the person's key."""
    now = dt.datetime.now(dt.UTC)
    random = np.random.default_rng(number)
    with db.writing() as connection:
        made = connection.execute(sa.insert(Person).values(display_name=name, created_at=now, number=number))
        assert made.inserted_primary_key is not None
        key = int(made.inserted_primary_key[0])
        for track in tracks:
            is_this = sa.and_(TrackRow.run_id == run, TrackRow.number == track)
            connection.execute(sa.update(TrackRow).where(is_this).values(person_id=key))
            connection.execute(
                sa.insert(Embedding).values(
                    run_id=run,
                    track=track,
                    position=0,
                    person_id=key,
                    embedder="test",
                    quality=0.5,
                    vector=random.random(128, np.float32).tobytes(),
                    expires_at=now + dt.timedelta(days=30),
                )
            )
    return key


def decoded(path: Path) -> list[np.ndarray]:
    """All frames of a video, uint8 (H, W, 3) BGR."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def likeness(image: np.ndarray, person: int, index: int) -> float:
    """How much a person can be recognised where they are: correlation with their texture, 0 to 1."""
    left, top, right, bottom = map(int, box(person, index))
    margin = 6  # the drawn box
    seen = image[top + margin : bottom - margin, left + margin : right - margin, 1].astype(np.float64)
    true = texture(person)[margin:-margin, margin:-margin, 1].astype(np.float64)
    seen, true = seen - seen.mean(), true - true.mean()
    scale = np.sqrt((seen**2).sum() * (true**2).sum())
    return float((seen * true).sum() / scale) if scale > 0 else 0.0
