"""``fertrack guide``: the manual in the terminal."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from fertrack.cli.output import misuse, out_console, print_table

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("guide")(guide)


def guide(
    topic: Annotated[str, typer.Argument(metavar="[TOPIC]", help="A page; without one, they are listed.")] = "",
) -> None:
    """Show a page of the manual, or list the pages.

    Examples: fertrack guide · fertrack guide ask
    """
    from fertrack.guide.pages import TOPICS, read_page, title_of

    if not topic:
        print_table(["topic", "page"], [(name, title_of(name)) for name in TOPICS])
        return
    with misuse():
        text = read_page(topic)
    if not sys.stdout.isatty():
        sys.stdout.write(text)
        return
    from rich.markdown import Markdown

    os.environ.setdefault("LESS", "-R")  # so that the pager shows colours, and not their codes
    console = out_console()
    page = Markdown(text)
    if len(console.render_lines(page, pad=False)) < console.height:
        console.print(page)
    else:
        with console.pager(styles=True):
            console.print(page)
