"""``fertrack render``: the annotated video of a stored run, with persons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fertrack.cli.options import DEFAULT_DB, DEFAULT_OUT, Database, Run, Uncorrected
from fertrack.cli.output import err_console, note_corrections

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("render")(render)


def render(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="The video, or a folder. [default: fertrack-out/runN.NAME.annotated.mp4, or .anonymised.mp4]",
        ),
    ] = None,
    debug_overlay: Annotated[
        bool, typer.Option("--debug-overlay", help="Draw frame numbers, times, aligned faces and all probabilities.")
    ] = False,
    anonymise: Annotated[
        bool | None,
        typer.Option(
            "--anonymise/--no-anonymise",
            help="Make every face unrecognisable; P1 and labels stay, names do not. [default: as the run]",
        ),
    ] = None,
    clear: Annotated[
        list[str] | None,
        typer.Option("--except", metavar="PERSON", help="Whose face and name stay: a name, P3 or 'ID 5'; may repeat."),
    ] = None,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Drop the sound.")] = False,
    source: Annotated[
        Path | None, typer.Option("--source", help="Where the source video is now. [default: where it was]")
    ] = None,
    detector: Annotated[
        str,
        typer.Option("--detector", help="Allow a detector of your own, to find people who were erased."),
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of the same name.")] = False,
    uncorrected: Uncorrected = False,
    db: Database = DEFAULT_DB,
) -> None:
    """Draw the video of a stored run again, with its persons' names of now, or anonymised; analyses nothing.

    Examples: fertrack person rename last P1 Ann && fertrack render last -o ann.mp4 ·
    fertrack render last --anonymise --except P2
    """
    if clear and anonymise is None:
        anonymise = True
    if clear and not anonymise:
        raise typer.BadParameter("names who stays recognisable: not with --no-anonymise", param_hint="--except")
    from rich.progress import Progress

    from fertrack.config import load_settings
    from fertrack.render import render_run
    from fertrack.sinks.video import CONTAINERS
    from fertrack.storage.engine import open_database

    with open_database(db, corrected=not uncorrected) as database:
        with database.run(run) as stored:
            number, facts, corrected = stored.number, stored.facts, stored.corrected_faces
        video = load_settings(base=facts.config_toml).video
        changes = {"enabled": True, "debug_overlay": debug_overlay or video.debug_overlay}
        video = video.model_copy(update={**changes, "audio": video.audio and not no_audio})
        anonymise = video.anonymise if anonymise is None else anonymise
        path = out or DEFAULT_OUT
        if path.suffix.lower() not in CONTAINERS or path.is_dir():
            kind = "anonymised" if anonymise else "annotated"
            path /= f"run{number}.{Path(facts.source_name).stem}.{kind}{video.suffix}"
        console = err_console()
        with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
            task = bar.add_task(facts.source_name, total=None)
            result = render_run(
                database,
                number,
                path,
                video,
                source=source,
                overwrite=overwrite,
                detector=detector,
                anonymise=anonymise,
                clear=clear or (),
                on_progress=lambda drawn, total: bar.update(task, completed=drawn, total=total),
            )
    for note in result.notes:
        console.print(f"note: {note}", markup=False)
    typer.echo(result.path)
    note_corrections(corrected, number)
