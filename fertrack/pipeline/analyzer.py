"""The stateless half: inference on one frame, with no memory of any other.

Because nothing here has memory, frames may be analysed in any order, in batches, on several threads or machines; the
rows are the same. Faces are classified frame by frame, never pooled across frames, so that the batch a frame travels
in cannot change its numbers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fertrack.imaging.alignment import align_with_landmarks, aligned_landmarks
from fertrack.imaging.face_quality import face_quality
from fertrack.imaging.surroundings import surroundings
from fertrack.pipeline.interpolation import MAX_SPAN_S, interpolate, is_steady
from fertrack.pipeline.shots import signature
from fertrack.protocols import Classifier, Detector, LandmarkClassifier
from fertrack.types import EXPRESSIONS, AnalysisMs, Detections, Faces, FloatArray, Frame, FrameFaces, Image

__all__ = ["FaceAnalyzer", "Spotted", "crop_logits"]


@dataclass(frozen=True, slots=True, eq=False)
class Spotted:
    """A frame whose faces are known and not classified yet.

    Attributes:
        frame: the frame.
        detections: its faces.
        ms: milliseconds that detecting them took; 0 where they were interpolated.
        signature: as ``shots.signature`` gives it.
    """

    frame: Frame
    detections: Detections
    ms: float
    signature: FloatArray


class FaceAnalyzer:
    """Detects, aligns and classifies the faces of frames. Safe to call from several threads at once.

    Args:
        detector: finds faces and landmarks.
        classifier: turns aligned crops into logits.
        sign: whether to add to each frame the signature by which shot cuts are found; about 0.1 ms.
    """

    def __init__(self, detector: Detector, classifier: Classifier, *, sign: bool = True) -> None:
        self.detector = detector
        self.classifier = classifier
        self.sign = sign
        self._resized: dict[int, Detector] = {}

    def analyse(self, frames: Sequence[Frame], *, keep_images: bool = False) -> list[FrameFaces]:
        """Detect, align and classify the faces of a batch of frames.

        Args:
            frames: any number of frames, of any sizes.
            keep_images: hand each frame's pixels on, for a sink that draws.

        Returns:
            One ``FrameFaces`` per frame, in the order given.
        """
        if not frames:
            return []
        started = time.perf_counter()
        detected = self._detect(frames)
        detect_ms = (time.perf_counter() - started) * 1e3 / len(frames)
        spotted = [
            Spotted(frame, detections, detect_ms, self._signature(frame))
            for frame, detections in zip(frames, detected, strict=True)
        ]
        return self._classify(spotted, keep_images=keep_images)

    def spot(self, frame: Frame) -> Spotted:
        """Faces of one frame, not classified yet."""
        started = time.perf_counter()
        (detections,) = self._detect([frame])
        return Spotted(frame, detections, (time.perf_counter() - started) * 1e3, signature(frame.image))

    def analyse_between(
        self, first: Spotted, between: Sequence[Frame], last: Spotted | None, *, keep_images: bool = False
    ) -> list[FrameFaces]:
        """Analyse a frame that was detected in and those that follow it, up to the next that was detected in.

        Faces of those between are interpolated where nothing stands against it, else detected.

        Args:
            first: the earlier detected frame.
            between: frames after it.
            last: the detected frame after those; None at the end of the video.
            keep_images: as in ``analyse``.

        Returns:
            One ``FrameFaces`` for ``first`` and each of ``between``.
        """
        signatures = [signature(frame.image) for frame in between]
        found = None
        if last is not None:
            span_s = last.frame.timestamp_s - first.frame.timestamp_s
            if 0 < span_s <= MAX_SPAN_S and is_steady([first.signature, *signatures, last.signature]):
                shares = [(frame.timestamp_s - first.frame.timestamp_s) / span_s for frame in between]
                found = interpolate(first.detections, last.detections, shares)
        if found is None:
            spotted = [first, *(self.spot(frame) for frame in between)]
        else:
            spotted = [first, *map(Spotted, between, found, [0.0] * len(between), signatures)]
        return self._classify(spotted, keep_images=keep_images)

    def _signature(self, frame: Frame) -> FloatArray:
        return signature(frame.image) if self.sign else np.empty(0, np.float32)

    def _classify(self, spotted: Sequence[Spotted], *, keep_images: bool) -> list[FrameFaces]:
        analysed = []
        for each in spotted:
            frame, detections = each.frame, each.detections
            started = time.perf_counter()
            if len(detections) and not frame.request.classify:
                aligned = started
                no_estimate = np.full((len(detections), len(EXPRESSIONS)), np.nan, np.float32)
                faces = Faces(detections, no_estimate)
            elif len(detections):
                crops, points = align_with_landmarks(
                    frame.image, detections.landmarks, self.classifier.template, self.classifier.crop_size
                )
                quality = face_quality(detections.landmarks, crops, self.classifier.template, frame.image.shape[:2])
                aligned = time.perf_counter()
                logits = _logits(self.classifier, crops, points)
                faces = Faces(detections, logits, quality)
            else:
                aligned = started
                faces = Faces.empty()
            classified = time.perf_counter()
            ms = AnalysisMs(
                read=frame.read_ms,
                detect=each.ms,
                align=(aligned - started) * 1e3,
                classify=(classified - aligned) * 1e3,
                waiting=frame.waiting,
            )
            analysed.append(
                FrameFaces(
                    frame.index,
                    frame.timestamp_s,
                    faces,
                    frame.image if keep_images else None,
                    ms,
                    each.signature if self.sign else np.empty(0, np.float32),
                    surroundings(frame.image, detections.xyxy) if self.sign else np.empty((0, 0), np.float32),
                    frame.request,
                )
            )
        return analysed

    @property
    def resizable(self) -> bool:
        """Whether ``AnalysisRequest.long_side`` has an effect: the detector is available for other input sizes."""
        return hasattr(self.detector, "resized")

    def _detect(self, frames: Sequence[Frame]) -> list[Detections]:
        if not any(frame.request.long_side for frame in frames):
            return self.detector.detect([frame.image for frame in frames])
        return [self._sized(frame.request.long_side).detect([frame.image])[0] for frame in frames]

    def _sized(self, long_side: int) -> Detector:
        """The detector for an input size; the same network, so it costs nothing to have several."""
        if not long_side or not self.resizable:
            return self.detector
        if long_side not in self._resized:
            self._resized[long_side] = self.detector.resized(long_side)  # type: ignore[attr-defined]  # see resizable
        return self._resized[long_side]


def crop_logits(classifier: Classifier, crops: Image, landmarks: FloatArray) -> FloatArray:
    """Logits of aligned crops; a classifier that uses landmarks gets them mapped as the crops were.

    Args:
        classifier: answers.
        crops: uint8 (N, S, S, 3), BGR, as ``align_faces`` made them with the classifier's template and size.
        landmarks: float32 (N, 5, 2), px in the frame that the crops were cut from.

    Returns:
        float32 (N, 7).
    """
    wants = isinstance(classifier, LandmarkClassifier) and classifier.wants_landmarks
    return _logits(classifier, crops, aligned_landmarks(landmarks, classifier.template) if wants else landmarks)


def _logits(classifier: Classifier, crops: Image, points: FloatArray) -> FloatArray:
    """Logits of crops; a classifier that wants them gets the landmarks in these very crops."""
    if isinstance(classifier, LandmarkClassifier) and classifier.wants_landmarks:
        return classifier.logits_at(crops, points)
    return classifier.logits(crops)
