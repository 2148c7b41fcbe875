"""The values that travel through the pipeline.

Each is a frozen struct of arrays: every column is always there and has the same length N; N = 0 means "nothing".
Arrays are handed on as read-only views, so no stage can write into another's. Shapes and dtypes are checked here
and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "EXPRESSIONS",
    "LABELS",
    "NOT_READABLE",
    "UNCERTAIN",
    "UNCONFIRMED",
    "AnalysisMs",
    "AnalysisRequest",
    "BoolArray",
    "Detections",
    "Device",
    "Faces",
    "Float64Array",
    "FloatArray",
    "Frame",
    "FrameFaces",
    "FrameResult",
    "Image",
    "IntArray",
    "RunSummary",
    "StageStats",
    "VideoInfo",
    "expression_index",
    "label_name",
]

EXPRESSIONS: tuple[str, ...] = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""The seven expressions in RAF-DB's order: the one order of the whole program; adapters map into it."""

LABELS: tuple[str, ...] = (*EXPRESSIONS, "uncertain")
"""Names by label; that of ``UNCERTAIN``, -1, is the last."""

UNCERTAIN = -1
"""Label of a face whose winning probability is under its class threshold."""

NOT_READABLE = -2
"""Label of a face whose image is too bad for an estimate; statistics count it as uncertain."""

UNCONFIRMED = -1
"""Track ID of a detection that no confirmed track has claimed."""

_OTHER_WORDS = {
    "surprised": "surprise",
    "suprise": "surprise",
    "fearful": "fear",
    "afraid": "fear",
    "scared": "fear",
    "disgusted": "disgust",
    "happy": "happiness",
    "joy": "happiness",
    "smile": "happiness",
    "sad": "sadness",
    "angry": "anger",
    "calm": "neutral",
    "neutrality": "neutral",
}

Image = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def label_name(label: int) -> str:
    """Name of a label index: an expression, ``"uncertain"`` for -1, or ``"not readable"`` for -2.

    >>> label_name(3), label_name(-1), label_name(-2)
    ('happiness', 'uncertain', 'not readable')
    """
    return {UNCERTAIN: "uncertain", NOT_READABLE: "not readable"}.get(label) or EXPRESSIONS[label]


def expression_index(word: str) -> int:
    """Index of the expression that a word names, synonyms included; -1 if it is none of the seven.

    >>> expression_index("Happy"), expression_index("contempt")
    (3, -1)
    """
    lower = word.strip().lower()
    name = _OTHER_WORDS.get(lower, lower)
    return EXPRESSIONS.index(name) if name in EXPRESSIONS else -1


def _column(name: str, value: Any, dtype: type[np.generic], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Check one array and return a read-only view of it.

    Raises:
        TypeError: not an array, or of another dtype.
        ValueError: of another shape.
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.dtype(dtype):
        got = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"{name} must be {np.dtype(dtype)} {shape}, got {got}")
    if value.shape != shape:
        raise ValueError(f"{name} must be {np.dtype(dtype)} {shape}, got {value.dtype} {value.shape}")
    view = value.view()
    view.flags.writeable = False
    return view


