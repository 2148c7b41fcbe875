"""ONNX Runtime sessions as the detectors use them: bounded threads, quiet, and with errors in our own words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import onnxruntime as ort

from fertrack.errors import ConfigError, ModelError, WeightsError, first_line
from fertrack.models import devices
from fertrack.types import Device, FloatArray

__all__ = ["fingerprint", "open_session", "read_weights", "run"]


def read_weights(path: Path, what: str) -> bytes:
    """Read a weights file.

    Args:
        path: the file.
        what: name of the network, for the message.

    Raises:
        WeightsError: the file is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{what}: cannot read the weights file {path}: {error.strerror or error}") from error


def fingerprint(name: str, weights: bytes) -> str:
    """Fingerprint of a network, stored with each run: name and the first eight digits of the SHA-256.

    >>> fingerprint("mine", b"")
    'mine sha256:e3b0c442'
    """
    return f"{name} sha256:{hashlib.sha256(weights).hexdigest()[:8]}"


def open_session(
    model: bytes, threads: int, what: str, outputs: Sequence[str] | int, device: Device = "cpu"
) -> ort.InferenceSession:
    """Open a session that uses ``threads`` threads a run and may be run from several threads at once.

    Args:
        model: serialised ONNX model.
        threads: threads inside one run.
        what: name of the network, for messages.
        outputs: names the model must have among its outputs, or how many outputs it must have.
        device: what it shall run on.

    Raises:
        ConfigError: the device is not available.
        WeightsError: ONNX Runtime cannot load the model.
        ModelError: the model has other outputs.
    """
    try:
        session: ort.InferenceSession = devices.open_session(
            model, device=device, threads=threads, option="detection.device"
        )
    except (ConfigError, ModelError):
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        raise WeightsError(
            f"{what}: the weights are not an ONNX model that can be run ({first_line(error)})"
        ) from error
    names = [output.name for output in session.get_outputs()]
    missing = [] if isinstance(outputs, int) else [name for name in outputs if name not in names]
    if missing or (isinstance(outputs, int) and len(names) != outputs) or len(session.get_inputs()) != 1:
        expected = f"{outputs} outputs" if isinstance(outputs, int) else f"outputs {', '.join(outputs)}"
        raise ModelError(
            f"{what}: expected one input and {expected}, got {len(session.get_inputs())} inputs and outputs "
            f"{', '.join(names)}: these are the weights of another network"
        )
    return session


def run(
    session: ort.InferenceSession, pixels: FloatArray, what: str, outputs: Sequence[str] | None = None
) -> list[FloatArray]:
    """Run the network on one image; all outputs in the model's order, or those named.

    Raises:
        ModelError: the network refuses the input, for instance because its input shape is fixed.
    """
    try:
        return list(session.run(outputs, {session.get_inputs()[0].name: pixels}))
    except Exception as error:  # as above
        raise ModelError(
            f"{what}: the network could not be run on an input of shape {pixels.shape} ({first_line(error)})"
        ) from error
