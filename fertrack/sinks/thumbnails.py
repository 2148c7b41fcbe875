"""Thumbnail sink: each track's face at its best: large, frontal, sharp."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import cv2
import numpy as np

from fertrack.imaging.alignment import DEFAULT_TEMPLATE, align_faces
from fertrack.reid.quality import pose_quality, sharpness
from fertrack.storage.people.thumbnails import BestFace
from fertrack.types import UNCONFIRMED, FloatArray, FrameResult, Image, RunSummary

__all__ = ["THUMBNAIL_PX", "ThumbnailSink"]

THUMBNAIL_PX = 128
"""Side of a thumbnail, px."""

_FACE_SHARE = 0.92  # the classifier's crop is filled by the face; a portrait leaves a little room around it
_JPEG_QUALITY = 85
_MIN_GAIN = 1.05  # a face must be this much better before it is cut out: most frames are near copies
_TRY_EVERY_S = 0.1
_MIN_QUALITY = 1e-6


class ThumbnailSink:
    """Keeps one image per track in memory while a run lasts; its creator stores ``best``.

    Attributes:
        name: "thumbnails".
        needs_image: True.
        notes: empty.
        work_ms: empty: all is done in ``write``.
        best: the best face of each confirmed track so far.
    """

    name = "thumbnails"
    needs_image = True

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.work_ms: tuple[float, ...] = ()
        self.best: dict[int, BestFace] = {}
        self._tried_s: dict[int, float] = {}

    def __enter__(self) -> Self:
        """Return self; everything is in memory."""
        return self

    def write(self, result: FrameResult, image: Image | None) -> None:
        """Take one frame.

        Raises:
            ValueError: no image.
        """
        if image is None:
            raise ValueError("image must be given: thumbnails are made of pixels")
        detections = result.faces.detections
        at_best = pose_quality(detections.landmarks, detections.score)
        for row, track in enumerate(result.track_ids.tolist()):
            if track != UNCONFIRMED:
                self._offer(track, result, float(at_best[row]), detections.landmarks[row], image)

    def finish(self, summary: RunSummary) -> None:
        """Nothing is left to do."""

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is left to do."""

    def _offer(self, track: int, result: FrameResult, at_best: float, landmarks: FloatArray, image: Image) -> None:
        known = self.best.get(track)
        time_s = result.timestamp_s
        # Sharpness lies between 0 and 1: a face whose pose alone does not beat the known one cannot be better.
        if known is not None and (at_best <= known.quality * _MIN_GAIN or time_s - self._tried_s[track] < _TRY_EVERY_S):
            return
        if not np.isfinite(landmarks).all():
            return
        self._tried_s[track] = time_s
        (crop,) = align_faces(image, landmarks[None], _portrait_template(), THUMBNAIL_PX)
        quality = max(at_best * sharpness(crop), _MIN_QUALITY)
        if known is not None and quality <= known.quality * _MIN_GAIN:
            return
        encoded, jpeg = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        if encoded:
            self.best[track] = BestFace(result.frame_index, quality, jpeg.tobytes())


def _portrait_template() -> FloatArray:
    """Where the five landmarks lie in a thumbnail, float32 (5, 2), px: the classifier's crop with a margin."""
    centre = DEFAULT_TEMPLATE.mean(axis=0)
    scale = THUMBNAIL_PX / 224 * _FACE_SHARE
    middle = np.array([THUMBNAIL_PX / 2, THUMBNAIL_PX * 0.52], np.float32)
    template: FloatArray = ((DEFAULT_TEMPLATE - centre) * scale + middle).astype(np.float32)
    return template
