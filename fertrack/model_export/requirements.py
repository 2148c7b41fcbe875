"""Packages that an export needs, checked before a classifier is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType

from fertrack.errors import FertrackError
from fertrack.models.bundle import ClassifierBundle

__all__ = ["check_format_packages", "check_weights_packages"]

_FORMATS: Mapping[str, tuple[tuple[str, ...], str]] = MappingProxyType(
    {
        "torchscript": (("torch",), "pip install 'fertrack[torch]'"),
        "tflite": (
            ("torch", "litert_torch", "ai_edge_litert"),  # the last runs what came out, to compare it
            "pip install 'fertrack[torch,export,tflite]', best in an environment of its own, because it brings 700 MB "
            "with it",
        ),
        "tensorrt": (
            ("tensorrt",),
            "pip install tensorrt where there is an NVIDIA GPU, or use --format onnx, which --device tensorrt runs too",
        ),
    }
)
"""By format, the packages that make (and run) it whatever is exported, and how to get them."""

_THROUGH_ONNX = frozenset({"onnx", "onnx-int8", "tensorrt"})


def check_format_packages(target: str) -> None:
    """Refuse a format whose own packages are not installed.

    Raises:
        FertrackError: naming them, and how to get them.
    """
    packages, remedy = _FORMATS.get(target, ((), ""))
    _check(f"--format {target}", packages, remedy)


def check_weights_packages(target: str, bundle: ClassifierBundle) -> None:
    """Refuse to export PyTorch weights where what turns them into ONNX, on the way to the format, is not installed.

    Raises:
        FertrackError: naming it, and how to get it.
    """
    if target in _THROUGH_ONNX and bundle.model_path.suffix.lower() != ".onnx":
        what = f"--format {target} of a PyTorch network"
        _check(what, ("torch", "onnxscript"), "pip install 'fertrack[torch,export]'")


def _check(what: str, packages: tuple[str, ...], remedy: str) -> None:
    missing = [name.replace("_", "-") for name in packages if find_spec(name) is None]
    if missing:
        noun = "package" if len(missing) == 1 else "packages"
        raise FertrackError(f"{what} needs the {' and '.join(missing)} {noun}, not installed here: {remedy}")
