"""Reader of a stranger's PyTorch weights: arrays only, nothing in the file is executed; fills a network with them.

Understood are state dicts (``torch.save(network.state_dict(), ...)``), also inside a training checkpoint under
``state_dict`` or ``model`` (or one in the other), and safetensors. Names lose the ``module.`` that training on several
devices leaves, as often as it is there.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fertrack.errors import MissingExtraError, ModelError, WeightsError

__all__ = ["State", "fill", "import_torch", "is_torchscript", "parse_state", "read_state"]

State = dict[str, Any]
"""Parameter names to ``torch.Tensor`` on the CPU."""

_PREFIX = "module."
_WRAPPERS = ("state_dict", "model", "model_state_dict", "net")
_DEEPEST = 2
"""Wrappers around each other that are opened."""

_COUNTER = "num_batches_tracked"  # of batch normalisation; never read when classifying
_NAMED = 3


def import_torch(what: str) -> Any:
    """PyTorch, or an error that says how to get it.

    Args:
        what: what needs it, beginning the sentence: "converting", "a .pth file".

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(f"{what} needs PyTorch", "torch") from error
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
    return parse_state(torch, content, path, what=what)


def parse_state(torch: Any, content: bytes, path: Path, *, what: str = "a PyTorch network") -> State:
    """The parameters in a file's bytes; nothing of them is run.

    Args:
        torch: the module, as ``import_torch`` gives it.
        content: the file's bytes.
        path: its name, for messages; ``.safetensors`` says that it is one.
        what: what the weights are for, for the message if the file is a program.

    Raises:
        WeightsError: it is of another kind, or holds more than arrays.
        FertrackError: safetensors is needed and not installed.
    """
    if path.suffix.lower() == ".safetensors":
        return _plain(_read_safetensors(content, path), path)
    if is_torchscript(content):
        raise WeightsError(
            f"{path} is a TorchScript program, not weights; {what} needs weights (a state dict, or safetensors) even "
            "where programs may run"
        )
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than arrays (or is damaged) and was not loaded, because loading such a file can run "
            'code; load it where it was made and save the weights alone: torch.save(checkpoint["state_dict"], FILE), '
            "or of a whole network torch.save(network.state_dict(), FILE)"
        ) from error
    except Exception as error:  # a file of another kind fails in many ways, none with a common base
        raise WeightsError(f"{path} is not a PyTorch checkpoint ({type(error).__name__})") from error
    for _ in range(_DEEPEST):
        loaded = _unwrapped(loaded)
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
        network: a ``torch.nn.Module``; filled in place. An outlined one takes the file's arrays as its own, once all
            were found to fit, and zeros for what may be missing.
        state: parameters by name.
        source: where they come from, for the message.
        kind: what the file was taken to be, for the message: "RetinaFace MobileNet-0.25".
        ignore: parameters of the network whose names begin so may be missing, and keep their values.

    Raises:
        ModelError: parameters are missing, unexpected, of another shape, or not finite numbers.
    """
    torch = import_torch("a PyTorch checkpoint")
    from fertrack.models.networks.lazy_init import give_room

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
        "not finite numbers": [name for name in expected if name in state and not _is_finite(torch, state[name])],
    }
    found = [f"{problem}: {_some(names)}" for problem, names in problems.items() if names]
    if found:
        raise ModelError(f"{source} is not a {kind} checkpoint; {'; '.join(found)}")
    kept = {
        name: value.detach().to(expected[name].dtype).contiguous()
        for name, value in state.items()
        if name in expected and not name.endswith(_COUNTER)
    }
    network.load_state_dict(kept, strict=False, assign=any(value.is_meta for value in expected.values()))
    give_room(network)


def _is_finite(torch: Any, value: Any) -> bool:
    # A sum is a number only if all are, takes no memory, and in double precision cannot overflow.
    return bool(value.float().sum(dtype=torch.float64).isfinite())


def _unwrapped(loaded: Any) -> Any:
    """State dict inside a training checkpoint, under one of the usual names; anything else as it is."""
    if not isinstance(loaded, Mapping):
        return loaded
    return next((loaded[key] for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)), loaded)


def _read_safetensors(content: bytes, path: Path) -> State:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load
    except ImportError as error:
        raise MissingExtraError("a .safetensors file needs safetensors", "torch") from error
    try:
        state: State = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}") from error
    return state


def _plain(state: Mapping[Any, Any], path: Path) -> State:
    """The arrays without ``module.`` in front of their names, after all were found to be plain real numbers."""
    found = ((str(name), _oddity(str(name), value)) for name, value in state.items())
    odd = {name: oddity for name, oddity in found if oddity}
    if odd:
        kinds = ", ".join(dict.fromkeys(odd.values()))
        raise WeightsError(
            f"{path} holds arrays that are {kinds} ({_some(list(odd))}); save the weights of the network as it was "
            "trained, in floating point and each value by itself"
        )
    return {_without_prefix(str(name)): value for name, value in state.items()}


def _without_prefix(name: str) -> str:
    while name.startswith(_PREFIX):  # twice where training on several devices was wrapped once more
        name = name.removeprefix(_PREFIX)
    return name


def _oddity(name: str, value: Any) -> str:
    """Reason why an array is not plain real numbers; empty if it is."""
    if value.is_nested or str(value.layout) != "torch.strided":  # a nested one may say that it is strided, too
        return "sparse or nested"
    if value.is_quantized:
        return "quantised"
    if value.is_complex():
        return "complex"
    if value.is_meta:
        return "empty of values"
    if not value.is_floating_point() and not name.endswith(_COUNTER):
        return "whole numbers"
    # A few bytes can be said to be an array that no memory holds: one value, repeated.
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return "larger than the values that the file holds"
    return ""


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
