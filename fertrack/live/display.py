"""Shows every newest frame with the latest result drawn where its faces are by now; waits for no analysis."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import numpy as np

from fertrack.imaging.geometry import corners_of, xyxy_to_uvsr
from fertrack.imaging.overlay import draw_result
from fertrack.imaging.text import TextWriter
from fertrack.live.capture import Capture, Captured
from fertrack.live.latency import Meter
from fertrack.live.state import BudgetState, LiveView
from fertrack.sources.stream.status import StreamStatus
from fertrack.types import UNCONFIRMED, FloatArray, FrameResult, Image, RunSummary

__all__ = ["Display", "LatestResult", "MeteredSink", "Shown", "predicted_xyxy"]


def predicted_xyxy(xyxy: FloatArray, velocity: FloatArray, frames: float) -> FloatArray:
    """Boxes moved on by so many frames with constant velocity: the prediction step of SORT's filter, x = F x.

    The state is that of Bewley et al. (arXiv 1602.00763, section 3.2): centre u, v and area s move, the aspect ratio
    stays. An area that would shrink to nothing stays as it is, as the tracker has it.

    Args:
        xyxy: float32 (N, 4), the tracks' boxes in the frame of the result, px.
        velocity: float32 (N, 3), per frame: of u, v (px) and s (px²).
        frames: frame intervals since the result, >= 0; need not be whole.

    Returns:
        float32 (N, 4), px; may reach beyond the frame.

    >>> box, speed = np.array([[10, 10, 20, 20]], np.float32), np.array([[2, 0, 0]], np.float32)
    >>> predicted_xyxy(box, speed, 2.5).tolist()
    [[15.0, 10.0, 25.0, 20.0]]
    """
    if not len(xyxy) or frames <= 0.0:
        return xyxy
    proper = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1]) & np.isfinite(xyxy).all(axis=1)
    moved = xyxy.astype(np.float64)
    state = xyxy_to_uvsr(moved[proper])
    ahead = state[:, :3] + frames * velocity[proper]
    vanishing = ahead[:, 2] <= 0.0
    ahead[vanishing, 2] = state[vanishing, 2]
    state[:, :3] = ahead
    moved[proper] = corners_of(state)
    return moved.astype(np.float32)


logger = logging.getLogger(__name__)

_CARRIED_ON_S = 0.5
"""Boxes are moved on for so long; a face does not keep its speed for longer."""
_STALE_S = 1.5
"""The faces of results older than this are not drawn; how old they are is said and measured all the same."""
_STILL_S = 0.5
"""Without new frames, the last one is shown again this often, with what is wrong with the source."""
_YELLOW, _RED = (0, 255, 255), (60, 60, 255)


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A result and when its frame was captured, ``time.monotonic``."""

    result: FrameResult
    at_s: float


