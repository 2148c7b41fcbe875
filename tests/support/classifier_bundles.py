"""Small bundles of every kind, for the tests of the classifier adapters."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fertrack.models.bundle import ClassifierBundle, load_bundle, weights_sha256
from fertrack.types import EXPRESSIONS

TEMPLATE_224 = [[70.0, 96.0], [154.0, 96.0], [112.0, 128.0], [84.0, 164.0], [140.0, 164.0]]


def input_card(size: int = 64, **given: object) -> dict[str, Any]:
    scale = size / 224
    return {
        "size_px": size,
        "template": [[x * scale, y * scale] for x, y in TEMPLATE_224],
        "colour": "rgb",
        "layout": "NCHW",
        "mean": [0.576, 0.450, 0.402],
        "std": [0.209, 0.191, 0.183],
    } | given


def write_card(weights: Path, *, size: int = 64, head: Path | None = None, **given: Any) -> ClassifierBundle:
    """A card beside a weights file, and the bundle they make."""
    card: dict[str, Any] = {
        "name": "tiny",
        "version": "1",
        "model": weights.name,
        "sha256": weights_sha256(weights),
        "labels": list(EXPRESSIONS),
        "licence": "MIT",
        "training_data": "none",
        "input": input_card(size),
    }
    if head is not None:
        card["head"] = {"model": head.name, "sha256": hashlib.sha256(head.read_bytes()).hexdigest()}
    weights.with_name(f"{weights.name}.toml").write_text(tomli_w.dumps(card | given))
    return load_bundle(weights)


def warm(network: Any) -> Any:
    """A network with statistics of batch normalisation that are not the neutral ones, in inference mode."""
    import torch

    random = torch.Generator().manual_seed(11)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=random) * 0.1)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=random) + 0.5)
    return network.eval()


def orthogonal(channels: int = 16, width: int = 8) -> Any:
    """A small FeatureOrthogonal on a narrow ResNet-50."""
    import torch

    from fertrack.models.networks.feature_orthogonal import FeatureOrthogonal
    from fertrack.models.networks.resnet50 import ResNet50

    torch.manual_seed(1)
    trunk = ResNet50(width)
    return warm(FeatureOrthogonal(trunk, trunk.channels, channels))


def landmark_attention(channels: int = 8, width: int = 8) -> Any:
    import torch

    from fertrack.models.networks.landmark_attention import LandmarkAttention
    from fertrack.models.networks.resnet50 import ResNet50

    torch.manual_seed(2)
    return warm(LandmarkAttention(channels, trunk=ResNet50(width)))


def transformer(tokens: int = 64, token_size: int = 4) -> Any:
    import torch

    from fertrack.models.networks.quaternion_transformer import QuaternionTransformer

    torch.manual_seed(3)
    return QuaternionTransformer(tokens, token_size, width=16, heads=8, layers=2, hidden=(32, 16), head=(64, 32)).eval()


def save_torchscript(network: Any, example: Any, path: Path) -> Path:
    """The network as a TorchScript program. PyTorch calls the format deprecated; users have such files."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(network, example).save(str(path))
    return path


def pytorch_bundle(folder: Path) -> ClassifierBundle:
    torch = pytest.importorskip("torch")
    path = folder / "orf.pth"
    torch.save(orthogonal().state_dict(), path)
    return write_card(path)


_MAKE_KERAS_FILES = """
import sys, pathlib
import numpy as np
import keras
from keras import layers

folder = pathlib.Path(sys.argv[1])
keras.utils.set_random_seed(4)
pixels = keras.Input((48, 48, 1))
x = layers.Conv2D(4, 5, strides=4, activation="relu")(pixels)
x = layers.Conv2D(8, 3, strides=2)(layers.BatchNormalization()(x))
net = keras.Model(pixels, layers.Dense(7, activation="softmax")(layers.Flatten()(x)))
net.save(folder / "tiny.keras")
net.save(folder / "tiny.h5")
crops = np.random.default_rng(2).integers(0, 256, (3, 48, 48, 1), np.uint8)
np.save(folder / "crops.npy", np.repeat(crops, 3, axis=3))
np.save(folder / "probabilities.npy", net.predict(crops.astype(np.float32) / 127.5 - 1, verbose=0))

tokens = keras.Input((64, 4))
dense = layers.Dense(7)
keras.Model(tokens, dense(layers.Flatten()(tokens))).save(folder / "tokens.keras")
kernel, bias = dense.get_weights()
np.savez(folder / "tokens_weights.npz", kernel=kernel, bias=bias)

def own_loss(truth, answer):
    return keras.ops.mean(answer - truth)

row = keras.Sequential([keras.Input((48, 48, 1)), layers.Flatten(), layers.Dense(7, activation="softmax")])
row.compile(optimizer="adam", loss=own_loss, metrics=["accuracy"])
row.save(folder / "row.keras")
row.save(folder / "row.h5")
np.save(folder / "row.npy", row.predict(crops.astype(np.float32) / 127.5 - 1, verbose=0))

class Own(layers.Layer):
    def call(self, x):
        return 2 * x

made = keras.Model(tokens, layers.Dense(7)(layers.Flatten()(Own()(tokens))))
made.save(folder / "own.keras")
made.save(folder / "own.h5")

trap = str(folder / "touched")
inputs = keras.Input((4,))
made = keras.Model(inputs, layers.Lambda(lambda x: (open(trap, "w"), x)[1], output_shape=(4,))(inputs))
pathlib.Path(trap).unlink(missing_ok=True)
made.save(folder / "lambda.keras")
made.save(folder / "lambda.h5")
"""


def make_keras_files(folder: Path) -> Path:
    """Small Keras files, made by Keras in a process of its own (it is configured by its environment)."""
    from fertrack.models.keras_process import keras_backend

    environment = {**os.environ, "KERAS_BACKEND": keras_backend(), "KERAS_HOME": str(folder / "home")}
    program = [sys.executable, "-W", "ignore", "-c", _MAKE_KERAS_FILES, str(folder)]
    subprocess.run(program, env=environment, check=True, capture_output=True)
    return folder


def keras_bundle(folder: Path, name: str = "tiny.keras", *, size: int = 48, **given: Any) -> ClassifierBundle:
    """A Keras file of ``make_keras_files`` with its card."""
    if not (folder / name).exists():
        if importlib.util.find_spec("keras") is None:
            pytest.skip("keras is not installed")
        make_keras_files(folder)
    card = input_card(size, colour="gray", layout="NHWC", mean=[0.5], std=[0.5])
    return write_card(folder / name, **({"input": card, "output": "probabilities"} | given))


def default_bundle(_folder: Path) -> ClassifierBundle:
    return load_bundle("default")


def tflite_bundle(folder: Path) -> ClassifierBundle:
    from tests.classifiers.test_tflite import bundle, network  # skips where LiteRT is absent

    return bundle(folder, network())


def tensorrt_bundle(_folder: Path) -> ClassifierBundle:
    pytest.skip("a TensorRT engine is made for one GPU, on that GPU")


BUNDLES = {
    "onnx": default_bundle,
    "pytorch": pytorch_bundle,
    "keras": keras_bundle,
    "tflite": tflite_bundle,
    "tensorrt": tensorrt_bundle,
}
"""For each adapter, a function from an empty folder to a bundle that it runs."""
