"""Conversion of networks: every operator that is rebuilt, PyTorch to ONNX, eight bits; and what is refused."""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fertrack.errors import MissingExtraError, ModelError
from fertrack.model_export.onnx import checked, from_module, quantised
from fertrack.model_export.tensorrt import to_engine
from fertrack.model_export.torchscript import to_torchscript
from fertrack.models.bundle import load_bundle
from tests.support.paths import REPOSITORY

torch = pytest.importorskip("torch")

from fertrack.model_export.onnx_to_torch import rebuild  # noqa: E402 - needs torch
from fertrack.models.networks.compact import CompactNet  # noqa: E402 - needs torch

pytestmark = pytest.mark.usefixtures("one_torch_thread")

RANDOM = np.random.default_rng(3)


def graph(nodes: list[Any], shape: list[int], constants: dict[str, Any] | None = None, opset: int = 18) -> bytes:
    """A network from ``x`` of the given shape to ``y``."""
    made = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(model.SerializeToString())


def node(kind: str, *more: str, **attributes: Any) -> Any:
    return helper.make_node(kind, ["x", *more], ["y"], **attributes)


def floats(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


MAPS = [2, 4, 9, 9]
OPERATORS: dict[str, bytes] = {
    "conv": graph([node("Conv", "w", "b", pads=[1, 1, 1, 1])], MAPS, {"w": floats(6, 4, 3, 3), "b": floats(6)}),
    "conv, strided, no bias": graph([node("Conv", "w", strides=[2, 2])], MAPS, {"w": floats(6, 4, 3, 3)}),
    "conv, uneven pads": graph([node("Conv", "w", pads=[0, 1, 2, 3])], MAPS, {"w": floats(6, 4, 3, 3)}),
    "conv, other pads down and across": graph([node("Conv", "w", pads=[2, 0, 2, 0])], MAPS, {"w": floats(6, 4, 3, 3)}),
    "conv, groups": graph([node("Conv", "w", group=4)], MAPS, {"w": floats(4, 1, 3, 3)}),
    "conv, dilated": graph([node("Conv", "w", dilations=[2, 2])], MAPS, {"w": floats(6, 4, 3, 3)}),
    "average pool": graph([node("AveragePool", kernel_shape=[2, 2], strides=[2, 2])], MAPS),
    "average pool, padded": graph([node("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], MAPS),
    "average pool, padding counts": graph(
        [node("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)], MAPS
    ),
    "average pool, rounded up": graph([node("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)], MAPS),
    "max pool": graph([node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], MAPS),
    "global average pool": graph([node("GlobalAveragePool")], MAPS),
    "mean, axes as attribute": graph([node("ReduceMean", axes=[2, 3], keepdims=0)], MAPS, opset=17),
    "mean, axes as input": graph([node("ReduceMean", "axes", keepdims=1)], MAPS, {"axes": ints(2, 3)}),
    "mean, of everything": graph([node("ReduceMean", keepdims=0)], MAPS),
    "gemm": graph([node("Gemm", "w", "b", transB=1)], [2, 5], {"w": floats(7, 5), "b": floats(7)}),
    "gemm, as it lies": graph([node("Gemm", "w")], [2, 5], {"w": floats(5, 7)}),
    "matmul": graph([node("MatMul", "w")], [2, 5], {"w": floats(5, 7)}),
    "batch normalisation": graph(
        [node("BatchNormalization", "s", "b", "m", "v", epsilon=0.01)],
        MAPS,
        {"s": floats(4), "b": floats(4), "m": floats(4), "v": np.abs(floats(4)) + 0.5},
    ),
    "clip": graph([node("Clip", "low", "high")], [2, 5], {"low": np.float32(-0.5), "high": np.float32(0.7)}),
    "clip, above only": graph([node("Clip", "", "high")], [2, 5], {"high": np.float32(0.7)}),
    "hard sigmoid": graph([node("HardSigmoid", alpha=0.3, beta=0.4)], [2, 5]),
    "hard swish": graph([node("HardSwish")], [2, 5]),
    "leaky relu": graph([node("LeakyRelu", alpha=0.2)], [2, 5]),
    "relu": graph([node("Relu")], [2, 5]),
    "sigmoid": graph([node("Sigmoid")], [2, 5]),
    "tanh": graph([node("Tanh")], [2, 5]),
    "square root of a square": graph(
        [helper.make_node("Mul", ["x", "x"], ["s"]), helper.make_node("Sqrt", ["s"], ["y"])], [2, 5]
    ),
    "softmax": graph([node("Softmax", axis=1)], [2, 5]),
    "log softmax": graph([node("LogSoftmax")], [2, 5]),
    "flatten": graph([node("Flatten")], MAPS),
    "reshape": graph([node("Reshape", "to")], MAPS, {"to": ints(0, 2, -1)}),
    "transpose": graph([node("Transpose", perm=[0, 2, 3, 1])], MAPS),
    "concat": graph([node("Concat", "x", axis=1)], MAPS),
    "identity": graph([node("Identity")], [2, 5]),
    "subtract and divide by constants": graph(
        [
            helper.make_node("Constant", [], ["three"], value=numpy_helper.from_array(np.array(3.0, np.float32))),
            helper.make_node("Constant", [], ["two"], value_float=2.0),
            helper.make_node("Sub", ["x", "three"], ["d"]),
            helper.make_node("Div", ["d", "two"], ["h"]),
            helper.make_node("Add", ["h", "x"], ["y"]),
        ],
        [2, 5],
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_a_rebuilt_operator_answers_as_onnx_runtime_does(name: str) -> None:
    content = OPERATORS[name]
    shape = onnx.load_from_string(content).graph.input[0].type.tensor_type.shape
    x = floats(*[dim.dim_value for dim in shape.dim])
    expected = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    with torch.inference_mode():
        answer = rebuild(content)(torch.from_numpy(x)).numpy()
    assert answer.shape == expected.shape
    np.testing.assert_allclose(answer, expected, atol=2e-6, rtol=1e-5)


def test_the_default_network_can_be_rebuilt() -> None:
    content = load_bundle().read_model()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    x = floats(2, 1, 64, 64)
    with torch.inference_mode():
        answer = rebuild(content)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(answer, session.run(None, {session.get_inputs()[0].name: x})[0], atol=1e-5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (graph([node("Erf")], [2, 5]), "a node of kind Erf, which cannot be rebuilt"),
        (graph([node("Conv", "w", auto_pad="SAME_UPPER")], MAPS, {"w": floats(6, 4, 3, 3)}), "automatic padding"),
        (graph([node("MaxPool", kernel_shape=[3, 3], pads=[0, 0, 1, 1])], MAPS), "uneven padding"),
        (graph([node("Gemm", "w", alpha=0.5)], [2, 5], {"w": floats(5, 7)}), "alpha"),
        (graph([node("Flatten", axis=2)], MAPS), "another axis"),
        (graph([node("Add", "w")], [2, 5], {"w": np.zeros(5, np.float64)}), "float64, and only float32 and int64"),
        (graph([node("Add", "z")], [2, 5]).replace(b"x", b"x"), "z"),
        (b"no network", "not an ONNX model"),
    ],
)
def test_what_cannot_be_rebuilt_is_refused_by_name(content: bytes, message: str) -> None:
    if message == "z":
        model = onnx.load_from_string(content)
        model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 5]))
        content, message = bytes(model.SerializeToString()), "one input and one output"
    with pytest.raises(ModelError, match=message) as caught:
        rebuild(content)
    assert "\n" not in str(caught.value)


# --- ONNX files


def tiny_network() -> Any:
    torch.manual_seed(5)
    network = CompactNet((8, 16), (0, 1), gated_from=1, head_channels=8).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


@pytest.fixture(scope="module")
def exported() -> tuple[Any, bytes]:
    pytest.importorskip("onnxscript")
    network = tiny_network()
    return network, from_module(network, (1, 32, 32))


@pytest.mark.parametrize("faces", [1, 5])
def test_a_pytorch_network_goes_to_onnx_and_back(exported: tuple[Any, bytes], faces: int) -> None:
    network, content = exported
    x = floats(faces, 1, 32, 32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(x)).numpy()
        back = rebuild(content)(torch.from_numpy(x)).numpy()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [value.name for value in (*session.get_inputs(), *session.get_outputs())] == ["crops", "logits"]
    np.testing.assert_allclose(session.run(None, {"crops": x})[0], expected, atol=1e-5)
    np.testing.assert_allclose(back, expected, atol=1e-5)


def test_an_export_says_nothing_of_operators_it_does_not_need() -> None:
    pytest.importorskip("onnxscript")
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener = Listener()
    log.addHandler(listener)
    try:
        from_module(tiny_network(), (1, 32, 32))
        assert said == []
        log.warning("torchvision is not installed, says somebody else later")
        assert len(said) == 1, "only the export is quiet"
    finally:
        log.removeHandler(listener)


def test_an_exported_file_does_not_tell_where_it_was_made(exported: tuple[Any, bytes]) -> None:
    assert str(REPOSITORY).encode() not in exported[1]
    assert b".py" not in exported[1]


def test_a_module_that_cannot_be_exported_is_one_sentence() -> None:
    pytest.importorskip("onnxscript")

    class Fails(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
        def forward(self, crops: Any) -> Any:
            raise ValueError("not for these crops")

    with pytest.raises(ModelError, match="PyTorch cannot export Fails to ONNX") as caught:
        from_module(Fails(), (1, 8, 8))
    assert "\n" not in str(caught.value)


def test_an_error_that_says_nothing_is_a_sentence_all_the_same() -> None:
    class Fails(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
        def forward(self, crops: Any) -> Any:
            raise NotImplementedError

    with pytest.raises(ModelError, match="PyTorch cannot trace the network: NotImplementedError"):
        to_torchscript(Fails(), (1, 8, 8))


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    real: Callable[..., Any] = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] in packages:
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)


def test_without_onnxscript_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "onnxscript")
    with pytest.raises(MissingExtraError, match=r"needs onnxscript: pip install .*\[torch,export\]"):
        from_module(tiny_network(), (1, 32, 32))


@pytest.mark.parametrize("content", [b"no network", graph([node("Relu")], [2, 5]).replace(b"Relu", b"Rely")])
def test_onnx_checker_has_the_last_word(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"mine\.onnx is not a valid ONNX model") as caught:
        checked(content, "mine.onnx")
    assert "\n" not in str(caught.value)


def test_eight_bits_take_a_quarter_of_the_size_and_little_of_the_answer() -> None:
    content = load_bundle().read_model()
    faces = floats(12, 1, 64, 64)
    small = quantised(content, faces)
    assert len(small) < 0.28 * len(content)
    kinds = {item.op_type for item in onnx.load_from_string(small).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    before, after = (
        onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"crops": faces})[0]
        for model in (content, small)
    )
    assert 0 < np.abs(before - after).max() < 1.0


def test_what_cannot_be_quantised_is_one_sentence() -> None:
    with pytest.raises(ModelError, match="cannot quantise") as caught:
        quantised(graph([node("Relu")], [1, 5]), floats(2, 7))  # calibrated with faces of another size
    assert "\n" not in str(caught.value)


# --- TensorRT


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed here")
def test_without_tensorrt_there_is_a_clear_sentence() -> None:
    with pytest.raises(
        MissingExtraError, match=r"needs the tensorrt package, .* and an NVIDIA GPU: pip install tensorrt"
    ):
        to_engine(load_bundle().read_model(), (1, 64, 64))
