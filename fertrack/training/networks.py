"""The networks that are trained: the compact one, or the published architecture, and what they begin with.

Published (arXiv 2303.07831): ``orthogonal-resnet50`` is the feature head with its own linear layer; ``qvit`` puts the
quaternion transformer behind it. ``landmark-attention`` and ``la-qvit`` are the same with the local branch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fertrack.errors import ModelError
from fertrack.models.checkpoint import fill, read_state
from fertrack.models.networks.architectures import feature_head_state
from fertrack.models.networks.compact import CompactNet, head_overlap
from fertrack.models.networks.feature_orthogonal import FeatureOrthogonal, four_stack, orthogonal_loss, to_tokens
from fertrack.models.networks.landmark_attention import LandmarkAttention
from fertrack.models.networks.quaternion_transformer import QuaternionTransformer
from fertrack.models.networks.resnet50 import ResNet50
from fertrack.training.checkpoint import load_averaged
from fertrack.training.config import NetworkConfig, PublishedNetworkConfig, ScheduleConfig, TrainConfig
from fertrack.training.from_bundle import is_bundle

__all__ = ["PublishedNet", "heads_loss", "last_layer", "new_network", "new_optimizer"]

_TRUNK_STRIDE = 32


class PublishedNet(nn.Module):  # type: ignore[misc]  # torch is Any to mypy
    """A feature head, and behind it the quaternion transformer or the head's own linear layer.

    Args:
        head: ``FeatureOrthogonal`` or ``LandmarkAttention``.
        transformer: takes the head's tokens; None: the head classifies.
        frozen: the head neither learns nor counts statistics.
    """

    def __init__(self, head: nn.Module, transformer: QuaternionTransformer | None = None, *, frozen: bool) -> None:
        super().__init__()
        self.head, self.transformer, self._frozen = head, transformer, frozen
        if frozen:
            head.requires_grad_(False)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits float32 (N, classes) of what the head takes."""
        return self.with_heads(*inputs)[0]

    def with_heads(self, *inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits (N, classes) and the three pooled sub-features, each (N, C)."""
        features = self.head.features(*inputs)
        if self.transformer is None:
            return features.logits, list(features.pooled)
        return self.transformer(to_tokens(four_stack(features.maps))), list(features.pooled)

    def train(self, mode: bool = True) -> PublishedNet:
        """As ``torch.nn.Module.train``; a frozen head stays in inference mode."""
        super().train(mode)
        if self._frozen:
            self.head.eval()
        return self


def new_network(config: TrainConfig, *, resumes: bool = False) -> CompactNet | PublishedNet:
    """A network whose first weights depend on the seed, and on the files that the run begins with.

    With a bundle (``fertrack.training.from_bundle``) it begins once there are images to show it.

    Args:
        config: the run.
        resumes: whether a checkpoint is to be read into it, so that those files are not needed.

    Raises:
        WeightsError: ``network.weights`` cannot be read, or holds more than arrays.
        ModelError: ``network.weights`` or ``start`` is of another network.
    """
    network = config.network
    with torch.random.fork_rng():
        torch.manual_seed(config.schedule.seed)
        made = _compact(network) if isinstance(network, NetworkConfig) else _published(network, config.data.size_px)
    if isinstance(network, PublishedNetworkConfig) and network.weights and not resumes:
        _begin_with_weights(made.head, network)
    if config.start and not resumes and not is_bundle(config.start):
        _begin_with_run(made, Path(config.start))
    made.to(config.schedule.device)
    # The transformer's quaternion kernels have five axes, which that layout does not know.
    convolutions = made if isinstance(made, CompactNet) else made.head
    convolutions.to(memory_format=torch.channels_last)
    return made


def new_optimizer(network: nn.Module, schedule: ScheduleConfig) -> torch.optim.Optimizer:
    """The optimiser of what learns in a network."""
    groups = _groups(network, schedule.weight_decay)
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=schedule.learning_rate, momentum=schedule.momentum)
    kind = torch.optim.AdamW if schedule.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=schedule.learning_rate)


def heads_loss(config: TrainConfig) -> Callable[[Sequence[Tensor]], Tensor]:
    """Loss that sets the heads apart: the published one for the published network, ours for the compact one."""
    return head_overlap if isinstance(config.network, NetworkConfig) else orthogonal_loss


def last_layer(network: CompactNet | PublishedNet) -> nn.Linear:
    """The layer that makes the logits."""
    if isinstance(network, CompactNet):
        return network.fc
    return network.head.fc if network.transformer is None else network.transformer.classifier


def _compact(network: NetworkConfig) -> CompactNet:
    return CompactNet(
        network.widths,
        network.blocks,
        gated_from=network.gated_from,
        head_channels=network.head_channels,
        dropout=network.dropout,
    )


def _published(network: PublishedNetworkConfig, size_px: int) -> PublishedNet:
    trunk = ResNet50(network.trunk_width)
    channels = network.channels or (256 if network.kind == "qvit" else 64)
    head: Any
    if network.looks_at_landmarks:
        head = LandmarkAttention(channels, trunk=trunk)
    else:
        head = FeatureOrthogonal(trunk, trunk.channels, channels)
    if not network.has_transformer:
        return PublishedNet(head, frozen=False)
    dense = network.dense or ((2048, 512) if network.looks_at_landmarks else (2048, 1024))
    cells = (size_px // _TRUNK_STRIDE) ** 2
    transformer = QuaternionTransformer(
        4 * head.channels, cells, layers=network.layers, head=dense, dropout=network.dropout
    )
    return PublishedNet(head, transformer, frozen=network.frozen)


def _begin_with_weights(head: nn.Module, network: PublishedNetworkConfig) -> None:
    path = Path(network.weights).expanduser()
    state, missing = feature_head_state(read_state(path, what="network.weights"), network.rename)
    wanting = {name for name in missing if name != "fc." and any(own.startswith(name) for own in head.state_dict())}
    if network.frozen and wanting:
        raise ModelError(f"network.weights: {path} has no whole feature head, so network.frozen must be false")
    fill(head, state, path, network.kind, ignore=missing)


def _begin_with_run(network: nn.Module, folder: Path) -> None:
    try:
        network.load_state_dict(load_averaged(folder))
    except RuntimeError as error:
        raise ModelError(
            f"start: {folder} is a run of a network of another shape: give it the same [network]"
        ) from error


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Biases and norms are not decayed: it gains nothing there and slows the scale's own learning."""
    learns = [parameter for parameter in network.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in learns if parameter.ndim > 1]
    others = [parameter for parameter in learns if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
