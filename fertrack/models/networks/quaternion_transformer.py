"""The quaternion transformer (Q-ViT) that classifies a quaternion feature; its tokens are channels, not patches.

From "Quaternion Orthogonal Transformer for Facial Expression Recognition in the Wild" (ICASSP 2023, arXiv 2303.07831),
in our own code. 1024 tokens (four times 256 channels) of a 7x7 map each, or 512 for the landmark-attention variant.
As in the published method, what is split into the four parts of a quaternion is the embedding of 48, not the tokens.

This module needs PyTorch (``pip install 'fertrack[torch]'``) and is imported by nothing at start-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from fertrack.models.networks.quaternion import QuaternionConv2d, QuaternionDense

__all__ = ["QuaternionAttention", "QuaternionTransformer", "token_grid"]

_LAYER_NORM_EPS = 1e-6


def token_grid(tokens: int) -> tuple[int, int]:
    """Rows and columns of the grid that the tokens are laid on, as square as can be, never taller than wide.

    >>> token_grid(1024), token_grid(512)
    ((32, 32), (16, 32))
    """
    rows = next(count for count in range(int(tokens**0.5), 0, -1) if tokens % count == 0)
    return rows, tokens // rows


class QuaternionAttention(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    """Scaled dot-product self-attention whose query, key, value and output maps are quaternion-dense.

    The attention itself is real (Vaswani et al. 2017, arXiv 1706.03762, eq. 1).

    Args:
        width: length of a token, a multiple of 4 and of ``heads``.
        heads: number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is no multiple of {heads} heads")
        self.heads = heads
        self.query = QuaternionDense(width, width)
        self.key = QuaternionDense(width, width)
        self.value = QuaternionDense(width, width)
        self.output = QuaternionDense(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, T, width) to the same shape."""
        query, key, value = (
            dense(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for dense in (self.query, self.key, self.value)
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.output(mixed.transpose(1, 2).flatten(2))


class _QuaternionFeedForward(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    """QF-Net: tokens as a grid; for each width a quaternion 3x3, LayerNorm, GELU and a second quaternion 3x3."""

    def __init__(self, width: int, hidden: Sequence[int], grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        sizes = [width, *hidden]
        self.first = nn.ModuleList([QuaternionConv2d(a, b) for a, b in pairwise(sizes)])
        self.norm = nn.ModuleList([nn.LayerNorm(b, eps=_LAYER_NORM_EPS) for b in hidden])
        self.second = nn.ModuleList([QuaternionConv2d(b, b) for b in hidden])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.transpose(1, 2).unflatten(2, self.grid)
        for first, norm, second in zip(self.first, self.norm, self.second, strict=True):
            normed = norm(first(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            x = second(nn.functional.gelu(normed))
        return x.flatten(2).transpose(1, 2)


class _Layer(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    def __init__(self, width: int, heads: int, hidden: Sequence[int], grid: tuple[int, int]) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.attention = QuaternionAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.feed_forward = _QuaternionFeedForward(width, hidden, grid)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class QuaternionTransformer(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    """From tokens (N, ``tokens``, ``token_size``) to logits (N, ``classes``).

    Args:
        tokens: 4 times the channels of a sub-feature: 1024, or 512 for the landmark-attention variant.
        token_size: values of a token: 49 for a map of 7x7.
        width: length of an embedded token.
        heads: attention heads.
        layers: encoder layers.
        hidden: widths of the QF-Net; the last must be ``width``.
        head: sizes of the quaternion-dense layers before the classifier: (2048, 1024), or (2048, 512).
        dropout: share of values dropped in the head while training.
        classes: columns of the logits.

    Raises:
        ValueError: sizes that do not fit together.
    """

    def __init__(
        self,
        tokens: int = 1024,
        token_size: int = 49,
        *,
        width: int = 48,
        heads: int = 8,
        layers: int = 4,
        hidden: Sequence[int] = (96, 48),
        head: Sequence[int] = (2048, 1024),
        dropout: float = 0.5,
        classes: int = 7,
    ) -> None:
        super().__init__()
        if not hidden or hidden[-1] != width:
            raise ValueError(f"the last of the hidden widths {tuple(hidden)} must be the width {width}")
        self.shape = (tokens, token_size)
        self.embed = nn.Linear(token_size, width)
        self.position = nn.Parameter(torch.zeros(tokens, width))
        nn.init.uniform_(self.position, -0.05, 0.05)
        grid = token_grid(tokens)
        self.layers = nn.ModuleList([_Layer(width, heads, hidden, grid) for _ in range(layers)])
        self.norm = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        sizes = [tokens * width, *head]
        self.dense = nn.ModuleList([QuaternionDense(a, b) for a, b in pairwise(sizes)])
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(sizes[-1], classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits."""
        if tuple(tokens.shape[1:]) != self.shape:
            raise ValueError(f"tokens must be (N, {self.shape[0]}, {self.shape[1]}), got {tuple(tokens.shape)}")
        x = self.embed(tokens) + self.position
        for layer in self.layers:
            x = layer(x)
        x = self.dropout(self.norm(x).flatten(1))
        for dense in self.dense:
            x = self.dropout(torch.relu(dense(x)))
        return self.classifier(x)
