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
sqlite      ``<stem>.sqlite``                          ``fertrack.reporting.exports.tools.sqlite``
duckdb      ``<stem>.duckdb``                          ``fertrack.reporting.exports.tools.duckdb``; needs duckdb
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
    from fertrack.storage.written_files import Export, record_output

    config = config or ReportConfig()
    with db.run(run) as stored:
        base = stem or f"run{stored.number}.{Path(stored.facts.source_name).stem}"
        stem = base if track is None else f"{base}.id{track}"
        chosen = Selection(stored, track, config, only)
        paths = [] if output_format == "csv" else _write(chosen, output_format, folder, stem, overwrite=overwrite)
    if output_format == "csv":
        from fertrack.reporting.exports.csv_export import write_csv

        return write_csv(db, stored.number, folder, stem, config, track=track, overwrite=overwrite)
    for path in paths:
        record_output(db, stored.number, path, Export(output_format, base, track, config))
    return paths


def _write(chosen: Selection, output_format: str, folder: Path, stem: str, *, overwrite: bool) -> list[Path]:
    if output_format in MULTI_FILE:
        module = import_module(f"fertrack.reporting.exports.tools.{output_format}")
        paths: list[Path] = module.write(chosen, folder, stem, overwrite=overwrite)
        return paths
    suffix, write = _WRITERS[output_format]
    path = folder / f"{stem}{suffix}"
    check_free(path, overwrite=overwrite)
    write(chosen, path, overwrite)
    return [path]


def _text(make: Callable[[Selection], str]) -> Callable[[Selection, Path, bool], None]:
    """A writer of a text that fits into memory."""

    def write(chosen: Selection, path: Path, overwrite: bool) -> None:
        text = make(chosen)
        with replacing(path, overwrite=overwrite) as file:
            file.write(text)

    return write


def _jsonl(chosen: Selection, path: Path, overwrite: bool) -> None:
    from fertrack.reporting.exports.rows import write_jsonl

    write_jsonl(chosen, path, overwrite=overwrite)


def _parquet(chosen: Selection, path: Path, overwrite: bool) -> None:
    from fertrack.reporting.exports.rows import write_parquet

    write_parquet(chosen, path, overwrite=overwrite)


def _subtitles(kind: str) -> Callable[[Selection], str]:
    def make(chosen: Selection) -> str:
        from fertrack.reporting.exports.subtitles import RENDERERS, cues

        info = chosen.run.facts.info
        return RENDERERS[kind](cues(chosen), (info.width, info.height))

    return make


def _elan(chosen: Selection) -> str:
    from fertrack.reporting.exports.elan import to_elan
    from fertrack.reporting.exports.subtitles import cues

    return to_elan(cues(chosen))


def _mot(chosen: Selection) -> str:
    from fertrack.reporting.exports.mot import to_mot
    from fertrack.storage.queries.timeline import timeline

    return to_mot(timeline(chosen.run, track=chosen.track))


_WRITERS: dict[str, tuple[str, Callable[[Selection, Path, bool], None]]] = {
    "jsonl": (".faces.jsonl", _jsonl),
    "parquet": (".faces.parquet", _parquet),
    "srt": (".srt", _text(_subtitles("srt"))),
    "vtt": (".vtt", _text(_subtitles("vtt"))),
    "ass": (".ass", _text(_subtitles("ass"))),
    "elan": (".elan.txt", _text(_elan)),
    "mot": (".mot.txt", _text(_mot)),
}

MULTI_FILE = ("eaf", "textgrid", "boris", "facereader", "bids", "openface", "wide", "xlsx", "sqlite", "duckdb")
"""Formats that may have several files, written by ``write`` of the module of that name: the shape of a new one."""

FORMATS: tuple[str, ...] = ("csv", *_WRITERS, *MULTI_FILE)
"""Formats that ``export_run`` can write."""
