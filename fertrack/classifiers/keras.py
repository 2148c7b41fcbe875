"""Runs a classifier bundle with Keras (``.keras``, ``.h5``, ``.hdf5``) or as a TensorFlow SavedModel (a folder).

Needs ``pip install 'fertrack[tensorflow]'``, or for Keras files ``'fertrack[keras]'``, which runs them on PyTorch. The
network runs in a process of its own (``fertrack.models.keras_process``).
"""

from __future__ import annotations

from typing import Any

from fertrack.classifiers.base import BundleClassifier
from fertrack.classifiers.config import ClassificationConfig
from fertrack.errors import ConfigError, ModelError
from fertrack.models.bundle import ClassifierBundle
from fertrack.models.keras_process import KerasProcess
from fertrack.types import EXPRESSIONS, FloatArray

__all__ = ["KerasClassifier", "Options", "build"]

Options = ClassificationConfig


class KerasClassifier(BundleClassifier):
    """An expression classifier as a Keras network. Safe to call from several threads at once: they take turns.

    Attributes:
        runtime: what runs it, for people: "Keras 3.15.1 on torch".
    """

    def __init__(self, bundle: ClassifierBundle, options: ClassificationConfig | None = None) -> None:
        """Load the network.

        Args:
            bundle: the network and what it expects.
            options: threads, and whether programs may be run.

        Raises:
            ConfigError: another device than the CPU is asked for, or the network is a program and may not be run.
            WeightsError: a file is missing or its hash differs.
            ModelError: the file is no Keras network, contains code, or does not take or answer what the bundle says.
            FertrackError: Keras is not installed.
        """
        options = options or ClassificationConfig()
        is_program = bundle.model_path.is_dir()
        if is_program and not options.trust_code:
            raise ConfigError(
                f"{bundle.model_path} is a TensorFlow SavedModel, and loading it runs its code; allow it with "
                "--set classification.trust_code=true if you trust its maker"
            )
        if options.device not in {"cpu", "auto"}:
            raise ConfigError(
                f"classification.device = {options.device!r} is not available for Keras networks; use cpu, or convert "
                "the network to ONNX"
            )
        super().__init__(bundle, options.threads, options.device)
        bundle.verify()
        self._process = KerasProcess(
            bundle.model_path, "saved-model" if is_program else "keras", threads=options.threads
        )
        self.runtime = self._process.runtime
        try:
            self._check_shapes()
            self._ready(self._process.input_shape[0] or 1)
        except ModelError:
            self.close()
            raise

    def close(self) -> None:
        """End the process that runs the network; may be called more than once."""
        self._process.close()

    def _answer(self, block: FloatArray) -> Any:
        return self._process.run(block)

    def _check_shapes(self) -> None:
        found, wanted = self._process.input_shape, self.network_shape
        if len(found) != 1 + len(wanted) or any(
            size not in {None, needed} for size, needed in zip(found[1:], wanted, strict=True)
        ):
            raise ModelError(
                f"{self.bundle.model_path}: input is {_shape(found)}, its card says {_shape([None, *wanted])}"
            )
        made = self._process.output_shape
        if len(made) != 2 or made[1] not in {None, len(EXPRESSIONS)}:
            raise ModelError(f"{self.bundle.model_path}: output is {_shape(made)}, (n, {len(EXPRESSIONS)}) is needed")


def build(options: ClassificationConfig, bundle: ClassifierBundle) -> KerasClassifier:
    """The classifier of a bundle; see ``KerasClassifier`` for what it raises."""
    return KerasClassifier(bundle, options)


def _shape(sizes: list[int | None]) -> str:
    return f"({', '.join('n' if size is None else str(size) for size in sizes)})"