def check_image(name: str, image: Any) -> Image:
    """Check that an image is uint8 (H, W, 3) with H, W >= 1 and return a read-only view.

    Raises:
        TypeError: not a uint8 array.
        ValueError: not (H, W, 3), or without pixels.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"{name} must be uint8 (H, W, 3) in BGR, got {got}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"{name} must be uint8 (H, W, 3) in BGR, got {image.dtype} {image.shape}")
    view = image.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, slots=True)
class AnalysisRequest:
    """Request to the stateless half for one frame. The defaults are those of a file.

    A live schedule decides this anew for every frame and writes it on the frame, so that the analysis itself needs no
    memory. Frames that the schedule leaves out are not analysed at all.

    Attributes:
        classify: whether expressions are estimated; if not, the faces' logits are NaN, "no estimate".
        long_side: longer side of the detector's input, px; 0 = the detector's own.
        detect_every: one frame in so many is analysed for now; 0 = there is no schedule.
        classify_hz: estimates a second aimed at; 0 = with every analysis.
    """

    classify: bool = True
    long_side: int = 0
    detect_every: int = 0
    classify_hz: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded frame.

    Attributes:
        index: exact 0-based decode ordinal in the source.
        timestamp_s: presentation time from the container, seconds.
        image: uint8 (H, W, 3), BGR, upright.
        read_ms: CPU-side time spent decoding and converting this image, milliseconds.
        waiting: frames that were read and waited behind this one when it was taken; -1 where nothing reads ahead.
        request: of the stateless half.
    """

    index: int
    timestamp_s: float
    image: Image
    read_ms: float = 0.0
    waiting: int = -1
    request: AnalysisRequest = field(default_factory=AnalysisRequest)

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", check_image("image", self.image))


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Facts about a source before its first frame is decoded.

    Attributes:
        name: short name for people (file name, folder name or masked URL).
        path: absolute path, or the masked URL; empty for a source that has neither.
        width: px, after rotation.
        height: px, after rotation.
        fps: average frame rate from the metadata; 0 if unknown. Never used as a clock.
        frame_count: number of frames the container announces; 0 if unknown. Never trusted.
        duration_s: duration the container announces, seconds; 0 if unknown.
        end_s: presentation time at which the container says the video ends; 0 if unknown.
        time_base: seconds per tick of the source's timestamps, so that they can be written back exactly.
        rotation: degrees the stored images were turned clockwise to be upright (0, 90, 180 or 270).
        has_audio: whether an audio stream is there to be kept.
        codec: name of the video codec; empty if there is none.
        stream_index: which of the container's streams it is; -1 if that means nothing.
        clock_jumps: places where the container's clock starts anew, filled while the source is read: the time given to
            the first image after it, and by how far the clock jumps, seconds.
    """

    name: str
    width: int
    height: int
    fps: float = 0.0
    frame_count: int = 0
    rotation: int = 0
    path: str = ""
    duration_s: float = 0.0
    end_s: float = 0.0
    time_base: Fraction = Fraction(1, 90_000)
    has_audio: bool = False
    codec: str = ""
    stream_index: int = -1
    clock_jumps: list[tuple[float, float]] = field(default_factory=list, compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Faces detected in one frame, best score first.

    Attributes:
        xyxy: float32 (N, 4), px in the source frame, clipped to it.
        score: float32 (N,), 0 to 1.
        landmarks: float32 (N, 5, 2), px; left eye, right eye, nose, left and right mouth corner as seen in the image.
    """

    xyxy: FloatArray
    score: FloatArray
    landmarks: FloatArray

    def __post_init__(self) -> None:
        n = len(self.xyxy) if isinstance(self.xyxy, np.ndarray) and self.xyxy.ndim else 0
        object.__setattr__(self, "xyxy", _column("xyxy", self.xyxy, np.float32, (n, 4)))
        object.__setattr__(self, "score", _column("score", self.score, np.float32, (n,)))
        object.__setattr__(self, "landmarks", _column("landmarks", self.landmarks, np.float32, (n, 5, 2)))

    def __len__(self) -> int:
        return len(self.xyxy)

    def select(self, rows: npt.NDArray[Any]) -> Detections:
        """The detections at ``rows`` (a boolean mask or integer indices), all columns together."""
        return Detections(self.xyxy[rows], self.score[rows], self.landmarks[rows])

    @classmethod
    def empty(cls) -> Detections:
        """No faces."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Detections with the classifier's output for each.

    Attributes:
        detections: the N faces.
        logits: float32 (N, 7), uncalibrated, columns as in ``EXPRESSIONS``; a row of NaN: no estimate was made.
        quality: float32 (N,), how well each can be read, 0 to 1; NaN: not judged, as all are unless given.
    """

    detections: Detections
    logits: FloatArray
    quality: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))

    def __post_init__(self) -> None:
        n = len(self.detections)
        object.__setattr__(self, "logits", _column("logits", self.logits, np.float32, (n, len(EXPRESSIONS))))
        quality = self.quality if len(self.quality) else np.full(n, np.nan, np.float32)
        object.__setattr__(self, "quality", _column("quality", quality, np.float32, (n,)))

    def __len__(self) -> int:
        return len(self.detections)

    def select(self, rows: npt.NDArray[Any]) -> Faces:
        """The faces at ``rows`` (a boolean mask or integer indices), all columns together."""
        return Faces(self.detections.select(rows), self.logits[rows], self.quality[rows])

    @classmethod
    def empty(cls) -> Faces:
        """No faces."""
        return cls(Detections.empty(), np.empty((0, len(EXPRESSIONS)), np.float32))


@dataclass(frozen=True, slots=True)
class AnalysisMs:
    """Milliseconds the stateless half spent on one frame; and ``waiting``, as in ``Frame``, a number of frames."""

    read: float = 0.0
    detect: float = 0.0
    align: float = 0.0
    classify: float = 0.0
    waiting: int = -1


