"""Landmark-attention variant (LA-QViT): a global branch, and a local one around eyes and mouth.

Global: the trunk's last map through three 1x1 convolutions of 64 channels. Local: five windows of 10x10 cells of the
middle map (28x28) around the two eyes, the point between them and the mouth corners, each through one shared attention
module (CBAM, Woo et al. 2018, arXiv 1807.06521), joined, fused by a 1x1 convolution, and split into three branches of
64 channels on 7x7. The k-th sub-feature is global and local channels together: 128. Everything after that is as in
``fertrack.models.networks.feature_orthogonal``: same loss, same 4-stack, same tokens (512 of them).

Landmarks are px in the very crop that the network is given, mapped by the transform that made the crop.

This module needs PyTorch (``pip install 'fertrack[torch]'``) and is imported by nothing at start-up.
"""

from __future__ import annotations

import torch
from torch import nn

from fertrack.models.networks.feature_orthogonal import OrthogonalFeatures, four_stack, to_tokens
from fertrack.models.networks.resnet50 import ResNet50

__all__ = ["Attention", "LandmarkAttention", "landmark_windows", "window_centres"]

_WINDOW = 10
_STRIDE = 8
"""Crop px per cell of the middle map: 224 / 28."""

_OUT = 7


def window_centres(landmarks: torch.Tensor) -> torch.Tensor:
    """Centres of the five windows: both eyes, the point between them (in the nose's place), both mouth corners.

    Args:
        landmarks: float32 (N, 5, 2), px in the crop: left eye, right eye, nose, left and right mouth corner as seen.

    Returns:
        float32 (N, 5, 2), px in the crop.
    """
    left, right = landmarks[:, 0], landmarks[:, 1]
    return torch.stack([left, right, (left + right) / 2, landmarks[:, 3], landmarks[:, 4]], dim=1)


def landmark_windows(middle: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Cut a 10x10 window of the map around each point; at the border it is moved inwards, never padded.

    Args:
        middle: float32 (N, C, H, W), H and W at least 10, cells of 8 crop px.
        centres: float32 (N, P, 2), x and y, px in the crop; a centre that is no number counts as the crop's middle.

    Returns:
        float32 (N, P, C, 10, 10).
    """
    batch, channels, height, width = middle.shape
    limits = middle.new_tensor([width, height])
    centres = torch.where(torch.isfinite(centres), centres, limits * (_STRIDE / 2))
    cells = torch.round(centres / _STRIDE)
    first = torch.minimum(torch.clamp(cells - _WINDOW // 2, min=0), limits - _WINDOW).long()
    steps = torch.arange(_WINDOW, device=middle.device)
    columns = first[..., 0, None] + steps  # (N, P, 10)
    rows = first[..., 1, None] + steps
    places = (rows[..., :, None] * width + columns[..., None, :]).flatten(1)  # (N, P * 100)
    taken = middle.flatten(2).gather(2, places[:, None].expand(-1, channels, -1))
    return taken.view(batch, channels, -1, _WINDOW, _WINDOW).transpose(1, 2)


class Attention(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    """CBAM: which channels matter, then which places (arXiv 1807.06521, eq. 1 to 3).

    Args:
        channels: of the map.
        reduction: how much narrower the hidden layer of the channel attention is.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.excite = nn.Conv2d(channels // reduction, channels, 1, bias=False)
        self.place = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape."""
        mean, highest = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        x = x * torch.sigmoid(self._channel(mean) + self._channel(highest))
        places = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.place(places))

    def _channel(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.excite(torch.relu(self.squeeze(pooled)))


class LandmarkAttention(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    """ResNet-50 with a global and a local branch; sub-features of 2 * ``channels`` channels on 7x7.

    Args:
        channels: of each branch.
        classes: columns of the logits.
        trunk: as ``ResNet50``: its ``middle``, ``deep`` and numbers of channels; by default one with fresh weights.
    """

    def __init__(self, channels: int = 64, classes: int = 7, trunk: nn.Module | None = None) -> None:
        super().__init__()
        self.trunk = ResNet50() if trunk is None else trunk
        middle = self.trunk.middle_channels
        self.channels = 2 * channels
        self.conv2_1 = nn.Conv2d(self.trunk.channels, channels, 1)
        self.conv2_2 = nn.Conv2d(self.trunk.channels, channels, 1)
        self.conv2_3 = nn.Conv2d(self.trunk.channels, channels, 1)
        self.attention = Attention(middle)
        self.fuse = nn.Sequential(nn.Conv2d(5 * middle, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU())
        self.local1, self.local2, self.local3 = (_local_branch(middle, channels) for _ in range(3))
        self.fc = nn.Linear(6 * channels, classes)
        self.register_buffer("_pooling", _pooling_matrix(_WINDOW, _OUT), persistent=False)

    def forward(self, pixels: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """Logits, float32 (N, classes).

        Args:
            pixels: float32 (N, 3, 224, 224), RGB, normalised.
            landmarks: float32 (N, 5, 2), px in these very crops.
        """
        return self.features(pixels, landmarks).logits

    def features(self, pixels: torch.Tensor, landmarks: torch.Tensor) -> OrthogonalFeatures:
        """Sub-features (N, 128, 7, 7), pooled vectors and logits of one batch."""
        middle = self.trunk.middle(pixels)
        deep = self.trunk.deep(middle)
        local = self._local(middle, landmarks)
        maps = (
            torch.cat([self.conv2_1(deep), self._pool(self.local1(local))], dim=1),
            torch.cat([self.conv2_2(deep), self._pool(self.local2(local))], dim=1),
            torch.cat([self.conv2_3(deep), self._pool(self.local3(local))], dim=1),
        )
        pooled = (maps[0].mean((2, 3)), maps[1].mean((2, 3)), maps[2].mean((2, 3)))
        return OrthogonalFeatures(maps, pooled, self.fc(torch.cat(pooled, dim=1)))

    def tokens(self, pixels: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """The quaternion feature as tokens, float32 (N, 512, 49)."""
        return to_tokens(four_stack(self.features(pixels, landmarks).maps))

    def _local(self, middle: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        windows = landmark_windows(middle, window_centres(landmarks))
        seen = self.attention(windows.flatten(0, 1)).unflatten(0, (-1, 5))
        return self.fuse(seen.flatten(1, 2))

    def _pool(self, x: torch.Tensor) -> torch.Tensor:
        return self._pooling @ x @ self._pooling.T


def _local_branch(inputs: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())


def _pooling_matrix(size: int, cells: int) -> torch.Tensor:
    """Adaptive average pooling along one axis as a matrix (``cells``, ``size``): every export format knows products."""
    matrix = torch.zeros(cells, size, device="cpu")  # no parameter: it has its values in an outlined network, too
    for cell in range(cells):
        start, stop = cell * size // cells, -(-(cell + 1) * size // cells)
        matrix[cell, start:stop] = 1.0 / (stop - start)
    return matrix
