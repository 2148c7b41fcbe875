"""The seams: what a part must offer to take a place in the pipeline. One method each, batched.

The contract tests in ``tests/contracts`` find the adapters of each by folder; formats of exports have one, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from fertrack.types import Detections, FloatArray, Frame, FrameFaces, FrameResult, Image, RunSummary, VideoInfo

__all__ = ["Classifier", "Detector", "Embedder", "Journal", "LandmarkClassifier", "Sink", "VideoSource"]


@runtime_checkable
class Detector(Protocol):
    """Finds faces and their five landmarks. Stateless and safe to call from several threads at once.

    ``tests/contracts/test_detector_contract.py`` holds every adapter to this.

    Attributes:
        fingerprint: name and hash of what is run, e.g. ``"centerface sha256:09189dea"``; stored with each run.
    """

    fingerprint: str

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """Detect faces in each image (uint8 (H, W, 3) BGR; sizes may differ).

        Returns one ``Detections`` per image, in order, score-sorted, clipped, in px of that image. The result for an
        image does not depend on the other images of the batch.
        """
        ...

    def smallest_face_px(self, width: int, height: int) -> float:
        """About the smallest face, in px of a ``width`` x ``height`` frame, that the current input scale can find."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """Turns aligned crops into logits. Stateless and safe to call from several threads at once.

    ``tests/contracts/test_classifier_contract.py`` holds every adapter to this.

    Attributes:
        crop_size: S, the side of the square crops it takes, px.
        template: float32 (5, 2), where the five landmarks lie in such a crop, px.
        fingerprint: name and hash of what is run; stored with each run.
    """

    crop_size: int
    template: FloatArray
    fingerprint: str

    def logits(self, crops: Image) -> FloatArray:
        """Uncalibrated logits, float32 (N, 7) in ``EXPRESSIONS`` order, for crops uint8 (N, S, S, 3) BGR."""
        ...


@runtime_checkable
class LandmarkClassifier(Classifier, Protocol):
    """A classifier that can use the landmarks too.

    Attributes:
        wants_landmarks: whether it does; if not, ``logits`` is all there is to ask.
    """

    wants_landmarks: bool

    def logits_at(self, crops: Image, landmarks: FloatArray) -> FloatArray:
        """As ``logits``, with the landmarks in these very crops: float32 (N, 5, 2), px; NaN: not known."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """Turns aligned crops into vectors whose distances tell people apart. Stateless, safe from several threads.

    ``tests/contracts/test_embedder_contract.py`` holds every adapter to this.

    Attributes:
        crop_size: S, the side of the square crops it takes, px.
        template: float32 (5, 2), where the five landmarks lie in such a crop, px.
        fingerprint: name and hash of what is run; vectors of different fingerprints cannot be compared.
        recognises: whether near vectors mean the same person at any time and place; if not, they only mean that two
            faces look alike at the moment.
    """

    crop_size: int
    template: FloatArray
    fingerprint: str
    recognises: bool

    def embed(self, crops: Image) -> FloatArray:
        """Vectors, float32 (N, D), for crops uint8 (N, S, S, 3) BGR; 1 minus their Euclidean distance is similarity."""
        ...


@runtime_checkable
class VideoSource(Protocol):
    """Yields frames in presentation order, then stops. Iterated once.

    ``tests/contracts/test_source_contract.py`` holds every adapter to this.

    Attributes:
        info: what is known before decoding.
        decode_failures: packets or images skipped so far because they could not be decoded.
        dropped: frames dropped so far to stay current (live sources only).
        notes: sentences the user must see, such as "the file ends early"; complete once iteration has ended.
    """

    info: VideoInfo
    decode_failures: int
    dropped: int
    notes: list[str]

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames; raises ``VideoReadError`` if decoding breaks in a way that cannot be skipped."""
        ...

    def close(self) -> None:
        """Release the file, camera or socket. May be called more than once, and from another thread."""
        ...

    def __enter__(self) -> Self:
        """Return self."""
        ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        ...


class Journal(Protocol):
    """Keeps what the stateless half saw of a run's frames, so that a run that is cut off can go on.

    Attributes:
        seen: frames that it holds from before the run was cut off; 0: it begins.
    """

    @property
    def seen(self) -> int:
        """See above."""
        ...

    def begin(self, frames: int) -> Iterator[FrameFaces]:
        """Give the first ``frames`` frames that it holds, without images, and forget the others."""
        ...

    def add(self, analysed: FrameFaces) -> None:
        """Keep a frame that follows those."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Receives results in frame order: a database, a video file, a window, a callback.

    ``tests/contracts/test_sink_contract.py`` holds every adapter to this.

    Attributes:
        name: stage name under which its time is reported, e.g. ``"store"`` or ``"video"``.
        needs_image: whether ``write`` must be given the frame's pixels.
        notes: sentences the user must see; complete after ``finish``.
        work_ms: milliseconds spent on each frame in a thread of the sink's own; empty if all is done in ``write``;
            None if the sink measured nothing; the stage is then left out of the report.
    """

    name: str
    needs_image: bool
    notes: list[str]

    @property
    def work_ms(self) -> Sequence[float] | None:
        """See the class."""
        ...

    def __enter__(self) -> Self:
        """Open the output. Raises a ``FertrackError`` if that cannot be done."""
        ...

    def write(self, result: FrameResult, image: Image | None) -> None:
        """Take one frame's result; ``image`` is uint8 (H, W, 3) BGR, read-only, or None unless ``needs_image``."""
        ...

    def finish(self, summary: RunSummary) -> None:
        """Complete the output. Called once whatever the run's status, before ``__exit__``."""
        ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release everything; what was written so far stays readable."""
        ...
