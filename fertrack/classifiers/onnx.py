"""Runs a classifier bundle with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fertrack.classifiers.options import ClassificationConfig
from fertrack.devices import open_session
from fertrack.errors import ConfigError, ModelError
from fertrack.models.bundle import ClassifierBundle, InputCard
from fertrack.types import EXPRESSIONS, FloatArray, Image

__all__ = ["OnnxClassifier", "Options", "build"]

Options = ClassificationConfig

_ACCELERATOR_BLOCK = 8
"""Faces per call on an accelerator, where calls are dear."""


class OnnxClassifier:
    """An expression classifier as an ONNX network. Safe to call from several threads at once.

    A face's logits are bit for bit the same however many faces are asked for together: the network is always run on
    blocks of one fixed size (1 on the CPU, where larger blocks are no faster; short blocks are filled up with zeros),
    because matrix kernels may round differently for different sizes.

    Attributes:
        crop_size: side of the crops it takes, px.
        template: float32 (5, 2), where the five landmarks lie in a crop, px.
        fingerprint: name, version and hash of the network.
        bundle: everything known of it.
    """

    def __init__(self, bundle: ClassifierBundle, options: ClassificationConfig | None = None) -> None:
        """Load the network.

        Args:
            bundle: the network and what it expects.
            options: device and threads.

        Raises:
            ConfigError: the device is not available.
            WeightsError: the network's file is missing or its hash differs.
            ModelError: the file is not a network, or its inputs and outputs are not what the bundle says.
        """
        options = options or ClassificationConfig()
        self.bundle = bundle
        self.crop_size = bundle.card.input.size_px
        self.template = bundle.template
        self.fingerprint = bundle.fingerprint
        self._columns = bundle.label_columns
        self._preprocess = _preprocessor(bundle.card.input)
        self._session = _open_session(bundle, options)
        self._input_name, fixed_block = _check_input(self._session, bundle)
        self._output_name = _check_output(self._session, bundle)
        on_cpu = self._session.get_providers()[0] == "CPUExecutionProvider"
        self._block = fixed_block or (1 if on_cpu else _ACCELERATOR_BLOCK)
        self._run(np.zeros((self._block, *_tensor_shape(bundle.card.input)), np.float32))

    def logits(self, crops: Image) -> FloatArray:
        """Uncalibrated logits.

        Args:
            crops: uint8 (N, S, S, 3), BGR, aligned to ``template``; S = ``crop_size``.

        Returns:
            float32 (N, 7), columns as in ``EXPRESSIONS``; (0, 7) for no crops.

        Raises:
            TypeError: ``crops`` is not a uint8 array.
            ValueError: ``crops`` has another shape.
            ModelError: the network failed or answered with something that is not a number.
        """
        self._check_crops(crops)
        logits = np.empty((len(crops), len(EXPRESSIONS)), np.float32)
        tensor = self._preprocess(crops) if len(crops) else np.empty(0, np.float32)
        for start in range(0, len(crops), self._block):
            block = tensor[start : start + self._block]
            count = len(block)
            if count < self._block:
                filled = np.zeros((self._block, *tensor.shape[1:]), np.float32)
                filled[:count] = block
                block = filled
            logits[start : start + count] = self._run(block)[:count][:, self._columns]
        if not np.isfinite(logits).all():
            raise ModelError(
                f"{self.fingerprint}: the network's output is not a finite number; its weights are damaged"
            )
        return logits

    def _run(self, block: FloatArray) -> FloatArray:
        try:
            output: Any = self._session.run([self._output_name], {self._input_name: block})[0]
        except Exception as error:  # ONNX Runtime has no common error class
            raise ModelError(f"{self.fingerprint}: the network failed on a face: {_first_line(error)}") from error
        expected = (len(block), len(EXPRESSIONS))
        if output.shape != expected or output.dtype != np.float32:
            raise ModelError(
                f"{self.bundle.model_path}: output is {output.dtype} {output.shape}, expected float32 {expected}"
            )
        result: FloatArray = output
        return result

    def _check_crops(self, crops: Any) -> None:
        wanted = f"uint8 (N, {self.crop_size}, {self.crop_size}, 3)"
        if not isinstance(crops, np.ndarray) or crops.dtype != np.uint8:
            got = f"{crops.dtype} {crops.shape}" if isinstance(crops, np.ndarray) else type(crops).__name__
            raise TypeError(f"crops must be {wanted}, got {got}")
        if crops.ndim != 4 or crops.shape[1:] != (self.crop_size, self.crop_size, 3):
            raise ValueError(f"crops must be {wanted}, got {crops.dtype} {crops.shape}")


def build(options: ClassificationConfig, bundle: ClassifierBundle) -> OnnxClassifier:
    """The classifier of a bundle; see ``OnnxClassifier`` for what it raises."""
    return OnnxClassifier(bundle, options)


def _tensor_shape(card: InputCard) -> tuple[int, int, int]:
    side, channels = card.size_px, card.channels
    return (channels, side, side) if card.layout == "NCHW" else (side, side, channels)


def _preprocessor(card: InputCard) -> Callable[[Image], FloatArray]:
    """A function from crops uint8 (N, S, S, 3) BGR to the network's float32 tensor.

    A pixel has 256 values, so each channel's ``(pixel / 255 - mean) / std`` is a table.
    """
    levels = np.arange(256, dtype=np.float64) / 255.0
    tables = [((levels - m) / s).astype(np.float32) for m, s in zip(card.mean, card.std, strict=True)]
    side, channels = card.size_px, card.channels
    channel_axis = 1 if card.layout == "NCHW" else 3

    def gray(crops: Image) -> FloatArray:
        stacked = np.ascontiguousarray(crops).reshape(-1, side, 3)
        flat = cv2.cvtColor(stacked, cv2.COLOR_BGR2GRAY).reshape(len(crops), side, side)
        return np.expand_dims(tables[0][flat], channel_axis)

    def colour(crops: Image) -> FloatArray:
        tensor = np.empty((len(crops), *_tensor_shape(card)), np.float32)
        planes: npt.NDArray[np.float32] = np.moveaxis(tensor, channel_axis, 0)
        for channel in range(channels):
            source = 2 - channel if card.colour == "rgb" else channel
            planes[channel] = tables[channel][crops[..., source]]
        return tensor

    return gray if card.colour == "gray" else colour


def _open_session(bundle: ClassifierBundle, options: ClassificationConfig) -> Any:
    content = bundle.read_model()
    try:
        return open_session(content, device=options.device, threads=options.threads, option="classification.device")
    except ConfigError:
        raise
    except Exception as error:  # ONNX Runtime has no common error class
        raise ModelError(f"{bundle.model_path} is not a network that can be run: {_first_line(error)}") from error


def _check_input(session: Any, bundle: ClassifierBundle) -> tuple[str, int]:
    """The input's name, and how many faces it takes at a time (0: any number)."""
    inputs = session.get_inputs()
    expected = _tensor_shape(bundle.card.input)
    wanted = f"one float32 input (n, {', '.join(map(str, expected))})"
    if len(inputs) != 1:
        raise ModelError(f"{bundle.model_path}: {len(inputs)} inputs found, the bundle needs {wanted}")
    shape, kind = inputs[0].shape, inputs[0].type
    fits = len(shape) == 4 and all(
        not isinstance(found, int) or found == needed for found, needed in zip(shape[1:], expected, strict=False)
    )
    if kind != "tensor(float)" or not fits:
        raise ModelError(f"{bundle.model_path}: input is {kind} {shape}, the bundle needs {wanted}")
    return inputs[0].name, shape[0] if isinstance(shape[0], int) else 0


def _check_output(session: Any, bundle: ClassifierBundle) -> str:
    outputs = session.get_outputs()
    if len(outputs) != 1:
        raise ModelError(
            f"{bundle.model_path}: {len(outputs)} outputs found, one of float32 (n, {len(EXPRESSIONS)}) is needed"
        )
    shape = outputs[0].shape
    if len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != len(EXPRESSIONS)):
        raise ModelError(f"{bundle.model_path}: output is {shape}, (n, {len(EXPRESSIONS)}) logits are needed")
    name: str = outputs[0].name
    return name


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
