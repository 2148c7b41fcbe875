"""Runs that were cut off: offered to whoever begins the same again, gone on with, refused where anything differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fertrack.config import differing, load_settings
from fertrack.errors import OutputExistsError, StorageError
from fertrack.files import content_digest
from fertrack.storage.engine import Database
from fertrack.storage.runs import RunRecord
from fertrack.storage.unfinished import UnfinishedRun, forget_analysed, runs_of_path, unfinished_run
from fertrack.types import RunSummary, VideoInfo

__all__ = ["close_run", "run_to_resume", "with_content"]


def with_content(record: RunRecord, location: str) -> RunRecord:
    """The record of a run, with the digest of what its source holds."""
    return replace(record, recording=replace(record.recording, content=content_digest(Path(location))))


def run_to_resume(database: Database, info: VideoInfo, record: RunRecord, *, overwrite: bool, resume: bool) -> int:
    """Number of the run to go on with; 0: a new one begins.

    Args:
        database: where runs are stored.
        info: the source.
        record: with what the run would be made now.
        overwrite: begin again; runs of this source that were cut off can no longer be resumed.
        resume: go on with the newest run of this source.

    Raises:
        OutputExistsError: a run of the same was cut off, and neither ``resume`` nor ``overwrite`` says what to do.
        StorageError: there is no run to resume, or something is different now.
    """
    if overwrite and not resume:
        with database.writing() as connection:
            forget_analysed(connection, runs_of_path(connection, info.path))
        return 0
    found = unfinished_run(database, info.path, resume=resume)
    if found is None:
        if resume:
            raise StorageError(f"no run of {info.name} in {database.name} was cut off, so there is nothing to resume")
        return 0
    other = _difference(found, record)
    if not resume:
        if not other:
            raise OutputExistsError(found.offer)
        return 0
    if other:
        raise StorageError(
            f"run {found.run} of {info.name} cannot be resumed, as {other}; begin again with --overwrite"
        )
    return found.run


def close_run(database: Database, run: int, summary: RunSummary) -> None:
    """Forget what a run could be resumed from, once it and its products are complete.

    Raises:
        StorageError: the database cannot be written.
    """
    if summary.status == "complete":
        with database.writing() as connection:
            forget_analysed(connection, [run])


def _difference(found: UnfinishedRun, record: RunRecord) -> str:
    """Difference to now by which rows could be others, as part of a sentence; empty: none."""
    if found.content != record.recording.content:
        return "its file has other content now, or is still growing"
    if found.version != record.fertrack_version:
        return f"fertrack {found.version} began it, and this is {record.fertrack_version}"
    if found.networks != (record.detector, record.classifier):
        return "it was begun with other weights"
    if found.made_with != record.recording.made_with:
        options = differing(load_settings(base=found.config_toml), load_settings(base=record.config_toml))
        return f"these are different: {', '.join(options) or 'the calibration'}"
    return ""
