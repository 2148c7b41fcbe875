"""``fertrack report``: the HTML report of a stored run, its CSV files, or several runs side by side."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fertrack.cli.options import DEFAULT_DB, DEFAULT_OUT, Config, Database, Overrides, settings_from

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
        list[str], typer.Argument(metavar="RUN...", help="Numbers of runs (see 'fertrack runs'), or 'last'.")
    ],
    html: Annotated[
        bool, typer.Option("--html", help="Write the HTML report (default if --csv is not given).")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Write the CSV files.")] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Put several runs side by side; so do several runs by themselves.")
    ] = False,
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
        bool, typer.Option("--thumbnails", help="Show the stored pictures of the persons' faces, if the run kept them.")
    ] = False,
    out: Annotated[Path, typer.Option("-o", "--out", help="Output folder.")] = DEFAULT_OUT,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same name.")] = False,
    config: Config = None,
    overrides: Overrides = None,
    db: Database = DEFAULT_DB,
) -> None:
    """Write the report of a stored run again, without the video; or one that compares several runs.

    Examples: fertrack report last --video link · fertrack report 12 13 14 · fertrack report 3 --csv -o tables
    """
    flags: dict[str, tuple[str, object]] = {
        "report.video": ("--video", video.value if video else ("link" if video_file else None)),
        "report.thumbnails": ("--thumbnails", True if thumbnails else None),
    }
    settings = settings_from(config, overrides or [], flags)
    several = len(runs) > 1 or compare
    if several and (csv or video or video_file or thumbnails):
        raise typer.BadParameter(
            "compares runs by their numbers only: leave out --csv, --video and --thumbnails, or name one run",
            param_hint="--compare" if compare else "RUN RUN",
        )
    from fertrack.storage.engine import open_database

    with open_database(db) as database:
        if several:
            _compare(database, runs, out, settings, overwrite=overwrite)
        else:
            _single(
                database, runs[0], out, settings, html=html or not csv, csv=csv, video=video_file, overwrite=overwrite
            )


def _compare(database: Any, runs: list[str], out: Path, settings: Settings, *, overwrite: bool) -> None:
    from fertrack.files import make_folder
    from fertrack.reporting.html.comparison import write_comparison
    from fertrack.storage.queries import timeline as queries

    numbers = list(dict.fromkeys(queries.resolve_run(database, run) for run in runs))
    if len(numbers) < 2:
        raise typer.BadParameter("a comparison needs at least two different runs", param_hint="RUN RUN")
    make_folder(out)
    path = out / f"runs{'-'.join(map(str, numbers))}.comparison.html"
    typer.echo(write_comparison(database, numbers, path, settings.report, overwrite=overwrite))


def _single(
    database: Any,
    run: str,
    out: Path,
    settings: Settings,
    *,
    html: bool,
    csv: bool,
    video: Path | None,
    overwrite: bool,
) -> None:
    from fertrack.files import make_folder
    from fertrack.reporting import write_csv, write_html
    from fertrack.storage.queries import timeline as queries

    number = queries.resolve_run(database, run)
    stem = f"run{number}.{Path(queries.run_facts(database, number).source_name).stem}"
    make_folder(out)
    if html:
        path = out / f"{stem}.report.html"
        typer.echo(write_html(database, number, path, settings.report, video=video, overwrite=overwrite))
    if csv:
        for path in write_csv(database, number, out, stem, settings.report, overwrite=overwrite):
            typer.echo(path)
