"""``fertrack models export`` and ``fertrack models bench``: classifiers for other runtimes, and how fast they are."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fertrack.cli.options import DEFAULT_OUT
from fertrack.cli.output import err_console, print_json, print_table

__all__ = ["Classifier", "Data", "LogitTolerance", "ModelFormat", "export_classifier", "register"]


class ModelFormat(StrEnum):
    """In which format a classifier is written."""

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
    app.command("bench")(bench)


def export(
    model_format: Annotated[
        ModelFormat,
        typer.Option(
            "--format",
            help="onnx; onnx-int8: a quarter of the size; torchscript; tflite (needs litert-torch); tensorrt (needs "
            "tensorrt and a GPU).",
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

    The result is a bundle for --classifier, with parity.json beside its network. The same as 'fertrack export'.

    Examples: fertrack models export --format onnx-int8 -o int8 --data fer.npz ·
    fertrack process clip.mp4 --classifier int8
    """
    export_classifier(
        model_format, classifier, out, data, split, tolerance, accuracy_tolerance, overwrite=overwrite, as_json=as_json
    )


def export_classifier(
    model_format: ModelFormat,
    classifier: str,
    out: Path | None,
    data: Path | None,
    split: str,
    tolerance: float | None,
    accuracy_tolerance: float,
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    """What ``models export`` and ``export`` have in common."""
    from rich.progress import Progress, TextColumn

    from fertrack.model_export.export import export_model

    console = err_console()
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed} pictures"))
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
            on_picture=lambda count: bar.update(task, completed=count),
        )
    if as_json:
        print_json(done.parity.as_dict() | {"folder": str(done.folder)})
        return
    for line in done.parity.lines():
        typer.echo(line)
    typer.echo(done.folder)


def bench(
    classifier: Annotated[
        str,
        typer.Argument(metavar="NAME|PATH", help="'default', a bundle's folder, or weights with a card beside them."),
    ] = "default",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, tensorrt, openvino or coreml.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 1,
    seconds: Annotated[float, typer.Option(metavar="S", help="Time for each measurement.", min=0.01)] = 2.0,
    trust_code: Annotated[bool, typer.Option("--trust-code", help="Run a bundle that is a program.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how long a classifier takes for a face, one at a time and eight together.

    Example: fertrack models bench int8
    """
    from fertrack.benchmarks.classifier_speed import measure_speed
    from fertrack.cli.options import settings_from

    settings = settings_from(
        None,
        None,
        {
            "classification.bundle": ("NAME|PATH", classifier),
            "classification.device": ("--device", device),
            "classification.threads": ("--threads", threads),
            "classification.trust_code": ("--trust-code", trust_code or None),
        },
    )
    rows = [row.as_dict() for row in measure_speed(settings.classification, seconds=seconds)]
    if as_json:
        print_json(rows)
        return
    columns = ["faces together", "ms a face, best", "median", "CPU", "network alone, CPU", "runs"]
    print_table(columns, [list(row.values()) for row in rows])
