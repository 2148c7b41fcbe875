import hashlib
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from fertrack.errors import ModelError, WeightsError
from fertrack.models.bundle import load_bundle
from fertrack.types import EXPRESSIONS

WEIGHTS = b"not really a network, but loading a bundle only hashes it"


def card() -> dict:
    return {
        "name": "tiny",
        "version": "3",
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
        "labels": ["anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"],
        "licence": "MIT",
        "training_data": "none",
        "input": {
            "size_px": 64,
            "template": [[20.0, 24.0], [44.0, 24.0], [32.0, 36.0], [24.0, 48.0], [40.0, 48.0]],
            "colour": "rgb",
            "layout": "NCHW",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
        "calibration": {
            "fitted_on": "nothing",
            "temperature": 1.5,
            "prior_strength": 0.75,
            "training_prior": dict(zip(EXPRESSIONS, (0.1, 0.05, 0.05, 0.3, 0.2, 0.1, 0.2), strict=True)),
            "biases": {"fear": -0.25},
            "thresholds": dict(zip(EXPRESSIONS, (0.31, 0.32, 0.33, 0.34, 0.35, 0.36, 0.37), strict=True)),
        },
    }


def write(folder: Path, content: dict) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(WEIGHTS)
    (folder / "bundle.toml").write_text(tomli_w.dumps(content))
    return folder


def test_the_default_bundle_is_complete_and_verified() -> None:
    bundle = load_bundle("default")
    assert bundle.model_path.stat().st_size == 7_579_743
    assert bundle.fingerprint == "ferplus-compact 6 sha256:1b2c4686"
    assert bundle.card.labels == EXPRESSIONS
    assert bundle.card.licence == "MIT"
    assert "FER2013" in bundle.card.training_data
    assert bundle.card.measured
    calibration = bundle.calibration
    assert calibration.calibrated
    assert calibration.training_prior == (0.1262, 0.0231, 0.0068, 0.2667, 0.1245, 0.0874, 0.3653)
    assert all(0.2 < threshold < 0.9 for threshold in calibration.thresholds)


def test_the_default_bundle_learned_from_nothing_that_is_for_research_only() -> None:
    card = load_bundle("default").card
    assert card.release == "any"
    assert not [source for source in card.sources if source.terms == "research"]
    assert card.taught_by == ("ferplus-research 1 (learned from images for research only)",), "and says who taught it"


@pytest.mark.parametrize("way", ["folder", "text", "toml"])
def test_a_bundle_is_found_by_its_folder_or_its_card(tmp_path: Path, way: str) -> None:
    folder = write(tmp_path / "mine", card())
    bundle = load_bundle({"folder": folder, "text": str(folder), "toml": folder / "bundle.toml"}[way])
    assert bundle.card.name == "tiny"
    assert bundle.read_model() == WEIGHTS


def test_labels_in_another_order_are_mapped(tmp_path: Path) -> None:
    bundle = load_bundle(write(tmp_path / "b", card()))
    assert [bundle.card.labels[column] for column in bundle.label_columns] == list(EXPRESSIONS)
    assert bundle.label_columns == [6, 2, 1, 3, 5, 0, 4]


def test_calibration_is_in_the_programs_order(tmp_path: Path) -> None:
    calibration = load_bundle(write(tmp_path / "b", card())).calibration
    assert calibration.classifier == "tiny 3"
    assert calibration.temperature == 1.5
    assert calibration.prior_strength == 0.75
    assert calibration.training_prior == (0.1, 0.05, 0.05, 0.3, 0.2, 0.1, 0.2)
    assert calibration.biases == (0.0, -0.25, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert calibration.thresholds == (0.31, 0.32, 0.33, 0.34, 0.35, 0.36, 0.37)


def test_without_calibration_it_is_neutral_and_says_so(tmp_path: Path) -> None:
    content = card()
    del content["calibration"]
    calibration = load_bundle(write(tmp_path / "b", content)).calibration
    assert not calibration.calibrated
    assert calibration.temperature == 1.0
    assert calibration.prior_strength == 0.0


def test_the_template_is_read_only(tmp_path: Path) -> None:
    template = load_bundle(write(tmp_path / "b", card())).template
    assert template.dtype == np.float32
    assert template[2].tolist() == [32.0, 36.0]
    with pytest.raises(ValueError, match="read-only"):
        template[0, 0] = 0.0


def test_another_file_than_the_card_names_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "b", card())
    (folder / "model.onnx").write_bytes(WEIGHTS[:-1] + b"!")
    with pytest.raises(WeightsError, match=r"model.onnx is not the file its bundle names: sha256 .* expected"):
        load_bundle(folder)


def test_weights_exchanged_after_loading_are_refused_too(tmp_path: Path) -> None:
    bundle = load_bundle(write(tmp_path / "b", card()))
    bundle.model_path.write_bytes(b"other")
    with pytest.raises(WeightsError, match="is not the file"):
        bundle.read_model()


def test_a_missing_network_is_a_weights_error(tmp_path: Path) -> None:
    folder = write(tmp_path / "b", card())
    (folder / "model.onnx").unlink()
    with pytest.raises(WeightsError, match=r"model\.onnx is missing"):
        load_bundle(folder)
    (folder / "model.onnx").mkdir()
    with pytest.raises(WeightsError, match="cannot be read"):
        load_bundle(folder)


def test_what_is_not_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no classifier bundle 'defualt'"):
        load_bundle("defualt")
    with pytest.raises(ModelError, match=r"bundle\.toml is missing"):
        load_bundle(tmp_path)
    (tmp_path / "model.onnx").write_bytes(WEIGHTS)
    with pytest.raises(ModelError, match=r"nothing says what .*model\.onnx expects.* fertrack models describe"):
        load_bundle(tmp_path / "model.onnx")
    (tmp_path / "bundle.toml").mkdir()
    with pytest.raises(ModelError, match="cannot be read"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("content", [b"name = ", b"name = '\xff'"])
def test_a_card_that_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bundle.toml").write_bytes(content)
    with pytest.raises(ModelError, match=r"bundle\.toml is not TOML"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("labels", ["anger"] * 6, "labels: 7 labels are needed, got 6"),
        ("labels", [*EXPRESSIONS[:6], "happy"], "labels: unknown expression 'happy'; the names are surprise, fear"),
        ("labels", [*EXPRESSIONS[:6], "fear"], "labels: 'fear' stands twice"),
        ("labels", [*EXPRESSIONS, "fear"], "labels: 7 labels are needed, got 8"),
        ("sha256", "01da", "sha256: string should match"),
        ("model", "../model.onnx", "model: string should match"),
        ("colour", "gray", "colour: extra inputs are not permitted"),
        ("input.mean", [0.5], "input: a rgb input needs 3 mean and std values, got 1 and 3"),
        ("input.std", [0.2, 0.0, 0.2], "input.std.1: input should be greater than 0"),
        ("input.template", [[1.0, 2.0]] * 4, "input.template.4: field required"),
        ("input.template", [[1.0, 65.0]] * 5, "points must lie inside the crop of 64 px"),
        ("input.colour", "hsv", "input.colour: input should be 'gray', 'rgb' or 'bgr'"),
        ("calibration.training_prior", {"fear": 1.0}, "calibration.training_prior: a prior must give all seven"),
        ("calibration.thresholds", {"fear": 0.5}, "a threshold is missing for surprise, disgust"),
        ("calibration.temperature", -1.0, "calibration.temperature: input should be greater"),
        ("calibration.biases", {"joy": 1.0}, "calibration.biases.joy: input should be 'surprise'"),
    ],
)
def test_a_wrong_fact_is_one_clear_sentence(tmp_path: Path, place: str, value: object, message: str) -> None:
    content = card()
    *tables, key = place.split(".")
    table = content
    for name in tables:
        table = table[name]
    table[key] = value
    with pytest.raises(ModelError) as caught:
        load_bundle(write(tmp_path / "b", content))
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_fact_is_named_and_others_are_counted(tmp_path: Path) -> None:
    content = card()
    del content["licence"], content["training_data"]
    with pytest.raises(ModelError, match=r"licence: field required \(and 1 more\)"):
        load_bundle(write(tmp_path / "b", content))


def test_a_folder_called_default_does_not_take_the_defaults_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "default", card())
    monkeypatch.chdir(tmp_path)
    assert load_bundle("default").card.name == "ferplus-compact"
    assert load_bundle("./default").card.name == "tiny"


def test_the_shipped_card_has_no_fact_the_schema_does_not_know() -> None:
    bundle = load_bundle("default")
    content = tomllib.loads((bundle.folder / "bundle.toml").read_text())
    assert content["sha256"] == hashlib.sha256(bundle.read_model()).hexdigest()
    assert content["input"]["size_px"] == bundle.card.input.size_px
