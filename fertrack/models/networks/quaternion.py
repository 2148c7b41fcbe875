"""Layers whose weights are quaternions: the Hamilton product in place of the product of numbers.

A vector whose length is a multiple of 4 is read as quaternions: its four quarters are the real parts and the three
imaginary parts (i, j, k). Each weight is a quaternion W, and it acts as the Hamilton product W * x::

    r:  Wr*xr - Wi*xi - Wj*xj - Wk*xk
    i:  Wi*xr + Wr*xi - Wk*xj + Wj*xk
    j:  Wj*xr + Wk*xi + Wr*xj - Wi*xk
    k:  Wk*xr - Wj*xi + Wi*xj + Wr*xk

(Gaudet and Maida 2018, arXiv 1712.04604; Parcollet et al. 2019, arXiv 1806.04418.) Four numbers are shared by sixteen
products, so a layer has a quarter of the weights of a real one; its bias is real. Some implementations multiply by the
conjugate of W in dense layers: negate their imaginary weights to use them here.

This module needs PyTorch (``pip install 'fertrack[torch]'``) and is imported by nothing at start-up.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["QuaternionConv2d", "QuaternionDense", "hamilton_matrix"]


def hamilton_matrix(weight: torch.Tensor) -> torch.Tensor:
    """The real matrix that does what multiplying by quaternions from the left does.

    Args:
        weight: (4, A, B, ...), parts r, i, j, k of A x B quaternion weights (further axes: a convolution's kernel).

    Returns:
        (4A, 4B, ...): rows are the output's parts, columns the input's.
    """
    r, i, j, k = weight.unbind(0)
    rows = ((r, -i, -j, -k), (i, r, -k, j), (j, k, r, -i), (k, -j, i, r))
    return torch.cat([torch.cat(row, dim=1) for row in rows], dim=0)


def _quarter(size: int, what: str) -> int:
    if size < 4 or size % 4:
        raise ValueError(f"{what} must be a positive multiple of 4 (whole quaternions), got {size}")
    return size // 4


class QuaternionDense(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    """A fully connected layer of quaternions: (..., ``inputs``) to (..., ``outputs``).

    Weights start as isotropic normal quaternions of the variance that He et al. (2015) give for ReLU, the bias at 0.

    Args:
        inputs: length of the input's last axis, a multiple of 4.
        outputs: length of the output's last axis, a multiple of 4.

    Raises:
        ValueError: a size is no multiple of 4.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4, _quarter(outputs, "outputs"), _quarter(inputs, "inputs")))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.normal_(self.weight, std=(2.0 / inputs) ** 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W * x + bias."""
        return nn.functional.linear(x, hamilton_matrix(self.weight), self.bias)


class QuaternionConv2d(nn.Module):  # type: ignore[misc] # torch is an extra: untyped here
    """A convolution of quaternions, stride 1, same size: (N, ``inputs``, H, W) to (N, ``outputs``, H, W).

    Args:
        inputs: channels, a multiple of 4: all real parts, then all i, all j, all k.
        outputs: channels, a multiple of 4, in the same order.
        kernel: odd side of the kernel.

    Raises:
        ValueError: channels are no multiple of 4, or the kernel is even.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"the kernel must be odd, got {kernel}")
        shape = (4, _quarter(outputs, "outputs"), _quarter(inputs, "inputs"), kernel, kernel)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.padding = kernel // 2
        nn.init.normal_(self.weight, std=(2.0 / (inputs * kernel * kernel)) ** 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W * x + bias, zeros around the border."""
        return nn.functional.conv2d(x, hamilton_matrix(self.weight), self.bias, padding=self.padding)
