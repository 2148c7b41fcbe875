"""RetinaFace MobileNet-0.25 in PyTorch, only to be filled from a public checkpoint and exported.

Written from the paper (Deng et al. 2019, arXiv 1905.00641): a backbone with feature maps at strides 8, 16 and 32
(MobileNetV1, Howard et al. 2017, arXiv 1704.04861, a quarter of its channels), a feature pyramid that adds each map,
enlarged, to the next finer one (Lin et al. 2017, arXiv 1612.03144), a context module on each level (SSH, Najibi et al.
2017, arXiv 1708.03979), and 1x1 heads for class, box and landmarks of two anchors a cell. Parameters are named as in
the public checkpoints, so that those load by name.

This module needs PyTorch (``pip install 'fertrack[torch]'``) and is imported by nothing at start-up.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["RetinaFaceMobileNetTorch"]

_SLOPE = 0.1
_ANCHORS = 2
_PYRAMID = 64


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, *, active: bool = True) -> nn.Sequential:
    """Convolution, batch normalisation and, if ``active``, leaky ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.LeakyReLU(_SLOPE)) if active else nn.Sequential(*layers)


def _separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Depthwise 3x3, then pointwise convolution, each with batch normalisation and leaky ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.LeakyReLU(_SLOPE),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(_SLOPE),
    )


class _Backbone(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    """MobileNetV1 x 0.25: maps of 64, 128 and 256 channels at strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(
            _convolution(3, 8, 3, 2),
            _separable(8, 16, 1),
            _separable(16, 32, 2),
            _separable(32, 32, 1),
            _separable(32, 64, 2),
            _separable(64, 64, 1),
        )
        self.stage2 = nn.Sequential(_separable(64, 128, 2), *(_separable(128, 128, 1) for _ in range(5)))
        self.stage3 = nn.Sequential(_separable(128, 256, 2), _separable(256, 256, 1))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        fine = self.stage1(pixels)
        middle = self.stage2(fine)
        return fine, middle, self.stage3(middle)


class _Pyramid(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    """Feature pyramid: 1x1 laterals, nearest enlargement, 3x3 merges."""

    def __init__(self) -> None:
        super().__init__()
        self.output1 = _convolution(64, _PYRAMID, 1)
        self.output2 = _convolution(128, _PYRAMID, 1)
        self.output3 = _convolution(256, _PYRAMID, 1)
        self.merge1 = _convolution(_PYRAMID, _PYRAMID, 3)
        self.merge2 = _convolution(_PYRAMID, _PYRAMID, 3)

    def forward(self, maps: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        fine, middle, coarse = self.output1(maps[0]), self.output2(maps[1]), self.output3(maps[2])
        middle = self.merge2(middle + nn.functional.interpolate(coarse, scale_factor=2.0, mode="nearest"))
        fine = self.merge1(fine + nn.functional.interpolate(middle, scale_factor=2.0, mode="nearest"))
        return fine, middle, coarse


class _Context(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    """SSH context module: 3x3, two stacked 3x3 (seen as 5x5) and three (as 7x7) side by side."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter = _PYRAMID // 2, _PYRAMID // 4
        self.conv3X3 = _convolution(_PYRAMID, half, 3, active=False)
        self.conv5X5_1 = _convolution(_PYRAMID, quarter, 3)
        self.conv5X5_2 = _convolution(quarter, quarter, 3, active=False)
        self.conv7X7_2 = _convolution(quarter, quarter, 3)
        self.conv7x7_3 = _convolution(quarter, quarter, 3, active=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        shared = self.conv5X5_1(features)
        wide = self.conv7x7_3(self.conv7X7_2(shared))
        return torch.relu(torch.cat([self.conv3X3(features), self.conv5X5_2(shared), wide], dim=1))


class _Head(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    """1x1 convolution giving ``width`` values for each anchor, one row an anchor, cells row by row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.conv1x1 = nn.Conv2d(_PYRAMID, _ANCHORS * width, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.conv1x1(features).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, self.width))


class RetinaFaceMobileNetTorch(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    """RetinaFace MobileNet-0.25.

    Input: float32 (N, 3, H, W), RGB, 0 to 255 minus (104, 117, 123); H and W multiples of 32.
    Output: score (N, A), box (N, A, 4) and landmarks (N, A, 10), anchors of the strides 8, 16 and 32 in that order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = _Backbone()
        self.fpn = _Pyramid()
        self.ssh1, self.ssh2, self.ssh3 = _Context(), _Context(), _Context()
        self.ClassHead = nn.ModuleList([_Head(2) for _ in range(3)])
        self.BboxHead = nn.ModuleList([_Head(4) for _ in range(3)])
        self.LandmarkHead = nn.ModuleList([_Head(10) for _ in range(3)])

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Score, box and landmarks of every anchor."""
        levels = self.fpn(self.body(pixels))
        features = [context(level) for context, level in zip((self.ssh1, self.ssh2, self.ssh3), levels, strict=True)]
        classes, boxes, landmarks = (
            torch.cat([head(feature) for head, feature in zip(heads, features, strict=True)], dim=1)
            for heads in (self.ClassHead, self.BboxHead, self.LandmarkHead)
        )
        return torch.softmax(classes, dim=-1)[..., 1], boxes, landmarks
