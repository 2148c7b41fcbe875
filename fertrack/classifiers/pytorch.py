"""Runs a classifier bundle with PyTorch: weights of the networks in ``fertrack.models``, or TorchScript programs.

Needs PyTorch (``pip install 'fertrack[torch]'``).
"""

from __future__ import annotations

import io
from functools import partial
from typing import Any

from fertrack.classifiers.base import BundleClassifier
from fertrack.classifiers.config import ClassificationConfig
from fertrack.errors import ConfigError, ModelError, first_line
from fertrack.models.bundle import ClassifierBundle
from fertrack.models.checkpoint import import_torch, is_torchscript, parse_state
from fertrack.models.networks.architectures import build_network
from fertrack.models.torch_runtime import inference, torch_device
from fertrack.types import FloatArray

__all__ = ["Options", "PytorchClassifier", "build"]

Options = ClassificationConfig


class PytorchClassifier(BundleClassifier):
    """An expression classifier as a PyTorch network. Safe to call from several threads at once."""

    def __init__(self, bundle: ClassifierBundle, options: ClassificationConfig | None = None) -> None:
        """Load the network.

        Args:
            bundle: the network and what it expects.
            options: device, threads, and whether programs may be run.

        Raises:
            ConfigError: the device is not available here, or the file is a program and may not be run.
            WeightsError: a file is missing, its hash differs, or it holds more than arrays.
            ModelError: the weights are of another network, or it does not take or answer what the bundle says.
            FertrackError: PyTorch is not installed.
        """
        options = options or ClassificationConfig()
        super().__init__(bundle, options.threads, options.device)
        self._threads = options.threads
        self._torch: Any = import_torch("a PyTorch network")
        self._device = torch_device(self._torch, options.device)
        content = bundle.read_model()
        looks = False  # programs take pixels, whatever their parts are called
        if is_torchscript(content):
            self._network = _open_program(self._torch, content, bundle, options)
        else:
            state = parse_state(self._torch, content, bundle.model_path)
            card = bundle.card
            self._network = build_network(state, bundle.model_path, card.architecture, card.rename)
            looks = hasattr(self._network, "attention")
        self._network = self._network.to(self._device)
        self._looks_at_landmarks = looks
        if self._looks_at_landmarks and self._head is None:
            self.wants_landmarks = True
        self._ready(1)

    def _infer(self, pixels: FloatArray, landmarks: FloatArray) -> FloatArray:
        if self._head is None and self._looks_at_landmarks:
            return self._checked(self._guarded(partial(self._forward, pixels, landmarks)), len(pixels))
        return super()._infer(pixels, landmarks)

    def _answer(self, block: FloatArray) -> Any:
        return self._forward(block)

    def _forward(self, *inputs: FloatArray) -> Any:
        torch = self._torch
        with inference(torch, self._threads):
            answer = self._network(*(torch.from_numpy(values.copy()).to(self._device) for values in inputs))
        if not isinstance(answer, torch.Tensor):
            raise ModelError(
                f"{self.bundle.model_path}: the network answers with {type(answer).__name__}, one tensor is needed"
            )
        return answer.float().cpu().numpy()


def build(options: ClassificationConfig, bundle: ClassifierBundle) -> PytorchClassifier:
    """The classifier of a bundle; see ``PytorchClassifier`` for what it raises."""
    return PytorchClassifier(bundle, options)


def _open_program(torch: Any, content: bytes, bundle: ClassifierBundle, options: ClassificationConfig) -> Any:
    if not options.trust_code:
        raise ConfigError(
            f"{bundle.model_path} is a TorchScript program, and loading it runs its code; allow it with "
            "--set classification.trust_code=true if you trust its maker"
        )
    try:
        return torch.jit.load(io.BytesIO(content), map_location="cpu").eval()
    except Exception as error:  # damaged programs fail in many ways
        raise ModelError(f"{bundle.model_path} is not a TorchScript program: {first_line(error)}") from error
