"""Cards of users' own weights, the presets, and the public loader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fertrack
from fertrack.cli.main import run
from fertrack.errors import ConfigError, FertrackError, ModelError, OutputExistsError, WeightsError
from fertrack.models.bundle import load_bundle
from fertrack.models.describe import LABEL_ORDERS, PRESETS, card_for, describe_model
from fertrack.types import EXPRESSIONS
from tests.support.classifier_bundles import orthogonal, transformer

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "my net (best).pth"
    path.write_bytes(b"only hashed")
    return path


@pytest.mark.parametrize("order", LABEL_ORDERS)
def test_every_order_has_all_seven(order: str) -> None:
    assert sorted(LABEL_ORDERS[order]) == sorted(EXPRESSIONS)


def test_presets_say_what_the_published_pipelines_did() -> None:
    rafdb, imagenet, fer2013 = (PRESETS[name] for name in ("rafdb", "imagenet", "fer2013"))
    assert np.round(rafdb.mean, 3).tolist() == [0.576, 0.45, 0.402]
    assert np.round(rafdb.std, 3).tolist() == [0.209, 0.191, 0.183]
    assert imagenet.std == (0.229, 0.224, 0.225)
    assert rafdb.template == imagenet.template == ((70, 96), (154, 96), (112, 128), (84, 164), (140, 164))
    assert LABEL_ORDERS[rafdb.labels][:3] == ("anger", "disgust", "fear")
    assert (fer2013.size_px, fer2013.colour, LABEL_ORDERS[fer2013.labels][-1]) == (64, "gray", "neutral")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_described_file_is_a_bundle(weights: Path, preset: str) -> None:
    card = describe_model(weights, preset)
    assert card.name == "my net (best).pth.toml"
    for given in (weights, card):
        bundle = load_bundle(given)
        assert bundle.model_path == weights
        assert bundle.card.name == "my-net-best"
        assert bundle.card.labels == LABEL_ORDERS[PRESETS[preset].labels]
        assert bundle.card.input.size_px == PRESETS[preset].size_px
        assert not bundle.calibration.calibrated


def test_what_is_said_overrules_the_preset(weights: Path) -> None:
    card = card_for(weights, "imagenet", labels="Surprise, fear, disgust, happy, sad, angry, neutral", size_px=112)
    assert card.labels == EXPRESSIONS
    assert card.input.template[0] == (35.0, 48.0)
    assert card.input.layout == "NCHW"


def test_keras_networks_take_channels_last_unless_a_head_is_in_front(tmp_path: Path) -> None:
    for name in ("net.keras", "net.hdf5", "orf.pth"):
        (tmp_path / name).write_bytes(b"x")
    assert card_for(tmp_path / "net.keras", "fer2013").input.layout == "NHWC"
    assert card_for(tmp_path / "net.hdf5", "fer2013").input.layout == "NHWC"
    behind = card_for(tmp_path / "net.keras", "rafdb", head=tmp_path / "orf.pth", rename={"backbone.": "trunk."})
    assert behind.input.layout == "NCHW"
    assert behind.head is not None
    assert behind.head.rename == {"backbone.": "trunk."}
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "orf.pth").write_bytes(b"x")
    with pytest.raises(ConfigError, match="must lie in the same folder"):
        card_for(tmp_path / "net.keras", "rafdb", head=tmp_path / "sub" / "orf.pth")


def test_what_cannot_be_is_one_sentence(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no preset 'rafbd'; there are rafdb, imagenet, fer2013"):
        card_for(weights, "rafbd")
    with pytest.raises(ConfigError, match="there is no order of labels 'alphabet'"):
        card_for(weights, "rafdb", labels="alphabet")
    with pytest.raises(ConfigError, match="labels: 7 labels are needed, got 2"):
        card_for(weights, "rafdb", labels="fear, anger")
    with pytest.raises(ConfigError, match=r"input\.size_px"):
        card_for(weights, "rafdb", size_px=5000)
    with pytest.raises(WeightsError, match=r"absent\.pth is missing"):
        card_for(tmp_path / "absent.pth", "rafdb")
    describe_model(weights, "rafdb")
    with pytest.raises(OutputExistsError, match="give --overwrite"):
        describe_model(weights, "imagenet")
    describe_model(weights, "imagenet", overwrite=True)
    assert load_bundle(weights).card.input.mean[0] == 0.485
    with pytest.raises(ConfigError, match="the card must lie beside"):
        describe_model(weights, "rafdb", out=tmp_path / "sub" / "card.toml")
    (tmp_path / "way.toml").mkdir()
    with pytest.raises(FertrackError, match="cannot write"):
        describe_model(weights, "rafdb", out=tmp_path / "way.toml", overwrite=True)


def test_the_command_writes_the_card(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["models", "describe", str(weights), "--preset", "rafdb", "--labels", "rafdb", "--licence", "CC0-1.0"]
    assert run(arguments) == 0
    assert capsys.readouterr().out.strip().endswith(".pth.toml")
    assert load_bundle(weights).card.labels == EXPRESSIONS
    assert load_bundle(weights).card.licence == "CC0-1.0"
    assert run(arguments) == 1
    assert (
        run(["models", "describe", str(weights), "--preset", "rafdb", "--overwrite", "--architecture", "resnet"]) == 2
    )
    assert "architecture" in capsys.readouterr().err


def test_the_public_loaders(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(orthogonal().state_dict(), tmp_path / "orf.pth")
    torch.save(transformer().state_dict(), tmp_path / "qvit.pth")
    assert fertrack.load_orf_model(tmp_path / "orf.pth").tokens(torch.zeros(1, 3, 64, 64)).shape == (1, 64, 4)
    crops = np.zeros((2, 64, 64, 3), np.uint8)
    alone = fertrack.load_emotion_model(tmp_path / "orf.pth", "rafdb", size_px=64)
    behind = fertrack.load_emotion_model(str(tmp_path / "qvit.pth"), "rafdb", size_px=64, head=tmp_path / "orf.pth")
    assert alone.logits(crops).shape == behind.logits(crops).shape == (2, 7)
    assert np.abs(alone.logits(crops) - behind.logits(crops)).max() > 1e-3
    assert fertrack.load_emotion_model("default").crop_size == 64
    with pytest.raises(ModelError, match="fertrack models describe"):
        fertrack.load_emotion_model(tmp_path / "orf.pth")
    with pytest.raises(TypeError, match="labels can only be given together with a preset"):
        fertrack.load_emotion_model(tmp_path / "orf.pth", labels="rafdb")
