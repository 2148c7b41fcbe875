"""A thread that analyses a video as ``fertrack process`` does, watched by the window."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from PySide6.QtCore import QObject, Signal

from fertrack.config import Settings
from fertrack.gui.desktop.jobs import Problem
from fertrack.gui.desktop.player import Shown, as_qimage
from fertrack.imaging.overlay import draw_result
from fertrack.types import FrameResult, Image, RunSummary

if TYPE_CHECKING:
    from fertrack.pipeline.pipeline import Pipeline

__all__ = ["Analysis"]

IMAGE_EVERY_S = 0.1
"""Least time between two images shown: drawing them must not slow the analysis down."""


class _Watching:
    """A sink that draws an image now and then."""

    name = "window"
    needs_image = True

    def __init__(self, analysis: Analysis) -> None:
        self.notes: list[str] = []
        self._analysis = analysis
        self._last = 0.0

    @property
    def work_ms(self) -> Sequence[float] | None:
        return None

    def __enter__(self) -> Self:
        return self

    def write(self, result: FrameResult, image: Image | None) -> None:
        now = time.monotonic()
        if image is None or now - self._last < IMAGE_EVERY_S:
            return
        self._last = now
        drawn = image.copy()
        draw_result(drawn, result)
        self._analysis.publish(Shown(as_qimage(drawn), result.timestamp_s))

    def finish(self, summary: RunSummary) -> None:
        pass

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class Analysis(QObject):
    """Analyses one video after the other, one at a time.

    Attributes:
        progressed: share done (0 to 1; negative: unknown), frames, faces, frames a second.
        ready: an image is ready: ``take`` gives it.
        ended: emitted with the number of the stored run, and a sentence.
        failed: emitted with a ``Problem``; what was done is kept.
    """

    progressed = Signal(float, int, int, float)
    ready = Signal()
    ended = Signal(int, str)
    failed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._shown: Shown | None = None
        self._pipeline: Pipeline | None = None
        self._stopping = False

    @property
    def is_running(self) -> bool:
        """Whether a video is being analysed."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, video: str, database: str, out: Path, settings: Settings) -> None:
        """Analyse a video; outputs of an earlier analysis of it are replaced.

        Args:
            video: a file, a picture, or a folder of pictures.
            database: where the run is stored.
            out: folder of the outputs.
            settings: all options, with purpose and consent.
        """
        if self.is_running:
            raise ValueError("a video is being analysed: stop it first")
        self._stopping = False
        self._thread = threading.Thread(
            target=self._work, args=(video, database, out, settings), name="fertrack-analysis", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the analysis after the frame under way; what was done is kept."""
        self._stopping = True
        if self._pipeline is not None:
            self._pipeline.stop()

    def wait(self, timeout_s: float = 60.0) -> bool:
        """Wait until the thread has ended; gives whether it has."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return not self.is_running

    def publish(self, shown: Shown) -> None:
        """Offer an image; called in the analysis' thread."""
        with self._lock:
            waiting, self._shown = self._shown is not None, shown
        if not waiting:
            self.ready.emit()

    def take(self) -> Shown | None:
        """The newest image; None if it was taken already."""
        with self._lock:
            shown, self._shown = self._shown, None
        return shown

    def _work(self, video: str, database: str, out: Path, settings: Settings) -> None:
        from fertrack.build import build_pipeline
        from fertrack.outputs.plan import plan_outputs
        from fertrack.pipeline.pipeline import Progress
        from fertrack.process import process_planned
        from fertrack.sinks.reidentifier import build_reidentifier
        from fertrack.storage.engine import open_database

        def report(progress: Progress) -> None:
            share = progress.timestamp_s / progress.duration_s if progress.duration_s > 0.0 else -1.0
            fps = progress.frames / progress.elapsed_s if progress.elapsed_s > 0.0 else 0.0
            if self._stopping:  # asked for before the run had begun
                pipeline.stop()
            self.progressed.emit(min(share, 1.0), progress.frames, progress.faces, fps)

        try:
            (plan,) = plan_outputs([video], out, settings, overwrite=True)
            self._pipeline = pipeline = build_pipeline(settings)
            reidentifier = build_reidentifier(settings.linking)
            with open_database(database, create=True) as opened:
                result = process_planned(
                    plan,
                    pipeline,
                    opened,
                    settings,
                    reidentifier=reidentifier,
                    overwrite=True,
                    on_progress=report,
                    watching=[_Watching(self)],
                )
        except Exception as error:  # whatever it is, people must see it
            self.failed.emit(Problem(error))
            return
        finally:
            self._pipeline = None
        summary = result.summary
        said = f"run {result.run} ({summary.status}): {summary.frames} frames, {summary.faces} faces"
        self.ended.emit(result.run, "; ".join((said, *summary.notes)))
