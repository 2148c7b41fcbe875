"""Expression classifiers, one adapter a file; the suffix of a bundle's network chooses the adapter.

Reading order::

    config        options: bundle, device, threads
    base          batching, normalisation and calibration that all adapters share
    onnx          ONNX Runtime, the default
    pytorch       PyTorch weights and TorchScript
    keras         Keras files and TensorFlow SavedModels
    tflite        LiteRT
    tensorrt      TensorRT engines
    feature_head  a feature network in front of a classifier of features
    loading       ``load_emotion_model``: a stranger's weights as a classifier
"""

from __future__ import annotations

import importlib
from pathlib import PurePath

from fertrack.classifiers.config import ClassificationConfig
from fertrack.errors import ModelError
from fertrack.models.bundle import ClassifierBundle, load_bundle
from fertrack.protocols import Classifier

__all__ = ["build_classifier"]

_ADAPTERS = {
    ".onnx": "onnx",
    ".tflite": "tflite",
    ".engine": "tensorrt",
    ".pt": "pytorch",
    ".pth": "pytorch",
    ".safetensors": "pytorch",
    ".torchscript": "pytorch",
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
}
"""Suffix of the network's file to the module that runs it: ``build(options, bundle) -> Classifier``."""

_FOLDER_ADAPTER = "keras"  # the only network that is a folder is a TensorFlow SavedModel


def build_classifier(options: ClassificationConfig, bundle: ClassifierBundle | None = None) -> Classifier:
    """Load the classifier that the options name.

    Args:
        options: bundle, device and threads.
        bundle: the bundle, where it is read already; otherwise ``options.bundle`` is.

    Raises:
        ConfigError: the device is not available, or the network is a program and may not be run.
        WeightsError: the network's file is missing or its hash differs.
        ModelError: there is no such bundle, nothing here runs its kind of network, or it is not what it says.
        FertrackError: what its kind of network is run with is not installed.
    """
    bundle = bundle or load_bundle(options.bundle)
    suffix = PurePath(bundle.card.model).suffix.lower()
    name = _FOLDER_ADAPTER if bundle.model_path.is_dir() else _ADAPTERS.get(suffix)
    if name is None:
        raise ModelError(f"{bundle.model_path}: networks are run from {', '.join(_ADAPTERS)} files, not from {suffix}")
    adapter = importlib.import_module(f"{__name__}.{name}")
    classifier: Classifier = adapter.build(options, bundle)
    return classifier
