"""The only frame loop: analyse, then update the state, then hand on.

::

    source -> analyse_in_order (stateless, several frames at once) -> find cuts, track -> calibrate, smooth -> sinks

Offline, results are held back by ``min_hits - 1`` frames, so that the rows a track had before it was confirmed carry
its ID too, are smoothed with it and drawn with it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from fertrack.errors import VideoReadError, sentence_of
from fertrack.expression.calibration import Calibrator
from fertrack.expression.config import SmoothingConfig
from fertrack.expression.fold import ExpressionFold
from fertrack.pipeline.analyzer import FaceAnalyzer
from fertrack.pipeline.config import EngineConfig, ShotConfig
from fertrack.pipeline.scheduler import analyse_at_once, analyse_in_order, analyse_spaced, seen_before
from fertrack.pipeline.shots import CutDetector
from fertrack.pipeline.stage_clock import StageClock
from fertrack.protocols import Journal, Sink, VideoSource
from fertrack.tracking.tracker import SortTracker, TrackerConfig, TrackUpdate
from fertrack.types import UNCONFIRMED, Frame, FrameFaces, FrameResult, RunSummary, StageStats

__all__ = ["Pipeline", "Progress"]

logger = logging.getLogger(__name__)

_LOOK_STAGES = ("read", "detect", "align", "classify")


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run; handed to ``on_progress`` after every frame.

    ``duration_s`` is what the container announces; 0 if unknown.
    """

    frames: int
    faces: int
    tracks: int
    timestamp_s: float
    duration_s: float
    elapsed_s: float


class _Fold:
    """The stateful half of one run: finds cuts, tracks, calibrates and smooths. Microseconds a frame."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.tracker = SortTracker(pipeline.tracking)
        self._cuts = CutDetector(pipeline.shots)
        self._expressions = ExpressionFold(pipeline.calibrator, pipeline.smoothing)
        self._lookback = 0 if pipeline.live else pipeline.tracking.lookback
        self._held: deque[tuple[FrameFaces, TrackUpdate, bool, float]] = deque()

    def push(self, analysed: FrameFaces) -> list[tuple[FrameFaces, FrameResult]]:
        """Take one frame; return the frames whose track IDs are now settled."""
        self._follow(self._cuts.push, analysed)
        return self._release(self._lookback)

    def flush(self) -> list[tuple[FrameFaces, FrameResult]]:
        """Return the frames still held back."""
        self._follow(self._cuts.flush)
        return self._release(0)

    def _follow(self, find_cuts: Callable[..., list[tuple[FrameFaces, bool]]], *analysed: FrameFaces) -> None:
        """Track the frames that the cut detector lets pass, from nothing where a new shot begins."""
        started = time.perf_counter()
        for seen, is_cut in find_cuts(*analysed):
            if is_cut:
                self.tracker.cut()
            looks = seen.looks if self._cuts.config.enabled and len(seen.looks) else None
            update = self.tracker.update(seen.faces.detections, seen.frame_index, seen.timestamp_s, looks)
            # What the detector is not sure of is a face only where a track bears it out.
            faces = seen
            if not update.kept.all():
                empty = np.empty((0, 0), np.float32)  # has served its purpose
                faces = replace(seen, faces=seen.faces.select(update.kept), looks=empty)
            self._held.append((faces, update.select(update.kept), is_cut, time.perf_counter() - started))
            started = time.perf_counter()

    def _release(self, keep: int) -> list[tuple[FrameFaces, FrameResult]]:
        settled = []
        while len(self._held) > keep:
            analysed, update, is_cut, track_s = self._held.popleft()
            started = time.perf_counter()
            track_ids = update.track_ids
            if self._lookback:  # a track confirmed since then claims this row too
                track_ids = np.fromiter(map(self.tracker.track_id, update.keys.tolist()), np.int64, len(update.keys))
            folded = self._expressions.update(
                analysed.timestamp_s, track_ids, analysed.faces.logits, analysed.faces.quality
            )
            result = FrameResult(
                frame_index=analysed.frame_index,
                timestamp_s=analysed.timestamp_s,
                faces=analysed.faces,
                track_ids=track_ids,
                track_xyxy=np.where(
                    (track_ids == UNCONFIRMED)[:, None], analysed.faces.detections.xyxy, update.xyxy
                ).astype(np.float32),
                probabilities=folded.probabilities,
                smoothed=folded.smoothed,
                labels=folded.labels,
                ms=analysed.ms,
                track_ms=(track_s + time.perf_counter() - started) * 1e3,
                is_cut=is_cut,
                track_velocity=update.velocity,
                request=analysed.request,
            )
            settled.append((analysed, result))
        return settled


class Pipeline:
    """Runs sources through the analyzer and the trackers into sinks. Reusable: every run starts from nothing.

    Args:
        analyzer: the stateless half.
        tracking: the tracker's options.
        calibrator: turns logits into calibrated probabilities.
        smoothing: smoothing and hysteresis per track.
        shots: how shot cuts are found; an analyzer that does not sign its frames finds none.
        engine: threads and batch size; without effect on a live run.
        detect_every: detect in every so many frames only, and interpolate the faces between them where they keep
            still enough; without effect on a live run.
        live: analyse each frame in the calling thread as soon as it comes, and emit it at once instead of holding back
            ``min_hits - 1`` frames for earlier rows' IDs. Only where a cut is suspected, a frame waits for the next
            one. Tracks age by the time of the frames, as they do offline.
    """

    def __init__(
        self,
        analyzer: FaceAnalyzer,
        calibrator: Calibrator,
        *,
        tracking: TrackerConfig | None = None,
        smoothing: SmoothingConfig | None = None,
        shots: ShotConfig | None = None,
        engine: EngineConfig | None = None,
        detect_every: int = 1,
        live: bool = False,
    ) -> None:
        self.analyzer = analyzer
        self.calibrator = calibrator
        self.tracking = tracking or TrackerConfig()
        self.smoothing = smoothing or SmoothingConfig()
        self.shots = shots or ShotConfig()
        self.engine = engine or EngineConfig()
        self.detect_every = detect_every
        self.live = live
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ask the run in progress to end after the current frame. Safe from any thread or signal handler."""
        self._stop.set()

    def run(
        self,
        source: VideoSource,
        sinks: Sequence[Sink] = (),
        *,
        on_progress: Callable[[Progress], None] | None = None,
        journal: Journal | None = None,
    ) -> RunSummary:
        """Run one source to its end, or until ``stop()``.

        The source and the sinks are opened and closed here. Whatever happens, every sink that was opened is finished
        in the order given, so what was done before an error or an interruption is kept.

        Args:
            source: where frames come from.
            sinks: where results go. If one cannot be finished, those after it are told the run failed.
            on_progress: called after every frame, in this thread.
            journal: kept of what the networks see; frames that it holds already are read again, but not analysed.

        Returns:
            What the run came to; ``status`` is "complete" or "interrupted".

        Raises:
            FertrackError: the source, a model or a sink failed; sinks were finished with status "failed".
            KeyboardInterrupt: passed on after the sinks were finished with status "interrupted".
        """
        self._stop.clear()
        run = _Run(self, source, sinks, on_progress, journal)
        with ExitStack() as stack:
            stack.enter_context(source)
            for sink in sinks:
                stack.enter_context(sink)
            cause: BaseException | None = None
            try:
                run.loop()
            except (Exception, KeyboardInterrupt) as error:  # whatever it is: raised again once sinks are finished
                cause = error
            return run.finish(cause)


