"""``fertrack report``: the HTML report of a stored run, or several runs side by side."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fertrack.cli.options import DEFAULT_DB, DEFAULT_OUT, Config, Database, Overrides, Uncorrected, settings_from
from fertrack.cli.output import note_corrections

if TYPE_CHECKING:
    from fertrack.config import Settings

__all__ = ["register"]


class Video(StrEnum):
    """Part of the video that is in a report."""

    NONE = "none"
    LINK = "link"
    EMBED = "embed"


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("report")(report)


def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Numbers of runs, 'last', or what was stated: condition=stress."),
    ],
    video: Annotated[
        Video | None,
        typer.Option(
            help="Play the video in the report: link to its file, or embed it. Needs no network.", show_default="none"
        ),
    ] = None,
    video_file: Annotated[
        Path | None,
        typer.Option(
            "--video-file", metavar="FILE", help="Which video. [default: the annotated one beside it, or the source]"
        ),
    ] = None,
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails", help="Show the stored images of the persons' faces, if the run kept them.")
    ] = False,
    title: Annotated[str | None, typer.Option(help="Title. [default: the video's name]")] = None,
    note: Annotated[str | None, typer.Option(help="Text under the title.")] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print it to a PDF file too; needs Chromium or Chrome.")] = False,
    out: Annotated[Path, typer.Option("-o", "--out", help="Output folder.")] = DEFAULT_OUT,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same name.")] = False,
    config: Config = None,
    overrides: Overrides = None,
    uncorrected: Uncorrected = False,
    db: Database = DEFAULT_DB,
) -> None:
    """Write the report of a stored run again, without analysing the video; of several runs, a comparison.

    Examples: fertrack report last --video link · fertrack report last --title 'Interview 3' --pdf ·
    fertrack report 12 13 14
    """
    flags: dict[str, tuple[str, object]] = {
        "report.video": ("--video", video.value if video else ("link" if video_file else None)),
        "report.title": ("--title", title),
        "report.note": ("--note", note),
        "report.thumbnails": ("--thumbnails", True if thumbnails else None),
    }
    settings = settings_from(config, overrides or [], flags)
    from fertrack.storage.engine import open_database

    with open_database(db, corrected=not uncorrected) as database:
        runs = _numbers(database, runs)
        several = len(runs) > 1
        if several and (video or video_file or thumbnails or pdf):
            raise typer.BadParameter(
                "compares runs by their numbers only: leave out --video, --thumbnails and --pdf, or name one",
                param_hint="RUN RUN",
            )
        if several:
            _compare(database, runs, out, settings, overwrite=overwrite)
        else:
            _single(database, runs[0], out, settings, video=video_file, pdf=pdf, overwrite=overwrite)


def _numbers(database: Any, runs: list[str]) -> list[str]:
    """Runs as they were named, those named by what was stated one by one."""
    from fertrack.storage.recordings import runs_stated

    with database.reading() as connection:
        named = [runs_stated(connection, database.name, run) if "=" in run else [run] for run in runs]
    return [str(run) for found in named for run in found]


def _compare(database: Any, runs: list[str], out: Path, settings: Settings, *, overwrite: bool) -> None:
    from fertrack.files import make_folder
    from fertrack.reporting.html.comparison import write_comparison
    from fertrack.storage.facts import find_run

    with database.reading() as connection:
        numbers = list(dict.fromkeys(find_run(connection, database.name, run) for run in runs))
    if len(numbers) < 2:
        raise typer.BadParameter("a comparison needs at least two different runs", param_hint="RUN RUN")
    make_folder(out)
    path = out / f"runs{'-'.join(map(str, numbers))}.comparison.html"
    typer.echo(write_comparison(database, numbers, path, settings.report, overwrite=overwrite))


def _single(
    database: Any, run: str, out: Path, settings: Settings, *, video: Path | None, pdf: bool, overwrite: bool
) -> None:
    from fertrack.files import make_folder
    from fertrack.reporting.html.run_page import write_html

    with database.run(run) as stored:
        number, corrected = stored.number, stored.corrected_faces
        stem = f"run{stored.number}.{Path(stored.facts.source_name).stem}"
    make_folder(out)
    path = out / f"{stem}.report.html"
    typer.echo(write_html(database, number, path, settings.report, video=video, overwrite=overwrite))
    if pdf:
        from fertrack.reporting.html.pdf import print_pdf
        from fertrack.storage.written_files import Export, record_output

        printed = print_pdf(path, path.with_suffix(".pdf"), overwrite=overwrite)
        record_output(database, number, printed, Export("pdf", stem))
        typer.echo(printed)
    note_corrections(corrected, number)
