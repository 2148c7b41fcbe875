"""RetinaFace MobileNet-0.25 as an ONNX graph, built straight from a checkpoint's arrays.

The same network as ``retinaface_torch``, written a second time for ONNX: PyTorch's exporter takes half a minute, needs
another package and warns of its own deprecations, while this takes a moment, gives the same bytes each time, and makes
comparing the two a check of both. Batch normalisation is folded into the convolution before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from fertrack.types import FloatArray

__all__ = ["build_graph"]

_SLOPE = 0.1
_EPSILON = 1e-5
_OPSET = 17
_IR_VERSION = 8

Arrays = Mapping[str, FloatArray]


def build_graph(arrays: Arrays, facts: Mapping[str, str]) -> bytes:
    """The network as a serialised ONNX model.

    Input ``pixels`` float32 (n, 3, height, width), RGB, 0 to 255 minus (104, 117, 123), sides multiples of 32.
    Outputs ``score`` (n, A), ``box`` (n, A, 4), ``landmarks`` (n, A, 10).

    Args:
        arrays: the checkpoint's parameters by name, complete and of the right shapes.
        facts: written into the model's metadata.
    """
    graph = _Graph(arrays)
    fine = _stage(graph, "body.stage1", _stem(graph), first=1, strides=(1, 2, 1, 2, 1))
    middle = _stage(graph, "body.stage2", fine, first=0, strides=(2, 1, 1, 1, 1, 1))
    coarse = _stage(graph, "body.stage3", middle, first=0, strides=(2, 1))
    levels = _pyramid(graph, fine, middle, coarse)
    features = [_context(graph, f"ssh{index}", level) for index, level in enumerate(levels, start=1)]
    classes = _head(graph, "ClassHead", features, 2, "class.logits")
    _head(graph, "BboxHead", features, 4, "box")
    _head(graph, "LandmarkHead", features, 10, "landmarks")
    both = graph.add("Softmax", [classes], "class.probabilities", axis=-1)
    graph.add("Gather", [both, graph.constant("face", np.array(1, np.int64))], "score", axis=2)
    return graph.serialised(facts)


class _Graph:
    """Nodes and constants of a graph being built. A node is named after the tensor it makes."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def add(self, operation: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operation, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def convolution(
        self, features: str, convolution: str, normalisation: str, *, stride: int = 1, depthwise: bool = False
    ) -> str:
        """A convolution with its batch normalisation folded in."""
        kernel = self.arrays[f"{convolution}.weight"].astype(np.float64)
        gain, shift, mean, variance = (
            self.arrays[f"{normalisation}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gain / np.sqrt(variance + _EPSILON)
        weight = self.constant(f"{convolution}.folded", (kernel * scale[:, None, None, None]).astype(np.float32))
        bias = self.constant(f"{convolution}.shift", (shift - mean * scale).astype(np.float32))
        side = kernel.shape[2]
        return self.add(
            "Conv",
            [features, weight, bias],
            f"{convolution}.out",
            kernel_shape=[side, side],
            pads=[side // 2] * 4,
            strides=[stride, stride],
            group=kernel.shape[0] if depthwise else 1,
        )

    def leaky(self, features: str) -> str:
        return self.add("LeakyRelu", [features], f"{features}.active", alpha=_SLOPE)

    def serialised(self, facts: Mapping[str, str]) -> bytes:
        inputs = [_value("pixels", ["n", 3, "height", "width"])]
        outputs = [_value("score", ["n", "a"]), _value("box", ["n", "a", 4]), _value("landmarks", ["n", "a", 10])]
        graph = helper.make_graph(self.nodes, "retinaface-mobilenet", inputs, outputs, [*self.constants.values()])
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION, producer_name="fertrack"
        )
        helper.set_model_props(model, dict(facts))
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def _value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def _stem(graph: _Graph) -> str:
    return graph.leaky(graph.convolution("pixels", "body.stage1.0.0", "body.stage1.0.1", stride=2))


def _stage(graph: _Graph, stage: str, features: str, *, first: int, strides: tuple[int, ...]) -> str:
    """Depthwise separable convolutions, numbered from ``first``."""
    for index, stride in enumerate(strides, start=first):
        name = f"{stage}.{index}"
        features = graph.leaky(graph.convolution(features, f"{name}.0", f"{name}.1", stride=stride, depthwise=True))
        features = graph.leaky(graph.convolution(features, f"{name}.3", f"{name}.4"))
    return features


def _pyramid(graph: _Graph, fine: str, middle: str, coarse: str) -> tuple[str, str, str]:
    def unit(name: str, features: str) -> str:
        return graph.leaky(graph.convolution(features, f"fpn.{name}.0", f"fpn.{name}.1"))

    def enlarged(features: str) -> str:
        return graph.add(
            "Resize",
            [features, "", twice],
            f"{features}.enlarged",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    twice = graph.constant("twice", np.array([1, 1, 2, 2], np.float32))
    fine, middle, coarse = unit("output1", fine), unit("output2", middle), unit("output3", coarse)
    middle = unit("merge2", graph.add("Add", [middle, enlarged(coarse)], "fpn.middle"))
    fine = unit("merge1", graph.add("Add", [fine, enlarged(middle)], "fpn.fine"))
    return fine, middle, coarse


def _context(graph: _Graph, name: str, features: str) -> str:
    def unit(part: str, inputs: str) -> str:
        return graph.convolution(inputs, f"{name}.{part}.0", f"{name}.{part}.1")

    shared = graph.leaky(unit("conv5X5_1", features))
    wide = unit("conv7x7_3", graph.leaky(unit("conv7X7_2", shared)))
    joined = [unit("conv3X3", features), unit("conv5X5_2", shared), wide]
    return graph.add("Relu", [graph.add("Concat", joined, f"{name}.joined", axis=1)], f"{name}.out")


def _head(graph: _Graph, head: str, features: list[str], width: int, output: str) -> str:
    """1x1 convolutions of all levels as rows: one an anchor, cells row by row, levels one after another."""
    rows = graph.constant(f"{head}.rows", np.array([0, -1, width], np.int64))
    parts = []
    for index, level in enumerate(features):
        name = f"{head}.{index}.conv1x1"
        weight = graph.constant(f"{name}.weight", graph.arrays[f"{name}.weight"])
        bias = graph.constant(f"{name}.bias", graph.arrays[f"{name}.bias"])
        values = graph.add("Conv", [level, weight, bias], f"{name}.out", kernel_shape=[1, 1])
        last = graph.add("Transpose", [values], f"{name}.last", perm=[0, 2, 3, 1])
        parts.append(graph.add("Reshape", [last, rows], f"{name}.flat"))
    return graph.add("Concat", parts, output, axis=1)
