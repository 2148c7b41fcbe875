"""Runs a classifier bundle with LiteRT, the runtime of TFLite files."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from fertrack.classifiers.base import BundleClassifier
from fertrack.classifiers.config import ClassificationConfig
from fertrack.errors import ConfigError, MissingExtraError, ModelError, first_line
from fertrack.models.bundle import ClassifierBundle
from fertrack.types import EXPRESSIONS, FloatArray

__all__ = ["Options", "TfliteClassifier", "build"]

Options = ClassificationConfig


class TfliteClassifier(BundleClassifier):
    """An expression classifier as a TFLite network, on the CPU. Safe to call from several threads at once.

    An interpreter holds its tensors, so each thread gets one of its own.
    """

    def __init__(self, bundle: ClassifierBundle, options: ClassificationConfig | None = None) -> None:
        """Load the network.

        Args:
            bundle: the network and what it expects.
            options: device ("cpu" or "auto") and threads.

        Raises:
            ConfigError: another device than the CPU is asked for.
            WeightsError: the network's file is missing or its hash differs.
            ModelError: the file is not a network, or its inputs and outputs are not what the bundle says.
            FertrackError: LiteRT is not installed.
        """
        options = options or ClassificationConfig()
        if options.device not in ("cpu", "auto"):
            raise ConfigError(
                f"classification.device = {options.device!r} is not available for {bundle.model_path.name}: TFLite "
                "networks run on the CPU here; use cpu, or export the classifier as onnx"
            )
        super().__init__(bundle, options.threads, options.device)
        self._threads = options.threads
        self._content = bundle.read_model()
        self._own = threading.local()
        self._make = _interpreter()
        interpreter = self._interpreter()
        self._ready(_check(interpreter, bundle, self.network_shape))

    def _answer(self, block: FloatArray) -> Any:
        interpreter = self._interpreter()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], block)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))

    def _interpreter(self) -> Any:
        interpreter = getattr(self._own, "interpreter", None)
        if interpreter is None:
            try:
                interpreter = self._make(model_content=self._content, num_threads=self._threads)
                interpreter.allocate_tensors()
            except Exception as error:  # LiteRT has no common error class
                raise ModelError(
                    f"{self.bundle.model_path} is not a network that can be run: {first_line(error)}"
                ) from error
            self._own.interpreter = interpreter
        return interpreter


def build(options: ClassificationConfig, bundle: ClassifierBundle) -> TfliteClassifier:
    """The classifier of a bundle; see ``TfliteClassifier`` for what it raises."""
    return TfliteClassifier(bundle, options)


def _interpreter() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingExtraError(f"TFLite networks need LiteRT, which cannot be imported ({error})", "export") from error
    return Interpreter


def _check(interpreter: Any, bundle: ClassifierBundle, expected: tuple[int, ...]) -> int:
    """Batch size of the network, once its input and output are found to match the bundle."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    fits = (
        len(inputs) == 1
        and inputs[0]["dtype"] is np.float32
        and tuple(inputs[0]["shape"][1:].tolist()) == expected
        and len(outputs) == 1
        and outputs[0]["shape"][-1] == len(EXPRESSIONS)
    )
    if not fits:
        found = "; ".join(f"{tensor['dtype'].__name__} {tensor['shape'].tolist()}" for tensor in (*inputs, *outputs))
        raise ModelError(
            f"{bundle.model_path}: inputs and outputs are {found}, the bundle needs float32 (n, "
            f"{', '.join(map(str, expected))}) and float32 (n, {len(EXPRESSIONS)})"
        )
    return int(inputs[0]["shape"][0])
