"""ONNX files: checked, made from a PyTorch module, or with their arithmetic turned to eight bits."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from fertrack.errors import FertrackError, MissingExtraError, ModelError, first_line
from fertrack.types import FloatArray

__all__ = ["checked", "from_module", "quantised"]

_OPSET = 18

_OPERATORS_LOG = "torch.onnx._internal.exporter._registration"


def checked(content: bytes, what: str) -> bytes:
    """The same file, after ONNX's own checker found nothing wrong with it, shapes included.

    Args:
        content: serialised ONNX model.
        what: name of the file, for the message.

    Raises:
        ModelError: it is not a valid ONNX model.
    """
    try:
        onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    except Exception as error:  # protobuf's and the checker's errors have no common base
        raise ModelError(f"{what} is not a valid ONNX model: {first_line(error)}") from error
    return content


def from_module(module: Any, shape: tuple[int, int, int]) -> bytes:
    """Export a PyTorch module of one input, ``crops`` (n, *shape), and one output, ``logits`` (n, 7).

    Args:
        module: in evaluation mode.
        shape: of one face as the network takes it.

    Raises:
        MissingExtraError: PyTorch or onnxscript, which its exporter needs, is not installed.
        ModelError: PyTorch cannot export the module.
    """
    try:
        import onnxscript  # noqa: F401  # asked for here, so that the sentence is ours
        import torch
    except ImportError as error:
        raise MissingExtraError(f"exporting a PyTorch network to ONNX needs {error.name}", "torch,export") from error
    from fertrack.model_export.torchscript import quietly

    buffer = io.BytesIO()
    try:
        with quietly(), _without_torchvision_hints():
            program = torch.onnx.export(
                module,
                (torch.zeros(2, *shape),),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("n")},),
                opset_version=_OPSET,
                input_names=["crops"],
                output_names=["logits"],
                verbose=False,
            )
        program.save(buffer)
    except Exception as error:  # PyTorch's exporter raises errors of many kinds
        raise ModelError(f"PyTorch cannot export {type(module).__name__} to ONNX: {first_line(error)}") from error
    return checked(_without_notes(buffer.getvalue()), type(module).__name__)


@contextlib.contextmanager
def _without_torchvision_hints() -> Iterator[None]:
    """For the time of one export: PyTorch does not log that torchvision, which no network here uses, is missing."""

    def wanted(record: logging.LogRecord) -> bool:
        return "torchvision is not installed" not in record.getMessage()

    log = logging.getLogger(_OPERATORS_LOG)
    log.addFilter(wanted)
    try:
        yield
    finally:
        log.removeFilter(wanted)


def _without_notes(content: bytes) -> bytes:
    """The network without the exporter's notes, which hold the source lines and paths of whoever exported it."""
    model = onnx.load_from_string(content)
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    return bytes(model.SerializeToString())


def quantised(content: bytes, faces: FloatArray) -> bytes:
    """The network with weights and arithmetic in eight bits (QDQ form, one scale per output channel).

    Activations are unsigned, their ranges the extremes seen on ``faces``. Weights take seven of the eight bits: on CPUs
    without VNNI instructions, products of full eight-bit numbers overflow silently, and a bundle goes to any machine.

    Args:
        content: serialised ONNX model with float32 weights.
        faces: float32 (N, ...), what the network is shown: as many faces and as different ones as can be had.

    Raises:
        ModelError: ONNX Runtime cannot quantise the network.
        FertrackError: there is no place for a temporary file.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime is not typed
        def __init__(self, name: str) -> None:
            self._rest: Iterator[dict[str, FloatArray]] = ({name: face[None]} for face in faces)

        def get_next(self) -> dict[str, FloatArray] | None:
            return next(self._rest, None)

    if any(node.op_type == "DequantizeLinear" for node in onnx.load_from_string(content).graph.node):
        raise ModelError("the network is in eight bits already; export the one it was made of")
    try:
        model = onnx.shape_inference.infer_shapes(onnx.load_from_string(content))
        add_pre_process_metadata(model)  # what ONNX Runtime asks for is done: shapes are known, layers are fused
        with tempfile.TemporaryDirectory(prefix="fertrack-export-") as folder:
            target = Path(folder) / "int8.onnx"
            quantize_static(
                model,
                target,
                Reader(model.graph.input[0].name),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
            result = target.read_bytes()
    except OSError as error:
        raise FertrackError(f"no temporary file can be written: {error.strerror or error}") from error
    except Exception as error:  # ONNX Runtime's quantiser raises errors of many kinds
        raise ModelError(f"ONNX Runtime cannot quantise the network: {first_line(error)}") from error
    return checked(result, "the quantised network")
