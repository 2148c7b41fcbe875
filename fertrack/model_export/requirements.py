"""Packages that an export needs, checked before a classifier is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType

from fertrack.errors import MissingExtraError
from fertrack.models.bundle import ClassifierBundle

__all__ = ["check_format_packages", "check_weights_packages"]

_FORMATS: Mapping[str, tuple[tuple[str, ...], str, str]] = MappingProxyType(
    {
        "torchscript": (("torch",), "torch", ""),
        "tflite": (
            ("torch", "litert_torch", "ai_edge_litert"),  # the last runs what came out, to compare it
            "torch,export,tflite",
            ", best in an environment of its own, because it brings 700 MB with it",
        ),
        "tensorrt": (
            ("tensorrt",),
            "",
            "pip install tensorrt where there is an NVIDIA GPU, or use --format onnx, which classification.device = "
            "tensorrt runs too",
        ),
    }
)
"""By format, the packages that make (and run) it whatever is exported, the extras that bring them, and advice."""

_THROUGH_ONNX = frozenset({"onnx", "onnx-int8", "tensorrt"})


def check_format_packages(target: str) -> None:
    """Refuse a format whose own packages are not installed.

    Raises:
        MissingExtraError: naming them, and how to get them.
    """
    packages, extra, advice = _FORMATS.get(target, ((), "", ""))
    _check(f"--format {target}", packages, extra, advice)


def check_weights_packages(target: str, bundle: ClassifierBundle) -> None:
    """Refuse to export PyTorch weights where what turns them into ONNX, on the way to the format, is not installed.

    Raises:
        MissingExtraError: naming it, and how to get it.
    """
    if target in _THROUGH_ONNX and bundle.model_path.suffix.lower() != ".onnx":
        what = f"--format {target} of a PyTorch network"
        _check(what, ("torch", "onnxscript"), "torch,export")


def _check(what: str, packages: tuple[str, ...], extra: str, advice: str = "") -> None:
    missing = [name.replace("_", "-") for name in packages if find_spec(name) is None]
    if missing:
        noun = "package" if len(missing) == 1 else "packages"
        need = f"{what} needs the {' and '.join(missing)} {noun}, not installed here"
        raise MissingExtraError(need, extra, advice=advice, hint="" if extra else advice)
