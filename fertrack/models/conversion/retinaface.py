"""From the public PyTorch checkpoint of RetinaFace MobileNet-0.25 to the ONNX file that the detector runs."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fertrack.errors import FertrackError, ModelError, OutputExistsError
from fertrack.models.checkpoint import State, fill, import_torch, read_state
from fertrack.models.conversion.retinaface_onnx import build_graph
from fertrack.models.weights import cache_folder, confirmed_hash_file, find_weights, known_weights
from fertrack.types import FloatArray

__all__ = ["Conversion", "convert_retinaface"]

NAME = "retinaface-mobilenet"
_LARGEST_RELATIVE_DIFFERENCE = 1e-4
_CHECKED_SHAPES = ((1, 3, 32, 64), (2, 3, 64, 32))


@dataclass(frozen=True, slots=True)
class Conversion:
    """Result of a conversion.

    Attributes:
        path: the ONNX file.
        sha256: its hash.
        largest_difference: largest difference between PyTorch and ONNX Runtime over all outputs of random images,
            relative to the largest value of the output.
    """

    path: Path
    sha256: str
    largest_difference: float

    def __str__(self) -> str:
        return (
            f"{self.path} (sha256 {self.sha256}); PyTorch and ONNX Runtime differ by at most "
            f"{self.largest_difference:.1e} of the outputs' range"
        )


def convert_retinaface(
    checkpoint: Path | None = None, out: Path | None = None, *, overwrite: bool = False
) -> Conversion:
    """Convert a RetinaFace MobileNet-0.25 checkpoint to ONNX, and check that both give the same numbers.

    Needs PyTorch (``pip install 'fertrack[torch]'``). The file appears complete or not at all.

    Args:
        checkpoint: PyTorch state dict; by default the known one in the cache folder.
        out: ONNX file to write; by default where the detector ``retinaface-mobilenet`` looks for it.
        overwrite: replace ``out``.

    Raises:
        OutputExistsError: ``out`` is there and ``overwrite`` is not set.
        WeightsError: the checkpoint is missing, or not a file of arrays alone.
        ModelError: the checkpoint is of another network, or the two frameworks disagree.
        FertrackError: PyTorch is not installed, or ``out`` cannot be written.
    """
    source = checkpoint or find_weights(f"{NAME}-checkpoint")
    target = out or cache_folder() / known_weights(NAME).file_name
    if target.exists() and not overwrite:
        raise OutputExistsError(f"{target} is there already; give --overwrite to replace it")
    state = read_state(source, what="converting")
    network = _filled_network(state, source)
    origin = hashlib.sha256(source.read_bytes()).hexdigest()
    facts = {
        "checkpoint_sha256": origin,
        "licence": known_weights(NAME).licence,
        "input": "RGB 0-255 - (104, 117, 123)",
    }
    model = build_graph(_arrays(state), facts)
    difference = _largest_difference(network, model)
    if not difference <= _LARGEST_RELATIVE_DIFFERENCE:
        raise ModelError(f"{source}: PyTorch and ONNX Runtime differ by {difference:.1e}; nothing was written")
    sha256 = hashlib.sha256(model).hexdigest()
    _write_atomically(target, model)
    if out is None:
        _write_atomically(confirmed_hash_file(target), f"{sha256}\n".encode())
    return Conversion(target, sha256, difference)


def _arrays(state: State) -> dict[str, FloatArray]:
    return {
        name: value.detach().numpy().astype(np.float32)
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }


def _filled_network(state: State, source: Path) -> Any:
    """The PyTorch network with the checkpoint's parameters."""
    from fertrack.models.conversion.retinaface_torch import RetinaFaceMobileNetTorch

    network = RetinaFaceMobileNetTorch().eval()
    fill(network, state, source, "RetinaFace MobileNet-0.25")
    return network


def _largest_difference(network: Any, model: bytes) -> float:
    """Largest difference of the two on random images, relative to each output's largest value."""
    torch = import_torch("converting")
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    largest = 0.0
    for shape in _CHECKED_SHAPES:
        pixels = random.uniform(-120, 150, shape).astype(np.float32)
        with torch.inference_mode():
            expected = [output.numpy() for output in network(torch.from_numpy(pixels))]
        for ours, theirs in zip(session.run(None, {"pixels": pixels}), expected, strict=True):
            difference = np.abs(ours - theirs).max() / np.abs(theirs).max() if ours.shape == theirs.shape else np.inf
            largest = max(largest, float(difference))
    return largest


def _write_atomically(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.part-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise FertrackError(f"cannot write {path}: {error.strerror or error}") from error
