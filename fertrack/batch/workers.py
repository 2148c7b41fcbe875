"""Files handed to processes, one file to each at a time, in the order of the list.

Runs get the numbers that one process would give them: a file begins when the one before it in the list has begun or
ended. Two files of the same content are never analysed at once, so that the second is passed over whatever the number
of processes. A process that ends in the middle of a file, as when a decoder crashes, costs that file: another takes its
place.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from fertrack.batch.one_file import BatchOptions, Networks, Outcome, describe_input, keep_failure, process_input
from fertrack.config import Settings
from fertrack.errors import ConfigError, FertrackError, sentence_of
from fertrack.outputs.plan import OutputPlan
from fertrack.pipeline.pipeline import Pipeline, Progress
from fertrack.storage.engine import Database, open_database
from fertrack.storage.recordings import Recording
from fertrack.storage.runs import fail_run_of

__all__ = ["Job", "run_batch"]

_PATIENCE_S = 0.5
"""Interval between looks whether the user wants to stop."""

_PROGRESS_S = 0.2
_END_S = 10.0
_STOP = "stop"
_MAX_EARLY_ENDS = 3
"""Processes that end one after the other before they have loaded the networks, before the batch gives up."""


@dataclass(frozen=True, slots=True)
class Job:
    """A file to be processed, with its outputs and its options."""

    plan: OutputPlan
    settings: Settings


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, as the parent sees it. ``job`` is None while it has none."""

    process: BaseProcess
    connection: Connection
    loaded: bool = False
    job: int | None = None
    going: bool = False
    key: tuple[str, str] | None = None
    recording: Recording = field(default_factory=Recording)


def run_batch(
    jobs: Sequence[Job],
    database: Database,
    settings: Settings,
    options: BatchOptions,
    *,
    workers: int,
    on_end: Callable[[Outcome], None],
    on_progress: Callable[[int, Progress], None],
    stopped: Callable[[], object],
) -> list[Outcome]:
    """Process files in processes of their own; returns when each has ended.

    Args:
        jobs: the files, in order.
        database: open; the processes open it again.
        settings: those that networks are loaded for when a process begins.
        options: of the batch.
        workers: how many processes.
        on_end: called with every outcome, as they come.
        on_progress: called with the position of a file in ``jobs`` and how far it is.
        stopped: asked twice a second; when true, files under way are interrupted and no other begins.

    Returns:
        The outcomes in the order of ``jobs``.

    Raises:
        ConfigError: persons are to be recognised across files, which needs one process.
        FertrackError: networks cannot be loaded as the settings say.
    """
    if workers > 1 and any(job.settings.linking.across for job in jobs):
        raise ConfigError(
            "linking.across compares each file with those before it: leave out --workers, or link persons without it"
        )
    batch = _Batch(jobs, database, settings, options, on_end=on_end, on_progress=on_progress)
    try:
        batch.run(min(workers, len(jobs)), stopped)
    except BaseException:
        batch.end(at_once=True)
        raise
    batch.end()
    return batch.outcomes()


