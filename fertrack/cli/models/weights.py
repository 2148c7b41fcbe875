"""``fertrack models``: weights, their hashes and their licences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from fertrack.cli.models import bias, calibrate, export, train
from fertrack.cli.output import err_console, print_json, print_table

__all__ = ["app"]

app = typer.Typer(
    help="Weights and classifiers: list, verify, pull, describe, convert, calibrate, bias, train, export.",
    no_args_is_help=True,
)
calibrate.register(app)
app.add_typer(bias.app, name="bias")
train.register(app)
export.register(app)


@app.command("list")
def list_models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the known weights with licence, training data and whether they are present."""
    from fertrack.models.inventory import inventory

    rows = [entry.as_dict() for entry in inventory()]
    if as_json:
        print_json(rows)
        return
    columns = ["name", "role", "state", "size", "licence", "training_data"]
    print_table([column.replace("_", " ") for column in columns], [[row[column] for column in columns] for row in rows])


@app.command("verify")
def verify() -> None:
    """Check the SHA-256 of every weights file that is present."""
    from fertrack.models.inventory import inventory

    bad = 0
    for entry in inventory(check_hashes=True):
        typer.echo(f"{entry.name}: {entry.state}" + (f" ({entry.path})" if entry.path else ""))
        bad += entry.state == "hash differs"
    if bad:
        raise typer.Exit(1)


@app.command("pull")
def pull(
    name: Annotated[str, typer.Argument(help="Name from 'fertrack models list'.")],
    yes: Annotated[bool, typer.Option("--yes", help="Accept the printed hash of a file we have no hash for.")] = False,
) -> None:
    """Download known weights: resumable, atomic, checked against size and SHA-256."""
    from fertrack.models.pull import pull_weights

    def confirm(sha256: str) -> bool:
        return yes or typer.confirm(f"{name}: sha256 {sha256}. Is this the hash you expect?")

    console = err_console()
    with Progress(*Progress.get_default_columns(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)

        def show(received: int, total: int) -> None:
            bar.update(task, completed=received, total=total or None)

        path = pull_weights(name, confirm=confirm, progress=show)
    typer.echo(path)


@app.command("convert")
def convert(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="RetinaFace MobileNet-0.25 checkpoint (.pth). [default: the pulled one]")
    ] = None,
    out: Annotated[
        Path | None, typer.Argument(help="ONNX file to write. [default: where detection.name finds it]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Turn the public checkpoint of RetinaFace MobileNet-0.25 into ONNX (extra [torch])."""
    from fertrack.models.conversion.retinaface import convert_retinaface

    typer.echo(convert_retinaface(checkpoint, out, overwrite=overwrite))


@app.command("describe")
def describe(
    weights: Annotated[Path, typer.Argument(help="Weights file, or SavedModel folder.")],
    preset: Annotated[str, typer.Option(help="Constants it was trained with: rafdb, imagenet or fer2013.")],
    labels: Annotated[
        str,
        typer.Option(help="Order of its columns: alphabetical, rafdb, fer2013, affectnet, or seven names with commas."),
    ] = "",
    size: Annotated[int, typer.Option(metavar="PX", help="Side of its crop. [default: the preset's]")] = 0,
    head: Annotated[
        Path | None, typer.Option(help="Weights of a PyTorch feature head in front of it, in the same folder.")
    ] = None,
    architecture: Annotated[
        str, typer.Option(help="feature-orthogonal, landmark-attention, quaternion-transformer, or auto.")
    ] = "auto",
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="It answers with probabilities (its last layer is a softmax).")
    ] = False,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Licence of the weights.")] = "not stated",
    training_data: Annotated[str, typer.Option(metavar="TEXT", help="What it was trained on.")] = "not stated",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the card that is there.")] = False,
) -> None:
    """Write the card of your own weights beside them, so that --classifier takes the file.

    Example: fertrack models describe qvit.keras --preset rafdb --head orf.pth
    """
    from fertrack.models.describe import describe_model

    typer.echo(
        describe_model(
            weights,
            preset,
            labels=labels,
            size_px=size,
            head=head,
            architecture=architecture,
            output="probabilities" if probabilities else "logits",
            licence=licence,
            training_data=training_data,
            overwrite=overwrite,
        )
    )
