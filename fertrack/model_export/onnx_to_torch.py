"""An ONNX network as a PyTorch module, so that what was shipped as ONNX can go on to TorchScript and TFLite.

Not a general importer: it knows the operators that convolutional expression classifiers are made of, and refuses a
network with any other one by name. Semantics are those of the ONNX operator specification, opset 11 to 21.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from fertrack.errors import ModelError

__all__ = ["RebuiltNetwork", "rebuild"]

_Node = Callable[[list[Any]], Tensor]
_Maker = Callable[[dict[str, Any]], _Node]


class RebuiltNetwork(nn.Module):  # type: ignore[misc]  # torch is not typed here
    """The graph's nodes, run in order. One float32 input, one output; weights are buffers.

    Whole-number inputs (shapes, axes, limits) are kept as plain numbers, so that tracing and exporting see constants.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        graph = model.graph
        self._constants: dict[str, Any] = {}
        for item in graph.initializer:
            self._keep(item.name, numpy_helper.to_array(item))
        inputs = [value.name for value in graph.input if value.name not in self._constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise ModelError(f"a network with one input and one output is needed, got {len(inputs)} and more")
        self._input, self._output = inputs[0], graph.output[0].name
        self._steps: list[tuple[_Node, list[str], str]] = []
        for node in graph.node:
            attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
            if node.op_type == "Constant":
                self._keep(node.output[0], _constant(attributes))
                continue
            if node.op_type not in _MAKERS or node.domain not in ("", "ai.onnx"):
                raise ModelError(
                    f"the network has a node of kind {node.op_type}, which cannot be rebuilt in PyTorch "
                    f"(known: {', '.join(sorted(_MAKERS))}); export from the PyTorch network it was made of"
                )
            self._steps.append((_MAKERS[node.op_type](attributes), list(node.input), node.output[0]))

    def forward(self, crops: Tensor) -> Tensor:
        """The network's output for its input."""
        known: dict[str, Any] = {self._input: crops, "": None}
        for operate, inputs, output in self._steps:
            known[output] = operate([self._value(name, known) for name in inputs])
        result: Tensor = known[self._output]
        return result

    def _value(self, name: str, known: dict[str, Any]) -> Any:
        if name in known:
            return known[name]
        constant = self._constants[name]
        return getattr(self, constant) if isinstance(constant, str) else constant

    def _keep(self, name: str, value: npt.NDArray[Any]) -> None:
        if value.dtype == np.float32:
            buffer = f"weight_{len(self._constants)}"
            self.register_buffer(buffer, torch.from_numpy(value.copy()))
            self._constants[name] = buffer
        elif value.dtype == np.int64:
            self._constants[name] = value.tolist()
        else:
            raise ModelError(
                f"the network's constant {name} is {value.dtype}, and only float32 and int64 can be rebuilt; if the "
                "network is in eight bits, export the one it was made of"
            )


def rebuild(content: bytes) -> RebuiltNetwork:
    """Read an ONNX network as a PyTorch module in evaluation mode.

    Args:
        content: serialised ONNX model with float32 weights.

    Raises:
        ModelError: it is not an ONNX model, or has operators or constants that cannot be rebuilt.
    """
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # protobuf's DecodeError is private
        raise ModelError("the network is not an ONNX model") from error
    network = RebuiltNetwork(model)
    network.eval()
    return network


def _constant(attributes: dict[str, Any]) -> npt.NDArray[Any]:
    if "value" in attributes:
        return np.asarray(numpy_helper.to_array(attributes["value"]))
    (name, value), *_ = attributes.items()
    return np.asarray(value, np.float32 if "float" in name else np.int64)


def _pads(attributes: dict[str, Any]) -> list[int]:
    """Padding of the last two axes in the order ``torch.nn.functional.pad`` takes: left, right, top, bottom."""
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ModelError("automatic padding cannot be rebuilt; export the network with explicit pads")
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    return [left, right, top, bottom]


def _convolution(attributes: dict[str, Any]) -> _Node:
    pads, stride = _pads(attributes), attributes.get("strides", [1, 1])
    dilation, groups = attributes.get("dilations", [1, 1]), attributes.get("group", 1)
    even = pads[0] == pads[1] and pads[2] == pads[3]

    def run(values: list[Any]) -> Tensor:
        maps, weight, bias = values[0], values[1], values[2] if len(values) > 2 else None
        padding = (pads[2], pads[0]) if even else (0, 0)
        return functional.conv2d(
            maps if even else functional.pad(maps, pads), weight, bias, stride, padding, dilation, groups
        )

    return run


def _pooling(pool: Callable[..., Tensor], **more: Any) -> _Maker:
    def make(attributes: dict[str, Any]) -> _Node:
        pads, kernel = _pads(attributes), attributes["kernel_shape"]
        if pads[0] != pads[1] or pads[2] != pads[3] or attributes.get("dilations", [1, 1]) != [1, 1]:
            raise ModelError("pooling with uneven padding or dilation cannot be rebuilt")
        given = {"stride": attributes.get("strides", [1, 1]), "padding": (pads[2], pads[0])}
        given["ceil_mode"] = bool(attributes.get("ceil_mode", 0))
        if more.get("counts"):
            given["count_include_pad"] = bool(attributes.get("count_include_pad", 0))
        return lambda values: pool(values[0], kernel, **given)

    return make


def _reduce_mean(attributes: dict[str, Any]) -> _Node:
    keep = bool(attributes.get("keepdims", 1))

    def run(values: list[Any]) -> Tensor:
        axes = attributes.get("axes") or (values[1] if len(values) > 1 and values[1] else None)
        if axes is None:
            axes = list(range(values[0].ndim))
        return values[0].mean(dim=list(axes), keepdim=keep)

    return run


def _gemm(attributes: dict[str, Any]) -> _Node:
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0 or attributes.get("transA", 0):
        raise ModelError("a Gemm with alpha, beta or a transposed first matrix cannot be rebuilt")

    def run(values: list[Any]) -> Tensor:
        weight = values[1] if attributes.get("transB", 0) else values[1].t()
        return functional.linear(values[0], weight, values[2] if len(values) > 2 else None)

    return run


def _batch_normalisation(attributes: dict[str, Any]) -> _Node:
    epsilon = float(attributes.get("epsilon", 1e-5))

    def run(values: list[Any]) -> Tensor:
        maps, scale, shift, mean, variance = values
        return functional.batch_norm(maps, mean, variance, scale, shift, False, 0.0, epsilon)

    return run


def _clip(attributes: dict[str, Any]) -> _Node:
    def run(values: list[Any]) -> Tensor:
        low = values[1] if len(values) > 1 else attributes.get("min")
        high = values[2] if len(values) > 2 else attributes.get("max")
        return torch.clamp(values[0], low, high)

    return run


def _hard_sigmoid(attributes: dict[str, Any]) -> _Node:
    slope, offset = float(attributes.get("alpha", 0.2)), float(attributes.get("beta", 0.5))
    return lambda values: torch.clamp(values[0] * slope + offset, 0.0, 1.0)


def _flatten(attributes: dict[str, Any]) -> _Node:
    if attributes.get("axis", 1) != 1:
        raise ModelError("flattening from another axis than the first after the faces cannot be rebuilt")
    return lambda values: torch.flatten(values[0], 1)


def _reshape(_: dict[str, Any]) -> _Node:
    def run(values: list[Any]) -> Tensor:
        shape: Sequence[int] = values[1]
        return values[0].reshape([values[0].shape[at] if size == 0 else size for at, size in enumerate(shape)])

    return run


def _plain(operate: Callable[..., Tensor]) -> _Maker:
    return lambda _: lambda values: operate(*values)


def _soft(operate: Callable[..., Tensor]) -> _Maker:
    return lambda attributes: lambda values: operate(values[0], dim=attributes.get("axis", -1))


_MAKERS: dict[str, _Maker] = {
    "Add": _plain(lambda one, other: one + other),
    "AveragePool": _pooling(functional.avg_pool2d, counts=True),
    "BatchNormalization": _batch_normalisation,
    "Clip": _clip,
    "Concat": lambda attributes: lambda values: torch.cat(values, dim=attributes["axis"]),
    "Conv": _convolution,
    "Div": _plain(lambda one, other: one / other),
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(lambda maps: maps.mean(dim=(2, 3), keepdim=True)),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(functional.hardswish),
    "Identity": _plain(lambda one: one),
    "LeakyRelu": lambda attributes: (
        lambda values: functional.leaky_relu(values[0], float(attributes.get("alpha", 0.01)))
    ),
    "LogSoftmax": _soft(functional.log_softmax),
    "MatMul": _plain(torch.matmul),
    "MaxPool": _pooling(functional.max_pool2d),
    "Mul": _plain(lambda one, other: one * other),
    "ReduceMean": _reduce_mean,
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Sigmoid": _plain(torch.sigmoid),
    "Softmax": _soft(functional.softmax),
    "Sqrt": _plain(torch.sqrt),
    "Sub": _plain(lambda one, other: one - other),
    "Tanh": _plain(torch.tanh),
    "Transpose": lambda attributes: lambda values: values[0].permute(attributes["perm"]),
}
