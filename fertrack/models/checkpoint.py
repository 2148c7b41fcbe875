"""Reads a stranger's PyTorch weights: arrays only, nothing of the file is run; and fills a network with them.

Understood are state dicts (``torch.save(network.state_dict(), ...)``), also inside a training checkpoint under
``state_dict`` or ``model``, and safetensors. Names lose the ``module.`` that training on several devices leaves.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fertrack.errors import FertrackError, ModelError, WeightsError

__all__ = ["State", "fill", "import_torch", "is_torchscript", "parse_state", "read_state"]

State = dict[str, Any]
"""Parameter names to ``torch.Tensor`` on the CPU."""

_PREFIX = "module."
_WRAPPERS = ("state_dict", "model", "model_state_dict", "net")
_COUNTER = "num_batches_tracked"  # of batch normalisation; never read when classifying
_NAMED = 3


def import_torch(what: str) -> Any:
    """PyTorch, or an error that says how to get it.

    Args:
        what: what needs it, beginning the sentence: "converting", "a .pth file".

    Raises:
        FertrackError: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise FertrackError(f"{what} needs PyTorch; install it with: pip install 'fertrack[torch]'") from error
    return torch


def is_torchscript(content: bytes) -> bool:
    """Whether a file is a TorchScript program: an archive with code in it, which loading would run."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return any(
                name.split("/", 2)[1:2] == ["code"] or name.endswith("constants.pkl") for name in archive.namelist()
            )
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def read_state(path: Path, sha256: str = "", *, what: str = "a PyTorch checkpoint") -> State:
    """The parameters in a file.

    Args:
        path: a state dict saved with PyTorch, or a ``.safetensors`` file.
        sha256: hash that the file must have; empty: any.
        what: what needs PyTorch, for the message if it is absent.

    Raises:
        WeightsError: the file is missing, of another kind, holds more than arrays, or its hash differs.
        FertrackError: PyTorch or safetensors is not installed.
    """
    torch = import_torch(what)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise WeightsError(f"{path} is not the file its card names: its SHA-256 differs; restore or describe it again")
    return parse_state(torch, content, path)


def parse_state(torch: Any, content: bytes, path: Path) -> State:
    """The parameters in a file's bytes; nothing of them is run.

    Args:
        torch: the module, as ``import_torch`` gives it.
        content: the file's bytes.
        path: its name, for messages; ``.safetensors`` says that it is one.

    Raises:
        WeightsError: it is of another kind, or holds more than arrays.
        FertrackError: safetensors is needed and not installed.
    """
    if path.suffix.lower() == ".safetensors":
        return _plain(_read_safetensors(content, path), path)
    if is_torchscript(content):
        raise WeightsError(
            f"{path} is a TorchScript program, not weights: it runs only with --trust-code, if you trust its maker"
        )
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than arrays (or is damaged) and was not loaded, because loading such a file can run "
            "code; save the network's state_dict() and use that"
        ) from error
    except Exception as error:  # a file of another kind fails in many ways, none with a common base
        raise WeightsError(f"{path} is not a PyTorch checkpoint ({type(error).__name__})") from error
    for key in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if (
        not isinstance(loaded, Mapping)
        or not loaded
        or not all(isinstance(value, torch.Tensor) for value in loaded.values())
    ):
        raise WeightsError(f"{path} is not a state dict (a mapping from names to arrays)")
    return _plain(loaded, path)


def fill(network: Any, state: Mapping[str, Any], source: Path, kind: str, *, ignore: tuple[str, ...] = ()) -> None:
    """Give a network the parameters of a file; each must be there, in the right shape, and no other.

    Args:
        network: a ``torch.nn.Module``; filled in place.
        state: parameters by name.
        source: where they come from, for the message.
        kind: what the file was taken to be, for the message: "RetinaFace MobileNet-0.25".
        ignore: parameters of the network whose names begin so may be missing, and keep their values.

    Raises:
        ModelError: parameters are missing, unexpected, of another shape, or not finite numbers.
    """
    torch = import_torch("a PyTorch checkpoint")
    expected = network.state_dict()
    needed = [name for name in expected if not name.endswith(_COUNTER) and not name.startswith(ignore or ("\0",))]
    problems = {
        "missing": [name for name in needed if name not in state],
        "unexpected": [name for name in state if name not in expected and not name.endswith(_COUNTER)],
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(value.shape)}"
            for name, value in expected.items()
            if name in state and not name.endswith(_COUNTER) and state[name].shape != value.shape
        ],
        "not finite numbers": [
            name for name in expected if name in state and not bool(torch.isfinite(state[name].float()).all())
        ],
    }
    found = [f"{problem}: {_some(names)}" for problem, names in problems.items() if names]
    if found:
        raise ModelError(f"{source} is not a {kind} checkpoint; {'; '.join(found)}")
    kept = {name: value.detach() for name, value in state.items() if name in expected and not name.endswith(_COUNTER)}
    network.load_state_dict(kept, strict=False)


def _read_safetensors(content: bytes, path: Path) -> State:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load
    except ImportError as error:
        raise FertrackError(
            "a .safetensors file needs safetensors; install it with: pip install 'fertrack[torch]'"
        ) from error
    try:
        state: State = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}") from error
    return state


def _plain(state: Mapping[Any, Any], path: Path) -> State:
    """The arrays without ``module.`` in front of their names, after all were found to be plain real numbers."""
    odd = [str(name) for name, value in state.items() if not _is_plain(value)]
    if odd:
        raise WeightsError(
            f"{path} holds arrays that are quantised, sparse, complex or empty of values ({_some(odd)}); save the "
            "weights of the network as it was trained, in floating point"
        )
    return {str(name).removeprefix(_PREFIX): value for name, value in state.items()}


def _is_plain(value: Any) -> bool:
    # A nested tensor says that it is strided, too.
    if value.is_nested or value.is_sparse or value.is_sparse_csr or value.is_mkldnn:
        return False
    return not (value.is_quantized or value.is_complex() or value.is_meta)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
