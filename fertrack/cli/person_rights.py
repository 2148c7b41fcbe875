"""``fertrack person export`` and ``erase``: what people may ask for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fertrack.cli.options import DEFAULT_DB, DEFAULT_OUT, Database
from fertrack.cli.output import err_console, print_json, print_table

if TYPE_CHECKING:
    from fertrack.rights.erase import EraseReport

__all__ = ["register"]

RunAndPerson = Annotated[
    list[str],
    typer.Argument(
        metavar="[RUN] PERSON",
        help="A name, P3, or 'ID 5' for whoever that track is; before it the run, where several runs have one.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add this module's commands to ``fertrack person``."""
    app.command("export")(export)
    app.command("erase")(erase)


def export(
    person: RunAndPerson,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A new folder. [default: fertrack-out/person-PERSON]")
    ] = None,
    db: Database = DEFAULT_DB,
) -> None:
    """Write everything held about a person as readable files.

    Examples: fertrack person export 'Ann Lee' · fertrack person export last P2 -o for-ann
    """
    from fertrack.rights.person_export import export_person
    from fertrack.storage.engine import open_database

    run, who = _split(person)
    folder = out or DEFAULT_OUT / ("person-" + re.sub(r"[^\w-]+", "-", who))
    with open_database(db) as database:
        for path in export_person(database, who, folder, run):
            typer.echo(path)


def erase(
    person: Annotated[
        list[str] | None,
        typer.Argument(metavar="[[RUN] PERSON]", help="As in export. None: go on with one that was interrupted."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON; with --yes or --dry-run.")] = False,
    db: Database = DEFAULT_DB,
) -> None:
    """Delete everything about a person for good: rows, embeddings, thumbnails, names; and hide them in drawn videos.

    Reports and exports are written again, and the database file is compacted, so that nothing stays in it. Source
    videos, copies of the database and files that were moved are not touched, but named.

    Examples: fertrack person erase 'Ann Lee' --dry-run · fertrack person erase last P2
    """
    from fertrack.errors import RunNotFoundError
    from fertrack.rights.erase import erase_person, finish_erasing
    from fertrack.storage.engine import open_database

    if as_json and not (yes or dry_run):
        raise typer.BadParameter("cannot ask: say --yes or --dry-run too", param_hint="--json")
    with open_database(db) as database:
        if not person:
            resumed = finish_erasing(database)
            if resumed is None:
                typer.echo("no erasure was interrupted: name the person to be erased")
            else:
                _show(resumed, as_json=as_json)
            return
        run, who = _split(person)
        if not dry_run and (resumed := finish_erasing(database)):
            err_console().print("an erasure that was interrupted has been finished first:", soft_wrap=True)
            _show(resumed, as_json=False)
            try:
                erase_person(database, who, run, dry_run=True)
            except RunNotFoundError:  # it was this person's
                return
        if not (yes or dry_run):
            _show(erase_person(database, who, run, dry_run=True), as_json=False)
            typer.confirm(f"Erase {who}? This cannot be undone", abort=True)
        with _progress() as show:
            report = erase_person(database, who, run, dry_run=dry_run, on_progress=show)
        _show(report, as_json=as_json)


def _split(words: list[str]) -> tuple[str | None, str]:
    if len(words) > 2:
        raise typer.BadParameter(f"{' '.join(words)!r}: name one person, in quotes if the name has several words")
    return (words[0], words[1]) if len(words) == 2 else (None, words[0])


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr for each file that takes a while."""
    from rich.progress import Progress, TaskID

    console = err_console()
    tasks: dict[str, TaskID] = {}
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield show


def _show(report: EraseReport, *, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        print_json(asdict(report))
        return
    verb = "" if report.done else "would be "
    if report.rows:
        print_table(["held about the person", "deleted" if report.done else "to be deleted"], list(report.rows.items()))
    for did, paths in (
        ("drawn again without the person", report.redrawn),
        ("overwritten where the person is", report.overwritten),
        ("written again", report.rewritten),
        ("deleted", report.deleted),
    ):
        for path in paths:
            typer.echo(f"{verb}{did}: {path}")
    for sentence in report.left:
        err_console().print(f"note: {sentence}", markup=False, soft_wrap=True)
    if report.done:
        typer.echo("erased; the record of it says when and how much, not who")
