"""PyTorch for inference: no gradients, and as many threads as were asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["inference"]


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
