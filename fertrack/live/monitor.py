"""Monitor of a live run: its state at any moment, from any thread, and its summary in the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from fertrack.errors import sentence_of
from fertrack.live.budget import AnalysisSchedule
from fertrack.live.capture import Capture
from fertrack.live.display import Display, Shown
from fertrack.live.latency import Meter
from fertrack.live.people import PeopleSink
from fertrack.live.recorder import Recordings
from fertrack.live.resources import Resources
from fertrack.live.state import BudgetState, LiveState, LiveSummary
from fertrack.protocols import VideoSource
from fertrack.sources import StreamStatus
from fertrack.types import RunSummary

__all__ = ["FollowWatch", "Monitor"]

logger = logging.getLogger(__name__)

_LONGEST_S = 1.0
_IN_A_ROW = 2
"""So many steps are too long, or short enough again, before it is said: one look may take long for any reason."""


class Monitor:
    """The parts of a live run that onlookers ask about, entered as they come; what is not there yet counts nothing.

    Nothing here waits for analysis.

    Args:
        recordings: of the run.
        source: if it is there before anything is opened.

    Attributes:
        recordings: of the run.
        capture: reads the source; None before it is opened.
        display: None before the first image, and where nothing is displayed.
        people: who is there.
        schedule: what is asked of each frame.
        following: notices when nobody can be followed; None before the first image.
        latency: ms from a frame's capture until its result was first displayed; until it came, where nothing is.
        age: ms from the capture of the latest result's frame until an image was displayed, once per image.
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

    def enter(self, resources: Resources) -> None:
        """See what was opened."""
        self._source, self.capture, self.schedule = resources.source, resources.capture, resources.schedule

    def begin(self, people: PeopleSink, fps: float) -> None:
        """See the frame loop begin.

        Args:
            people: who is there.
            fps: frames a second, as they are numbered.
        """
        self.people, self.following = people, FollowWatch(fps)

    def saw(self, shown: Shown) -> None:
        """Take note of a result."""
        now_s = time.monotonic()
        late_s = now_s - shown.at_s
        self.results.add(now_s, late_s * 1e3)
        if self.following is not None:
            self.following.saw(shown.result.frame_index, late_s=late_s, faces=len(shown.result.faces))
        if self.display is None:
            self.latency.add(now_s, late_s * 1e3)

    def warnings(self) -> list[str]:
        """Sentences about the speed of the results that the user must see once the run has ended."""
        if self.following is None or self.capture is None:
            return []
        return self.following.notes(self.capture.duration_s)

    @property
    def meters(self) -> dict[str, Meter]:
        """Everything that is measured, by name: "latency", "age", "results", and "display" where there is one."""
        meters = {"latency": self.latency, "age": self.age, "results": self.results}
        return meters | ({"display": self.display.shown} if self.display is not None else {})

    @property
    def displayed(self) -> int:
        """Images displayed so far."""
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
            what = "frames are" if recordings.dropped > 1 else "frame is"
            notes.append(f"{recordings.dropped} displayed {what} not in the recording: the encoder was too slow")
        if display is not None and display.failure is not None:
            notes.append(f"{display.failures} frames could not be displayed: {sentence_of(display.failure)}")
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


class FollowWatch:
    """Compares the time from result to result with the longest in which a face is about where it was.

    A source that was away makes a long step, too; there, the result itself comes in time.

    Args:
        fps: frames a second, as they are numbered.

    Attributes:
        notice: what to say for now; empty while people can be followed.

    >>> watch = FollowWatch(30.0)
    >>> for frame in (0, 45, 90):
    ...     watch.saw(frame, late_s=1.5, faces=1)
    >>> watch.notice.partition(":")[0]
    '0.7 results a second are too few to follow anyone'
    """

    def __init__(self, fps: float) -> None:
        self.notice = ""
        self._longest_s = _LONGEST_S
        self._fps = fps
        self._last: int | None = None
        self._slow_s: list[float] = []
        self._slow = self._quick = self._quick_in_a_row = 0
        self._said = ""
        self._has_faces = False

    def saw(self, frame_index: int, *, late_s: float, faces: int) -> None:
        """Take note of a result.

        Args:
            frame_index: number of its frame.
            late_s: from the frame's capture until its result.
            faces: how many are in it.
        """
        before, self._last = self._last, frame_index
        self._has_faces |= faces > 0
        # The first look has no step before it, and takes longer than others; it counts only if nothing else does.
        step_s = late_s if before is None else (frame_index - before) / self._fps
        if step_s > self._longest_s and late_s > 0.5 * self._longest_s:
            self._slow += 1
            self._quick_in_a_row = 0
            self._slow_s = [*self._slow_s[-9:], step_s] if before is not None else []
            if len(self._slow_s) >= _IN_A_ROW and self._has_faces:
                self._say()
        elif before is not None:
            self._quick += 1
            self._quick_in_a_row += 1
            self._slow_s = []
            if self._quick_in_a_row >= _IN_A_ROW:
                self.notice = ""

    def notes(self, run_s: float) -> list[str]:
        """Warnings to show once the run has ended.

        Args:
            run_s: how long it was, of which there may have been too little for more than a few results.
        """
        if not self._said and self._has_faces and self._slow and not self._quick:
            self._said = self._sentence(max(run_s / (self._slow + self._quick), self._longest_s))
        return [self._said] if self._said else []

    def _say(self) -> None:
        if not self.notice:  # one that changes with every result would be read out again and again
            self.notice = self._sentence(sum(self._slow_s) / len(self._slow_s))
        if not self._said:
            self._said = self.notice
            logger.warning("%s", self.notice)

    def _sentence(self, step_s: float) -> str:
        return (
            f"{1.0 / step_s:.1f} results a second are too few to follow anyone: whoever moves in the "
            f"{step_s:.1f} s between becomes another; make looks cheaper (--set detection.long_side=320, "
            "--set linking.method=off)"
        )
