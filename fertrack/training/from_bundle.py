"""A finished compact classifier as the beginning of a run: what a bundle leaves out of its network is put back.

A bundle's batch norms are folded into its convolutions, and its logits are calibrated at class shares of their own.
The norms come back with the statistics of the images that are about to be learned, weighing so that the network says
what it said; its last layer is brought to the class shares that the run draws.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fertrack.errors import ModelError
from fertrack.models.bundle import BUNDLE_FILE, load_bundle
from fertrack.models.networks.compact import CompactNet
from fertrack.models.onnx_external_data import stored_arrays
from fertrack.types import FloatArray

__all__ = ["begin_with_bundle", "is_bundle"]

_FOLDED = "{}.weight_bias"
"""What PyTorch's exporter calls the bias that a convolution has from the batch norm behind it."""


def is_bundle(start: str) -> bool:
    """Whether ``start`` names a finished classifier, not a run."""
    return start == "default" or (bool(start) and (Path(start) / BUNDLE_FILE).is_file())


def begin_with_bundle(network: nn.Module, start: str, drawn: FloatArray, batches: Iterable[Sequence[Tensor]]) -> None:
    """Give a network the weights of a bundle that ``fertrack models train`` wrote.

    Args:
        network: as new; it is left in inference mode.
        start: the bundle's folder, or "default".
        drawn: float64 (7,), class shares that the run draws; the logits assume these afterwards.
        batches: what the network will be given, one at least: crops float32 (N, C, S, S).

    Raises:
        ModelError: the bundle's network is of another kind or shape.
        WeightsError: the bundle cannot be read, or its weights are not those of its card.
    """
    if not isinstance(network, CompactNet):
        raise ModelError(f"start: {start} is a bundle, with which only a compact network begins: set network.weights")
    bundle = load_bundle(start)
    try:
        stored = stored_arrays(bundle.read_model())
        _fill(network, {name: torch.from_numpy(values) for name, values in stored.items()})
    except (ModelError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"start: {start} is no compact network of this shape as `fertrack models train` writes it: give it the "
            "same [network], or leave start out"
        ) from error
    own = np.asarray(bundle.calibration.training_prior, np.float64)
    with torch.no_grad():
        network.fc.bias.add_(torch.from_numpy(np.log(drawn) - np.log(own)).to(network.fc.bias))
    _measure_norms(network, batches)


def _fill(network: CompactNet, stored: dict[str, Tensor]) -> None:
    state = network.state_dict()
    for name, norm in _norms(network).items():
        state[f"{norm}.weight"] = torch.sqrt(
            1 + network.get_submodule(norm).eps * torch.ones_like(stored[_FOLDED.format(name)])
        )
        state[f"{norm}.bias"] = stored[_FOLDED.format(name)]
    learned = {name for name, _ in network.named_parameters()}
    in_norms = {f"{norm}.{part}" for norm in _norms(network).values() for part in ("weight", "bias")}
    state.update({name: stored[name] for name in learned - in_norms})
    network.load_state_dict(state)


def _norms(network: nn.Module) -> dict[str, str]:
    """The name of the batch norm behind each convolution that has one: the next module, as they were made."""
    kinds = [(name, each) for name, each in network.named_modules() if isinstance(each, nn.Conv2d | nn.BatchNorm2d)]
    return {
        name: behind
        for (name, each), (behind, following) in itertools.pairwise(kinds)
        if isinstance(each, nn.Conv2d) and isinstance(following, nn.BatchNorm2d)
    }


def _measure_norms(network: CompactNet, batches: Iterable[Sequence[Tensor]]) -> None:
    """Set the norms' running statistics to those of the batches, and their weights so that nothing else changes."""
    seen: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {}

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].float()
        seen.setdefault(norm, []).append((values.mean((0, 2, 3)), values.square().mean((0, 2, 3))))

    norms = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    network.eval()
    with torch.no_grad():
        for inputs in batches:
            network(*inputs)
        for hook in hooks:
            hook.remove()
        for norm in norms:
            mean = torch.stack([first for first, _ in seen[norm]]).mean(0)
            variance = torch.stack([second for _, second in seen[norm]]).mean(0) - mean.square()
            slope = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            norm.bias.add_(slope * (mean - norm.running_mean))
            norm.weight.copy_(slope * torch.sqrt(variance.clamp_min(0) + norm.eps))
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance.clamp_min(0))
