"""Refreshes reports and exports that show somebody who has been erased since, from the database."""

from __future__ import annotations

from pathlib import Path

from fertrack.errors import FertrackError, ReportError, StorageError, reason_of
from fertrack.reporting.epoch_figure import figure_of_run
from fertrack.reporting.exports.csv_export import write_csv
from fertrack.reporting.exports.registry import MULTI_FILE, export_run
from fertrack.reporting.html.comparison import write_comparison
from fertrack.reporting.html.run_page import write_html
from fertrack.reporting.html.video import find_film
from fertrack.storage.engine import Database
from fertrack.storage.stored_run import StoredRun
from fertrack.storage.written_files import (
    Comparison,
    CsvTable,
    EpochFigure,
    Export,
    OutputFile,
    Report,
    drawn_videos,
    forget_output,
    outputs,
)

__all__ = ["name_of_file", "rewrite_stale"]


def rewrite_stale(database: Database) -> tuple[list[Path], list[Path], list[str]]:
    """Refresh every file that is marked stale, and records of files that carry an erased name.

    A file that people have changed since it was written, such as a CSV file with corrections in it, is left alone and
    named, and stays marked; so does one that cannot be written. One that is gone is named once.

    Returns:
        The files written again, those deleted because they were about nobody else, and sentences about those left.
    """
    rewritten: list[Path] = []
    deleted: list[Path] = []
    left: list[str] = []
    seen: set[Path] = set()
    with database.reading() as connection:
        known = outputs(connection)
    for file in known:
        if file.stale and file.is_rewritten and file.path not in seen:
            seen.add(file.path)
            left += _see_to(database, file, rewritten, deleted)
            if file.names_erased and rewritten[-1:] == [file.path]:  # writing has recorded it anew
                forget_output(database, file.id)
                left.append(name_of_file(file.path))
    with database.reading() as connection:  # what was written again is no longer stale
        known = outputs(connection)
    for file in known:
        if file.names_erased and not file.stale:
            forget_output(database, file.id)
            if file.is_there:
                left.append(name_of_file(file.path))
    return rewritten, deleted, left


def name_of_file(path: Path) -> str:
    """Sentence about a file that is named like the person."""
    return f"the name of the file {path} names the person: rename it"


def _see_to(database: Database, file: OutputFile, rewritten: list[Path], deleted: list[Path]) -> list[str]:
    path = file.path
    if not file.is_there:
        forget_output(database, file.id)
        return [f"{path} is not there any more: if it was moved or copied, delete it there"]
    try:
        if not file.is_as_written:
            return [
                f"{path} was changed since it was written, so it was left as it is, with the person in it: delete it, "
                "or take their rows out"
            ]
        if file.is_about_erased:
            path.unlink()
            forget_output(database, file.id)
            deleted.append(path)
            return []
        notes = _write_again(database.estimates() if file.uncorrected else database, file)
    except (FertrackError, OSError) as error:
        return [f"{path} could not be written again ({reason_of(error)}): delete it"]
    (rewritten if path.exists() else deleted).append(path)  # a log of theirs alone is not written again
    return notes


def _write_again(database: Database, file: OutputFile) -> list[str]:
    """Write a report or an export from what the database holds now; returns sentences about it."""
    run, made = file.run or 0, file.made
    if isinstance(made, Report):
        return _report(database, run, file.path, made)
    if isinstance(made, Comparison):
        write_comparison(database, made.runs, file.path, made.config, overwrite=True)
    elif isinstance(made, CsvTable):  # one of the two files: the other is written again when its turn comes
        name = file.path.name.removeprefix(f"{made.stem}.")
        folder = file.path.parent
        write_csv(database, run, folder, made.stem, made.config, track=made.track, overwrite=True, only=[name])
    elif isinstance(made, Export):
        written = export_run(
            database,
            run,
            made.format,
            file.path.parent,
            stem=made.stem,
            track=made.track,
            config=made.config,
            overwrite=True,
            only=file.path.name if made.format in MULTI_FILE else "",
        )
        if not written:  # it was about the person alone
            file.path.unlink()
            forget_output(database, file.id)
    elif isinstance(made, EpochFigure):
        try:
            figure_of_run(database, run, file.path, made, overwrite=True)
        except StorageError:  # it was about the person alone, or nothing readable is left
            file.path.unlink()
            forget_output(database, file.id)
    return []


def _report(database: Database, run: int, path: Path, made: Report) -> list[str]:
    config, notes = made.config, []
    with database.run(run) as stored:
        playable = config.video == "none" or _can_be_played(stored, path, made)
    if not playable:
        config = config.model_copy(update={"video": "none"})
        notes.append(
            f"{path} plays no video any more: the one it played is gone, is not known, or would show the person as "
            "before"
        )
    write_html(database, run, path, config, video=made.video, overwrite=True)
    return notes


def _can_be_played(run: StoredRun, path: Path, made: Report) -> bool:
    """Whether the very video that the report played is still one that fertrack has drawn, and shows nobody erased.

    No other video takes its place: what was anonymised in one may be clear in another.
    """
    if made.video is None:
        return False
    drawn = {each.resolve() for each in drawn_videos(run.connection, run.number)}
    try:
        find_film(made.config.video, run.facts, path, given=made.video, max_embed_mb=made.config.max_embed_mb)
    except ReportError:
        return False
    return made.video.resolve() in drawn