class MeteredSink:
    """A sink that stores what a meter measured among a run's timings, under the meter's name.

    Args:
        name: stage under which the values are stored.
        meter: takes milliseconds, in whatever thread.
    """

    needs_image = False

    def __init__(self, name: str, meter: Meter) -> None:
        self.name = name
        self.notes: list[str] = []
        self._meter = meter

    @property
    def work_ms(self) -> Sequence[float] | None:
        """Times measured so far, milliseconds; None while there are none."""
        return self._meter.values or None

    def write(self, result: FrameResult, image: Image | None = None) -> None:
        """Nothing to do."""

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def finish(self, summary: RunSummary) -> None:
        """Nothing to do."""

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to release."""


class LatestResult(MeteredSink):
    """A sink that holds the latest result for the display; the first to be finished, it ends the display.

    Under its name, "latency", the milliseconds from a frame's capture until its result was first drawn are stored.

    Args:
        captured_at: ``time.monotonic`` at the capture of a frame that is being analysed, by its index.
        latency: where the display enters its measurements.
        on_result: told of every result and when its frame was captured, in the frame loop's thread.
        on_finish: called when the frame loop has ended, before any sink is finished.
    """

    def __init__(
        self,
        captured_at: Callable[[int], float],
        latency: Meter,
        *,
        on_result: Callable[[Shown], None],
        on_finish: Callable[[], None],
    ) -> None:
        super().__init__("latency", latency)
        self.latest: Shown | None = None
        self._captured_at = captured_at
        self._on_result = on_result
        self._on_finish = on_finish

    def write(self, result: FrameResult, image: Image | None = None) -> None:
        """Take one result."""
        self.latest = Shown(result, self._captured_at(result.frame_index))
        self._on_result(self.latest)

    def finish(self, summary: RunSummary) -> None:
        """End the display."""
        self._on_finish()


class Display:
    """Draws in a thread of its own and keeps the newest image for viewers.

    Args:
        capture: where frames come from.
        latest: the latest result, or None while there is none.
        names: what people are called, by track, of the tracks it is given.
        numbers: in whose colours they are drawn, likewise.
        connection: how the source is.
        budget: what is spent on analysis.
        latency: takes ms from capture until an image was displayed with the result, once per result, however old.
        age: takes the age of the latest result in ms, once per image from the first result on, however old.
        font: of names.
        max_fps: never display more images a second.
        on_view: gets every image that is new, and ``time.monotonic`` of its capture, in this thread; must not wait.

    Attributes:
        shown: ms from capture to shown, once per image.
        failures: images that could not be drawn.
        failure: what went wrong with the first of them.
    """

    def __init__(
        self,
        capture: Capture,
        *,
        latest: Callable[[], Shown | None],
        names: Callable[[Iterable[int]], Mapping[int, str]],
        numbers: Callable[[Iterable[int]], Mapping[int, int]],
        connection: Callable[[], StreamStatus],
        budget: Callable[[], BudgetState],
        latency: Meter,
        age: Meter,
        font: str,
        max_fps: float,
        on_view: Callable[[LiveView, float], None] = lambda _view, _at_s: None,
    ) -> None:
        self.shown = Meter()
        self.failures = 0
        self.failure: Exception | None = None
        self._capture = capture
        self._latest = latest
        self._names = names
        self._numbers = numbers
        self._connection = connection
        self._budget = budget
        self._latency = latency
        self._age = age
        self._font = font
        self._shortest_s = 1.0 / max_fps
        self._on_view = on_view
        self._drawn_pred = -1
        self._changed = threading.Condition()
        self._view: LiveView | None = None
        self._count = 0
        self._is_stopped = False
        self._thread = threading.Thread(target=self._work, name="fertrack-display", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wake whoever waits for an image. May be called more than once."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def view(self, after: int = -1, timeout_s: float = 1.0) -> LiveView | None:
        """The newest image whose number is larger than ``after``; None if there is none in time."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_stopped or (self._view is not None and self._view.number > after), timeout_s
            )
            return self._view if self._view is not None and self._view.number > after else None

    def _work(self) -> None:
        """The thread."""
        last: Captured | None = None
        due_s = 0.0
        while not self._is_stopped:
            after = last.frame.index if last is not None else -1
            captured = self._capture.newest(after, _STILL_S)
            if captured is not None:
                if captured.at_s < due_s - 0.5 * self._shortest_s:
                    last = captured
                    continue
                due_s = max(due_s + self._shortest_s, captured.at_s)
                last = captured
                self._try_to_show(captured, captured.at_s)
            elif self._capture.ended:
                break
            elif last is not None and self._connection().state != "live":
                self._try_to_show(last, time.monotonic(), again=True)

    def _try_to_show(self, captured: Captured, at_s: float, *, again: bool = False) -> None:
        """Show one image; if that fails, the next one is tried all the same."""
        try:
            view = self._show(captured, at_s)
            # A repeated image is not recorded: the recording has a gap where the source was away. Redaction after an
            # erasure knows the faces of captured images only, not those of repetitions.
            if not again:
                self._on_view(view, at_s)
        except Exception as error:  # whatever one image may do to drawing or a recorder, the next must be shown
            self.failures += 1
            if self.failure is None:
                self.failure = error
                logger.warning("a frame could not be displayed", exc_info=error)

    def _show(self, captured: Captured, at_s: float) -> LiveView:
        """Draw and publish one image.

        Args:
            captured: what it shows.
            at_s: the moment it stands for; later than the capture where a frame is shown again.
        """
        image = captured.frame.image.copy()
        shown = self._latest()
        is_stale = shown is not None and at_s - shown.at_s > _STALE_S
        if shown is not None and not is_stale:
            self._draw_faces(image, shown, captured)
        pred_index = shown.result.frame_index if shown is not None else -1
        age_ms = (time.monotonic() - shown.at_s) * 1e3 if shown is not None else 0.0
        self._draw_facts(image, captured.frame.index, pred_index, age_ms, is_stale=is_stale)
        image.flags.writeable = False
        with self._changed:
            view = LiveView(self._count, image, captured.frame.index, pred_index, age_ms, captured.frame.timestamp_s)
            self._view = view
            self._count += 1
            self._changed.notify_all()
        drawn_s = time.monotonic()
        self.shown.add(drawn_s, (drawn_s - captured.at_s) * 1e3)
        if shown is not None:
            self._age.add(drawn_s, age_ms)
            if pred_index != self._drawn_pred:
                self._drawn_pred = pred_index
                self._latency.add(drawn_s, (drawn_s - shown.at_s) * 1e3)
        return view

    def _draw_faces(self, image: Image, shown: Shown, captured: Captured) -> None:
        result = shown.result
        ahead = min((captured.at_s - shown.at_s), _CARRIED_ON_S) * self._capture.fps
        followed = result.track_ids != UNCONFIRMED
        if followed.any():
            moved = predicted_xyxy(result.track_xyxy, result.track_velocity, ahead)
            tracks = result.track_ids[followed].tolist()
            names, numbers = self._names(tracks), self._numbers(tracks)
            draw_result(image, replace(result, track_xyxy=moved), names=names, numbers=numbers, font=self._font)

    def _draw_facts(self, image: Image, frame_index: int, pred_index: int, age_ms: float, *, is_stale: bool) -> None:
        budget = self._budget()
        facts = f"frame {frame_index}  {_said_of_result(pred_index, age_ms, is_stale=is_stale)}"
        facts += f"  1/{budget.detect_every}" if budget.detect_every > 1 else ""
        facts += f"  {budget.long_side} px" if budget.long_side else ""
        facts += f"  {budget.classify_hz:g} Hz" if budget.classify_hz else ""
        lines = [(facts, _YELLOW)]
        connection = self._connection()
        if connection.state != "live":
            attempt = f", attempt {connection.attempt}" if connection.attempt else ""
            lines.insert(0, (f"{connection.state}{attempt}", _RED))
        _write_lines(image, lines)


def _said_of_result(pred_index: int, age_ms: float, *, is_stale: bool) -> str:
    """Caption about the latest result in the image.

    >>> _said_of_result(41, 120.0, is_stale=False), _said_of_result(41, 3210.0, is_stale=True)
    ('pred 41  120 ms', 'pred 41  last result 3.2 s ago')
    """
    if pred_index < 0:
        return "no result yet"
    return f"pred {pred_index}  " + (f"last result {age_ms / 1e3:.1f} s ago" if is_stale else f"{age_ms:.0f} ms")


def _write_lines(image: Image, lines: list[tuple[str, tuple[int, int, int]]]) -> None:
    """Lines of text in the lower left corner, on a darkened ground."""
    height, width = image.shape[:2]
    writer = TextWriter(max(11, round(min(width, height) * 0.022)))
    pad = writer.size_px // 2
    for i, (text, colour) in enumerate(lines):
        top = height - (len(lines) - i) * (writer.line_px + pad)
        ground = image[max(0, top) :, : writer.width_px(text) + 2 * pad][: writer.line_px + pad]
        ground[:] = ground >> 2
        writer.write(image, text, pad, top + pad // 2, colour)
