"""CenterFace in 8-bit integers: the same network at about half the time on processors that multiply bytes.

Post-training quantisation in the usual form (Jacob et al. 2018, arXiv 1712.05877; Nagel et al. 2021, arXiv 2106.08295):
each tensor between two layers becomes unsigned bytes with one scale and zero point, each layer's weights signed bytes
with one scale for each output channel, biases 32-bit integers. The graph keeps ONNX's plain operators between pairs of
QuantizeLinear and DequantizeLinear, which ONNX Runtime fuses into integer kernels.

The ranges of the tensors lie beside this file, ``centerface_int8.json``: lowest and highest value over 42 frames of ten
clips, FP32. The first five convolutions stay FP32, without which images in stage light lose their faces, and so do
the four heads, whose outputs are coordinates. What this costs in boxes, landmarks and labels: ``guide/speed.md``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from fertrack.detectors.centerface_graph import OUTPUTS, attribute

__all__ = ["quantise", "read_ranges"]

_FP32_WEIGHTS = frozenset({"542", "546", "550", "554", "558"})
_FP32_OUTPUTS = frozenset({"536", *OUTPUTS})

Array = npt.NDArray[Any]


def read_ranges(path: Path) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of each tensor that becomes bytes, by its name in the exported file."""
    return {name: (low, high) for name, (low, high) in json.loads(path.read_text(encoding="utf-8")).items()}


def quantise(prepared: bytes, known: Mapping[str, tuple[float, float]]) -> bytes:
    """The network in 8-bit integers.

    Args:
        prepared: CenterFace in FP32, as ``centerface_graph.prepare`` gives it.
        known: lowest and highest value of each tensor, by its name in the exported file.
    """
    model = onnx.load_model_from_string(prepared)
    writer = _Writer(model.graph, known)
    for node in model.graph.node:
        writer.add(node)
    used = {name for node in writer.nodes for name in node.input}
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(writer.nodes)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in writer.constants.items() if name in used
    )
    return bytes(model.SerializeToString())


class _Writer:
    """Writes the nodes again, in order, with bytes between them."""

    def __init__(self, graph: onnx.GraphProto, known: Mapping[str, tuple[float, float]]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {
            constant.name: numpy_helper.to_array(constant) for constant in graph.initializer
        }
        self._known = known
        self._consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._consumers.setdefault(name, []).append(node)
        self._in_bytes: set[str] = set()  # tensors whose producer gives bytes
        self._reads: dict[str, int] = {}
        self._absorbed: set[str] = set()  # outputs of nodes that became part of the one before them

    def add(self, node: onnx.NodeProto) -> None:
        """Write one node, or what stands for it."""
        output = node.output[0]
        if output in self._absorbed:
            return
        if node.op_type == "Conv" and node.input[1] not in _FP32_WEIGHTS and output not in _FP32_OUTPUTS:
            self._add_convolution(node)
        elif node.op_type == "ConvTranspose":
            self._add_transposed(node)
        elif node.op_type in {"Add", "Concat"} and _plain(output) in self._known:
            self._add_copy(node, [self._dequantised(name) for name in node.input])
            self._in_bytes.add(output)
        else:
            self._add_copy(node, [self._dequantised(n) if n in self._in_bytes else n for n in node.input])

    def _add_convolution(self, node: onnx.NodeProto) -> None:
        pixels = self._dequantised(node.input[0])
        parameters = self._parameters(node, self._scale(node.input[0])[0])
        output = self._through_relu(node.output[0])
        self._add_copy(node, [pixels, *parameters], output)
        self._in_bytes.add(output)

    def _add_transposed(self, node: onnx.NodeProto) -> None:
        """Upsampling, in FP32 (there is no integer kernel for it), with the normalisation after it folded in."""
        (norm,) = self._consumers[node.output[0]]
        output = self._through_relu(norm.output[0])
        gain, shift, mean, variance = (self.constants[name].astype(np.float64) for name in norm.input[1:])
        factor = gain / np.sqrt(variance + attribute(norm, "epsilon"))
        weights, bias, unclipped = (f"{output}.{part}" for part in ("weights", "bias", "unclipped"))
        self.constants[weights] = (self.constants[node.input[1]] * factor[:, None, None]).astype(np.float32)
        self.constants[bias] = (shift - mean * factor).astype(np.float32)
        self._absorbed.add(norm.output[0])
        self._add_copy(node, [self._dequantised(node.input[0]), weights, bias], unclipped)
        self.nodes.append(helper.make_node("Relu", [unclipped], [output]))

    def _through_relu(self, tensor: str) -> str:
        """The tensor after the ReLU that reads this one, if one does: bytes from 0 on are clipped by themselves."""
        readers = self._consumers.get(tensor, [])
        if len(readers) != 1 or readers[0].op_type != "Relu":
            return tensor
        output = str(readers[0].output[0])
        self._absorbed.add(output)
        return output

    def _add_copy(self, node: onnx.NodeProto, inputs: list[str], output: str = "") -> None:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:]
        copy.input.extend(inputs)
        copy.output[0] = output or node.output[0]
        self.nodes.append(copy)

    def _scale(self, tensor: str) -> tuple[np.float32, np.uint8]:
        """Scale and zero point of a tensor's bytes; strips of one map share them."""
        low, high = self._known[_plain(tensor)]
        scale = np.float32((max(high, 0.0) - min(low, 0.0)) / 255)
        return scale, np.uint8(np.clip(np.round(-min(low, 0.0) / scale), 0, 255))

    def _dequantised(self, tensor: str) -> str:
        """A name under which the tensor can be read after having been bytes; one for each reader, to be fused with."""
        scale, zero = f"{_plain(tensor)}.scale", f"{_plain(tensor)}.zero"
        if tensor not in self._reads:
            self.constants[scale], self.constants[zero] = map(np.asarray, self._scale(tensor))
            self.nodes.append(helper.make_node("QuantizeLinear", [tensor, scale, zero], [f"{tensor}.bytes"]))
        self._reads[tensor] = number = self._reads.get(tensor, 0) + 1
        name = f"{tensor}.read{number}"
        self.nodes.append(helper.make_node("DequantizeLinear", [f"{tensor}.bytes", scale, zero], [name]))
        return name

    def _parameters(self, node: onnx.NodeProto, input_scale: np.float32) -> list[str]:
        """Weights in signed bytes and bias in 32-bit integers, both with a scale for each output channel."""
        weights, bias = (self.constants[name] for name in node.input[1:])
        largest = np.abs(weights).max(axis=(1, 2, 3))
        scale = np.where(largest > 0, largest / 127, 1.0).astype(np.float32)
        whole = np.round(weights / scale[:, None, None, None])
        names = []
        for kind, values, its_scale, dtype in (
            ("weights", whole, scale, np.int8),
            ("bias", np.round(bias / (scale * input_scale).astype(np.float64)), scale * input_scale, np.int32),
        ):
            name = f"{node.input[1]}.{kind}"
            limit = np.iinfo(dtype)
            self.constants |= {
                name: np.clip(values, limit.min, limit.max).astype(dtype),
                f"{name}.scale": its_scale.astype(np.float32),
                f"{name}.zero": np.zeros(len(scale), dtype),
            }
            read = f"{node.output[0]}.{kind}"
            inputs = [name, f"{name}.scale", f"{name}.zero"]
            self.nodes.append(helper.make_node("DequantizeLinear", inputs, [read], axis=0))
            names.append(read)
        return names


def _plain(tensor: str) -> str:
    """The tensor's name in the exported file, without the strip it belongs to."""
    return tensor.split(".", 1)[1] if tensor.startswith("strip") else tensor