@dataclass(frozen=True, slots=True, eq=False)
class FrameFaces:
    """Faces of one frame, from the stateless half.

    Attributes:
        frame_index: exact 0-based decode ordinal.
        timestamp_s: presentation time, seconds.
        faces: the faces and their raw network outputs.
        image: uint8 (H, W, 3) BGR, kept only where a sink needs pixels, else None.
        ms: time spent per stage.
        signature: float32 (S,), what shot cuts are found with (``shots.signature``); S = 0 where none are searched.
        looks: float32 (N, K), ``imaging.surroundings`` of the detections; K = 0 where none are needed.
        request: to the stateless half.
    """

    frame_index: int
    timestamp_s: float
    faces: Faces
    image: Image | None = None
    ms: AnalysisMs = field(default_factory=AnalysisMs)
    signature: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))
    looks: FloatArray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    request: AnalysisRequest = field(default_factory=AnalysisRequest)

    def __post_init__(self) -> None:
        size = self.signature.size if isinstance(self.signature, np.ndarray) else 0
        object.__setattr__(self, "signature", _column("signature", self.signature, np.float32, (size,)))
        rows = (len(self.faces), self.looks.shape[-1]) if len(self.looks) else self.looks.shape
        object.__setattr__(self, "looks", _column("looks", self.looks, np.float32, rows))


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """Results of one frame, once the tracks are updated. Row i is detection i.

    Attributes:
        frame_index: exact 0-based decode ordinal.
        timestamp_s: presentation time, seconds.
        faces: the faces and their raw network outputs.
        track_ids: int64 (N,); -1 = not confirmed.
        track_xyxy: float32 (N, 4), the box to show, px (``TrackerConfig.boxes``).
        probabilities: float32 (N, 7), calibrated, this frame alone; NaN where no estimate was made.
        smoothed: float32 (N, 7), calibrated and smoothed over the track; equal to ``probabilities`` where track is -1.
        labels: int64 (N,), index into ``EXPRESSIONS``; -1 = uncertain (always so where the track is -1); -2 = not
            readable.
        ms: time spent per stage of the stateless half.
        track_ms: time spent tracking, calibrating and smoothing.
        is_cut: whether a new shot begins with this frame; no track is carried across.
        track_velocity: float32 (N, 3), the track's motion per frame: of the box's centre, px, and of its area, px²;
            zeros where the track is -1, or where nothing is known of it.
        request: to the stateless half.
    """

    frame_index: int
    timestamp_s: float
    faces: Faces
    track_ids: IntArray
    track_xyxy: FloatArray
    probabilities: FloatArray
    smoothed: FloatArray
    labels: IntArray
    ms: AnalysisMs = field(default_factory=AnalysisMs)
    track_ms: float = 0.0
    is_cut: bool = False
    track_velocity: FloatArray = field(default_factory=lambda: np.empty((0, 3), np.float32))
    request: AnalysisRequest = field(default_factory=AnalysisRequest)

    def __post_init__(self) -> None:
        n, classes = len(self.faces), len(EXPRESSIONS)
        object.__setattr__(self, "track_ids", _column("track_ids", self.track_ids, np.int64, (n,)))
        object.__setattr__(self, "track_xyxy", _column("track_xyxy", self.track_xyxy, np.float32, (n, 4)))
        object.__setattr__(
            self, "probabilities", _column("probabilities", self.probabilities, np.float32, (n, classes))
        )
        object.__setattr__(self, "smoothed", _column("smoothed", self.smoothed, np.float32, (n, classes)))
        object.__setattr__(self, "labels", _column("labels", self.labels, np.int64, (n,)))
        velocity = self.track_velocity if len(self.track_velocity) else np.zeros((n, 3), np.float32)
        object.__setattr__(self, "track_velocity", _column("track_velocity", velocity, np.float32, (n, 3)))


@dataclass(frozen=True, slots=True)
class StageStats:
    """Time of one stage over a run, milliseconds per frame unless stated otherwise; ``p99_ms`` is None if unknown."""

    stage: str
    frames: int
    total_s: float
    mean_ms: float
    p50_ms: float
    p95_ms: float
    max_ms: float
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Summary of one pass over one source.

    Attributes:
        status: "complete", "interrupted" or "failed".
        frames: frames analysed.
        faces: face rows produced.
        tracks: confirmed tracks.
        dropped: frames a live source dropped to stay current.
        decode_failures: packets or images that could not be decoded and were skipped.
        elapsed_s: wall-clock time.
        video_s: time covered by the frames analysed (last minus first timestamp, plus one frame interval).
        stages: time per stage.
        notes: sentences a user must see (no faces, file ended early, ...).
        error: the sentence of the error that ended the run; empty unless failed.
    """

    status: str
    frames: int
    faces: int
    tracks: int
    dropped: int
    decode_failures: int
    elapsed_s: float
    video_s: float
    stages: tuple[StageStats, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""

    @property
    def real_time_factor(self) -> float:
        """Seconds of video analysed per second of wall clock; above 1 is faster than real time."""
        return self.video_s / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def fps(self) -> float:
        """Frames analysed per second of wall clock."""
        return self.frames / self.elapsed_s if self.elapsed_s > 0 else 0.0


Device = Literal["auto", "cpu", "cuda", "tensorrt", "openvino", "coreml"]
