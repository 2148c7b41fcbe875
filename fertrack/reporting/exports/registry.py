"""A run's rows and episodes in the formats of other tools, one family a module.

==========  =========================================  ============================================================
format      files                                      what is in them
==========  =========================================  ============================================================
csv         ``<stem>.faces.csv``, ``.episodes.csv``    ``fertrack.reporting.exports.csv_export``
jsonl       ``<stem>.faces.jsonl``                     ``fertrack.reporting.exports.rows``
parquet     ``<stem>.faces.parquet``                   ``fertrack.reporting.exports.rows``; needs pyarrow
srt, vtt    ``<stem>.srt``, ``<stem>.vtt``             ``fertrack.reporting.exports.subtitles``
ass         ``<stem>.ass``                             the same, each person in the colour drawn in the video
elan        ``<stem>.elan.txt``                        ``fertrack.reporting.exports.elan``
mot         ``<stem>.mot.txt``                         ``fertrack.reporting.exports.mot``
eaf         ``<stem>.eaf`` and two linked files        ``fertrack.reporting.exports.tools.eaf``
textgrid    ``<stem>.TextGrid``                        ``fertrack.reporting.exports.tools.textgrid``
boris       ``<stem>.boris``, ``.boris_events.xlsx``   ``fertrack.reporting.exports.tools.boris``
facereader  two logs a person                          ``fertrack.reporting.exports.tools.facereader``
bids        ``<stem>_events.tsv``, ``.json``           ``fertrack.reporting.exports.tools.bids``
openface    ``<stem>.openface.csv``                    ``fertrack.reporting.exports.tools.openface``
wide        ``<stem>.wide.csv``, ``.wide.feather``     ``fertrack.reporting.exports.tools.wide``
xlsx        ``<stem>.xlsx``                            ``fertrack.reporting.exports.tools.xlsx``; needs XlsxWriter
==========  =========================================  ============================================================
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from fertrack.files import check_free, replacing
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.exports.selection import Selection

if TYPE_CHECKING:
    from fertrack.storage.engine import Database

__all__ = ["FORMATS", "MULTI_FILE", "export_run"]


def export_run(
    db: Database,
    run: int | str,
    output_format: str,
    folder: Path,
    *,
    stem: str = "",
    track: int | None = None,
    config: ReportConfig | None = None,
    overwrite: bool = False,
    only: str = "",
) -> list[Path]:
    """Write one run in one format; the formats and their columns are documented at the top of their modules.

    Args:
        db: the open database.
        run: number of the run, or "last".
        output_format: one of ``FORMATS``.
        folder: where the files go; made if missing.
        stem: what their names begin with; from the run and its source if empty, such as ``run3.clip``.
        track: only this person's track.
        config: episodes and rates; the defaults if None.
        overwrite: replace files of the same names.
        only: of a format of several files, write only the one of this name.

    Returns:
        The files written.

    Raises:
        OutputExistsError: a file is already there and ``overwrite`` is False; nothing is written.
        RunNotFoundError: there is no such run, or no such track in it.
        ReportError: a file could not be written, or pyarrow is not installed.
        ValueError: there is no such format.
    """
    if output_format not in FORMATS:
        raise ValueError(f"no export format {output_format!r}: it must be one of {', '.join(FORMATS)}")
    from fertrack.storage.queries import timeline as queries
    from fertrack.storage.written_files import record_output

    facts = queries.run_facts(db, run)
    base = stem or f"run{facts.id}.{Path(facts.source_name).stem}"
    stem = base if track is None else f"{base}.id{track}"
    chosen = Selection(facts.id, track, config or ReportConfig(), only)
    if output_format == "csv":
        from fertrack.reporting.exports.csv_export import write_csv

        return write_csv(db, chosen.run, folder, stem, chosen.config, track=track, overwrite=overwrite)
    options = {"format": output_format, "stem": base, "track": track, "config": chosen.config.model_dump(mode="json")}
    if output_format in MULTI_FILE:
        module = import_module(f"fertrack.reporting.exports.tools.{output_format}")
        paths: list[Path] = module.write(db, chosen, folder, stem, overwrite=overwrite)
        for path in paths:
            record_output(db, chosen.run, path, "export", options)
        return paths
    suffix, write = _WRITERS[output_format]
    path = folder / f"{stem}{suffix}"
    check_free(path, overwrite=overwrite)
    write(db, chosen, path, overwrite)
    record_output(db, chosen.run, path, "export", options)
    return [path]


def _text(make: Callable[[Database, Selection], str]) -> Callable[[Database, Selection, Path, bool], None]:
    """A writer of a text that fits into memory."""

    def write(db: Database, chosen: Selection, path: Path, overwrite: bool) -> None:
        text = make(db, chosen)
        with replacing(path, overwrite=overwrite) as file:
            file.write(text)

    return write


def _jsonl(db: Database, chosen: Selection, path: Path, overwrite: bool) -> None:
    from fertrack.reporting.exports.rows import write_jsonl

    write_jsonl(db, chosen, path, overwrite=overwrite)


def _parquet(db: Database, chosen: Selection, path: Path, overwrite: bool) -> None:
    from fertrack.reporting.exports.rows import write_parquet

    write_parquet(db, chosen, path, overwrite=overwrite)


def _subtitles(kind: str) -> Callable[[Database, Selection], str]:
    def make(db: Database, chosen: Selection) -> str:
        from fertrack.reporting.exports.subtitles import RENDERERS, cues, picture_size

        return RENDERERS[kind](cues(db, chosen), picture_size(db, chosen.run))

    return make


def _elan(db: Database, chosen: Selection) -> str:
    from fertrack.reporting.exports.elan import to_elan
    from fertrack.reporting.exports.subtitles import cues

    return to_elan(cues(db, chosen))


def _mot(db: Database, chosen: Selection) -> str:
    from fertrack.reporting.exports.mot import to_mot
    from fertrack.storage.queries import timeline as queries

    return to_mot(queries.timeline(db, chosen.run, track=chosen.track))


_WRITERS: dict[str, tuple[str, Callable[[Database, Selection, Path, bool], None]]] = {
    "jsonl": (".faces.jsonl", _jsonl),
    "parquet": (".faces.parquet", _parquet),
    "srt": (".srt", _text(_subtitles("srt"))),
    "vtt": (".vtt", _text(_subtitles("vtt"))),
    "ass": (".ass", _text(_subtitles("ass"))),
    "elan": (".elan.txt", _text(_elan)),
    "mot": (".mot.txt", _text(_mot)),
}

MULTI_FILE = ("eaf", "textgrid", "boris", "facereader", "bids", "openface", "wide", "xlsx")
"""Formats that may have several files, written by ``write`` of the module of that name: the shape of a new one."""

FORMATS: tuple[str, ...] = ("csv", *_WRITERS, *MULTI_FILE)
"""What ``export_run`` can write."""
