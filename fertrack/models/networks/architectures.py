"""From a file of weights to the network they are of: which one it is and how large follows from names and shapes.

Understood are torchvision's names for ResNet-50 (``conv1``, ``bn1``, ``layer1`` to ``layer4``) with ``conv2_1`` to
``conv2_3`` and ``fc``, with or without ``trunk.`` in front of the trunk's, and this package's own names for the local
branch and the transformer. Other names are brought in line by ``rename``: ``{"backbone.": "trunk."}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fertrack.errors import ModelError, first_line
from fertrack.models.bundle import Architecture
from fertrack.models.checkpoint import State, fill, read_state

__all__ = ["build_network", "feature_head_state", "load_orf_model"]

_OWN = ("trunk.", "conv2_", "fc.", "attention.", "fuse.", "local")
"""Beginnings of names that are not the trunk's."""


def load_orf_model(
    path: str | Path, *, architecture: Architecture = "auto", rename: Mapping[str, str] | None = None, sha256: str = ""
) -> Any:
    """Load the weights of a Feature_Orthogonal ("Orf") head.

    Nothing in the file is run. The last layer ``fc`` may be missing: features do not need it, and logits are then 0.

    Args:
        path: PyTorch state dict (``.pt``, ``.pth``) or ``.safetensors``.
        architecture: "feature-orthogonal", "landmark-attention", or "auto" to go by the names in the file.
        rename: beginnings of the file's names to ours.
        sha256: hash that the file must have; empty: any.

    Returns:
        A ``torch.nn.Module`` in inference mode on the CPU: ``networks.feature_orthogonal.FeatureOrthogonal`` or
        ``networks.landmark_attention.LandmarkAttention``; ``features(pixels)`` gives maps, pooled vectors and
        logits, ``tokens(pixels)`` the quaternion feature. The second takes ``landmarks`` too.

    Raises:
        WeightsError: the file is missing, of another kind, or holds more than arrays.
        ModelError: its parameters are not those of a feature head: some are missing, unexpected or of another shape.
        FertrackError: PyTorch is not installed.

    Example:
        >>> head = load_orf_model("orf.pth")  # doctest: +SKIP
        >>> head.tokens(pixels).shape  # doctest: +SKIP
        torch.Size([1, 1024, 49])
    """
    source = Path(path).expanduser()
    network = build_network(
        read_state(source, sha256, what="a feature head"), source, architecture, rename or {}, features_only=True
    )
    if not hasattr(network, "features"):
        raise ModelError(f"{source} holds a transformer, not a feature head; use it as the classifier behind one")
    return network


def build_network(
    state: State,
    source: Path,
    architecture: Architecture = "auto",
    rename: Mapping[str, str] | None = None,
    *,
    features_only: bool = False,
) -> Any:
    """The network that the weights are of, filled with them, in inference mode.

    Args:
        state: parameters by name.
        source: their file, for messages.
        architecture: which network, or "auto".
        rename: beginnings of the file's names to ours.
        features_only: whether ``fc`` may be missing.

    Raises:
        ModelError: the names fit no network, or parameters are missing, unexpected or of another shape.
    """
    renamed = {_renamed(name, rename or {}): value for name, value in state.items()}
    kind = _recognised(renamed, source) if architecture == "auto" else architecture
    full = renamed if kind == "quaternion-transformer" else _with_trunk(renamed)
    network = _outline(full, source, kind)
    without_fc = features_only and "fc.weight" not in full
    fill(network, full, source, kind, ignore=("fc.",) if without_fc else ())
    return network.eval()


def feature_head_state(state: State, rename: Mapping[str, str] | None = None) -> tuple[State, tuple[str, ...]]:
    """Parameters to begin a feature head's training with, by its own names: a whole head's, or a trunk's alone.

    A classifier ``fc`` behind a trunk alone is of what that was trained for (ImageNet, identities) and is left out.

    Args:
        state: parameters by name.
        rename: beginnings of the file's names to ours.

    Returns:
        The parameters, and the beginnings of the head's names that none of them has.
    """
    full = _with_trunk({_renamed(name, rename or {}): value for name, value in state.items()})
    if "conv2_1.weight" not in full:
        full = {name: value for name, value in full.items() if not name.startswith("fc.")}
    return full, tuple(begin for begin in _OWN if not any(name.startswith(begin) for name in full))


