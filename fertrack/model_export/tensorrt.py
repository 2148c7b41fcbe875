"""TensorRT engines, made from a checked ONNX file where the tensorrt package and a GPU are present."""

from __future__ import annotations

from typing import Any

from fertrack.errors import FertrackError, MissingExtraError, ModelError, first_line

__all__ = ["MAX_FACES", "to_engine"]

MAX_FACES = 8
"""Faces an engine takes at once: from 1 to so many."""


def to_engine(content: bytes, shape: tuple[int, int, int]) -> bytes:
    """Build an engine for this machine's GPU, in float32. It runs on GPUs and TensorRT versions of the same kind only.

    Args:
        content: serialised ONNX model, checked.
        shape: of one face as the network takes it.

    Raises:
        FertrackError: the tensorrt package or a GPU is missing.
        ModelError: TensorRT cannot build an engine from the network.
    """
    tensorrt = _tensorrt()
    try:
        logger = tensorrt.Logger(tensorrt.Logger.ERROR)
        builder = tensorrt.Builder(logger)  # raises, or gives None, where there is no GPU
    except Exception as error:  # of pybind11, of no common base
        raise _no_gpu() from error
    if not builder:
        raise _no_gpu()
    try:
        engine = _build(tensorrt, logger, builder, content, shape)
    except Exception as error:  # as above
        raise ModelError(f"TensorRT cannot build an engine: {first_line(error)}") from error
    return engine


def _build(tensorrt: Any, logger: Any, builder: Any, content: bytes, shape: tuple[int, int, int]) -> bytes:
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(content):
        raise ValueError(str(parser.get_error(0)))
    profile = builder.create_optimization_profile()
    profile.set_shape(network.get_input(0).name, (1, *shape), (1, *shape), (MAX_FACES, *shape))
    settings = builder.create_builder_config()
    settings.add_optimization_profile(profile)
    serialised = builder.build_serialized_network(network, settings)
    if serialised is None:
        raise ValueError("the builder gave nothing back")
    return bytes(serialised)


def _tensorrt() -> Any:
    try:
        import tensorrt
    except ImportError as error:
        need = f"--format tensorrt needs the tensorrt package, which cannot be imported ({error}), and an NVIDIA GPU"
        hint = (
            "pip install tensorrt where there is one, or use --format onnx, which classification.device = tensorrt "
            "runs too"
        )
        raise MissingExtraError(need, "export", hint=hint) from error
    return tensorrt


def _no_gpu() -> FertrackError:
    return FertrackError(
        "--format tensorrt needs an NVIDIA GPU, and TensorRT finds none: run it where the engine shall be used"
    )
