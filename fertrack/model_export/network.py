"""A classifier's network in other formats: from ONNX or PyTorch to ONNX, INT8, TorchScript, TFLite and TensorRT.

Only conversion is here, bytes to bytes. ``fertrack.model_export.export`` writes bundles and compares what they answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Literal

from fertrack.errors import MissingExtraError, ModelError
from fertrack.models.bundle import ClassifierBundle
from fertrack.types import FloatArray

__all__ = ["FORMATS", "ExportFormat", "SourceNetwork"]

ExportFormat = Literal["onnx", "onnx-int8", "torchscript", "tflite", "tensorrt"]

FORMATS: Mapping[ExportFormat, str] = MappingProxyType(
    {
        "onnx": "model.onnx",
        "onnx-int8": "model.onnx",
        "torchscript": "model.torchscript",
        "tflite": "model.tflite",
        "tensorrt": "model.engine",
    }
)
"""Name of the network's file in the bundle, by format."""

_WEIGHTS = {".pt", ".pth", ".safetensors"}


class SourceNetwork:
    """The network of a bundle as ONNX and as a PyTorch module, each made when first asked for.

    Attributes:
        bundle: where it comes from.
    """

    def __init__(self, bundle: ClassifierBundle) -> None:
        """Take a bundle whose network is an ONNX file, or weights of a PyTorch network that fertrack has code for.

        A feature head and the PyTorch classifier behind it are one network.

        Raises:
            ModelError: its network is of another kind, or an ONNX file behind a feature head.
        """
        suffix = PurePath(bundle.card.model).suffix.lower()
        if suffix not in {".onnx", *_WEIGHTS}:
            raise ModelError(
                f"{bundle.model_path}: exports are made from ONNX files and from PyTorch weights, not from {suffix} "
                "files; export the bundle it was made of"
            )
        if bundle.card.head is not None and suffix == ".onnx":
            raise ModelError(
                f"{bundle.model_path} stands behind a PyTorch feature head, and an ONNX file cannot be exported "
                "together with one; export from the PyTorch weights it was made of"
            )
        self.bundle = bundle
        self._is_onnx = suffix == ".onnx"
        self._onnx: bytes | None = None
        self._module: Any = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one face as the network takes it."""
        card = self.bundle.card.input
        if card.layout == "NCHW":
            return card.channels, card.size_px, card.size_px
        return card.size_px, card.size_px, card.channels

    @property
    def onnx(self) -> bytes:
        """The network as an ONNX file that ONNX's checker accepts.

        Raises:
            ModelError: the file is not valid, or PyTorch cannot export the network.
            FertrackError: PyTorch or its exporter is needed and not installed.
        """
        from fertrack.model_export.onnx import checked, from_module

        if self._onnx is None:
            if self._is_onnx:
                self._onnx = checked(self.bundle.read_model(), str(self.bundle.model_path))
            else:
                self._onnx = from_module(self.module, self.shape)
        return self._onnx

    @property
    def module(self) -> Any:
        """The network as a ``torch.nn.Module`` in inference mode.

        Raises:
            ModelError: an operator of the ONNX file cannot be rebuilt, or the weights are of another network.
            FertrackError: PyTorch is not installed.
        """
        if self._module is None:
            self._module = self._rebuilt() if self._is_onnx else self._from_weights()
        return self._module

    def converted(self, target: ExportFormat, faces: FloatArray) -> bytes:
        """The network's file in another format.

        Args:
            target: format wanted.
            faces: float32 (N, ...), faces as the network takes them, to find the ranges of eight-bit arithmetic by.

        Raises:
            ModelError: the network cannot be had in that format.
            FertrackError: something the format needs is not installed.
        """
        if target == "onnx":
            return self.onnx
        if target == "onnx-int8":
            from fertrack.model_export.onnx import quantised

            return quantised(self.onnx, faces)
        if target == "tensorrt":
            from fertrack.model_export.tensorrt import to_engine

            return to_engine(self.onnx, self.shape)
        from fertrack.model_export import torchscript as scripted

        if target == "torchscript":
            return scripted.to_torchscript(self.module, self.shape)
        return scripted.to_tflite(self.module, self.shape)

    def _rebuilt(self) -> Any:
        try:
            import torch  # noqa: F401  # asked for here, so that the sentence is ours
        except ImportError as error:
            raise MissingExtraError("this export needs PyTorch", "torch") from error
        from fertrack.model_export.onnx_to_torch import rebuild

        return rebuild(self.onnx)

    def _from_weights(self) -> Any:
        from fertrack.models.checkpoint import import_torch, is_torchscript, parse_state
        from fertrack.models.networks.architectures import build_network

        torch, content, card = import_torch("this export"), self.bundle.read_model(), self.bundle.card
        path = self.bundle.model_path
        if is_torchscript(content):
            raise ModelError(f"{path} is a TorchScript program; export the bundle it was made of, or its weights")
        network = build_network(parse_state(torch, content, path), path, card.architecture, card.rename)
        return network if card.head is None else self._behind_head(torch, network)

    def _behind_head(self, torch: Any, network: Any) -> Any:
        """Feature head, 4-stack and classifier as one module, from pixels to logits."""
        from fertrack.models.networks.architectures import load_orf_model

        card, path = self.bundle.card.head, self.bundle.head_path
        if card is None or path is None:  # not so: asked for only where there is one
            raise ValueError(f"{self.bundle.folder}: the bundle names no feature head")
        head = load_orf_model(path, architecture=card.architecture, rename=card.rename, sha256=card.sha256)

        class Together(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
            def __init__(self) -> None:
                super().__init__()
                self.head, self.classifier = head, network

            def forward(self, pixels: Any) -> Any:
                return self.classifier(self.head.tokens(pixels))

        return Together().eval()
