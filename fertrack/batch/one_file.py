"""One file of a batch: passed over where it is done or has failed before, else processed; and how that went."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fertrack.build import build_pipeline
from fertrack.config import Settings
from fertrack.errors import FertrackError, StorageError, sentence_of
from fertrack.files import content_digest
from fertrack.outputs.plan import OutputPlan, check_outputs
from fertrack.pipeline.pipeline import Pipeline, Progress
from fertrack.process import ProcessResult, process_planned, run_record
from fertrack.sinks.reidentifier import Reidentifier, build_reidentifier
from fertrack.storage.engine import Database
from fertrack.storage.recordings import Earlier, Recording, earlier_attempt, forget_failure, note_failure, state

__all__ = ["BatchOptions", "Networks", "Outcome", "describe_input", "keep_failure", "process_input"]

logger = logging.getLogger(__name__)

_MAX_PIPELINES = 2
"""Networks kept loaded for rows with options of their own; others are loaded again."""

_DECIDING = ("detection", "shots", "tracking", "classification", "calibration", "smoothing", "linking", "engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """Options of a batch.

    Attributes:
        overwrite: process every file again, and replace its outputs.
        retry_failed: try again those that failed or were left unfinished, and replace their outputs.
        threads: threads that analyse frames, in each process; 0: as the settings say.
    """

    overwrite: bool = False
    retry_failed: bool = False
    threads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Outcome of a file in a batch.

    Attributes:
        location: the file.
        state: "done", "skipped" (it was done before), "failed", "interrupted", or "not begun".
        run: number of its run; 0 if there is none.
        why: in one sentence why it failed or was passed over; empty where it is done.
        result: of a file that was processed now.
    """

    location: str
    state: Literal["done", "skipped", "failed", "interrupted", "not begun"]
    run: int = 0
    why: str = ""
    result: ProcessResult | None = None


class Networks:
    """Pipelines by their settings, loaded when they are first needed; the latest ones are kept.

    Args:
        threads: threads that analyse frames; 0: as the settings say.
    """

    def __init__(self, threads: int = 0) -> None:
        self._threads = threads
        self._loaded: OrderedDict[str, tuple[Pipeline, Reidentifier | None]] = OrderedDict()

    def of(self, settings: Settings) -> tuple[Pipeline, Reidentifier | None]:
        """The pipeline and the re-identification of some settings.

        Raises:
            FertrackError: a network is not there, or is not as the settings say.
        """
        key = json.dumps(settings.model_dump(mode="json", include=set(_DECIDING)), sort_keys=True)
        if key not in self._loaded:
            own = settings
            if self._threads and not settings.engine.workers:  # decides speed and memory, never a row
                own = settings.model_copy(
                    update={"engine": settings.engine.model_copy(update={"workers": self._threads})}
                )
            self._loaded[key] = build_pipeline(own), build_reidentifier(settings.linking)
            while len(self._loaded) > _MAX_PIPELINES:
                _, (_, reidentifier) = self._loaded.popitem(last=False)
                if reidentifier is not None:
                    reidentifier.close()
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def close(self) -> None:
        """End the processes that embedders may have of their own."""
        for _, reidentifier in self._loaded.values():
            if reidentifier is not None:
                reidentifier.close()


def describe_input(location: str, settings: Settings, pipeline: Pipeline) -> Recording:
    """Facts stated about a file, and the digests of its content and its analysis."""
    return replace(run_record(settings, pipeline).recording, content=content_digest(Path(location)))


def process_input(
    plan: OutputPlan,
    settings: Settings,
    recording: Recording,
    *,
    networks: tuple[Pipeline, Reidentifier | None],
    database: Database,
    options: BatchOptions,
    on_progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Process one file unless it is done; whatever goes wrong with it is the outcome.

    Args:
        plan: its outputs.
        settings: its options.
        recording: as ``describe_input`` gave it.
        networks: as ``Networks.of`` gave them.
        database: where its rows go.
        options: of the batch.
        on_progress: called after every frame.
    """
    path = str(Path(plan.location).absolute())
    try:
        earlier = None if options.overwrite else _earlier(database, path, recording)
        if earlier is not None and (earlier.state == "done" or not options.retry_failed):
            return _passed_over(plan.location, earlier, database, recording)
        replaces = options.overwrite or earlier is not None
        check_outputs(plan, overwrite=replaces)
        result = process_planned(
            plan,
            networks[0],
            database,
            settings,
            reidentifier=networks[1],
            overwrite=replaces,
            on_progress=on_progress,
        )
        with database.writing() as connection:
            forget_failure(connection, path, recording.made_with)
    except Exception as error:  # whatever it is, the files after this one must not suffer from it
        if not isinstance(error, FertrackError):
            logger.debug("%s", plan.location, exc_info=True)
        why = sentence_of(error)
        keep_failure(database, path, recording, why)
        return Outcome(location=plan.location, state="failed", why=why)
    finished = result.summary.status == "complete"
    return Outcome(location=plan.location, state="done" if finished else "interrupted", run=result.run, result=result)


def keep_failure(database: Database, path: str, recording: Recording, why: str) -> None:
    """Store why a file failed, if it can be; where its content is not known nothing could be recognised again."""
    if not recording.content:
        return
    try:
        with database.writing() as connection:
            note_failure(connection, path, recording, why)
    except StorageError as error:
        logger.warning("%s: it is not kept that it failed: %s", path, error)


def _earlier(database: Database, path: str, recording: Recording) -> Earlier | None:
    if not recording.content:
        return None
    with database.reading() as connection:
        return earlier_attempt(connection, path, recording)


def _passed_over(location: str, earlier: Earlier, database: Database, recording: Recording) -> Outcome:
    if earlier.state == "done":
        with database.writing() as connection:
            changed = state(connection, earlier.run, recording)
        why = f"done as run {earlier.run}" + ("; what is stated of it was changed" if changed else "")
        return Outcome(location=location, state="skipped", run=earlier.run, why=why)
    before = f"run {earlier.run} was left unfinished" if earlier.run else "failed before"
    why = f"{before}{f' ({earlier.error})' if earlier.error else ''}: --retry-failed tries it again"
    return Outcome(location=location, state="failed", run=earlier.run, why=why)
