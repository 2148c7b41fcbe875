"""Refreshes reports and exports that show somebody who has been erased since, from the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fertrack.errors import FertrackError, ReportError, reason_of
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.exports.csv_export import write_csv
from fertrack.reporting.exports.registry import MULTI_FILE, export_run
from fertrack.reporting.html.comparison import write_comparison
from fertrack.reporting.html.run_page import write_html
from fertrack.reporting.html.video import find_film
from fertrack.storage.engine import Database
from fertrack.storage.stored_run import StoredRun
from fertrack.storage.written_files import OutputFile, forget_output, outputs

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
        if file.stale and file.kind in _REWRITERS and file.path not in seen:
            seen.add(file.path)
            left += _see_to(database, file, rewritten, deleted)
            if file.options.get("forget") and rewritten[-1:] == [file.path]:  # writing has recorded it anew
                forget_output(database, file.id)
                left.append(name_of_file(file.path))
    with database.reading() as connection:  # what was written again is no longer stale
        known = outputs(connection)
    for file in known:
        if file.options.get("forget") and not file.stale:
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
        if file.options.get("delete"):
            path.unlink()
            forget_output(database, file.id)
            deleted.append(path)
            return []
        notes = _REWRITERS[file.kind](database.estimates() if file.options.get("uncorrected") else database, file)
    except (FertrackError, OSError) as error:
        return [f"{path} could not be written again ({reason_of(error)}): delete it"]
    rewritten.append(path)
    return notes


def _report(database: Database, file: OutputFile) -> list[str]:
    assert file.run is not None
    config = ReportConfig.model_validate(file.options.get("config", {}))
    video = Path(file.options.get("video") or "")
    notes = []
    with database.run(file.run) as stored:
        playable = config.video == "none" or _can_be_played(stored, file, config, video)
    if not playable:
        config = config.model_copy(update={"video": "none"})
        notes.append(
            f"{file.path} plays no video any more: the one it played is gone, is not known, or would show the person "
            "as before"
        )
    write_html(database, file.run, file.path, config, video=video, overwrite=True)
    return notes


def _can_be_played(run: StoredRun, file: OutputFile, config: ReportConfig, video: Path) -> bool:
    """Whether the very video that the report played is still one that fertrack has drawn, and shows nobody erased.

    No other video takes its place: what was anonymised in one may be clear in another.
    """
    drawn = {each.path.resolve() for each in outputs(run.connection, [run.number], kinds=["video"]) if not each.stale}
    try:
        find_film(config.video, run.facts, file.path, given=video, max_embed_mb=config.max_embed_mb)
    except ReportError:
        return False
    return video.resolve() in drawn


def _csv(database: Database, file: OutputFile) -> list[str]:
    """One of the two CSV files: the other is written again when its turn comes."""
    assert file.run is not None
    options = file.options
    config = ReportConfig.model_validate(options.get("config", {}))
    only = [file.path.name.removeprefix(f"{options['stem']}.")]
    write_csv(
        database,
        file.run,
        file.path.parent,
        options["stem"],
        config,
        track=options.get("track"),
        overwrite=True,
        only=only,
    )
    return []


def _export(database: Database, file: OutputFile) -> list[str]:
    assert file.run is not None
    options: dict[str, Any] = file.options
    written = export_run(
        database,
        file.run,
        options["format"],
        file.path.parent,
        stem=options["stem"],
        track=options.get("track"),
        config=ReportConfig.model_validate(options.get("config", {})),
        overwrite=True,
        only=file.path.name if options["format"] in MULTI_FILE else "",
    )
    if not written:  # it was about the person alone
        file.path.unlink()
        forget_output(database, file.id)
    return []


def _comparison(database: Database, file: OutputFile) -> list[str]:
    config = ReportConfig.model_validate(file.options.get("config", {}))
    write_comparison(database, file.options.get("runs", []), file.path, config, overwrite=True)
    return []


_REWRITERS = {"report": _report, "csv": _csv, "export": _export, "comparison": _comparison}
