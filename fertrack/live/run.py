"""The frame loop of a live run, from the first picture to the last row."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fertrack.config import Settings
from fertrack.errors import StorageError, VideoOpenError
from fertrack.live.budget import CostMeter
from fertrack.live.capture import LiveFeed
from fertrack.live.completion import Ending
from fertrack.live.display import Display, LatestResult, MeteredSink, Shown
from fertrack.live.monitor import Observed
from fertrack.live.people import PeopleSink
from fertrack.live.resources import Opened
from fertrack.live.state import LiveSummary
from fertrack.live.watchdog import FollowWatch
from fertrack.process import run_record
from fertrack.protocols import Sink
from fertrack.sinks.database import DatabaseSink
from fertrack.sinks.reid import LinkingSink
from fertrack.storage.engine import Database
from fertrack.storage.people.links import names_of
from fertrack.storage.runs import add_notes
from fertrack.types import UNCONFIRMED, RunSummary, VideoInfo

__all__ = ["LiveRun"]

logger = logging.getLogger(__name__)

_FIRST_PICTURE_S = 20.0


class LiveRun:
    """One pass over what was opened: display and recording begin with the first picture, and end with the loop.

    Args:
        settings: all options.
        opened: what it works with; closed by ``close``.
        observed: where onlookers see its parts.
        closing: set from any thread, before the capture is asked to end, when the run is to be stopped.
        duration_s: end after so many seconds, counted from the first picture; None: not by itself.
        display: draw pictures.
        record: record into this file from the first picture on; None: nothing, or what onlookers begin.
        overwrite: replace it if it is there.
        on_result: told of every result, in the thread of ``run``.
    """

    def __init__(
        self,
        settings: Settings,
        opened: Opened,
        observed: Observed,
        closing: threading.Event,
        *,
        duration_s: float | None,
        display: bool,
        record: Path | None,
        overwrite: bool,
        on_result: Callable[[Shown], None],
    ) -> None:
        self._settings = settings
        self._opened = opened
        self._observed = observed
        self._closing = closing
        self._duration_s = duration_s
        self._wants_display = display
        self._record = record
        self._overwrite = overwrite
        self._on_result = on_result
        self._capture = opened.capture
        self._costs = CostMeter()
        self._ending: Ending | None = None

    def run(self) -> LiveSummary:
        """Run to the end, and see that everything is stored.

        Returns:
            What it came to.

        Raises:
            VideoOpenError: no picture came.
            FertrackError: something failed; what was done before is stored and recorded.
        """
        opened, observed = self._opened, self._observed
        info = self._await_picture()
        if info is None:  # stopped before there was any
            return self._summary(RunSummary("interrupted", 0, 0, 0, 0, opened.source.decode_failures, 0.0, 0.0), None)
        feed = LiveFeed(
            self._capture,
            info,
            opened.source,
            request=lambda: opened.schedule.request(time.monotonic()),
            on_broken=opened.pipeline.stop,
            until_s=None if self._duration_s is None else time.monotonic() + self._duration_s,
        )
        watch = observed.following = FollowWatch(opened.pipeline.tracking.max_age, self._capture.fps)

        def finish() -> None:
            self._close_view()
            latest.notes += watch.notes(self._capture.duration_s)

        latest = LatestResult(feed.captured_at, observed.latency, on_result=self._take, on_finish=finish)
        linking = opened.linking_sink()
        if linking is not None:
            observed.people = _people_of(linking, opened.database)
        store = self._prepare_store(info, linking)
        if self._wants_display:
            self._begin_display(info, latest)
        sinks: list[Sink] = [latest, MeteredSink("age", observed.age)]
        sinks += [sink for sink in (linking, observed.people, store) if sink is not None]
        try:
            summary = opened.pipeline.run(feed, sinks)
        except BaseException:
            with suppress(Exception):  # what ended the run is what must be told
                self._complete()
            raise
        self._complete()
        told = self._summary(summary, store)
        if store is not None and opened.database is not None:
            self._store_notes(opened.database, store.run_id, told.notes)
        return told

    def close(self) -> None:
        """Close everything, whatever state it is in."""
        self._close_view()
        self._observed.recordings.complete()
        self._opened.close()

    # ---- before the loop ----

    def _await_picture(self) -> VideoInfo | None:
        """Facts about the source once its first frame is there; None if the run was stopped before."""
        capture, source = self._capture, self._opened.source
        give_up_s = None if self._duration_s is None else max(self._duration_s, _FIRST_PICTURE_S)
        first = capture.newest(timeout_s=give_up_s)
        if first is not None:
            height, width = first.frame.image.shape[:2]
            return replace(source.info, width=width, height=height, frame_count=0, duration_s=0.0, end_s=0.0)
        if self._closing.is_set():
            return None
        if capture.error is not None:
            raise capture.error
        raise VideoOpenError(f"{source.info.name}: no picture came: check that the camera or stream is sending")

    def _prepare_store(self, info: VideoInfo, linking: LinkingSink | None) -> DatabaseSink | None:
        """The sink that stores rows, and the ending that completes them; None if nothing is to be stored."""
        opened, observed = self._opened, self._observed
        if opened.database is None:
            return None
        record = run_record(self._settings, opened.pipeline)
        store = DatabaseSink(opened.database, info, record, self._settings.storage)
        self._ending = Ending(
            opened.database,
            store,
            observed.people,
            observed.recordings,
            origin_s=self._capture.origin_s,
            relinker=opened.relinker,
            linking=linking,
        )
        return store

    def _begin_display(self, info: VideoInfo, latest: LatestResult) -> None:
        """Show pictures from now on, and allow recordings of them."""
        observed = self._observed
        observed.recordings.open(info)
        if self._record is not None:
            observed.recordings.begin(self._record, overwrite=self._overwrite)
        observed.display = Display(
            self._capture,
            latest=lambda: latest.latest,
            names=observed.people.shown_names,
            connection=observed.connection,
            budget=observed.budget,
            latency=observed.latency,
            age=observed.age,
            font=self._settings.video.font,
            max_fps=self._settings.live.most_display_fps,
            on_view=observed.recordings.offer,
        )
        observed.display.start()

    # ---- during the loop ----

    def _take(self, shown: Shown) -> None:
        """Take note of a result."""
        if self._ending is not None:
            self._ending.remember_recordings()
        observed, schedule, result = self._observed, self._opened.schedule, shown.result
        now_s = time.monotonic()
        observed.results.add(now_s, (now_s - shown.at_s) * 1e3)
        if observed.following is not None:
            observed.following.saw(result.frame_index, late_s=now_s - shown.at_s, faces=len(result.faces))
        if observed.display is None:
            observed.latency.add(now_s, (now_s - shown.at_s) * 1e3)
        schedule.saw(unsettled=bool((result.track_ids == UNCONFIRMED).any()))
        classify_ms = result.ms.align + result.ms.classify if result.request.classify else None
        self._costs.add(result.ms.detect, classify_ms, len(result.faces))
        captured = self._capture.frames
        displayed = captured if observed.display is None else observed.displayed
        costs = self._costs.due(now_s, captured=captured, displayed=displayed)
        if costs is not None:
            schedule.adapt(costs, now_s)
        self._on_result(shown)

    # ---- after the loop ----

    def _close_view(self) -> None:
        """The frame loop has ended: let go of the source, and show and record no more."""
        self._capture.close()
        if self._observed.display is not None:
            self._observed.display.stop()
        self._observed.recordings.close()

    def _complete(self) -> None:
        """Complete what was recorded and, if the run is stored, what the database has to know."""
        if self._ending is not None:
            self._ending.complete()
        else:
            self._observed.recordings.complete()

    def _store_notes(self, database: Database, run: int, notes: Sequence[str]) -> None:
        """Stores notes made since the rows were complete: other programs read only the database."""
        try:
            add_notes(database, run, notes)
        except StorageError as error:
            logger.warning("what is to be said of run %d could not be stored with it: %s", run, error)

    def _summary(self, summary: RunSummary, store: DatabaseSink | None) -> LiveSummary:
        """Summary of the run, with the facts that only this object knows."""
        notes = []
        if self._settings.privacy.thumbnails:
            notes.append("privacy.thumbnails keeps no pictures of faces of a live run")
        database, ending = self._opened.database, self._ending
        return self._observed.summary(
            summary,
            run=store.run_id if store is not None else None,
            database=database.name if database is not None and store is not None else "",
            persons=ending.persons if ending is not None else None,
            notes=[*notes, *(ending.notes if ending is not None else ())],
        )


def _people_of(linking: LinkingSink, database: Database | None) -> PeopleSink:
    """People as far as re-identification knows them; those of earlier runs with their numbers and names."""
    known = linking.known
    names = names_of(database, [person.id for person in known]) if database is not None and known else {}
    return PeopleSink(
        lambda: linking.persons,
        {place: names[person.id] for place, person in enumerate(known) if person.id in names},
        {place: person.number for place, person in enumerate(known)},
    )