class _Run:
    """One pass over one source: the loop, its counters, and its ending."""

    def __init__(
        self,
        pipeline: Pipeline,
        source: VideoSource,
        sinks: Sequence[Sink],
        on_progress: Callable[[Progress], None] | None,
        journal: Journal | None,
    ) -> None:
        self._pipeline = pipeline
        self._source = source
        self._sinks = sinks
        self._on_progress = on_progress
        self._journal = journal
        self._clock = StageClock((*_LOOK_STAGES, "track"))
        self._fold = _Fold(pipeline)
        self._started = time.perf_counter()
        self._frames = 0
        self._faces = 0
        self._first_s = self._last_s = 0.0
        self._interrupted = False
        self._writing = False  # still set after a sink failed: nothing more is written to any of them

    def loop(self) -> None:
        """Pull frames until the source ends or a stop is asked for, then release what was held back."""
        pipeline = self._pipeline
        keep_images = any(sink.needs_image for sink in self._sinks)
        images = iter(self._source)
        if self._journal is not None and (seen := self._journal.seen):
            seen -= seen % pipeline.detect_every  # the faces between two detected frames depend on both
            known = seen_before(self._journal.begin(seen), images, keep_images=keep_images)
            for analysed in known:
                self._emit(self._fold.push(analysed))
                if pipeline._stop.is_set():
                    break
        if not pipeline._stop.is_set():
            self._analyse(images, keep_images=keep_images)
        self._interrupted = pipeline._stop.is_set()
        self._emit(self._fold.flush())
        if not self._frames and not self._interrupted:
            raise VideoReadError(f"{self._source.info.name}: no frame could be decoded")

    def _analyse(self, images: Iterator[Frame], *, keep_images: bool) -> None:
        """Analyse the frames that have not been seen yet, and hand them on."""
        pipeline = self._pipeline
        if pipeline.live:
            frames = analyse_at_once(pipeline.analyzer, images, keep_images=keep_images)
        elif pipeline.detect_every > 1:
            frames = analyse_spaced(
                pipeline.analyzer, images, pipeline.engine, pipeline.detect_every, keep_images=keep_images
            )
        else:
            frames = analyse_in_order(pipeline.analyzer, images, pipeline.engine, keep_images=keep_images)
        try:
            for analysed in frames:
                if self._journal is not None:
                    self._journal.add(analysed)
                self._emit(self._fold.push(analysed))
                if pipeline._stop.is_set():
                    break
        finally:
            frames.close()

    def _emit(self, settled: Sequence[tuple[FrameFaces, FrameResult]]) -> None:
        for analysed, result in settled:
            for sink in self._sinks:
                started = time.perf_counter()
                self._writing = True
                sink.write(result, analysed.image if sink.needs_image else None)
                self._writing = False
                self._clock.add(sink.name, (time.perf_counter() - started) * 1e3)
            self._count(result)
            if self._on_progress:
                self._on_progress(
                    Progress(
                        self._frames,
                        self._faces,
                        self._fold.tracker.confirmed_count,
                        result.timestamp_s,
                        self._source.info.duration_s,
                        time.perf_counter() - self._started,
                    )
                )

    def _count(self, result: FrameResult) -> None:
        if not self._frames:
            self._first_s = result.timestamp_s
        self._last_s = result.timestamp_s
        self._frames += 1
        self._faces += len(result.faces)
        for stage in _LOOK_STAGES:
            self._clock.add(stage, getattr(result.ms, stage))
        self._clock.add("track", result.track_ms)

    def finish(self, cause: BaseException | None) -> RunSummary:
        """Finish every sink with the run's summary; raise what ended the run, if anything did."""
        if cause is not None:
            self._rescue()
            status = "interrupted" if isinstance(cause, KeyboardInterrupt) else "failed"
        else:
            status = "interrupted" if self._interrupted else "complete"
        summary = self._summary(status, sentence_of(cause) if status == "failed" else "")
        for sink in self._sinks:
            try:
                sink.finish(summary)
                summary = replace(summary, notes=(*summary.notes, *sink.notes), stages=self._stages())
            except Exception as error:  # whatever it is, the sinks after this one must be finished, too
                if cause is None:
                    cause = error
                    summary = replace(summary, status="failed", error=sentence_of(error))
                elif error is not cause:
                    logger.info("%s could not be finished either: %s", sink.name, sentence_of(error))
        if cause is not None:
            raise cause
        return summary

    def _rescue(self) -> None:
        """After an error outside the sinks, hand on the frames that were held back."""
        if self._writing:
            return
        self._on_progress = None
        try:
            self._emit(self._fold.flush())
        except Exception as error:  # whatever it is: what ended the run is what must be told
            logger.info("the last frames could not be handed on: %s", sentence_of(error))

    def _summary(self, status: str, error: str) -> RunSummary:
        covered_s = 0.0
        if self._frames:
            fps = self._source.info.fps
            span_s = self._last_s - self._first_s
            covered_s = span_s + (span_s / (self._frames - 1) if self._frames > 1 else (1.0 / fps if fps else 0.0))
            if self._source.info.end_s > self._last_s:  # the last of few frames a second does not outlast the video
                covered_s = min(covered_s, self._source.info.end_s - self._first_s)
        return RunSummary(
            status=status,
            frames=self._frames,
            faces=self._faces,
            tracks=self._fold.tracker.confirmed_count,
            dropped=self._source.dropped,
            decode_failures=self._source.decode_failures,
            elapsed_s=time.perf_counter() - self._started,
            video_s=covered_s,
            stages=self._stages(),
            notes=(*self._source.notes, *self._own_notes()),
            error=error,
        )

    def _stages(self) -> tuple[StageStats, ...]:
        """Time per stage; a sink that works in a thread of its own is charged what it spent there."""
        for sink in self._sinks:
            work_ms = sink.work_ms
            if work_ms is None:
                self._clock.replace(sink.name, ())
            elif work_ms:
                self._clock.replace(sink.name, work_ms)
        return self._clock.stats()

    def _own_notes(self) -> list[str]:
        if self._frames and not self._faces:
            info = self._source.info
            smallest = self._pipeline.analyzer.detector.smallest_face_px(info.width, info.height)
            return [
                f"no face was found in {self._frames} frames (faces under about {smallest:.0f} px cannot be found at "
                "this input size; if the frame lies on its side, try --set input.rotate=90; 'fertrack guide trouble' "
                "says more)"
            ]
        return []
