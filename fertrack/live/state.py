"""State of a live run: values to look at from any thread, and to send as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from fertrack.sources.stream.status import StreamStatus
from fertrack.types import Image

__all__ = ["BudgetState", "LivePerson", "LiveState", "LiveSummary", "LiveView", "Percentiles"]


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds."""

    p50: float
    p95: float
    p99: float

    def __str__(self) -> str:
        """The three of them, whole."""
        return f"{self.p50:.0f} / {self.p95:.0f} / {self.p99:.0f}"


@dataclass(frozen=True, slots=True, eq=False)
class LiveView:
    """One displayed image.

    Attributes:
        number: counts displayed images from 0; what ``LiveSession.view`` takes as ``after``.
        image: uint8 (H, W, 3), BGR, read-only, with everything drawn on it.
        frame_index: the captured frame that is shown.
        pred_index: the frame of the latest result; -1 while there is none. After 1.5 s its faces are not drawn any
            more, and the image says so.
        result_age_ms: time from the capture of frame ``pred_index`` until this image was drawn; 0 without a result.
        captured_s: when the frame was captured, seconds since the first one.
    """

    number: int
    image: Image
    frame_index: int
    pred_index: int
    result_age_ms: float
    captured_s: float


@dataclass(frozen=True, slots=True)
class BudgetState:
    """Budget of the analysis for now.

    Attributes:
        detect_every: one captured frame in so many is looked at; when analysis is slower than that, fewer are.
        long_side: longer side of the detector's input, px; 0 = the detector's own.
        classify_hz: expression estimates a second; 0 = with every look.
        fixed: nothing is adapted.
    """

    detect_every: int = 1
    long_side: int = 0
    classify_hz: float = 0.0
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class LivePerson:
    """One person of a live run.

    Attributes:
        track: ID of the newest of their tracks.
        person: their number in this session, from 1; what ``LiveSession.rename`` takes.
        name: the name they were given, else "P" and the number.
        label: expression estimate, or "uncertain".
        certain: whether the label is an expression.
        probability: smoothed probability of the label; of the most likely expression where it is uncertain.
        probabilities: smoothed, by expression, in the order of ``EXPRESSIONS``.
        visible: whether the newest result shows them.
        last_seen_s: seconds since the first frame.
        strip: the last 60 s, oldest first: (seconds since the first frame, label, probability); each holds until the
            next one, and label "" means not seen.
    """

    track: int
    person: int
    name: str
    label: str
    certain: bool
    probability: float
    probabilities: dict[str, float]
    visible: bool
    last_seen_s: float
    strip: tuple[tuple[float, str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class LiveState:
    """A live run at one moment. ``dataclasses.asdict`` makes it plain JSON values.

    Attributes:
        source: name of the source, without credentials.
        status: how it is.
        running: whether the run goes on.
        error: the sentence of what ended it; empty if nothing went wrong.
        recording: path of the recording in progress, or None.
        time_s: when the newest frame was captured, seconds since the first one.
        display_fps: images displayed a second, over the last seconds.
        results_hz: frames analysed a second, over the last seconds.
        latency_ms: from the capture of a frame until its result was first displayed, over the last seconds; None if
            there was none.
        age_ms: age of the latest result when an image was displayed, over the last seconds; None if there was none.
        frames: frames that came so far, those included that the source left out.
        dropped: of these, frames that were not analysed, to stay current.
        displayed: images displayed so far.
        reconnects: how often the connection came back so far.
        budget: what is spent on analysis for now.
        persons: everybody seen in this run, in order of number; those not seen for a minute or more only if named.
        notice: what the user should know for now, such as that results come too seldom; empty if nothing.
    """

    source: str
    status: StreamStatus
    running: bool
    error: str
    recording: str | None
    time_s: float
    display_fps: float
    results_hz: float
    latency_ms: Percentiles | None
    age_ms: Percentiles | None
    frames: int
    dropped: int
    displayed: int
    reconnects: int
    budget: BudgetState
    persons: tuple[LivePerson, ...] = ()
    notice: str = ""


@dataclass(frozen=True, slots=True)
class LiveSummary:
    """Summary of a live run.

    Attributes:
        status: "complete", "interrupted" (the source broke off) or "failed".
        run: number of the run in the database; None if nothing was stored.
        database: name of the database; empty if nothing was stored.
        frames: frames that came, those included that the source left out.
        analysed: frames analysed, and stored.
        displayed: images displayed.
        dropped: of ``frames``, those not analysed.
        decode_failures: images that could not be decoded.
        reconnects: how often the source came back.
        faces: face rows.
        tracks: confirmed tracks.
        persons: persons seen.
        duration_s: wall-clock time from the first frame to the last.
        display_fps: images displayed a second.
        results_hz: frames analysed a second.
        latency_ms: capture to result displayed; None if that was never measured.
        age_ms: age of the latest result when an image was displayed, however old; None if that was never measured.
        recordings: files written.
        record_dropped: images that the encoder was too slow for.
        notes: sentences the user must see.
        error: what ended the run, if it was not asked for.
    """

    status: str
    run: int | None
    database: str
    frames: int
    analysed: int
    displayed: int
    dropped: int
    decode_failures: int
    reconnects: int
    faces: int
    tracks: int
    persons: int
    duration_s: float
    display_fps: float
    results_hz: float
    latency_ms: Percentiles | None
    age_ms: Percentiles | None
    recordings: tuple[str, ...] = ()
    record_dropped: int = 0
    notes: tuple[str, ...] = field(default=())
    error: str = ""
