"""Runs a classifier bundle with ONNX Runtime."""

from __future__ import annotations

from typing import Any

from fertrack.classifiers.base import BundleClassifier
from fertrack.classifiers.config import ClassificationConfig
from fertrack.errors import ConfigError, ModelError, first_line
from fertrack.models.bundle import ClassifierBundle
from fertrack.models.devices import open_session
from fertrack.types import EXPRESSIONS, FloatArray

__all__ = ["OnnxClassifier", "Options", "build"]

Options = ClassificationConfig

_ACCELERATOR_BLOCK = 8
"""Faces per call on an accelerator, where calls are dear. On the CPU larger blocks are no faster."""


class OnnxClassifier(BundleClassifier):
    """An expression classifier as an ONNX network. Safe to call from several threads at once."""

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
        super().__init__(bundle, options.threads, options.device)
        self._session = _open_session(bundle, options)
        self._input_name, fixed_block = _check_input(self._session, bundle, self.network_shape)
        self._output_name = _check_output(self._session, bundle)
        on_cpu = self._session.get_providers()[0] == "CPUExecutionProvider"
        self._ready(fixed_block or (1 if on_cpu else _ACCELERATOR_BLOCK))

    def _answer(self, block: FloatArray) -> Any:
        return self._session.run([self._output_name], {self._input_name: block})[0]


def build(options: ClassificationConfig, bundle: ClassifierBundle) -> OnnxClassifier:
    """The classifier of a bundle; see ``OnnxClassifier`` for what it raises."""
    return OnnxClassifier(bundle, options)


def _open_session(bundle: ClassifierBundle, options: ClassificationConfig) -> Any:
    content = bundle.read_model()
    try:
        return open_session(content, device=options.device, threads=options.threads, option="classification.device")
    except (ConfigError, ModelError):
        raise
    except Exception as error:  # ONNX Runtime has no common error class
        raise ModelError(f"{bundle.model_path} is not a network that can be run: {first_line(error)}") from error


def _check_input(session: Any, bundle: ClassifierBundle, expected: tuple[int, ...]) -> tuple[str, int]:
    """The input's name, and how many faces it takes at a time (0: any number)."""
    inputs = session.get_inputs()
    wanted = f"one float32 input (n, {', '.join(map(str, expected))})"
    if len(inputs) != 1:
        raise ModelError(f"{bundle.model_path}: {len(inputs)} inputs found, the bundle needs {wanted}")
    shape, kind = inputs[0].shape, inputs[0].type
    fits = len(shape) == 1 + len(expected) and all(
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
