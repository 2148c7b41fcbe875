"""Questions to the database, off the interface thread; answers come back on it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PySide6.QtCore import QObject, Signal

from fertrack.errors import FertrackError

__all__ = ["Jobs", "Problem"]


class Problem:
    """A failure for people: one sentence, and details to copy.

    Attributes:
        sentence: what, where, what to do.
        details: the traceback.
    """

    def __init__(self, error: BaseException) -> None:
        known = isinstance(error, (FertrackError, ValueError))
        self.sentence = str(error) if known else f"something unexpected happened: {type(error).__name__}: {error}"
        self.details = "".join(traceback.format_exception(error))


class Jobs(QObject):
    """Runs one job after the other in a thread of its own, and hands the results to the interface thread.

    Attributes:
        failed: emitted with the ``Problem`` of a job that raised.
    """

    failed = Signal(object)
    _done = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fertrack-ask")
        self._closed = False
        self._done.connect(self._deliver)

    def ask(self, question: Callable[[], Any], answered: Callable[[Any], None]) -> None:
        """Run ``question`` in the thread, then ``answered`` with its result in the interface thread."""
        if not self._closed:
            self._pool.submit(self._run, question, answered)

    def close(self) -> None:
        """Wait for the job under way; nothing is delivered any more."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, question: Callable[[], Any], answered: Callable[[Any], None]) -> None:
        try:
            result = question()
        except Exception as error:  # whatever it is, people must see it
            if not self._closed:
                self.failed.emit(Problem(error))
            return
        if not self._closed:
            self._done.emit(answered, result)

    def _deliver(self, answered: Callable[[Any], None], result: object) -> None:
        if not self._closed:
            answered(result)
