"""``fertrack person``: who the tracks of a run are, and what people say about it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fertrack.cli.options import DEFAULT_DB, Database, Format, OutputFormat, Run, seconds
from fertrack.cli.output import frame_to, note_outdated

if TYPE_CHECKING:
    from collections.abc import Hashable

    import pandas as pd

__all__ = ["app"]

app = typer.Typer(help="Who the tracks of a run are: list, name, merge, split, undo.", no_args_is_help=True)

Person = Annotated[str, typer.Argument(metavar="PERSON", help="A name, P3, or 'ID 5' for whoever that track is.")]


@app.command("list")
def list_persons(run: Run, output_format: OutputFormat = Format.TABLE, db: Database = DEFAULT_DB) -> None:
    """List the persons of a run: their tracks, how similar these are, and who else they may be.

    'link' is the lowest similarity that holds a person's tracks together (1 = the same face); 'may be' names persons
    who are alike, but not enough to be linked: fertrack person merge says that they are one.
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.people.persons import links, persons

    with open_database(db) as database, database.run(run) as stored:
        found, linked = persons(stored), links(stored)
    frame_to(_with_links(found, linked), output_format)


@app.command("rename")
def rename(
    run: Run,
    person: Person,
    name: Annotated[str, typer.Argument(help="The name, in any script; '' takes it away again.")],
    db: Database = DEFAULT_DB,
) -> None:
    """Give a person a name, in all runs the person is in.

    Example: fertrack person rename last P1 'Ann Lee'
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.people import actions as person_actions

    with open_database(db) as database:
        typer.echo(person_actions.rename(database, run, person, name))
        note_outdated(database, run)


@app.command("merge")
def merge(
    run: Run,
    person: Person,
    others: Annotated[list[str], typer.Argument(metavar="OTHER...", help="Who is the same person.")],
    db: Database = DEFAULT_DB,
) -> None:
    """Say that OTHER is PERSON. Refused where both are seen in one frame.

    Example: fertrack person merge last P1 P4 'ID 7'
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.people import actions as person_actions

    with open_database(db) as database:
        typer.echo(person_actions.merge(database, run, person, others))
        note_outdated(database, run)


@app.command("split")
def split(
    run: Run,
    person: Person,
    tracks: Annotated[
        list[int] | None,
        typer.Argument(metavar="[TRACK]...", help="IDs that are somebody else, together; none: each is somebody else."),
    ] = None,
    at: Annotated[
        float | None,
        typer.Option(
            "--at", metavar="TIME", parser=seconds, help="Cut the track then: from there on it is somebody else."
        ),
    ] = None,
    db: Database = DEFAULT_DB,
) -> None:
    """Say that tracks are not PERSON, but somebody else.

    Examples: fertrack person split last P1 4, fertrack person split last P1 --at 0:03
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.people import actions as person_actions

    with open_database(db) as database:
        typer.echo(person_actions.split(database, run, person, tracks or (), at_s=at))
        note_outdated(database, run)


@app.command("undo")
def undo(run: Run, db: Database = DEFAULT_DB) -> None:
    """Take back the last rename, merge or split of a run; again for the one before."""
    from fertrack.storage.engine import open_database
    from fertrack.storage.people import actions as person_actions

    with open_database(db) as database:
        typer.echo(f"undone: {person_actions.undo(database, run)}")
        note_outdated(database, run)


@app.command("log")
def show_log(run: Run, output_format: OutputFormat = Format.TABLE, db: Database = DEFAULT_DB) -> None:
    """Show what was done to the persons of a run, oldest first."""
    from fertrack.storage.engine import open_database
    from fertrack.storage.people import actions as person_actions

    with open_database(db) as database, database.run(run) as stored:
        frame_to(person_actions.actions(stored), output_format)


@app.command("forget")
def forget(
    run: Run,
    person: Person,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    db: Database = DEFAULT_DB,
) -> None:
    """Delete a person: name, links, stored embeddings, and what the log says. The faces stay, as nobody's tracks."""
    from fertrack.storage.engine import open_database
    from fertrack.storage.people import actions as person_actions

    with open_database(db) as database:
        if not yes:
            typer.confirm(f"Forget {person}? This cannot be undone", abort=True)
        typer.echo(person_actions.forget(database, run, person))


def _with_links(persons: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """Persons with the similarity that holds their tracks together, and whom they resemble."""
    of_track: dict[int, list[dict[Hashable, Any]]] = {}
    for link in links.to_dict("records"):
        of_track.setdefault(int(link["track"]), []).append(link)
    rows = []
    for tracks in persons["track_ids"]:
        mine = [link for track in tracks for link in of_track.get(track, ())]
        holding = [link["similarity"] for link in mine if link["state"] in ("accepted", "manual")]
        known = [similarity for similarity in holding if not math.isnan(similarity)]
        maybe = [f"{link['person']} ({link['similarity']:.2f})" for link in mine if link["state"] == "suggested"]
        rows.append((min(known, default=math.nan), ", ".join(maybe)))
    shown = persons[["person", "track_ids", "first_s", "last_s", "frames"]].copy()
    shown["link"] = [alike for alike, _ in rows]
    shown["may be"] = [maybe for _, maybe in rows]
    shown["person"] = shown["person"].where(shown["person"].notna(), "")
    return shown
