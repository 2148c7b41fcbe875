"""PyTorch for inference: no gradients, as many threads as were asked for, and on the device that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fertrack.errors import ConfigError
from fertrack.types import Device

__all__ = ["inference", "torch_device"]


def torch_device(torch: Any, device: Device) -> str:
    """PyTorch's name of the requested device: "cpu" or "cuda".

    Args:
        torch: the module.
        device: "auto" takes CUDA where PyTorch sees it.

    Raises:
        ConfigError: PyTorch does not run networks on it here.
    """
    if device in {"cuda", "auto"} and torch.cuda.is_available():
        return "cuda"
    if device in {"cpu", "auto"}:
        return "cpu"
    raise ConfigError(
        f"classification.device = {device!r} is not available: PyTorch ({torch.__version__}) runs networks on "
        f"the CPU{' or cuda' if torch.cuda.is_available() else ' here'}; export the network to ONNX, or use cpu"
    )


@contextmanager
def inference(torch: Any, threads: int) -> Iterator[None]:
    """Run what is inside without gradients and on ``threads`` CPU threads.

    PyTorch keeps the number for the calling thread (and as the start value of new ones); it is put back afterwards.
    Left alone it takes every core for each face, and its threads, which wait by spinning, hold up the detector's.

    Args:
        torch: the module.
        threads: CPU threads inside one operation.
    """
    before = torch.get_num_threads()
    if before != threads:
        torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        if before != threads:
            torch.set_num_threads(before)
