"""One live run: the frame loop in one thread; capture, display and recording beside it, each in its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from fertrack.build import build_pipeline
from fertrack.config import Settings
from fertrack.errors import FertrackError, VideoOpenError
from fertrack.linking.linker import LinkPlan
from fertrack.live.budget import BudgetController, Costs, LookSchedule, input_sizes
from fertrack.live.capture import Capture, LiveFeed
from fertrack.live.display import Display, LatestResult, MeteredSink, Shown
from fertrack.live.latency import Meter
from fertrack.live.people import PeopleSink
from fertrack.live.recordings import Recordings
from fertrack.live.state import BudgetState, LiveState, LiveSummary, LiveView
from fertrack.pipeline import Pipeline
from fertrack.privacy import check_stated
from fertrack.process import database_url, make_folder, run_record
from fertrack.protocols import Sink, VideoSource
from fertrack.relinking import Relinker, build_relinker
from fertrack.sinks.database import DatabaseSink
from fertrack.sinks.linking import LinkingSink
from fertrack.sources import StreamStatus, open_live_source
from fertrack.storage import person_actions
from fertrack.storage.engine import Database, open_database
from fertrack.storage.links import names_of
from fertrack.storage.replay import numbers_of_tracks
from fertrack.types import UNCONFIRMED, RunSummary, VideoInfo

__all__ = ["LiveSession"]

logger = logging.getLogger(__name__)

_FIRST_PICTURE_S = 20.0
_ADAPT_S = 1.0
_SMOOTHING = 0.2
_MOST_TOLD = 20


class LiveSession:
    """One live run, from ``start`` until the source ends, ``stop`` is called, or its time is up.

    Capture always holds only the newest frame; the frame loop (``Pipeline.run``) takes it when it is ready; the display
    shows every newest frame with the latest result, its boxes moved on by the tracker's prediction. So no delay can
    build up, however slow analysis is. However the run ends, every row that was written and every picture that was
    recorded is kept, and the database knows the recordings; stopped or at its time's end, nothing is missing.

    Args:
        settings: all options.
        location: camera index, URL, or path of a video file (played in real time).
        realtime: play a file at its own speed (a file is never read live otherwise).
        record: record what is displayed into this file from the first frame on.
        store: write results to the database.
        duration_s: end after so many seconds, counted from the first frame.
        fixed: adapt nothing (also ``live.fixed``).
        out: folder of the database and of recordings that are given no path.
        overwrite: replace ``record`` if it is there.
        display: draw pictures at all; without, there is nothing to view or record.
        pipeline: use this one, made with ``live=True``, instead of building one from the settings.
        source: use this one instead of opening ``location``.

    Attributes:
        error: what ended the run, if it was not asked for; read it after the end.
        summary: what it came to; None until the end, or if it failed.

    Example:
        >>> with LiveSession(Settings(), 0, duration_s=10.0) as session:  # doctest: +SKIP
        ...     view = session.view()
    """

    def __init__(
        self,
        settings: Settings,
        location: str | int = 0,
        *,
        realtime: bool = False,
        record: Path | None = None,
        store: bool = True,
        duration_s: float | None = None,
        fixed: bool = False,
        out: Path = Path("fertrack-out"),
        overwrite: bool = False,
        display: bool = True,
        pipeline: Pipeline | None = None,
        source: VideoSource | None = None,
    ) -> None:
        if duration_s is not None and not duration_s > 0.0:
            raise ValueError(f"duration_s must be above 0, got {duration_s}")
        if record is not None and not display:
            raise ValueError("record needs display: what is displayed is what is recorded")
        self.error: Exception | None = None
        self.summary: LiveSummary | None = None
        self._settings = settings
        self._location = location
        self._realtime = realtime
        self._record = record
        self._overwrite = overwrite
        self._store = store
        self._duration_s = duration_s
        self._out = out
        self._fixed = fixed or settings.live.fixed
        self._wants_display = display
        self._on_result: Callable[[Shown], None] = lambda _shown: None
        self._on_end: Callable[[], None] = lambda: None
        self._pipeline = pipeline
        self._source = source
        self._relinker: Relinker | None = None
        self._database: Database | None = None
        self._capture: Capture | None = None
        self._display: Display | None = None
        self._latest: LatestResult | None = None
        self._people = PeopleSink()
        self._schedule = LookSchedule()
        self._costs = _CostMeter()
        self._latency, self._age, self._results = Meter(), Meter(), Meter()
        self._store_sink: DatabaseSink | None = None
        config = settings.video.model_copy(update={"preset": settings.live.record_preset})
        self._recordings = Recordings(config, out, [location] if isinstance(location, str) else [])
        self._notes: list[str] = []
        self._stored_persons: int | None = None
        self._is_stopping = False
        self._closing = threading.Event()
        self._is_done = threading.Event()
        self._thread: threading.Thread | None = None

    # ---- life ----

    def start(self) -> None:
        """Load the models, open the database and the source, and begin. Does nothing if it has begun.

        Raises:
            ConfigError: an option does not fit, or a purpose has to be stated, or a recording is to hide faces.
            WeightsError: weights are missing.
            StorageError: the database cannot be opened.
            OutputExistsError: the recording is there already, or is the source.
            VideoOpenError: the source cannot be opened.
        """
        if self._thread is not None:
            return
        settings = self._settings
        check_stated(settings.privacy)
        if self._record is not None:
            self._recordings.check(self._record, overwrite=self._overwrite)
        if settings.privacy.thumbnails:
            self._notes.append("privacy.thumbnails keeps no pictures of faces of a live run")
        self._pipeline = self._pipeline or build_pipeline(settings, live=True)
        try:
            self._relinker = build_relinker(settings.linking, live=True)
            if self._store:
                make_folder(self._out)
                self._database = open_database(database_url(settings, self._out), create=True)
            if self._source is None:
                self._source = open_live_source(
                    self._location,
                    realtime=self._realtime,
                    config=settings.stream,
                    input_config=settings.input,
                    closing=self._closing,
                )
            self._schedule = LookSchedule(None if self._fixed else self._controller(self._pipeline))
            self._capture = Capture(self._source)
        except BaseException:
            self._release()
            raise
        if self._is_stopping:
            self._capture.ask_to_end()
        self._capture.start()
        self._thread = threading.Thread(target=self._run, name="fertrack-live", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the run to end. Returns at once; safe from any thread or signal handler, also more than once."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self._closing.set()
        capture = self._capture
        if capture is not None:
            capture.ask_to_end()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the run to end, everything written and every thread and file closed.

        Args:
            timeout_s: longest to wait; None: as long as it takes; 0: not at all.

        Returns:
            Whether it has ended.
        """
        if self._thread is None:
            return True
        if not self._is_done.wait(timeout_s):
            return False
        self._thread.join()
        return True

    def __enter__(self) -> Self:
        """Start, if that was not done."""
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, and wait for the end."""
        self.stop()
        self.wait()

    # ---- what others see and do ----

    @property
    def ended(self) -> bool:
        """Whether the run has ended, and everything is written and closed."""
        return self._is_done.is_set()

    @property
    def meters(self) -> dict[str, Meter]:
        """Everything that was measured: "latency", "age", "results" (capture to result), "display" (capture to shown).

        Values in ms, at ``time.monotonic``.
        """
        meters = {"latency": self._latency, "age": self._age, "results": self._results}
        return meters | ({"display": self._display.shown} if self._display is not None else {})

    def listen(self, on_result: Callable[[Shown], None], on_end: Callable[[], None]) -> None:
        """Be told of every result, and of the end, in the frame loop's thread; to be called before the start.

        Args:
            on_result: takes a result and when its frame was captured; must be quick, as analysis waits for it.
            on_end: called once everything is closed.
        """
        self._on_result, self._on_end = on_result, on_end

    def view(self, after: int = -1, timeout_s: float = 1.0) -> LiveView | None:
        """The newest displayed picture with a number larger than ``after``; waits for one.

        Args:
            after: number of the picture that was seen last.
            timeout_s: longest to wait; 0 does not wait.

        Returns:
            None if none came in time, or the run has ended.
        """
        display = self._display
        if display is None:
            self._is_done.wait(timeout_s if self._capture is None else min(timeout_s, 0.05))
            return None
        return display.view(after, timeout_s)

    def state(self) -> LiveState:
        """How the run is at this moment; never waits for analysis."""
        now_s = time.monotonic()
        capture, display = self._capture, self._display
        newest = capture.newest(timeout_s=0.0) if capture is not None else None
        time_s = newest.frame.timestamp_s if newest is not None else 0.0
        recording = self._recordings.current
        connection = self._connection()
        return LiveState(
            source=self._source.info.name if self._source is not None else "",
            status=connection,
            running=self._thread is not None and not self._is_done.is_set(),
            error=_sentence(self.error),
            recording=str(recording) if recording is not None else None,
            time_s=time_s,
            display_fps=display.shown.rate(now_s) if display is not None else 0.0,
            results_hz=self._results.rate(now_s),
            latency_ms=self._latency.recent(now_s),
            age_ms=self._age.recent(now_s),
            frames=capture.frames if capture is not None else 0,
            dropped=self._dropped(capture),
            displayed=len(display.shown) if display is not None else 0,
            reconnects=connection.reconnects,
            budget=self._budget(),
            persons=self._people.persons(time_s),
        )

    def start_recording(self, path: Path | None = None) -> Path:
        """Record what is displayed, from now on.

        Args:
            path: the file; None: ``live-DATE-TIME`` in the output folder.

        Returns:
            The file.

        Raises:
            ConfigError: the codec does not go into that kind of file, or faces are to be hidden (``video.anonymise``).
            OutputExistsError: the file is there already, or is the source.
            VideoWriteError: it cannot be written, or there is no picture yet, or a recording is in progress.
        """
        return self._recordings.begin(path, overwrite=self._overwrite and path is not None and path == self._record)

    def stop_recording(self) -> Path | None:
        """Complete the recording in progress.

        Returns:
            Its file; None if there was none.

        Raises:
            VideoWriteError: it could not be finished; what is playable was kept.
        """
        return self._recordings.end()

    def rename(self, person: int, name: str) -> None:
        """Give a person of this run a name; an empty one takes it away. Stored when the run has ended.

        Args:
            person: their number, ``LivePerson.person``.
            name: in any script.

        Raises:
            ValueError: nobody has this number, or somebody else has this name.
        """
        self._people.rename(person, name)

    # ---- the frame loop's thread ----

    def _run(self) -> None:
        try:
            self._live()
        except Exception as error:
            self.error = error
            if not isinstance(error, FertrackError):
                logger.warning("the live run failed", exc_info=error)
        finally:
            try:
                self._release()
            except Exception as error:
                self.error = self.error or error
                logger.warning("the live run could not be closed properly", exc_info=error)
            finally:
                self._is_done.set()
                self._on_end()

    def _live(self) -> None:
        assert self._pipeline is not None
        assert self._source is not None
        assert self._capture is not None
        info = self._await_picture(self._capture, self._source)
        if info is None:  # stopped before there was any
            self._summarise(RunSummary("interrupted", 0, 0, 0, 0, self._source.decode_failures, 0.0, 0.0), None)
            return
        pipeline = self._pipeline
        feed = LiveFeed(
            self._capture,
            info,
            self._source,
            look=lambda: self._schedule.look(time.monotonic()),
            on_broken=pipeline.stop,
            until_s=None if self._duration_s is None else time.monotonic() + self._duration_s,
        )
        self._latest = LatestResult(feed.captured_at, self._latency, on_result=self._take, on_finish=self._end_display)
        linking = self._linking_sink()
        store = None
        if self._database is not None:
            store = DatabaseSink(self._database, info, run_record(self._settings, pipeline), self._settings.storage)
        if linking is not None:
            numbers = {place: person.number for place, person in enumerate(linking.known)}
            self._people = PeopleSink(lambda: linking.persons, self._known_names(linking), numbers)
        if self._wants_display:
            self._recordings.open(info)
            if self._record is not None:
                self._recordings.begin(self._record, overwrite=self._overwrite)
            self._display = self._make_display(self._capture)
            self._display.start()
        sinks: list[Sink] = [self._latest, MeteredSink("age", self._age)]
        sinks += [sink for sink in (linking, self._people, store) if sink is not None]
        self._store_sink = store
        try:
            summary = pipeline.run(feed, sinks)
        except BaseException:
            with suppress(Exception):  # what ended the run is what must be told
                self._store_rest(linking)
            raise
        self._store_rest(linking)
        self._summarise(summary, store.run_id if store is not None else None)

    def _await_picture(self, capture: Capture, source: VideoSource) -> VideoInfo | None:
        """What is known of the source once its first frame is there; None if the run was stopped before."""
        give_up_s = None if self._duration_s is None else max(self._duration_s, _FIRST_PICTURE_S)
        first = capture.newest(timeout_s=give_up_s)
        if first is not None:
            height, width = first.frame.image.shape[:2]
            return replace(source.info, width=width, height=height, frame_count=0, duration_s=0.0, end_s=0.0)
        if self._is_stopping:
            return None
        if capture.error is not None:
            raise capture.error
        raise VideoOpenError(f"{source.info.name}: no picture came: check that the camera or stream is sending")

    def _take(self, shown: Shown) -> None:
        """Take note of a result."""
        self._remember_recordings()
        now_s = time.monotonic()
        result = shown.result
        self._results.add(now_s, (now_s - shown.at_s) * 1e3)
        if self._display is None:
            self._latency.add(now_s, (now_s - shown.at_s) * 1e3)
        self._schedule.saw(unsettled=bool((result.track_ids == UNCONFIRMED).any()))
        classify_ms = result.ms.align + result.ms.classify if result.look.classify else None
        self._costs.add(result.ms.detect, classify_ms, len(result.faces))
        assert self._capture is not None
        displayed = len(self._display.shown) if self._display is not None else self._capture.frames
        costs = self._costs.due(now_s, self._capture.frames, displayed)
        if costs is not None:
            self._schedule.adapt(costs, now_s)
        self._on_result(shown)

    def _end_display(self) -> None:
        """The frame loop has ended: let go of the source, and show and record no more."""
        if self._capture is not None:
            self._capture.close()
        if self._display is not None:
            self._display.stop()
        self._recordings.close()

    def _release(self) -> None:
        """Close everything, whatever state it is in."""
        self._end_display()
        self._recordings.complete()
        if self._source is not None:
            self._source.close()
        if self._relinker is not None:
            self._relinker.close()
        if self._database is not None:
            self._database.close()
            self._database = None

    # ---- parts ----

    def _controller(self, pipeline: Pipeline) -> BudgetController:
        options = getattr(pipeline.analyzer.detector, "options", None)
        own = getattr(options, "long_side", 0)
        live = self._settings.live
        sizes = input_sizes(own) if own and pipeline.analyzer.resizable else ()
        display_fps = min(live.display_fps, live.most_display_fps)
        return BudgetController(display_fps=display_fps, results_hz=live.results_hz, sizes=sizes)

    def _linking_sink(self) -> LinkingSink | None:
        if self._relinker is None:
            return None
        if self._database is not None:
            return self._relinker.sink(self._database, live=True)
        return LinkingSink(self._relinker.embedder, self._relinker.config, live=True)

    def _known_names(self, linking: LinkingSink) -> dict[int, str]:
        """Names of the persons of earlier runs, by their position among those that linking knows."""
        if self._database is None or not linking.known:
            return {}
        names = names_of(self._database, [person.id for person in linking.known])
        return {place: names[person.id] for place, person in enumerate(linking.known) if person.id in names}

    def _make_display(self, capture: Capture) -> Display:
        return Display(
            capture,
            latest=lambda: self._latest.latest if self._latest is not None else None,
            names=self._people.shown_names,
            connection=self._connection,
            budget=self._budget,
            latency=self._latency,
            age=self._age,
            font=self._settings.video.font,
            most_fps=self._settings.live.most_display_fps,
            on_view=self._recordings.offer,
        )

    def _connection(self) -> StreamStatus:
        if self._is_done.is_set() or (self._capture is not None and self._capture.ended):
            reconnects = getattr(getattr(self._source, "status", None), "reconnects", 0)
            return StreamStatus("ended", 0, _sentence(self.error), reconnects)
        status = getattr(self._source, "status", None)
        if status is not None:
            assert isinstance(status, StreamStatus)
            return status
        return StreamStatus("live" if self._capture is not None and self._capture.started else "connecting")

    def _budget(self) -> BudgetState:
        budget = self._schedule.budget
        return BudgetState(budget.detect_every, budget.long_side, budget.classify_hz, self._schedule.fixed)

    def _dropped(self, capture: Capture | None) -> int:
        """Pictures that were not analysed: those the source left out, and those captured while analysis was busy."""
        if capture is None or self._source is None:
            return 0
        return self._source.dropped + max(0, capture.frames - len(self._results))

    # ---- the end ----

    def _store_rest(self, linking: LinkingSink | None) -> None:
        """Who is who, names that were given, and recordings, which are completed; each whatever becomes of the others.

        Raises:
            StorageError: who is who could not be stored.
        """
        database, store = self._database, self._store_sink
        try:
            if linking is not None and linking.plan is not None and database is not None and store is not None:
                assert self._relinker is not None
                self._relinker.store(database, store.run_id, linking, shown=self._people.shown_numbers())
                self._compare_numbers(database, store.run_id, linking.plan)
        finally:
            if database is not None and store is not None and store.is_open:
                self._store_names(database, store.run_id)
            self._remember_recordings()
            self._recordings.complete()
            self._remember_recordings(ended=True)

    def _compare_numbers(self, database: Database, run: int, plan: LinkPlan) -> None:
        """Say which numbers of the live view are not those that are stored."""
        self._stored_persons = sum(bool(person.tracks) for person in plan.persons)
        stored = numbers_of_tracks(database, run)
        shown = self._people.shown_numbers()
        moved = [f"P{n} is {stored[track]}" for n, track in shown.items() if stored.get(track, f"P{n}") != f"P{n}"]
        if moved:
            more = f" and {len(moved) - _MOST_TOLD} more" if len(moved) > _MOST_TOLD else ""
            self._notes.append(
                "persons were linked once more at the end, so some numbers of the live view are others in the "
                f"database: {', '.join(moved[:_MOST_TOLD])}{more}"
            )

    def _remember_recordings(self, *, ended: bool = False) -> None:
        store = self._store_sink
        if self._database is not None and self._capture is not None and store is not None and store.is_open:
            self._recordings.remember(
                self._database,
                store.run_id,
                self._capture.origin_s,
                shown_alike=self._people.shown_alike(),
                ended=ended,
            )

    def _store_names(self, database: Database, run: int) -> None:
        for track, name in self._people.given_names():
            try:
                person_actions.rename(database, run, f"ID {track}", name)
            except FertrackError as error:
                self._notes.append(f"ID {track} could not be called {name}: {error}")

    def _summarise(self, summary: RunSummary, run: int | None) -> None:
        capture, display, source = self._capture, self._display, self._source
        assert capture is not None
        missed = self._recordings.dropped
        if missed:
            self._notes.append(f"{missed} displayed pictures are not in the recording: the encoder was too slow")
        if display is not None and display.failure is not None:
            self._notes.append(f"{display.failures} pictures could not be displayed: {_sentence(display.failure)}")
        duration_s = capture.duration_s
        per_s = 1.0 / duration_s if duration_s > 0.0 else 0.0
        displayed = len(display.shown) if display is not None else 0
        self.summary = LiveSummary(
            status=summary.status,
            run=run,
            database=self._database.name if self._database is not None and run is not None else "",
            frames=summary.frames + summary.dropped,
            analysed=summary.frames,
            displayed=displayed,
            dropped=summary.dropped,
            decode_failures=summary.decode_failures,
            reconnects=getattr(getattr(source, "status", None), "reconnects", 0),
            faces=summary.faces,
            tracks=summary.tracks,
            persons=self._people.count if self._stored_persons is None else self._stored_persons,
            duration_s=duration_s,
            display_fps=displayed * per_s,
            results_hz=summary.frames * per_s,
            latency_ms=self._latency.overall(),
            age_ms=self._age.overall(),
            recordings=tuple(str(path) for path in self._recordings.written),
            record_dropped=missed,
            notes=(*summary.notes, *self._recordings.notes, *self._notes),
            error=_sentence(capture.error),
        )


class _CostMeter:
    """What looks cost lately: running means, and counts since the last time they were asked for."""

    def __init__(self) -> None:
        self._detect_ms = self._classify_ms = self._faces = 0.0
        self._seen = False
        self._asked: tuple[float, int, int] | None = None

    def add(self, detect_ms: float, classify_ms: float | None, faces: int) -> None:
        """Take one look's; ``classify_ms`` of all its faces, None if none was classified."""
        weight = _SMOOTHING if self._seen else 1.0
        self._detect_ms += weight * (detect_ms - self._detect_ms)
        self._faces += weight * (faces - self._faces)
        if classify_ms is not None and faces:
            weight = _SMOOTHING if self._classify_ms else 1.0
            self._classify_ms += weight * (classify_ms / faces - self._classify_ms)
        self._seen = True

    def due(self, now_s: float, captured: int, displayed: int) -> Costs | None:
        """The costs, about once a second; None in between."""
        if self._asked is None:
            self._asked = now_s, captured, displayed
        since_s = now_s - self._asked[0]
        if since_s < _ADAPT_S:
            return None
        source_fps, display_fps = (captured - self._asked[1]) / since_s, (displayed - self._asked[2]) / since_s
        self._asked = now_s, captured, displayed
        return Costs(self._detect_ms, self._classify_ms, self._faces, source_fps, display_fps)


def _sentence(error: BaseException | None) -> str:
    if error is None:
        return ""
    return str(error) if isinstance(error, FertrackError) else f"{type(error).__name__}: {error}"
