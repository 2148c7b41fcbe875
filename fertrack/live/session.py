"""One live run: the frame loop in one thread; capture, display and recording beside it, each in its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from fertrack.config import Settings
from fertrack.errors import FertrackError
from fertrack.live.display import Shown
from fertrack.live.latency import Meter
from fertrack.live.monitor import Monitor
from fertrack.live.options import LiveOptions
from fertrack.live.recorder import Recordings
from fertrack.live.resources import open_live_run
from fertrack.live.run import LiveRun
from fertrack.live.state import LiveState, LiveSummary, LiveView
from fertrack.pipeline.pipeline import Pipeline
from fertrack.protocols import VideoSource
from fertrack.rights.purpose import check_stated

__all__ = ["LiveSession"]

logger = logging.getLogger(__name__)


class LiveSession:
    """One live run, from ``start`` until the source ends, ``stop`` is called, or its time is up.

    Capture always holds only the newest frame; the frame loop (``Pipeline.run``) takes it when it is ready; the display
    shows every newest frame with the latest result, its boxes moved on by the tracker's prediction. So no delay can
    build up, however slow analysis is. However the run ends, every row that was written and every image that was
    recorded is kept, and the database knows the recordings; stopped or at its time's end, nothing is missing.

    Args:
        settings: all options.
        location: camera index, URL, or path of a video file (played in real time).
        options: of this run.
        pipeline: use this one, made with ``live=True``, instead of building one from the settings.
        source: use this one instead of opening ``location``.

    Attributes:
        error: what ended the run, if it was not asked for; read it after the end.
        summary: what it came to; None until the end, or if it failed.

    Example:
        >>> with LiveSession(Settings(), 0, LiveOptions(duration_s=10.0)) as session:  # doctest: +SKIP
        ...     view = session.view()
    """

    def __init__(
        self,
        settings: Settings,
        location: str | int = 0,
        options: LiveOptions | None = None,
        *,
        pipeline: Pipeline | None = None,
        source: VideoSource | None = None,
    ) -> None:
        self.error: Exception | None = None
        self.summary: LiveSummary | None = None
        self._settings = settings
        self._location = location
        self._options = options or LiveOptions()
        self._pipeline = pipeline
        self._source = source
        self._on_result: Callable[[Shown], None] | None = None
        self._on_end: Callable[[], None] | None = None
        config = settings.video.model_copy(update={"preset": settings.live.record_preset})
        self._recordings = Recordings(config, self._options.out, [location] if isinstance(location, str) else [])
        self._monitor = Monitor(self._recordings, source)
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
        check_stated(self._settings.privacy, self._settings.recording)
        if self._options.record is not None:
            self._recordings.check(self._options.record, overwrite=self._options.overwrite)
        resources = open_live_run(
            self._settings,
            self._location,
            self._options,
            self._closing,
            pipeline=self._pipeline,
            source=self._source,
        )
        self._monitor.enter(resources)
        run = LiveRun(self._settings, self._options, resources, self._monitor, self._closing, on_result=self._on_result)
        if self._is_stopping:
            resources.capture.ask_to_end()
        resources.capture.start()
        self._thread = threading.Thread(target=self._work, args=(run,), name="fertrack-live", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the run to end. Returns at once; safe from any thread or signal handler, also more than once."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self._closing.set()
        capture = self._monitor.capture
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
        return self._monitor.meters

    def listen(self, on_result: Callable[[Shown], None], on_end: Callable[[], None]) -> None:
        """Be told of every result, and of the end, in the frame loop's thread; to be called before the start.

        Args:
            on_result: takes a result and when its frame was captured; must be quick, as analysis waits for it.
            on_end: called once everything is closed.
        """
        self._on_result, self._on_end = on_result, on_end

    def view(self, after: int = -1, timeout_s: float = 1.0) -> LiveView | None:
        """The newest displayed image with a number larger than ``after``; waits for one.

        Args:
            after: number of the image that was seen last.
            timeout_s: longest to wait; 0 does not wait.

        Returns:
            None if none came in time, or the run has ended.
        """
        display = self._monitor.display
        if display is None:
            self._is_done.wait(timeout_s if self._monitor.capture is None else min(timeout_s, 0.05))
            return None
        return display.view(after, timeout_s)

    def state(self) -> LiveState:
        """State of the run at this moment; never waits for analysis."""
        return self._monitor.state(running=self._thread is not None and not self.ended, error=self.error)

    def start_recording(self, path: Path | None = None) -> Path:
        """Record what is displayed, from now on.

        Args:
            path: the file; None: ``live-DATE-TIME`` in the output folder.

        Returns:
            The file.

        Raises:
            ConfigError: the codec does not go into that kind of file, or faces are to be hidden (``video.anonymise``).
            OutputExistsError: the file is there already, or is the source.
            VideoWriteError: it cannot be written, or there is no image yet, or a recording is in progress.
        """
        return self._recordings.begin(
            path, overwrite=self._options.overwrite and path is not None and path == self._options.record
        )

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
        self._monitor.people.rename(person, name)

    def _work(self, run: LiveRun) -> None:
        """The thread."""
        try:
            self.summary = run.run()
        except Exception as error:  # whatever it is, it has to be found in ``error``: nobody sees what a thread raises
            self.error = error
            if not isinstance(error, FertrackError):
                logger.warning("the live run failed", exc_info=error)
        finally:
            try:
                run.close()
            except Exception as error:  # as above; and whoever waits for the end must not wait forever
                self.error = self.error or error
                logger.warning("the live run could not be closed properly", exc_info=error)
            finally:
                self._is_done.set()
                if self._on_end is not None:
                    self._on_end()
