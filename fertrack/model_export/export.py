"""Exports a classifier bundle to another format: converted, compared with the original, and refused if it differs.

The new bundle appears complete, with its ``parity.json``, or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from fertrack.classifiers import build_classifier
from fertrack.classifiers.base import preprocessor
from fertrack.classifiers.config import ClassificationConfig
from fertrack.errors import FertrackError, ModelError, OutputExistsError, WrongUsageError
from fertrack.model_export.network import FORMATS, ExportFormat, SourceNetwork
from fertrack.model_export.parity import LOGIT_TOLERANCE, SAME_WINNER, Parity, Tolerance, compare
from fertrack.model_export.requirements import check_format_packages, check_weights_packages
from fertrack.model_export.sample import FaceSample, builtin_sample, labelled_sample
from fertrack.models.bundle import BUNDLE_FILE, BundleCard, load_bundle

__all__ = ["PARITY_FILE", "FaceSample", "ModelExport", "Parity", "Tolerance", "export_model"]

PARITY_FILE = "parity.json"

_OURS = frozenset({BUNDLE_FILE, PARITY_FILE, *FORMATS.values()})


@dataclass(frozen=True, slots=True)
class ModelExport:
    """Result of an export.

    Attributes:
        folder: the new bundle, for ``--classifier``.
        parity: how it compares with the original.
    """

    folder: Path
    parity: Parity


def export_model(
    classifier: str | Path,
    target: ExportFormat,
    out: Path,
    *,
    data: Path | FaceSample | None = None,
    split: str = "",
    logit_tolerance: float | None = None,
    accuracy_tolerance: float = 0.005,
    overwrite: bool = False,
    on_image: Callable[[int], None] | None = None,
) -> ModelExport:
    """Write a classifier bundle in another format.

    Labels, template, calibration and licence are carried over. The two classifiers are compared on labelled images,
    if given, else on a built-in sample of faces; for INT8, some of them serve to find ranges by and are not compared.

    Args:
        classifier: "default", or a bundle's folder: ONNX, or weights of a PyTorch network of fertrack's.
        target: "onnx", "onnx-int8", "torchscript", "tflite" or "tensorrt".
        out: folder of the new bundle.
        data: labelled images: folder of class sub-folders, CSV or npz; or faces aligned to the bundle's template.
        split: which part of them.
        logit_tolerance: largest difference of a logit; None: the format's own (``parity.LOGIT_TOLERANCE``), and the
            share ``parity.SAME_WINNER`` of the faces compared must keep their most likely expression.
        accuracy_tolerance: largest loss of accuracy and of mean-class recall on labelled images.
        overwrite: replace an earlier export in ``out``.
        on_image: called with the number of labelled images looked at.

    Raises:
        OutputExistsError: ``out`` is there and ``overwrite`` is not set, or holds something else than a bundle.
        WeightsError: the network is missing or its hash differs.
        ModelError: the network cannot be converted, or the result differs by more than is tolerated.
        WrongUsageError: an unknown format, or a tolerance that is none.
        EvaluationError: the labelled images cannot be read.
        FertrackError: something the format needs is not installed, or the folder cannot be written.
        ValueError: faces were given that are not of the bundle's size.

    Example:
        >>> export_model("default", "onnx-int8", Path("int8")).parity.accuracy_change  # doctest: +SKIP
    """
    if target not in FORMATS:
        raise WrongUsageError(f"there is no format {target!r}; there are {', '.join(FORMATS)}")
    if logit_tolerance is None:
        tolerance = Tolerance(LOGIT_TOLERANCE[target], accuracy_tolerance, SAME_WINNER)
    else:
        tolerance = Tolerance(logit_tolerance, accuracy_tolerance)
    if not (tolerance.logit >= 0 and tolerance.accuracy >= 0):
        raise WrongUsageError(f"a tolerance is a number from 0 on, got {tolerance.logit:g} and {tolerance.accuracy:g}")
    _check_place(out, overwrite)
    check_format_packages(target)
    bundle = load_bundle(classifier)
    network = SourceNetwork(bundle)
    check_weights_packages(target, bundle)
    source = build_classifier(ClassificationConfig(), bundle)
    if getattr(source, "wants_landmarks", False):
        raise ModelError(f"{bundle.model_path} looks at landmarks too; only networks of pixels are exported")
    if data is None:
        sample = builtin_sample(bundle.template, source.crop_size)
    elif isinstance(data, FaceSample):
        sample = data
        if sample.crops.shape[1:] != (source.crop_size, source.crop_size, 3) or not len(sample):
            raise ValueError(f"faces must be (N, {source.crop_size}, {source.crop_size}, 3), got {sample.crops.shape}")
    else:
        sample = labelled_sample(data, bundle.template, source.crop_size, split=split, on_image=on_image)
    ranges, compared = sample.halves() if target == "onnx-int8" else (sample, sample)
    content = network.converted(target, preprocessor(bundle.card.input)(ranges.crops))

    partial = out.with_name(f".{out.name}.part-{os.getpid()}")
    try:
        _write(partial, _card(bundle.card, target, content), content)
        # What was just made here may run; the GPU is where an engine runs.
        trusted = ClassificationConfig(trust_code=True, device="auto" if target == "tensorrt" else "cpu")
        exported = build_classifier(trusted, load_bundle(partial))
        parity = compare(source, exported, compared, target=target, size_bytes=len(content), tolerance=tolerance)
        if parity.failures:
            raise ModelError(
                f"{target}: {'; '.join(parity.failures)} ({compared.name}, {len(compared)} faces); nothing was written"
            )
        (partial / PARITY_FILE).write_text(json.dumps(parity.as_dict(), indent=2) + "\n", encoding="utf-8")
        _take_place(partial, out)
    except OSError as error:
        raise FertrackError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return ModelExport(out, parity)


def _check_place(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir() or {path.name for path in out.iterdir()} - _OURS:
        raise OutputExistsError(f"{out} holds something else than an exported bundle; name another folder with -o")
    if not overwrite:
        raise OutputExistsError(f"{out} is there already; give --overwrite to replace it")


def _card(card: BundleCard, target: ExportFormat, content: bytes) -> BundleCard:
    """The card of the export: what is known of the original, and whose the measurements are."""
    after = "" if target == "onnx" else f"; measured before the export to {target}"
    return card.model_copy(
        update={
            "model": FORMATS[target],
            "sha256": hashlib.sha256(content).hexdigest(),
            "summary": f"{card.summary}; exported as {target} from sha256:{card.sha256[:8]}".removeprefix("; "),
            "architecture": "auto",
            "rename": {},
            "head": None,
            "measured": tuple(one.model_copy(update={"data": f"{one.data}{after}"}) for one in card.measured),
        }
    )


def _write(folder: Path, card: BundleCard, content: bytes) -> None:
    folder.mkdir(parents=True)
    text = tomli_w.dumps(card.model_dump(mode="json", exclude_none=True))
    (folder / BUNDLE_FILE).write_text(text, encoding="utf-8")
    (folder / card.model).write_bytes(content)


def _take_place(partial: Path, out: Path) -> None:
    if out.exists():
        earlier = out.with_name(f".{out.name}.old-{os.getpid()}")
        out.rename(earlier)
        partial.rename(out)
        shutil.rmtree(earlier, ignore_errors=True)
    else:
        partial.rename(out)
