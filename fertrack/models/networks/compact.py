"""The compact network behind the classifier that comes with fertrack.

A small residual trunk on 64 x 64 grey crops, pooled into three orthogonal heads. The idea of three sub-features kept
apart by a loss is that of QOT (arXiv 2303.07831); trunk, width and the form of the loss are our own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["CompactNet", "head_overlap"]

_SQUEEZE = 8


class _Gate(nn.Module):  # type: ignore[misc]  # torch is Any to mypy
    """Squeeze and excitation (Hu et al. 2018, arXiv 1709.01507, eq. 2-4): weighs channels by what the map holds."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, channels // _SQUEEZE, 1)
        self.up = nn.Conv2d(channels // _SQUEEZE, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        squeezed = torch.relu(self.down(maps.mean((2, 3), keepdim=True)))
        return maps * torch.sigmoid(self.up(squeezed))


class _Block(nn.Module):  # type: ignore[misc]  # torch is Any to mypy
    """Two 3 x 3 convolutions around a shortcut (He et al. 2016); halves the map where ``stride`` is 2."""

    def __init__(self, into: int, out: int, stride: int, *, gated: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.gate = _Gate(out) if gated else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or into != out:
            halved = nn.AvgPool2d(2) if stride == 2 else nn.Identity()
            self.shortcut = nn.Sequential(halved, nn.Conv2d(into, out, 1, bias=False), nn.BatchNorm2d(out))

    def forward(self, maps: Tensor) -> Tensor:
        changed = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(maps)))))
        return torch.relu(self.gate(changed) + self.shortcut(maps))


class CompactNet(nn.Module):  # type: ignore[misc]  # torch is Any to mypy
    """Grey crops to logits.

    Args:
        widths: channels of the stages; the first is the stem's, at half the crop's side, every next stage halves it.
        blocks: residual blocks of each stage; the stem's stage may have none.
        gated_from: first stage whose blocks have squeeze-and-excitation gates.
        head_channels: channels of each of the three heads; 0 pools the trunk's map itself, without heads.
        dropout: on the pooled features, in training.
        classes: number of logits.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 192),
        blocks: Sequence[int] = (0, 1, 2, 2),
        *,
        gated_from: int = 2,
        head_channels: int = 64,
        dropout: float = 0.2,
        classes: int = 7,
    ) -> None:
        super().__init__()
        channels = widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )
        body: list[nn.Module] = []
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for position in range(count):
                stride = 2 if stage and position == 0 else 1
                body.append(_Block(channels, width, stride, gated=stage >= gated_from))
                channels = width
        self.body = nn.Sequential(*body)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, head_channels, 1, bias=False), nn.BatchNorm2d(head_channels), nn.ReLU())
            for _ in range(3 if head_channels else 0)
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(4 * head_channels if head_channels else channels, classes)

    def forward(self, crops: Tensor) -> Tensor:
        """Logits float32 (N, classes) of normalised crops float32 (N, 1, S, S)."""
        return self.with_heads(crops)[0]

    def with_heads(self, crops: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits (N, classes) and the three pooled heads, each (N, head_channels); no heads, an empty list.

        The features are [mean of the heads, head 1, head 2, head 3]: the pooled form of the method's 4-stack.
        """
        maps = self.body(self.stem(crops))
        pooled = [head(maps).mean((2, 3)) for head in self.heads]
        if not pooled:
            return self.fc(self.dropout(maps.mean((2, 3)))), []
        stack = torch.cat([(pooled[0] + pooled[1] + pooled[2]) / 3, *pooled], dim=1)
        return self.fc(self.dropout(stack)), pooled


def head_overlap(pooled: Sequence[Tensor]) -> Tensor:
    """Overlap of the heads: mean squared cosine of the pairs, 0 where all are orthogonal.

    The published loss takes the cosine of softmaxed vectors; over 64 non-negative channels those are all but flat and
    their cosine hardly moves, so here the pooled vectors themselves are compared.

    Args:
        pooled: vectors (N, C), one per head.

    Returns:
        A scalar in [0, 1]; 0 for fewer than two heads.
    """
    unit = [nn.functional.normalize(vectors.float(), dim=1) for vectors in pooled]
    pairs = [(one * other).sum(1).square().mean() for at, one in enumerate(unit) for other in unit[at + 1 :]]
    return torch.stack(pairs).mean() if pairs else torch.zeros(())
