"""The recordings of one live run: at most one in progress; in the end all are complete and known to the database."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from fertrack.errors import ConfigError, OutputExistsError, VideoWriteError
from fertrack.live.recorder import Recorder
from fertrack.live.state import LiveView
from fertrack.sinks.config import VideoOutputConfig
from fertrack.storage.engine import Database
from fertrack.storage.written_files import record_output
from fertrack.types import VideoInfo

__all__ = ["Recordings"]

logger = logging.getLogger(__name__)


class Recordings:
    """Begins and ends recordings. Safe to use from several threads.

    Args:
        config: codec and quality.
        folder: where recordings go that are given no path.
        sources: files that are read, and so must not be written.

    Attributes:
        notes: what could not be completed.
    """

    def __init__(self, config: VideoOutputConfig, folder: Path, sources: Sequence[str | Path] = ()) -> None:
        self.notes: list[str] = []
        self._config = config
        self._folder = folder
        self._sources = [Path(source) for source in sources]
        self._lock = threading.Lock()
        self._info: VideoInfo | None = None
        self._current: Recorder | None = None
        self._all: list[Recorder] = []
        self._remembered: dict[Recorder, list[list[int]]] = {}

    @property
    def current(self) -> Path | None:
        """Where pictures go at this moment; None if nowhere, also when writing has failed."""
        recorder = self._current
        return recorder.path if recorder is not None and not recorder.failed else None

    @property
    def written(self) -> list[Path]:
        """The files that are there."""
        return [recorder.path for recorder in self._all if recorder.path.exists()]

    @property
    def dropped(self) -> int:
        """Displayed pictures that an encoder was too slow for."""
        return sum(recorder.dropped for recorder in self._all)

    def check(self, path: Path | None, *, overwrite: bool = False) -> None:
        """Refuse what must not be recorded, or not there; None: some file that is not there yet.

        Raises:
            ConfigError: faces are to be hidden, which cannot be done live.
            OutputExistsError: it would replace the source, or a file that was not to be replaced.
        """
        if self._config.anonymise:
            raise ConfigError(
                "video.anonymise cannot be done in a live recording, because a face is in the picture before it is "
                "found: record without it, or do not record"
            )
        if path is None:
            return
        for each in (path, *Recorder.drafts(path)):
            if each.exists() and any(source.exists() and source.samefile(each) for source in self._sources):
                raise OutputExistsError(
                    f"recording {path} would replace {each}, which is being read: choose another name"
                )
        if not overwrite:
            Recorder.check_free(path)

    def open(self, info: VideoInfo) -> None:
        """Allow recordings: what pictures are like is known."""
        with self._lock:
            self._info = info
            if info.path:
                self._sources.append(Path(info.path))

    def begin(self, path: Path | None = None, *, overwrite: bool = False) -> Path:
        """Record every picture that is offered, from now on.

        Args:
            path: the file; None: ``live-DATE-TIME`` in the folder.
            overwrite: replace it if it is there.

        Returns:
            The file.

        Raises:
            ConfigError: the codec does not go into that kind of file, or faces are to be hidden.
            OutputExistsError: the file is there already, or is the source.
            VideoWriteError: it cannot be written, or there are no pictures, or a recording is in progress.
        """
        with self._lock:
            if self._current is not None and not self._current.failed:
                raise VideoWriteError(f"a recording is in progress already: {self._current.path}")
            if self._info is None:
                raise VideoWriteError(
                    "there is no picture to be recorded: wait for the first, or see whether it has ended"
                )
            broken, self._current = self._current, None
            if broken is not None:  # keep what is playable of it, so that its name is free for nothing else
                self._complete(broken)
            self.check(path, overwrite=overwrite)
            path = path or self._folder / f"live-{dt.datetime.now():%Y%m%d-%H%M%S}{self._config.suffix}"
            self._current = Recorder(path, self._info, self._config, overwrite=overwrite)
            self._all.append(self._current)
            return path

    def offer(self, view: LiveView, at_s: float) -> None:
        """Record a picture, captured at ``at_s``, if a recording is in progress; never waits."""
        recorder = self._current
        if recorder is not None:
            recorder.offer(view.image, at_s)

    def end(self) -> Path | None:
        """Complete the recording in progress.

        Returns:
            Its file; None if there was none.

        Raises:
            VideoWriteError: it could not be finished; what is playable was kept.
        """
        with self._lock:
            recorder, self._current = self._current, None
        if recorder is None:
            return None
        recorder.stop()
        return recorder.path

    def close(self) -> None:
        """Allow none any more."""
        with self._lock:
            self._info = None

    def complete(self) -> None:
        """Complete all, those included that somebody else is completing just now. What fails becomes a note."""
        self.close()
        self._current = None
        for recorder in self._all:
            self._complete(recorder)

    def remember(
        self,
        database: Database,
        run: int,
        origin_s: float,
        *,
        shown_alike: list[list[int]] | None = None,
        ended: bool = False,
    ) -> None:
        """Enter in the database which recordings show the run, so that somebody who is erased is taken out of them.

        To be called while the run goes on, too: a program that is killed leaves its recordings.

        Args:
            database: where the run is stored.
            run: its number.
            origin_s: when its first frame was captured, on the clock of ``offer``.
            shown_alike: tracks that were shown under one name, so that it is hidden on all of them.
            ended: enter those once more that were entered before, as they are complete now.
        """
        for recorder in self._all:
            if recorder.first_s is None:
                continue
            alike = shown_alike or []
            is_news = recorder is self._current and self._remembered.get(recorder) != alike
            if ended or is_news or recorder not in self._remembered:
                self._remembered[recorder] = alike
                options = {"offset_s": recorder.first_s - origin_s, "shown_alike": alike}
                record_output(database, run, recorder.path, "video", options)

    def _complete(self, recorder: Recorder) -> None:
        try:
            recorder.stop()
        except VideoWriteError as error:
            self.notes.append(str(error))
            logger.warning("%s", error)
