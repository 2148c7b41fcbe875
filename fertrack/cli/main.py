"""The ``fertrack`` command: puts the sub-commands together and turns errors into one sentence and an exit code.

Exit codes: 0 done; 1 it could not be done: a ``FertrackError``, its sentence on stderr, the traceback too with
``--debug``; 2 wrong usage as typed, whatever files, runs and devices there are; 130 interrupted by Ctrl-C, 143 by
SIGTERM, 129 by the end of its terminal (what was done is kept).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from fertrack.cli import (
    answers,
    database,
    diagnose,
    evaluate,
    export,
    guide,
    live,
    markers,
    person,
    person_rights,
    privacy,
    process,
    query,
    render,
    report,
    setup,
    stats,
)
from fertrack.cli.groups import PanelledGroup
from fertrack.cli.models import weights
from fertrack.errors import FertrackError, WrongUsageError

__all__ = ["app", "main", "run"]

app = typer.Typer(
    name="fertrack",
    help="Who showed which facial expression, when, for how long, and how sure we are.",
    epilog="The manual: `fertrack guide`.",
    cls=PanelledGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # its square brackets are just brackets
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (process, live, query, report, answers, render, export, diagnose, setup, guide):
    room.register(app)
person_rights.register(person.app)
markers.register(stats.app)
database.register(query.runs_app)
for name, group in {
    "stats": stats,
    "markers": markers,
    "person": person,
    "privacy": privacy,
    "evaluate": evaluate,
    "models": weights,
    "db": database,
}.items():
    app.add_typer(group.app, name=name)
app.add_typer(setup.config_app, name="config")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"fertrack {version('fertrack')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Log everything, and show tracebacks.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    import logging

    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s %(name)s: %(message)s", force=True
    )


_OUTPUT_ERRORS = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT, errno.EPIPE)
"""Of a stdout that takes no more: of a file on a full disk, say."""


def _discard_output() -> None:
    """Send buffered output nowhere: it would fail again when the program ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        arguments: what follows ``fertrack``; the process's own arguments if None.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        try:
            app(args=list(arguments), prog_name="fertrack")
        finally:
            sys.stdout.flush()
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    except OSError as error:
        if error.filename is not None or error.errno not in _OUTPUT_ERRORS:
            raise
        _discard_output()
        typer.echo(f"error: the output could not be written: {error.strerror}", err=True)
        return 1
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        return 130
    except FertrackError as error:
        if "--debug" in arguments:
            raise
        typer.echo(f"error: {error}", err=True)
        return 2 if isinstance(error, WrongUsageError) else 1
    except ImportError as error:
        if "libGL" not in str(error):
            raise
        typer.echo(
            f"error: OpenCV cannot be loaded ({error}): install the system's libgl1 package, or run "
            "'pip install --force-reinstall --no-deps opencv-python-headless'",
            err=True,
        )
        return 1
    return 0


def main() -> None:
    """Entry point of the installed ``fertrack`` command."""
    sys.exit(run())
