"""The adapter of TFLite networks, with a network made by hand: logits = weights · pixels + bias."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tomli_w

from fertrack.classifiers import build_classifier
from fertrack.classifiers.base import preprocessor
from fertrack.classifiers.config import ClassificationConfig
from fertrack.errors import ConfigError, FertrackError, ModelError
from fertrack.models.bundle import ClassifierBundle, load_bundle
from fertrack.types import EXPRESSIONS
from tests.support.classifier_bundles import orthogonal, write_card

schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="LiteRT comes with fertrack[export]")

import flatbuffers  # noqa: E402 - comes with LiteRT

SIDE = 16
WEIGHTS = np.random.default_rng(1).normal(size=(7, SIDE * SIDE)).astype(np.float32) / SIDE
BIAS = np.arange(7, dtype=np.float32)


def tensor(name: str, shape: list[int], kind: int, buffer: int = 0) -> Any:
    made = schema.TensorT()
    made.name, made.shape, made.type, made.buffer = name.encode(), shape, kind, buffer
    return made


def operator(code: int, inputs: list[int], outputs: list[int], kind: int, options: Any) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = code, inputs, outputs
    made.builtinOptionsType, made.builtinOptions = kind, options
    return made


def network(classes: int = 7, faces: int = 1, shape: tuple[int, ...] = (1, SIDE, SIDE)) -> bytes:
    """A TFLite file: float32 (faces, *shape), flattened, times the weights, plus the bias."""
    float32, int32 = schema.TensorType.FLOAT32, schema.TensorType.INT32
    model, graph = schema.ModelT(), schema.SubGraphT()
    contents = [np.empty(0, np.uint8), np.array([faces, SIDE * SIDE], np.int32), WEIGHTS[:classes], BIAS[:classes]]
    model.version, model.buffers = 3, []
    for content in contents:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(content.tobytes(), np.uint8)
        model.buffers.append(buffer)
    graph.tensors = [
        tensor("crops", [faces, *shape], float32),
        tensor("shape", [2], int32, 1),
        tensor("rows", [faces, SIDE * SIDE], float32),
        tensor("weights", [classes, SIDE * SIDE], float32, 2),
        tensor("bias", [classes], float32, 3),
        tensor("logits", [faces, classes], float32),
    ]
    reshape, connected = schema.ReshapeOptionsT(), schema.FullyConnectedOptionsT()
    reshape.newShape = [faces, SIDE * SIDE]
    graph.operators = [
        operator(0, [0, 1], [2], schema.BuiltinOptions.ReshapeOptions, reshape),
        operator(1, [2, 3, 4], [5], schema.BuiltinOptions.FullyConnectedOptions, connected),
    ]
    graph.inputs, graph.outputs = [0], [5]
    model.subgraphs, model.operatorCodes = [graph], []
    for builtin in (schema.BuiltinOperator.RESHAPE, schema.BuiltinOperator.FULLY_CONNECTED):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = 1
        model.operatorCodes.append(code)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def bundle(folder: Path, content: bytes) -> ClassifierBundle:
    card = {
        "name": "probe",
        "version": "1",
        "model": "model.tflite",
        "sha256": hashlib.sha256(content).hexdigest(),
        "labels": list(EXPRESSIONS),
        "licence": "MIT",
        "training_data": "none",
        "input": {
            "size_px": SIDE,
            "template": [[5.0, 6.0], [11.0, 6.0], [8.0, 9.0], [6.0, 12.0], [10.0, 12.0]],
            "colour": "gray",
            "layout": "NCHW",
            "mean": [0.5],
            "std": [0.25],
        },
    }
    (folder / "model.tflite").write_bytes(content)
    (folder / "bundle.toml").write_text(tomli_w.dumps(card))
    return load_bundle(folder)


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


@pytest.mark.parametrize("faces", [1, 4])
def test_it_computes_what_the_network_says(tmp_path: Path, faces: int) -> None:
    classifier = build_classifier(ClassificationConfig(), bundle(tmp_path, network(faces=faces)))
    shown = crops(6)
    gray = np.stack([cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY) for crop in shown]).reshape(6, -1)
    expected = (gray / 255 - 0.5) / 0.25 @ WEIGHTS.T + BIAS
    np.testing.assert_allclose(classifier.logits(shown), expected, atol=1e-4)


def test_threads_do_not_share_an_interpreter(tmp_path: Path) -> None:
    classifier = build_classifier(ClassificationConfig(), bundle(tmp_path, network()))
    shown = crops(8)
    expected = classifier.logits(shown)
    with ThreadPoolExecutor(4) as pool:
        for row, logits in enumerate(pool.map(lambda row: classifier.logits(shown[row % 8][None]), range(64))):
            np.testing.assert_array_equal(logits[0], expected[row % 8])


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no network at all", "not a network that can be run"), (network(classes=5), r"float32 \[1, 5\].*needs")],
)
def test_another_network_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_classifier(ClassificationConfig(), bundle(tmp_path, content))


def test_it_runs_on_the_cpu_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TFLite networks run on the CPU here; use cpu, or export"):
        build_classifier(ClassificationConfig(device="cuda"), bundle(tmp_path, network()))


def test_an_engine_is_a_program(tmp_path: Path) -> None:
    made = bundle(tmp_path, network())
    made.model_path.rename(tmp_path / "model.engine")
    card = tmp_path / "bundle.toml"
    card.write_text(card.read_text().replace("model.tflite", "model.engine"))
    engine = load_bundle(tmp_path)
    with pytest.raises(ConfigError, match=r"classification\.trust_code=true"):
        build_classifier(ClassificationConfig(), engine)
    with pytest.raises(ConfigError, match="runs on an NVIDIA GPU"):
        build_classifier(ClassificationConfig(trust_code=True), engine)
    with pytest.raises(FertrackError, match="TensorRT engine"):
        build_classifier(ClassificationConfig(trust_code=True, device="tensorrt"), engine)


def test_it_takes_the_tokens_of_a_feature_head_too(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    head = orthogonal(channels=16)  # of a crop of 64 px it makes 64 tokens of 4
    torch.save(head.state_dict(), tmp_path / "orf.pth")
    (tmp_path / "net.tflite").write_bytes(network(shape=(64, 4)))
    described = write_card(tmp_path / "net.tflite", head=tmp_path / "orf.pth")
    pictures = np.random.default_rng(4).integers(0, 256, (2, 64, 64, 3), np.uint8)
    found = build_classifier(ClassificationConfig(), described).logits(pictures)
    with torch.no_grad():
        tokens = head.tokens(torch.from_numpy(preprocessor(described.card.input)(pictures))).numpy()
    np.testing.assert_allclose(found, tokens.reshape(2, -1) @ WEIGHTS.T + BIAS, atol=1e-3)
