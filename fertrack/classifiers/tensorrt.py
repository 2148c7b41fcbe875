"""Runs a classifier bundle's TensorRT engine on an NVIDIA GPU. Needs tensorrt and a PyTorch with CUDA."""

from __future__ import annotations

import threading
from typing import Any

from fertrack.classifiers.base import BundleClassifier
from fertrack.classifiers.config import ClassificationConfig
from fertrack.errors import ConfigError, FertrackError, MissingExtraError, ModelError, first_line
from fertrack.models.bundle import ClassifierBundle
from fertrack.types import EXPRESSIONS, FloatArray

__all__ = ["Options", "TensorrtClassifier", "build"]

Options = ClassificationConfig

_FACES = 8


class TensorrtClassifier(BundleClassifier):
    """An expression classifier as a TensorRT engine. Safe to call from several threads at once; they take turns."""

    def __init__(self, bundle: ClassifierBundle, options: ClassificationConfig | None = None) -> None:
        """Load the engine.

        Args:
            bundle: the engine and what it expects.
            options: device, and whether programs may be run: an engine is one.

        Raises:
            ConfigError: the engine may not be run, or another device than the GPU is asked for.
            WeightsError: the engine's file is missing or its hash differs.
            ModelError: the engine is of another GPU or version, or not what the bundle says.
            FertrackError: tensorrt, or a PyTorch that sees a GPU, is not installed.
        """
        options = options or ClassificationConfig()
        if not options.trust_code:
            raise ConfigError(
                f"{bundle.model_path} is a TensorRT engine, and loading it can run code; allow it with "
                "--set classification.trust_code=true if you trust its maker"
            )
        if options.device not in ("auto", "cuda", "tensorrt"):
            raise ConfigError(
                f"classification.device = {options.device!r} is not available for {bundle.model_path.name}: an engine "
                "runs on an NVIDIA GPU; use classification.device = tensorrt, or another bundle"
            )
        super().__init__(bundle, options.threads, "cuda")
        self._tensorrt, self._torch = _libraries()
        self._turn = threading.Lock()
        self._open(bundle.read_model())
        self._ready(_FACES)

    def _open(self, content: bytes) -> None:
        trt = self._tensorrt
        try:
            self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
            self._engine = self._runtime.deserialize_cuda_engine(content)
            self._context = self._engine.create_execution_context()
            names = [self._engine.get_tensor_name(place) for place in range(self._engine.num_io_tensors)]
            self._input, self._output = names
        except Exception as error:  # of pybind11, of no common base; None where the engine is of another version
            raise ModelError(
                f"{self.bundle.model_path} does not run with this GPU and TensorRT {trt.__version__} "
                f"({first_line(error)}); export it again on this machine"
            ) from error

    def _answer(self, block: FloatArray) -> Any:
        torch = self._torch
        with self._turn:
            pixels = torch.from_numpy(block).cuda().contiguous()
            logits = torch.empty((len(block), len(EXPRESSIONS)), dtype=torch.float32, device="cuda")
            self._context.set_input_shape(self._input, tuple(pixels.shape))
            self._context.set_tensor_address(self._input, pixels.data_ptr())
            self._context.set_tensor_address(self._output, logits.data_ptr())
            stream = torch.cuda.current_stream()
            if not self._context.execute_async_v3(stream.cuda_stream):
                raise ModelError(f"{self.fingerprint}: TensorRT could not run the engine")
            stream.synchronize()
            return logits.cpu().numpy()


def build(options: ClassificationConfig, bundle: ClassifierBundle) -> TensorrtClassifier:
    """The classifier of a bundle; see ``TensorrtClassifier`` for what it raises."""
    return TensorrtClassifier(bundle, options)


def _libraries() -> tuple[Any, Any]:
    try:
        import tensorrt
        import torch
    except ImportError as error:
        need = f"a TensorRT engine needs tensorrt and PyTorch with CUDA ({error})"
        hint = "install them where there is a GPU, or use another bundle"
        raise MissingExtraError(need, "torch", hint=hint) from error
    if not torch.cuda.is_available():
        raise FertrackError("a TensorRT engine needs an NVIDIA GPU that PyTorch sees; there is none here")
    return tensorrt, torch