class _Batch:
    """State of a batch in the parent."""

    def __init__(
        self,
        jobs: Sequence[Job],
        database: Database,
        settings: Settings,
        options: BatchOptions,
        *,
        on_end: Callable[[Outcome], None],
        on_progress: Callable[[int, Progress], None],
    ) -> None:
        self._jobs = jobs
        self._database = database
        self._settings = settings
        self._options = options
        self._on_end = on_end
        self._on_progress = on_progress
        self._context = multiprocessing.get_context("spawn")  # the same everywhere, and safe beside threads
        self._workers: list[_Worker] = []
        self._ended: dict[int, Outcome] = {}
        self._next = 0
        self._gate: _Worker | None = None  # whose file has not begun yet; no other may begin before
        self._early_ends = 0
        self._stopping = False

    def run(self, workers: int, stopped: Callable[[], object]) -> None:
        for _ in range(workers):
            self._start()
        while len(self._ended) < (self._next if self._stopping else len(self._jobs)):
            if stopped() and not self._stopping:
                self._stopping = True
                for worker in self._workers:
                    _send(worker, _STOP)
            self._hand_out()
            connections: dict[Any, _Worker] = {worker.connection: worker for worker in self._workers}
            for ready in wait(list(connections), _PATIENCE_S):
                self._listen(connections[ready])

    def end(self, *, at_once: bool = False) -> None:
        for worker in self._workers:
            _send(worker, _STOP)
        for worker in self._workers:
            if not at_once:
                worker.process.join(_END_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.connection.close()
            worker.process.close()
        self._workers = []

    def outcomes(self) -> list[Outcome]:
        nothing = [Outcome(location=job.plan.location, state="not begun") for job in self._jobs]
        return [self._ended.get(place, nothing[place]) for place in range(len(self._jobs))]

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        level = logging.getLogger().getEffectiveLevel()
        process = self._context.Process(
            target=_serve, args=(theirs, self._database.url, self._settings, self._options, level), daemon=True
        )
        process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))

    def _hand_out(self) -> None:
        for worker in self._workers:
            if self._gate is not None or self._stopping or self._next >= len(self._jobs):
                return
            if worker.loaded and worker.job is None:
                worker.job, self._gate = self._next, worker
                self._next += 1
                _send(worker, self._jobs[worker.job])

    def _listen(self, worker: _Worker) -> None:
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            self._lost(worker)
            return
        if kind == "loaded":
            worker.loaded, self._early_ends = True, 0
        elif kind == "refused":
            raise content
        elif kind == "known":
            worker.recording = content
            worker.key = (content.content, content.made_with) if content.content else None
            self._let_begin()
        elif kind == "progress":
            self._begun(worker)
            assert worker.job is not None
            self._on_progress(worker.job, content)
        else:
            self._finish(worker, content)

    def _let_begin(self) -> None:
        """Let the file at the gate begin, unless one of the same content is under way."""
        waiting = self._gate
        if waiting is None or waiting.going or waiting.recording == Recording():
            return
        others = [worker.key for worker in self._workers if worker is not waiting and worker.job is not None]
        if waiting.key is None or waiting.key not in others:
            waiting.going = True
            _send(waiting, "go")

    def _begun(self, worker: _Worker) -> None:
        if self._gate is worker:
            self._gate = None

    def _finish(self, worker: _Worker, outcome: Outcome) -> None:
        assert worker.job is not None
        self._ended[worker.job] = outcome
        self._begun(worker)
        worker.job, worker.going, worker.key, worker.recording = None, False, None, Recording()
        self._on_end(outcome)
        self._let_begin()

    def _lost(self, worker: _Worker) -> None:
        """A process has ended by itself: its file has failed; another process goes on with the next one."""
        worker.process.join()
        how = _how_it_ended(worker.process.exitcode or 0)
        pid = worker.process.pid or 0
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.close()
        if worker.job is None:
            self._early_ends += 1
            if self._early_ends >= _MAX_EARLY_ENDS and not self._stopping:
                raise FertrackError(f"processes end before they have begun ({how}): see 'fertrack doctor'")
        else:
            location = self._jobs[worker.job].plan.location
            why = f"the process that analysed it ended ({how}): the file, or what decodes it, is broken"
            run = fail_run_of(self._database, pid, why)
            keep_failure(self._database, str(Path(location).absolute()), worker.recording, why)
            self._finish(worker, Outcome(location=location, state="failed", run=run, why=why))
        if not self._stopping and self._next < len(self._jobs):
            self._start()


def _send(worker: _Worker, message: object) -> None:
    with contextlib.suppress(OSError):  # it has ended; that is found out when it is listened to
        worker.connection.send(message)


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
        return f"{name}, as when memory has run out" if name == "SIGKILL" else name
    return f"signal {-code}"


class _Child:
    """State of a process that analyses files."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._pipeline: Pipeline | None = None
        self._sent_s = 0.0
        self.stopping = False
        threading.Thread(target=self._hear, daemon=True, name="fertrack-parent").start()

    def next_message(self) -> Any:
        """The parent's next message; ``_STOP`` once it has sent that, or is gone."""
        return _STOP if self.stopping else self._inbox.get()

    def tell(self, kind: str, content: object = None) -> None:
        with contextlib.suppress(OSError):  # the parent is gone: what is under way is ended in order
            self._connection.send((kind, content))

    def progress(self, progress: Progress) -> None:
        if self.stopping and self._pipeline is not None:  # it may have been told before it had begun
            self._pipeline.stop()
        now = time.monotonic()
        if now - self._sent_s >= _PROGRESS_S:
            self._sent_s = now
            self.tell("progress", progress)

    def begins(self, pipeline: Pipeline) -> None:
        self._pipeline, self._sent_s = pipeline, 0.0

    def stop(self, *_: object) -> None:
        """End what is under way after its current frame; also a handler of signals."""
        self.stopping = True
        if self._pipeline is not None:
            self._pipeline.stop()
        self._inbox.put(_STOP)

    def _hear(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                message = _STOP
            if message == _STOP:
                self.stop()
                return
            self._inbox.put(message)


def _serve(connection: Connection, url: str, settings: Settings, options: BatchOptions, level: int) -> None:
    """The program of a process: load the networks, then take files until told to stop."""
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", force=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent decides
    child = _Child(connection)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), child.stop)
    networks = Networks(options.threads)
    try:
        networks.of(settings)
        database = open_database(url)
    except Exception as error:  # the parent tells it, whatever it is
        child.tell("refused", error if isinstance(error, FertrackError) else FertrackError(sentence_of(error)))
        return
    with database:
        child.tell("loaded")
        while isinstance(job := child.next_message(), Job):
            child.tell("ended", _outcome(child, job, networks, database, options))
    networks.close()


def _outcome(child: _Child, job: Job, networks: Networks, database: Database, options: BatchOptions) -> Outcome:
    location = job.plan.location
    try:
        loaded = networks.of(job.settings)
        recording = describe_input(location, job.settings, loaded[0])
    except FertrackError as error:
        return Outcome(location=location, state="failed", why=sentence_of(error))
    child.tell("known", recording)
    if child.next_message() != "go" or child.stopping:
        return Outcome(location=location, state="not begun")
    child.begins(loaded[0])
    return process_input(
        job.plan,
        job.settings,
        recording,
        networks=loaded,
        database=database,
        options=options,
        on_progress=child.progress,
    )
