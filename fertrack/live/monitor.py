"""Monitor of a live run: its state at any moment, from any thread, and its summary in the end."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fertrack.errors import sentence_of
from fertrack.live.budget import AnalysisSchedule
from fertrack.live.capture import Capture
from fertrack.live.display import Display
from fertrack.live.latency import Meter
from fertrack.live.people import PeopleSink
from fertrack.live.recordings import Recordings
from fertrack.live.resources import Opened
from fertrack.live.state import BudgetState, LiveState, LiveSummary
from fertrack.live.watchdog import FollowWatch
from fertrack.protocols import VideoSource
from fertrack.sources import StreamStatus
from fertrack.types import RunSummary

__all__ = ["Observed"]


class Observed:
    """The parts of a live run that onlookers ask about, entered as they come; what is not there yet counts nothing.

    Nothing here waits for analysis.

    Args:
        recordings: of the run.
        source: if it is there before anything is opened.

    Attributes:
        recordings: of the run.
        capture: reads the source; None before it is opened.
        display: None before the first picture, and where nothing is displayed.
        people: who is there.
        schedule: what is asked of each frame.
        following: notices when nobody can be followed; None before the first picture.
        latency: ms from a frame's capture until its result was first displayed; until it came, where nothing is.
        age: ms from the capture of the latest result's frame until a picture was displayed, once per picture.
        results: ms from a frame's capture until its result came.
    """

    def __init__(self, recordings: Recordings, source: VideoSource | None = None) -> None:
        self.recordings = recordings
        self.capture: Capture | None = None
        self.display: Display | None = None
        self.people = PeopleSink()
        self.schedule = AnalysisSchedule()
        self.following: FollowWatch | None = None
        self.latency, self.age, self.results = Meter(), Meter(), Meter()
        self._source = source

    def enter(self, opened: Opened) -> None:
        """See what was opened."""
        self._source, self.capture, self.schedule = opened.source, opened.capture, opened.schedule

    @property
    def meters(self) -> dict[str, Meter]:
        """Everything that is measured, by name: "latency", "age", "results", and "display" where there is one."""
        meters = {"latency": self.latency, "age": self.age, "results": self.results}
        return meters | ({"display": self.display.shown} if self.display is not None else {})

    @property
    def displayed(self) -> int:
        """Pictures displayed so far."""
        return len(self.display.shown) if self.display is not None else 0

    def state(self, *, running: bool, error: Exception | None) -> LiveState:
        """State of the run at this moment.

        Args:
            running: whether it goes on.
            error: what ended it.
        """
        now_s = time.monotonic()
        capture, display, recording = self.capture, self.display, self.recordings.current
        newest = capture.newest(timeout_s=0.0) if capture is not None else None
        time_s = newest.frame.timestamp_s if newest is not None else 0.0
        connection = self.connection(error)
        frames = self._frames()
        return LiveState(
            source=self._source.info.name if self._source is not None else "",
            status=connection,
            running=running,
            error=sentence_of(error),
            recording=str(recording) if recording is not None else None,
            time_s=time_s,
            display_fps=display.shown.rate(now_s) if display is not None else 0.0,
            results_hz=self.results.rate(now_s),
            latency_ms=self.latency.recent(now_s),
            age_ms=self.age.recent(now_s),
            frames=frames,
            dropped=max(0, frames - len(self.results)),
            displayed=self.displayed,
            reconnects=connection.reconnects,
            budget=self.budget(),
            persons=self.people.persons(time_s),
            notice=self.following.notice if self.following is not None else "",
        )

    def connection(self, error: Exception | None = None) -> StreamStatus:
        """State of the source.

        Args:
            error: what ended the run.
        """
        status = getattr(self._source, "status", None)
        if self.capture is not None and self.capture.ended:
            return StreamStatus("ended", 0, sentence_of(error), self._reconnects())
        if status is not None:
            assert isinstance(status, StreamStatus)
            return status
        return StreamStatus("live" if self.capture is not None and self.capture.started else "connecting")

    def budget(self) -> BudgetState:
        """Budget of the analysis for now."""
        budget = self.schedule.budget
        return BudgetState(budget.detect_every, budget.long_side, budget.classify_hz, self.schedule.fixed)

    def summary(
        self, summary: RunSummary, *, run: int | None, database: str, persons: int | None, notes: Sequence[str]
    ) -> LiveSummary:
        """Summary of the run; to be asked for once all recordings are complete.

        Args:
            summary: what the frame loop says.
            run: its number in the database; None if it is not stored.
            database: name of the database; empty if it is not stored.
            persons: how many are stored; None: as many as were seen.
            notes: sentences that the user must see, after those of the frame loop and the recordings.
        """
        capture, display, recordings = self.capture, self.display, self.recordings
        assert capture is not None
        notes = [*summary.notes, *recordings.notes, *notes]
        if recordings.dropped:
            what = "pictures are" if recordings.dropped > 1 else "picture is"
            notes.append(f"{recordings.dropped} displayed {what} not in the recording: the encoder was too slow")
        if display is not None and display.failure is not None:
            notes.append(f"{display.failures} pictures could not be displayed: {sentence_of(display.failure)}")
        duration_s = capture.duration_s
        per_s = 1.0 / duration_s if duration_s > 0.0 else 0.0
        return LiveSummary(
            status=summary.status,
            run=run,
            database=database,
            frames=summary.frames + summary.dropped,
            analysed=summary.frames,
            displayed=self.displayed,
            dropped=summary.dropped,
            decode_failures=summary.decode_failures,
            reconnects=self._reconnects(),
            faces=summary.faces,
            tracks=summary.tracks,
            persons=self.people.count if persons is None else persons,
            duration_s=duration_s,
            display_fps=self.displayed * per_s,
            results_hz=summary.frames * per_s,
            latency_ms=self.latency.overall(),
            age_ms=self.age.overall(),
            recordings=tuple(str(path) for path in recordings.written),
            record_dropped=recordings.dropped,
            notes=tuple(notes),
            error=sentence_of(capture.error),
        )

    def _reconnects(self) -> int:
        return getattr(getattr(self._source, "status", None), "reconnects", 0)

    def _frames(self) -> int:
        """Frames that came: those captured, and those the source had to leave out."""
        if self.capture is None or self._source is None:
            return 0
        return self._source.dropped + self.capture.frames
