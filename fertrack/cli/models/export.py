"""``fertrack models export``: a classifier for another runtime, compared with the original."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fertrack.cli.options import DEFAULT_OUT
from fertrack.cli.output import err_console, print_json

__all__ = ["register"]


class ModelFormat(StrEnum):
    """Format of an exported classifier."""

    ONNX = "onnx"
    ONNX_INT8 = "onnx-int8"
    TORCHSCRIPT = "torchscript"
    TFLITE = "tflite"
    TENSORRT = "tensorrt"


Classifier = Annotated[
    str,
    typer.Option(
        "--classifier", metavar="NAME|PATH", help="'default', a bundle's folder, or weights with a card beside them."
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="LABELLED", help="Compare on these: folder of class sub-folders, CSV or npz, with labels."
    ),
]
LogitTolerance = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        metavar="LOGIT",
        help="Largest difference of a logit. [default: the format's own, and 95 % of the faces must keep their most "
        "likely expression]",
    ),
]


def register(app: typer.Typer) -> None:
    """Add this module's commands to ``fertrack models``."""
    app.command("export")(export)


def export(
    model_format: Annotated[
        ModelFormat,
        typer.Option(
            "--format",
            help="onnx; onnx-int8: a quarter of the size; torchscript; tflite (needs litert-torch); tensorrt "
            "(experimental: never run by us; needs tensorrt and an NVIDIA GPU).",
        ),
    ],
    classifier: Classifier = "default",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FOLDER", help="New bundle. [default: fertrack-out/FORMAT]")
    ] = None,
    data: Data = None,
    split: Annotated[str, typer.Option(help="Which part of --data.")] = "",
    tolerance: LogitTolerance = None,
    accuracy_tolerance: Annotated[
        float, typer.Option(metavar="SHARE", help="Largest loss of accuracy and mean-class recall on --data.")
    ] = 0.005,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Write a classifier for another runtime, compare the two, and refuse it where they differ.

    The result is a bundle for --classifier, with parity.json beside its network.

    Examples: fertrack models export --format onnx-int8 -o int8 --data fer.npz ·
    fertrack process clip.mp4 --classifier int8
    """
    from rich.progress import Progress, TextColumn

    from fertrack.model_export.export import export_model

    console = err_console()
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed} images"))
    with Progress(*columns, console=console, transient=True, disable=data is None or not console.is_terminal) as bar:
        task = bar.add_task("finding faces", total=None)
        done = export_model(
            classifier,
            model_format.value,
            out or DEFAULT_OUT / model_format.value,
            data=data,
            split=split,
            logit_tolerance=tolerance,
            accuracy_tolerance=accuracy_tolerance,
            overwrite=overwrite,
            on_image=lambda count: bar.update(task, completed=count),
        )
    if as_json:
        print_json(done.parity.as_dict() | {"folder": str(done.folder)})
        return
    for line in done.parity.lines():
        typer.echo(line)
    typer.echo(done.folder)
