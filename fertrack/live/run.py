"""The frame loop of a live run, from the first image to the last row."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from fertrack.config import Settings
from fertrack.errors import FertrackError, StorageError, VideoOpenError
from fertrack.live.budget import CostMeter
from fertrack.live.capture import LiveFeed
from fertrack.live.display import Display, LatestResult, MeteredSink, Shown
from fertrack.live.monitor import Monitor
from fertrack.live.options import LiveOptions
from fertrack.live.outlets.outlet_sink import OutletSink, open_outlets
from fertrack.live.people import PeopleSink
from fertrack.live.recorder import Recordings
from fertrack.live.resources import Resources
from fertrack.live.state import LiveSummary
from fertrack.process import run_record
from fertrack.protocols import Sink
from fertrack.reid.linker import LinkPlan
from fertrack.sinks.database import DatabaseSink
from fertrack.sinks.reid import ReidSink
from fertrack.sinks.reidentifier import Reidentifier
from fertrack.storage.engine import Database
from fertrack.storage.people import actions as person_actions
from fertrack.storage.people.links import names_of
from fertrack.storage.runs import add_notes
from fertrack.types import UNCONFIRMED, RunSummary, VideoInfo

__all__ = ["Completion", "LiveRun"]

logger = logging.getLogger(__name__)

_FIRST_PICTURE_S = 20.0
_MAX_TOLD = 20


class LiveRun:
    """One pass over the opened resources: display and recording begin with the first image, and end with the loop.

    Args:
        settings: all options.
        options: of this run.
        resources: what it works with; closed by ``close``.
        monitor: where onlookers see its parts.
        closing: set from any thread, before the capture is asked to end, when the run is to be stopped.
        on_result: told of every result, in the thread of ``run``; None: nobody is.
    """

    def __init__(
        self,
        settings: Settings,
        options: LiveOptions,
        resources: Resources,
        monitor: Monitor,
        closing: threading.Event,
        *,
        on_result: Callable[[Shown], None] | None = None,
    ) -> None:
        self._settings = settings
        self._options = options
        self._resources = resources
        self._monitor = monitor
        self._closing = closing
        self._on_result = on_result
        self._capture = resources.capture
        self._costs = CostMeter()
        self._completion: Completion | None = None

    def run(self) -> LiveSummary:
        """Run to the end, and see that everything is stored.

        Returns:
            What it came to.

        Raises:
            VideoOpenError: no image came.
            FertrackError: something failed; what was done before is stored and recorded.
        """
        resources, monitor = self._resources, self._monitor
        info = self._await_frame()
        if info is None:  # stopped before there was any
            return self._summary(
                RunSummary("interrupted", 0, 0, 0, 0, resources.source.decode_failures, 0.0, 0.0), None
            )
        feed = LiveFeed(
            self._capture,
            info,
            resources.source,
            request=lambda: resources.schedule.request(time.monotonic()),
            on_broken=resources.pipeline.stop,
            until_s=None if self._options.duration_s is None else time.monotonic() + self._options.duration_s,
        )

        def finish() -> None:
            self._close_view()
            latest.notes += monitor.warnings()

        latest = LatestResult(feed.captured_at, monitor.latency, on_result=self._take, on_finish=finish)
        linking = resources.reid_sink()
        people = monitor.people if linking is None else _people_of(linking, resources.database)
        monitor.begin(people, self._capture.fps)
        store = self._prepare_store(info, linking)
        if self._options.display:
            self._begin_display(info, latest)
        sinks: list[Sink] = [latest, MeteredSink("age", monitor.age)]
        outlets = open_outlets(self._settings.outlet, info.name)
        outlet = None
        if outlets:
            outlet = OutletSink(
                outlets, monitor.people, feed.captured_at, outages=lambda: monitor.connection().reconnects
            )
        sinks += [sink for sink in (linking, monitor.people, outlet, store) if sink is not None]
        try:
            summary = resources.pipeline.run(feed, sinks)
        except BaseException:
            with suppress(Exception):  # what ended the run is what must be told
                self._complete()
            raise
        self._complete()
        told = self._summary(summary, store)
        if store is not None and resources.database is not None:
            self._store_notes(resources.database, store.run_id, told.notes)
        return told

    def close(self) -> None:
        """Close everything, whatever state it is in."""
        self._close_view()
        self._monitor.recordings.complete()
        self._resources.close()

    # ---- before the loop ----

    def _await_frame(self) -> VideoInfo | None:
        """Facts about the source once its first frame is there; None if the run was stopped before."""
        capture, source = self._capture, self._resources.source
        give_up_s = None if self._options.duration_s is None else max(self._options.duration_s, _FIRST_PICTURE_S)
        first = capture.newest(timeout_s=give_up_s)
        if first is not None:
            height, width = first.frame.image.shape[:2]
            return replace(source.info, width=width, height=height, frame_count=0, duration_s=0.0, end_s=0.0)
        if self._closing.is_set():
            return None
        if capture.error is not None:
            raise capture.error
        raise VideoOpenError(f"{source.info.name}: no frame came: check that the camera or stream is sending")

    def _prepare_store(self, info: VideoInfo, linking: ReidSink | None) -> DatabaseSink | None:
        """The sink that stores rows, and the completion that completes them; None if nothing is to be stored."""
        resources, monitor = self._resources, self._monitor
        if resources.database is None:
            return None
        record = run_record(self._settings, resources.pipeline)
        store = DatabaseSink(resources.database, info, record, self._settings.storage)
        self._completion = Completion(
            resources.database,
            store,
            monitor.people,
            monitor.recordings,
            origin_s=self._capture.origin_s,
            reidentifier=resources.reidentifier,
            linking=linking,
        )
        return store

    def _begin_display(self, info: VideoInfo, latest: LatestResult) -> None:
        """Show images from now on, and allow recordings of them."""
        monitor = self._monitor
        monitor.recordings.open(info)
        if self._options.record is not None:
            monitor.recordings.begin(self._options.record, overwrite=self._options.overwrite)
        monitor.display = Display(
            self._capture,
            latest=lambda: latest.latest,
            names=monitor.people.shown_names,
            numbers=monitor.people.drawn_numbers,
            connection=monitor.connection,
            budget=monitor.budget,
            latency=monitor.latency,
            age=monitor.age,
            font=self._settings.video.font,
            max_fps=self._settings.live.most_display_fps,
            on_view=monitor.recordings.offer,
        )
        monitor.display.start()

    # ---- during the loop ----

    def _take(self, shown: Shown) -> None:
        """Take note of a result."""
        if self._completion is not None:
            self._completion.remember_recordings()
        monitor, schedule, result = self._monitor, self._resources.schedule, shown.result
        monitor.saw(shown)
        schedule.saw(unsettled=bool((result.track_ids == UNCONFIRMED).any()))
        classify_ms = result.ms.align + result.ms.classify if result.request.classify else None
        self._costs.add(result.ms.detect, classify_ms, len(result.faces))
        captured = self._capture.frames
        displayed = captured if monitor.display is None else monitor.displayed
        now_s = time.monotonic()
        costs = self._costs.due(now_s, captured=captured, displayed=displayed)
        if costs is not None:
            schedule.adapt(costs, now_s)
        if self._on_result is not None:
            self._on_result(shown)

    # ---- after the loop ----

    def _close_view(self) -> None:
        """The frame loop has ended: let go of the source, and show and record no more."""
        self._capture.close()
        if self._monitor.display is not None:
            self._monitor.display.stop()
        self._monitor.recordings.close()

    def _complete(self) -> None:
        """Complete what was recorded and, if the run is stored, what the database has to know."""
        if self._completion is not None:
            self._completion.complete()
        else:
            self._monitor.recordings.complete()

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
            notes.append("privacy.thumbnails keeps no images of faces of a live run")
        database, completion = self._resources.database, self._completion
        return self._monitor.summary(
            summary,
            run=store.run_id if store is not None else None,
            database=database.name if database is not None and store is not None else "",
            persons=completion.persons if completion is not None else None,
            notes=[*notes, *(completion.notes if completion is not None else ())],
        )


class Completion:
    """Enters in the database what it has to know of a live run besides the rows.

    Args:
        database: where the run is stored.
        store: the sink that stores its rows.
        people: who was seen, and who was given a name.
        recordings: of what was displayed.
        origin_s: when the first frame was captured, ``time.monotonic``.
        reidentifier: stores who is who.
        linking: what found it out; None where linking is off.

    Attributes:
        persons: how many are stored; None while that is not known, or where linking is off.
        notes: sentences that the user must see.
    """

    def __init__(
        self,
        database: Database,
        store: DatabaseSink,
        people: PeopleSink,
        recordings: Recordings,
        *,
        origin_s: float,
        reidentifier: Reidentifier | None,
        linking: ReidSink | None,
    ) -> None:
        self.persons: int | None = None
        self.notes: list[str] = []
        self._database = database
        self._store = store
        self._people = people
        self._recordings = recordings
        self._origin_s = origin_s
        self._reidentifier = reidentifier
        self._linking = linking

    def remember_recordings(self, *, ended: bool = False) -> None:
        """Enter which recordings there are; also while the run goes on, since a program can be killed.

        Args:
            ended: they are complete now.
        """
        if self._store.is_open:
            alike = self._people.shown_alike()
            self._recordings.remember(
                self._database, self._store.run_id, self._origin_s, shown_alike=alike, ended=ended
            )

    def complete(self) -> None:
        """Enter who is who, names and recordings, which are completed; each whatever becomes of the others.

        Raises:
            StorageError: who is who could not be stored.
        """
        try:
            if self._reidentifier is not None and self._linking is not None and self._linking.plan is not None:
                self._store_persons(self._reidentifier, self._linking, self._linking.plan)
        finally:
            if self._store.is_open:
                self._store_names()
            self.remember_recordings()
            self._recordings.complete()
            self.remember_recordings(ended=True)

    def _store_persons(self, reidentifier: Reidentifier, linking: ReidSink, plan: LinkPlan) -> None:
        """Store who is who, and report which numbers of the live view differ from the stored ones."""
        run, shown = self._store.run_id, self._people.shown_numbers()
        reidentifier.store(self._database, run, linking, shown=shown)
        self.persons = sum(bool(person.tracks) for person in plan.persons)
        with self._database.run(run) as of_run:
            stored = of_run.subjects.numbers()
        moved = [f"P{n} is {stored[track]}" for n, track in shown.items() if stored.get(track, f"P{n}") != f"P{n}"]
        if moved:
            more = f" and {len(moved) - _MAX_TOLD} more" if len(moved) > _MAX_TOLD else ""
            self.notes.append(
                "persons were linked once more at the end, so some have another number in the database than in the "
                f"live view: {', '.join(moved[:_MAX_TOLD])}{more}"
            )

    def _store_names(self) -> None:
        for track, name in self._people.given_names():
            try:
                person_actions.rename(self._database, self._store.run_id, f"ID {track}", name)
            except FertrackError as error:
                self.notes.append(f"ID {track} could not be called {name}: {error}")


def _people_of(linking: ReidSink, database: Database | None) -> PeopleSink:
    """People as far as re-identification knows them; those of earlier runs with their numbers and names."""
    known = linking.known
    names = names_of(database, [person.id for person in known]) if database is not None and known else {}
    return PeopleSink(
        lambda: linking.persons,
        {place: names[person.id] for place, person in enumerate(known) if person.id in names},
        {place: person.number for place, person in enumerate(known)},
    )
