"""The sink that stores every frame in the database, in batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from fertrack.errors import StorageError
from fertrack.storage.config import StorageConfig
from fertrack.storage.engine import Database
from fertrack.storage.runs import RunRecord
from fertrack.storage.unfinished import analysed_frames, count_analysed, trim_analysed
from fertrack.storage.writer import RunWriter
from fertrack.types import FrameFaces, FrameResult, Image, RunSummary, VideoInfo

__all__ = ["DatabaseSink", "RunRecord"]

logger = logging.getLogger(__name__)


class DatabaseSink:
    """Stores a run: its frames, faces and tracks, how it ended, and its time per stage.

    A batch is written when another frame would make it larger than ``config.batch_rows`` rows, or when
    ``config.flush_s`` have passed since the last one; what was written stays, whatever happens afterwards. Until it
    is finished the run has the status "running".

    Args:
        database: an open database; it is not closed here.
        info: the source.
        run: with what the run is made.
        config: size and age of a batch.
        resume: number of a run that was cut off and is written anew; 0: a new run.

    Attributes:
        name: "store".
        needs_image: False.
    """

    name = "store"
    needs_image = False

    def __init__(
        self,
        database: Database,
        info: VideoInfo,
        run: RunRecord,
        config: StorageConfig | None = None,
        *,
        resume: int = 0,
    ) -> None:
        self._database = database
        self._info = info
        self._record = run
        self._config = config or StorageConfig()
        self._resume = resume
        self._writer: RunWriter | None = None
        self.notes: list[str] = []
        self.work_ms: tuple[float, ...] = ()  # all of its work is done in write
        self._pending: list[FrameResult] = []
        self._pending_rows = 0
        self._analysed: list[FrameFaces] = []
        self._analysed_stored = 0
        self._flushed_at = 0.0
        self._finished = False

    @property
    def is_open(self) -> bool:
        """Whether the run has been added, so that it has a number."""
        return self._writer is not None

    @property
    def run_id(self) -> int:
        """Number of the run.

        Raises:
            ValueError: the sink was not entered yet.
        """
        return self._opened().run_id

    def __enter__(self) -> Self:
        """Add the run.

        Raises:
            StorageError: it cannot be written.
        """
        self._writer = RunWriter(self._database, self._info, self._record, resume=self._resume)
        self._flushed_at = time.monotonic()
        return self

    def begin(self, frames: int) -> Iterator[FrameFaces]:
        """See ``protocols.Journal``.

        Raises:
            StorageError: what was stored cannot be read.
        """
        with self._database.writing() as connection:
            trim_analysed(connection, self.run_id, frames)
        self._analysed_stored = frames
        return analysed_frames(self._database, self.run_id)

    def add(self, analysed: FrameFaces) -> None:
        """Keep what the networks saw of a frame, and store it with the next batch."""
        self._analysed.append(replace(analysed, image=None) if analysed.image is not None else analysed)

    @property
    def seen(self) -> int:
        """Number of frames that the networks have seen before this run was cut off."""
        return count_analysed(self._database, self._resume) if self._resume else 0

    def write(self, result: FrameResult, image: Image | None = None) -> None:
        """Take one frame's result.

        Raises:
            StorageError: a batch could not be written; the batches before it are kept.
        """
        self._opened()
        rows = 1 + len(result.faces)
        if self._pending and self._pending_rows + rows > self._config.batch_rows:
            self._flush()
        self._pending.append(result)
        self._pending_rows += rows
        full = self._pending_rows >= self._config.batch_rows
        if full or time.monotonic() - self._flushed_at >= self._config.flush_s:
            self._flush()

    def finish(self, summary: RunSummary) -> None:
        """Store what is pending, then how the run ended.

        Raises:
            StorageError: what was pending could not be written; the run is then recorded as failed, if that can be.
        """
        writer = self._opened()
        failure: StorageError | None = None
        try:
            self._flush()
        except StorageError as error:
            failure = error
            stored = writer.so_far("failed")
            summary = replace(
                summary,
                status="failed",
                error=summary.error or str(error),
                frames=stored.frames,
                faces=stored.faces,
                tracks=stored.tracks,
            )
        try:
            writer.finish(summary)
        except StorageError as error:
            failure = failure or error
        self._finished = True  # an interruption on the way here leaves the ending to __exit__
        if failure is not None:
            raise failure

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Finish an unfinished run: pending rows are stored and the run marked interrupted or failed."""
        if self._finished or self._writer is None:
            return
        failed = isinstance(exc, Exception)
        try:
            self._flush()
        except StorageError as error:
            logger.warning("run %d: its last frames were lost: %s", self.run_id, error)
        try:
            self._writer.finish(
                self._writer.so_far("failed", str(exc)) if failed else self._writer.so_far("interrupted")
            )
        except StorageError as error:
            logger.warning("run %d stays marked as running: %s", self.run_id, error)

    def _opened(self) -> RunWriter:
        if self._writer is None:
            raise ValueError("DatabaseSink must be entered (with DatabaseSink(...) as sink) before it is used")
        return self._writer

    def _flush(self) -> None:
        if self._pending or self._analysed:
            self._opened().write(self._pending, self._analysed, self._analysed_stored)
            self._analysed_stored += len(self._analysed)
        self._pending, self._pending_rows, self._analysed = [], 0, []
        self._flushed_at = time.monotonic()
