"""Exports a classifier to every format and writes down what came out: size, differences, accuracy, speed.

Run as ``python -m fertrack.benchmarks export_parity LABELLED reports/exports.md [BUNDLE]``. A format that cannot be
had on this machine is in the table with the sentence that says why. PyTorch's threads are its own business: for
figures of one thread, set OMP_NUM_THREADS=1 before.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fertrack.benchmarks.classifier_speed import ClassifierSpeed, measure_speed
from fertrack.classifiers.config import ClassificationConfig
from fertrack.errors import FertrackError
from fertrack.model_export.export import FaceSample, Parity, export_model
from fertrack.model_export.network import FORMATS, ExportFormat
from fertrack.model_export.sample import labelled_sample
from fertrack.models.bundle import load_bundle

__all__ = ["ExportRow", "export_rows", "main", "render"]

_LIBRARIES = ("onnx", "onnxruntime", "torch", "litert-torch", "ai-edge-litert", "tensorrt")


@dataclass(frozen=True, slots=True)
class ExportRow:
    """Result of one format.

    Attributes:
        format: its name.
        parity: the comparison; None where there is no export.
        speed: at one face, and at eight together; empty where there is no export.
        why_not: why there is no export; else empty.
    """

    format: ExportFormat
    parity: Parity | None
    speed: tuple[ClassifierSpeed, ...]
    why_not: str = ""


def export_rows(classifier: str | Path, sample: FaceSample, *, seconds: float = 2.0) -> list[ExportRow]:
    """Export to every format, into a temporary folder.

    Args:
        classifier: "default", or a bundle's folder.
        sample: faces to compare on, aligned to the bundle's template.
        seconds: time spent on each measurement of speed.

    Raises:
        WeightsError, ModelError: the classifier itself cannot be had.
    """
    load_bundle(classifier)
    rows = []
    with tempfile.TemporaryDirectory(prefix="fertrack-export-") as folder:
        for target in FORMATS:
            out = Path(folder) / target
            try:
                done = export_model(classifier, target, out, data=sample)
                device = "tensorrt" if target == "tensorrt" else "cpu"
                options = ClassificationConfig(bundle=str(out), trust_code=True, device=device)
                rows.append(ExportRow(target, done.parity, tuple(measure_speed(options, seconds=seconds))))
            except FertrackError as error:
                rows.append(ExportRow(target, None, (), str(error)))
    return rows


def render(classifier: str, sample: FaceSample, rows: list[ExportRow]) -> str:
    """The report as Markdown.

    Args:
        classifier: fingerprint of what was exported.
        sample: what the exports were compared on.
        rows: one per format.
    """
    lines = [
        "# Exports of the classifier",
        "",
        "Written by `python -m fertrack.benchmarks export_parity LABELLED reports/exports.md`.",
        "",
        f"Exported: {classifier}. Compared on {len(sample)} faces of {sample.name}, detector and alignment in the "
        "loop, largest logit against label, no prior divided out. For INT8 every tenth face or so served to find the "
        "ranges of its arithmetic by, and is not among those compared. CPU: ms a face of the calling thread's CPU "
        "time, preprocessing included, one face at a time and eight together.",
        "",
        "| format | MB | faces | largest Δ logit | mean Δ | same winner | accuracy | class recall | ms, 1 | ms, 8 |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_row(row) for row in rows),
        "",
        f"With {', '.join(_versions())}.",
    ]
    return "\n".join(lines) + "\n"


def _row(row: ExportRow) -> str:
    parity = row.parity
    if parity is None:
        return f"| {row.format} | not made here: {row.why_not} | | | | | | | | |"
    accuracy = recall = "not measured"
    if parity.before and parity.after:
        accuracy = f"{parity.before.accuracy:.4f} → {parity.after.accuracy:.4f}"
        recall = f"{parity.before.mean_class_recall:.4f} → {parity.after.mean_class_recall:.4f}"
    speeds = " | ".join(f"{speed.cpu_ms:.2f}" for speed in row.speed)
    return (
        f"| {row.format} | {parity.size_bytes / 1e6:.2f} | {parity.faces} | {parity.max_logit_difference:.2g} | "
        f"{parity.mean_logit_difference:.2g} | {parity.same_winner:.2%} | {accuracy} | {recall} | {speeds} |"
    )


def _versions() -> list[str]:
    found = []
    for package in _LIBRARIES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return found


def main(arguments: Sequence[str]) -> int:
    """Export, measure and write the report."""
    parser = argparse.ArgumentParser(prog="python -m fertrack.benchmarks export_parity", description=__doc__)
    parser.add_argument("data", metavar="LABELLED", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("bundle", nargs="?", default="default")
    given = parser.parse_args(arguments)
    bundle = load_bundle(given.bundle)
    sample = labelled_sample(given.data, bundle.template, bundle.card.input.size_px)
    given.report.write_text(render(bundle.fingerprint, sample, export_rows(given.bundle, sample)), encoding="utf-8")
    return 0
