"""ResNet-50 (He et al. 2016, arXiv 1512.03385, table 1) as a trunk: everything up to the last map, no pooling.

Version 1.5: a block that halves the map does so in its 3x3 convolution. Parameters are named as in torchvision
(``conv1``, ``bn1``, ``layer1`` to ``layer4``), so that checkpoints made with it load by name.

This module needs PyTorch (``pip install 'fertrack[torch]'``) and is imported by nothing at start-up.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["ResNet50"]

_EXPANSION = 4


class _Bottleneck(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    """1x1, 3x3, 1x1 convolution, each with batch normalisation, added to the input (or to its 1x1 projection)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * _EXPANSION
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = (
            None
            if stride == 1 and inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + kept)


def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    rest = (_Bottleneck(width * _EXPANSION, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(_Bottleneck(inputs, width, stride), *rest)


class ResNet50(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    """ResNet-50 v1.5 without pooling and classifier.

    Input: float32 (N, 3, H, W), RGB, normalised; H and W multiples of 32.
    Output: float32 (N, 2048, H/32, W/32), so (N, 2048, 7, 7) for 224 x 224.

    Attributes:
        middle_channels: channels of the map after ``layer2``: 512.
        channels: channels of the last map: 2048.

    Args:
        width: channels of the first map; 64 in the paper. All others grow and shrink with it.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.middle_channels, self.channels = 8 * width, 32 * width
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(width, width, 3, 1)
        self.layer2 = _stage(4 * width, 2 * width, 4, 2)
        self.layer3 = _stage(8 * width, 4 * width, 6, 2)
        self.layer4 = _stage(16 * width, 8 * width, 3, 2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The last map."""
        return self.deep(self.middle(pixels))

    def middle(self, pixels: torch.Tensor) -> torch.Tensor:
        """The map after ``layer2``: (N, 512, H/8, W/8)."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(pixels))))
        return self.layer2(self.layer1(x))

    def deep(self, middle: torch.Tensor) -> torch.Tensor:
        """The last map, from the one that ``middle`` gives."""
        return self.layer4(self.layer3(middle))
