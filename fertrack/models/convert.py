"""From the public PyTorch checkpoint of RetinaFace MobileNet-0.25 to the ONNX file that the detector runs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fertrack.errors import FertrackError, ModelError, OutputExistsError, WeightsError
from fertrack.models.retinaface_onnx import build_graph
from fertrack.models.weights import cache_folder, confirmed_hash_file, find_weights, known_weights

__all__ = ["Conversion", "convert_retinaface"]

NAME = "retinaface-mobilenet"
_PREFIX = "module."
_LARGEST_RELATIVE_DIFFERENCE = 1e-4
_CHECKED_SHAPES = ((1, 3, 32, 64), (2, 3, 64, 32))


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written.

    Attributes:
        path: the ONNX file.
        sha256: its hash.
        largest_difference: largest difference between PyTorch and ONNX Runtime over all outputs of random pictures,
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
    arrays = _read_checkpoint(source)
    network = _filled_network(arrays, source)
    origin = hashlib.sha256(source.read_bytes()).hexdigest()
    facts = {
        "checkpoint_sha256": origin,
        "licence": known_weights(NAME).licence,
        "input": "RGB 0-255 - (104, 117, 123)",
    }
    model = build_graph(arrays, facts)
    difference = _largest_difference(network, model)
    if not difference <= _LARGEST_RELATIVE_DIFFERENCE:
        raise ModelError(f"{source}: PyTorch and ONNX Runtime differ by {difference:.1e}; nothing was written")
    sha256 = hashlib.sha256(model).hexdigest()
    _write_atomically(target, model)
    if out is None:
        _write_atomically(confirmed_hash_file(target), f"{sha256}\n".encode())
    return Conversion(target, sha256, difference)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise FertrackError("converting needs PyTorch; install it with: pip install 'fertrack[torch]'") from error
    return torch


def _read_checkpoint(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """The arrays of a state dict, without the prefix that training on several devices leaves."""
    torch = _torch()
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than arrays (or is damaged) and was not loaded, because loading such a file can run "
            f"code; save the network's state_dict() and convert that"
        ) from error
    except Exception as error:  # a file of another kind fails in many ways, none with a common base
        raise WeightsError(f"{path} is not a PyTorch checkpoint ({type(error).__name__})") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError(f"{path} is not a state dict (a mapping from names to arrays)")
    return {
        str(name).removeprefix(_PREFIX): value.detach().cpu().numpy().astype(np.float32)
        for name, value in content.items()
        if not str(name).endswith("num_batches_tracked")
    }


def _filled_network(arrays: Mapping[str, npt.NDArray[np.float32]], source: Path) -> Any:
    """The PyTorch network with the checkpoint's parameters."""
    torch = _torch()
    from fertrack.models.retinaface_torch import RetinaFaceMobileNetTorch

    network = RetinaFaceMobileNetTorch().eval()
    expected = {
        name: tuple(value.shape)
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    problems = {
        "missing": [name for name in expected if name not in arrays],
        "unexpected": [name for name in arrays if name not in expected],
        "of another shape": [
            f"{name} {arrays[name].shape} instead of {shape}"
            for name, shape in expected.items()
            if name in arrays and arrays[name].shape != shape
        ],
    }
    found = [f"{kind}: {_some(names)}" for kind, names in problems.items() if names]
    if found:
        raise ModelError(f"{source} is not a RetinaFace MobileNet-0.25 checkpoint; {'; '.join(found)}")
    network.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()}, strict=False)
    return network


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _largest_difference(network: Any, model: bytes) -> float:
    """Largest difference of the two on random pictures, relative to each output's largest value."""
    torch = _torch()
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
