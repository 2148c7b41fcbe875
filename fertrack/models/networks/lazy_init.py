"""Networks laid out without values: their shapes are known before memory is taken and random numbers are drawn.

A file of a few bytes can ask for a network of any size; whether its own arrays are of those shapes is seen first.

This module needs PyTorch (``pip install 'fertrack[torch]'``) and is imported by nothing at start-up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["give_room", "outlined"]


_DRAWING = (torch.Tensor.normal_, torch.Tensor.uniform_)


class _NothingDrawn(TorchFunctionMode):  # type: ignore[misc] # torch is an extra: untyped here
    """First values are not drawn: on the device "meta" that does nothing, but imports some 800 modules for it."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _DRAWING or getattr(func, "__module__", "") == "torch.nn.init":
            return None  # nobody here asks what these give back
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def outlined() -> Iterator[None]:
    """Networks made within have shapes and no values (PyTorch's device "meta"); this thread's alone."""
    with torch.device("meta"), _NothingDrawn():
        yield


def give_room(network: nn.Module) -> None:
    """Give what has no values yet in a network memory on the CPU, all zeros; what has values keeps them."""
    # Not zeros_like, which imports as much for an array without values as drawing does.
    network._apply(lambda value: torch.zeros(value.shape, dtype=value.dtype) if value.is_meta else value)