def _renamed(name: str, rename: Mapping[str, str]) -> str:
    for theirs, ours in rename.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _recognised(state: State, source: Path) -> Architecture:
    if "conv2_1.weight" in state:
        return "landmark-attention" if any(name.startswith("local1.") for name in state) else "feature-orthogonal"
    if "position" in state and "embed.weight" in state:
        return "quaternion-transformer"
    first = ", ".join(list(state)[:3])
    raise ModelError(
        f"{source} fits no network that fertrack has code for (its parameters begin with {first}); a feature head has "
        "conv2_1 to conv2_3; if only the names differ, give 'rename' in its card, else export the network to ONNX"
    )


def _with_trunk(state: State) -> State:
    if any(name.startswith("trunk.") for name in state):
        return state
    return {name if name.startswith(_OWN) else f"trunk.{name}": value for name, value in state.items()}


def _size(state: State, name: str, axis: int, default: int) -> int:
    """A size read off a parameter; where it has none the default, so that the message can say what is wrong."""
    value = state.get(name)
    return (int(value.shape[axis]) if value is not None and value.ndim > axis else 0) or default


def _outline(state: State, source: Path, kind: Architecture) -> Any:
    """The network of the sizes that a state dict has, without values: they may be of any size, and fit nothing."""
    from fertrack.models.networks.lazy_init import outlined

    make = {"quaternion-transformer": _transformer, "landmark-attention": _landmark_attention}.get(kind)
    try:
        with outlined():
            return (make or _feature_orthogonal)(state)
    except (ValueError, RuntimeError) as error:  # sizes that do not go together, or that no computer can count
        raise ModelError(f"{source} is not a {kind} checkpoint: {first_line(error)}") from error


def _feature_orthogonal(state: State) -> Any:
    from fertrack.models.networks.feature_orthogonal import FeatureOrthogonal
    from fertrack.models.networks.resnet50 import ResNet50

    trunk = ResNet50(_size(state, "trunk.conv1.weight", 0, 64))
    channels, classes = _size(state, "conv2_1.weight", 0, 256), _size(state, "fc.weight", 0, 7)
    return FeatureOrthogonal(trunk, trunk.channels, channels, classes)


def _landmark_attention(state: State) -> Any:
    from fertrack.models.networks.landmark_attention import LandmarkAttention
    from fertrack.models.networks.resnet50 import ResNet50

    trunk = ResNet50(_size(state, "trunk.conv1.weight", 0, 64))
    channels, classes = _size(state, "conv2_1.weight", 0, 64), _size(state, "fc.weight", 0, 7)
    return LandmarkAttention(channels, classes, trunk)


def _transformer(state: State) -> Any:
    from fertrack.models.networks.quaternion_transformer import QuaternionTransformer

    width = _size(state, "position", 1, 48)
    return QuaternionTransformer(
        _size(state, "position", 0, 1024),
        _size(state, "embed.weight", 1, 49),
        width=width,
        layers=len({name.split(".")[1] for name in state if name.startswith("layers.")}) or 4,
        hidden=_sizes(state, "layers.0.feed_forward.first.") or [96, width],
        head=_sizes(state, "dense."),
        classes=_size(state, "classifier.weight", 0, 7),
    )


def _sizes(state: State, prefix: str) -> list[int]:
    """Outputs of quaternion layers that are numbered from 0: as many as the bias has, else four times the weight's."""
    sizes: list[int] = []
    while (bias := f"{prefix}{len(sizes)}.bias") in state:
        sizes.append(_size(state, bias, 0, 4 * _size(state, f"{prefix}{len(sizes)}.weight", 1, 1)))
    return sizes
