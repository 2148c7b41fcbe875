"""``fertrack models train``: trains a classifier from a configuration file (needs the extra ``train``)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fertrack.cli.output import err_console

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to ``fertrack models``."""
    app.command("train")(train)


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file, such as configs/train/default.toml.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of the run; default fertrack-out/training/<name>.")
    ] = None,
    epochs_now: Annotated[
        int | None, typer.Option("--epochs-now", min=1, help="Stop after this many epochs; run again to go on.")
    ] = None,
) -> None:
    """Train a classifier and write it as a bundle that `process --classifier` and `calibrate` take.

    After every epoch the run is saved, logged (log.csv) and drawn (curves_loss.svg, curves_accuracy.svg): stopped in
    any way, the same command goes on where it was, and ends at the same weights as if it had never stopped. Needs the
    extra [train], and the pictures that the configuration names: FER2013 with FER+ votes, or any labelled set.

    Examples: fertrack models train configs/train/finetune.toml · fertrack models train configs/train/default.toml
    --epochs-now 10
    """
    from fertrack.training.command import train_classifier

    folder = train_classifier(config, out, epochs_now, say=lambda line: err_console().print(line, highlight=False))
    typer.echo(folder)
