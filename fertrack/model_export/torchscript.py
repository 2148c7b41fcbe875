"""TorchScript and TFLite files, made from a PyTorch module."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fertrack.errors import FertrackError, MissingExtraError, ModelError, first_line

__all__ = ["quietly", "to_tflite", "to_torchscript"]


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """For the time of one export: PyTorch's notes on its own future are silenced, progress goes to stderr."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        yield


def to_torchscript(module: Any, shape: tuple[int, int, int]) -> bytes:
    """Trace a module. The file is a program: it runs without this package, and whoever loads it runs it.

    Args:
        module: in evaluation mode; any number of faces in, logits out.
        shape: of one face as the network takes it.

    Raises:
        ModelError: PyTorch cannot trace the module.
    """
    import torch

    buffer = io.BytesIO()
    try:
        with quietly(), torch.no_grad():
            torch.jit.save(torch.jit.freeze(torch.jit.trace(module, torch.zeros(2, *shape))), buffer)
    except Exception as error:  # tracing runs the module, which may raise anything
        raise ModelError(f"PyTorch cannot trace the network: {first_line(error)}") from error
    return buffer.getvalue()


def to_tflite(module: Any, shape: tuple[int, int, int]) -> bytes:
    """Convert a module with litert-torch. The network takes one face at a time.

    Args:
        module: in evaluation mode.
        shape: of one face as the network takes it.

    Raises:
        MissingExtraError: litert-torch is not installed.
        FertrackError: there is no place for a temporary file.
        ModelError: it cannot convert the module.
    """
    import torch

    try:
        with quietly():
            import litert_torch
    except ImportError as error:
        need = f"--format tflite needs litert-torch, which cannot be imported ({error})"
        raise MissingExtraError(
            need, "torch,tflite", advice=", best in an environment of its own, because it brings 700 MB with it"
        ) from error
    try:
        with quietly():
            converted = litert_torch.convert(module, (torch.zeros(1, *shape),))
        with tempfile.TemporaryDirectory(prefix="fertrack-export-") as folder, quietly():
            target = Path(folder) / "model.tflite"
            converted.export(str(target))
            return target.read_bytes()
    except OSError as error:
        raise FertrackError(f"no temporary file can be written: {error.strerror or error}") from error
    except Exception as error:  # the converter raises errors of many kinds
        raise ModelError(f"litert-torch cannot convert the network: {first_line(error)}") from error
