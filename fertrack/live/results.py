"""Live results for another program: an iterator."""

from __future__ import annotations

import threading
from collections.abc import Generator
from types import TracebackType
from typing import Self

from fertrack.config import Settings
from fertrack.live.display import Shown
from fertrack.live.options import LiveOptions
from fertrack.live.session import LiveSession
from fertrack.pipeline.pipeline import Pipeline
from fertrack.protocols import VideoSource
from fertrack.types import FrameResult

__all__ = ["LiveResults", "open_live"]


def open_live(
    location: str | int = 0,
    *,
    settings: Settings | None = None,
    realtime: bool = False,
    store: bool = False,
    duration_s: float | None = None,
    fixed: bool = False,
    pipeline: Pipeline | None = None,
    source: VideoSource | None = None,
) -> LiveResults:
    """Analyse a camera, a stream or a file in real time, and iterate over the results.

    Always the newest result: a loop that is slower than the analysis misses some, and is never behind. The run begins
    with the first result asked for, and ends when the loop is left, the source ends, or its time is up.

    Args:
        location: camera index, URL, or path of a video file.
        settings: all options; the defaults if None.
        realtime: play a file at its own speed.
        store: write the results to the database too.
        duration_s: end after so many seconds.
        fixed: do not adapt to the machine's speed.
        pipeline: use this one, made with ``live=True``, instead of building one from the settings.
        source: use this one instead of opening ``location``.

    Raises:
        FertrackError: while iterating: what is wrong, in one sentence.

    >>> for result in open_live(0):  # doctest: +SKIP
    ...     print(result.track_ids, result.labels)
    """
    return LiveResults(
        LiveSession(
            settings or Settings(),
            location,
            LiveOptions(realtime=realtime, store=store, duration_s=duration_s, fixed=fixed, display=False),
            pipeline=pipeline,
            source=source,
        )
    )


class LiveResults:
    """An iterator over the newest results of a live run; also a context manager, and closing it ends the run.

    Args:
        session: the run, not started yet, without a display.
    """

    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self._results = _newest_results(session)

    def __iter__(self) -> Generator[FrameResult, None, None]:
        """The results; leaving the loop ends the run."""
        return self._results

    def __next__(self) -> FrameResult:
        """The next result."""
        return next(self._results)

    def close(self) -> None:
        """End the run and wait until everything is closed. May be called more than once."""
        self._results.close()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def _newest_results(session: LiveSession) -> Generator[FrameResult, None, None]:
    newest: list[FrameResult] = []
    changed = threading.Condition()

    def take(shown: Shown) -> None:
        with changed:
            newest[:] = [shown.result]
            changed.notify_all()

    def wake() -> None:
        with changed:
            changed.notify_all()

    session.listen(take, wake)
    try:
        session.start()
        while True:
            with changed:
                changed.wait_for(lambda: newest or session.ended)
                if not newest:
                    break
                result = newest.pop()
            yield result
    finally:
        session.stop()
        session.wait()
    if session.error is not None:
        raise session.error
