"""ONNX networks whose weights lie in a second file, as PyTorch's exporter writes them: run, and run verified."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fertrack.classifiers import build_classifier
from fertrack.classifiers.config import ClassificationConfig
from fertrack.errors import ModelError, WeightsError
from fertrack.model_export.export import FaceSample, export_model
from fertrack.models.bundle import load_bundle, weights_sha256
from fertrack.models.onnx_external_data import joined, parts_beside
from tests.support.classifier_bundles import input_card, write_card

SIDE = 16
KERNEL = np.random.default_rng(1).normal(size=(3 * SIDE * SIDE, 7)).astype(np.float32)
BIAS = np.arange(7, dtype=np.float32)


def network() -> onnx.ModelProto:
    """Flatten, then a linear layer; the bias is a tensor in an attribute, to be found there too."""
    bias = helper.make_node("Constant", [], ["b"], value=numpy_helper.from_array(BIAS))
    nodes = [bias, helper.make_node("Flatten", ["x"], ["rows"]), helper.make_node("Gemm", ["rows", "w", "b"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 7])],
        [numpy_helper.from_array(KERNEL, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save(folder: Path, **options: object) -> Path:
    folder.mkdir(exist_ok=True)
    given = {"save_as_external_data": True, "location": "net.onnx.data", "size_threshold": 0} | options
    onnx.save_model(network(), folder / "net.onnx", convert_attribute=True, **given)
    return folder / "net.onnx"


def crops() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)


def test_a_network_in_two_files_answers_as_in_one_wherever_the_program_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "two")
    assert path.stat().st_size < 1000
    monkeypatch.chdir(tmp_path)
    plain = input_card(SIDE, mean=[0.0] * 3, std=[1.0] * 3)
    found = build_classifier(ClassificationConfig(), write_card(path, input=plain)).logits(crops())
    expected = (crops()[..., ::-1] / 255).transpose(0, 3, 1, 2).reshape(3, -1) @ KERNEL + BIAS
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("all_tensors_to_one_file", [True, False])
def test_every_tensor_comes_home(tmp_path: Path, all_tensors_to_one_file: bool) -> None:
    path = save(tmp_path, all_tensors_to_one_file=all_tensors_to_one_file)
    content = path.read_bytes()
    parts = parts_beside(path, content)
    assert len(parts) == (1 if all_tensors_to_one_file else 2)
    whole = onnx.load_from_string(joined(path, content, parts))
    np.testing.assert_array_equal(numpy_helper.to_array(whole.graph.initializer[0]), KERNEL)
    np.testing.assert_array_equal(numpy_helper.to_array(whole.graph.node[0].attribute[0].t), BIAS)
    onnx.checker.check_model(whole, full_check=True)


def test_weights_exchanged_in_the_second_file_are_refused_even_in_the_folder_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime would have taken them from the folder that the program is started in, whatever the card says."""
    path = save(tmp_path)
    bundle = write_card(path, size=SIDE)
    data = path.with_name("net.onnx.data")
    data.write_bytes(bytes(len(data.read_bytes())))
    monkeypatch.chdir(tmp_path)
    for load in (lambda: load_bundle(path), bundle.verify, bundle.read_model):
        with pytest.raises(WeightsError, match=r"net\.onnx is not the file its bundle names"):
            load()
    data.unlink()
    with pytest.raises(WeightsError, match=r"keeps its weights in net\.onnx\.data, which is missing; put it beside"):
        load_bundle(path)


@pytest.mark.parametrize("name", ["../net.onnx.data", "/etc/passwd", "..", "a\\b", ""])
def test_weights_elsewhere_are_never_read(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "in")
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = name
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match="which is no file beside it") as caught:
        weights_sha256(path)
    assert "\n" not in str(caught.value)


def test_a_second_file_that_is_too_short_is_one_sentence(tmp_path: Path) -> None:
    path = save(tmp_path)
    data = path.with_name("net.onnx.data")
    data.write_bytes(data.read_bytes()[:-9000])
    bundle = write_card(path, size=SIDE)
    with pytest.raises(ModelError, match=r"cannot be put together: net\.onnx\.data is cut short") as caught:
        build_classifier(ClassificationConfig(), bundle)
    assert "\n" not in str(caught.value)


def test_an_export_of_it_is_one_file(tmp_path: Path) -> None:
    path = save(tmp_path)
    write_card(path, size=SIDE)
    done = export_model(path, "onnx", tmp_path / "out", data=FaceSample("noise", crops(), np.empty(0, np.int64)))
    assert sorted(file.name for file in done.folder.iterdir()) == ["bundle.toml", "model.onnx", "parity.json"]
    assert done.parity.max_logit_difference == 0


def test_a_file_that_is_complete_is_hashed_as_it_is(tmp_path: Path) -> None:
    path = save(tmp_path, save_as_external_data=False)
    assert weights_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"no network, but the word location is in it")
    assert weights_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
