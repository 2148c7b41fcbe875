"""Feature_Orthogonal: three sub-features of a face that are trained to differ, and the quaternion feature made of them.

From "Quaternion Orthogonal Transformer for Facial Expression Recognition in the Wild" (ICASSP 2023, arXiv 2303.07831),
in our own code. A trunk's last map goes through three parallel 1x1 convolutions; each result is average-pooled to a
vector, and a linear layer on the three vectors together gives the logits. The orthogonal loss pushes the vectors apart.

This module needs PyTorch (``pip install 'fertrack[torch]'``) and is imported by nothing at start-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

__all__ = ["FeatureOrthogonal", "OrthogonalFeatures", "four_stack", "orthogonal_loss", "to_tokens"]


class OrthogonalFeatures(NamedTuple):
    """Output of a feature head for a batch of crops.

    Attributes:
        maps: three sub-features, float32 (N, C, h, w) each, channel-first.
        pooled: their averages over h and w, float32 (N, C) each.
        logits: float32 (N, classes).
    """

    maps: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    pooled: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    logits: torch.Tensor


class FeatureOrthogonal(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    """A trunk and three orthogonal heads.

    Parameters are named ``trunk.*``, ``conv2_1`` to ``conv2_3`` and ``fc``; checkpoints whose trunk parameters carry
    no prefix are loaded by ``fertrack.load_orf_model``.

    Args:
        trunk: from pixels (N, 3 or 1, H, W) to a map (N, ``trunk_channels``, h, w).
        trunk_channels: channels of the trunk's map: 2048 for ``ResNet50``.
        channels: C, channels of each sub-feature: 256 before the quaternion transformer, 64 for the plain network.
        classes: columns of the logits.
    """

    def __init__(self, trunk: nn.Module, trunk_channels: int, channels: int = 256, classes: int = 7) -> None:
        super().__init__()
        self.trunk = trunk
        self.channels = channels
        self.conv2_1 = nn.Conv2d(trunk_channels, channels, 1)
        self.conv2_2 = nn.Conv2d(trunk_channels, channels, 1)
        self.conv2_3 = nn.Conv2d(trunk_channels, channels, 1)
        self.fc = nn.Linear(3 * channels, classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits, float32 (N, classes): what is exported and what classifies without a transformer."""
        return self.features(pixels).logits

    def features(self, pixels: torch.Tensor) -> OrthogonalFeatures:
        """Sub-features, pooled vectors and logits of one batch: what training needs."""
        shared = self.trunk(pixels)
        first, second, third = self.conv2_1(shared), self.conv2_2(shared), self.conv2_3(shared)
        pooled = (first.mean((2, 3)), second.mean((2, 3)), third.mean((2, 3)))
        return OrthogonalFeatures((first, second, third), pooled, self.fc(torch.cat(pooled, dim=1)))

    def tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """The quaternion feature as tokens, float32 (N, 4C, h*w): what the transformer takes."""
        return to_tokens(four_stack(self.features(pixels).maps))


def orthogonal_loss(pooled: Sequence[torch.Tensor]) -> torch.Tensor:
    """Similarity of the three pooled vectors; added to the cross-entropy with weight 0.2.

    Each vector goes through softmax over its channels and is divided by its Euclidean length; the loss is the mean of
    the three pairwise cosines, averaged over the batch (arXiv 2303.07831). It lies between 0 (no channel in common)
    and 1 (the same three times).

    Args:
        pooled: three tensors float32 (N, C).

    Returns:
        A tensor with one number.

    Raises:
        ValueError: not three tensors of one shape (N, C).
    """
    if len(pooled) != 3 or any(vector.ndim != 2 or vector.shape != pooled[0].shape for vector in pooled):
        raise ValueError(f"three tensors of one shape (N, C) are needed, got {[tuple(v.shape) for v in pooled]}")
    first, second, third = (nn.functional.normalize(torch.softmax(vector, dim=1), dim=1) for vector in pooled)
    cosines = (first * second).sum(1) + (first * third).sum(1) + (second * third).sum(1)
    return (cosines / 3.0).mean()


def four_stack(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """The quaternion feature: real part the mean of the three sub-features, imaginary parts the three themselves.

    Args:
        maps: three tensors float32 (N, C, h, h), channel-first.

    Returns:
        float32 (N, 4C, h, h), channels in the order mean, first, second, third.

    Raises:
        ValueError: not three square channel-first maps of one shape. Channel-last maps (N, h, h, C) are refused:
            reading them as channel-first is how features get scrambled unnoticed.
    """
    shapes = [tuple(part.shape) for part in maps]
    # Compared one by one, not as a set: while a network is traced, sizes are tensors, whose hashes all differ.
    if len(maps) != 3 or any(shape != shapes[0] for shape in shapes) or len(shapes[0]) != 4:
        raise ValueError(f"three maps of one shape (N, C, h, h) are needed, got {shapes}")
    if shapes[0][2] != shapes[0][3]:
        raise ValueError(f"maps must be channel-first (N, C, h, h), got {shapes[0]}; permute channel-last maps first")
    first, second, third = maps
    return torch.cat([(first + second + third) / 3.0, first, second, third], dim=1)


def to_tokens(stack: torch.Tensor) -> torch.Tensor:
    """Tokens of a quaternion feature: one token a channel, its values the map read row by row.

    The one place where a map becomes tokens, for training as for inference.

    Args:
        stack: float32 (N, 4C, h, h), channel-first, as ``four_stack`` gives it.

    Returns:
        float32 (N, 4C, h*h).

    Raises:
        ValueError: another shape; a channel-last map (N, h, h, 4C) is not square where it should be.
    """
    if stack.ndim != 4 or stack.shape[2] != stack.shape[3] or stack.shape[1] % 4:
        raise ValueError(f"a channel-first stack (N, 4C, h, h) is needed, got {tuple(stack.shape)}")
    return stack.flatten(2)
