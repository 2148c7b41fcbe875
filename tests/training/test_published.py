"""Training of the published architecture: its loss, what it begins with, resuming, and the bundle that it ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fertrack.classifiers.config import ClassificationConfig
from fertrack.errors import ConfigError, FertrackError, ModelError, WeightsError
from fertrack.imaging.alignment import DEFAULT_TEMPLATE, align_faces, aligned_landmarks
from fertrack.models.bundle import load_bundle
from fertrack.training.augment import augment, crop_faces, normalise
from fertrack.training.config import AugmentConfig, DataConfig, ScheduleConfig, TrainConfig, load_train_config
from fertrack.training.images import TrainingImages, load_images
from fertrack.training.schedule import learning_rate
from fertrack.training.views import view_of
from fertrack.types import Detections
from tests.support.paths import REPOSITORY
from tests.support.shaded_faces import write_shaded_faces

torch = pytest.importorskip("torch", reason="needs fertrack[train]")

POINTS = np.array(((34, 45), (65, 44), (50, 60), (38, 76), (62, 75)), np.float32)
COUNTER = "num_batches_tracked"  # never read when classifying
STILL = dict.fromkeys(AugmentConfig.model_fields, 0.0)


class Faces:
    """A detector that sees one face in bright pictures, at the same place, and none in dark ones."""

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        scale = 160 / 100
        points = ((POINTS + 0.5) * scale - 0.5 + 32)[None].astype(np.float32)
        one = Detections(np.array([[60, 60, 160, 160]], np.float32), np.ones(1, np.float32), points)
        return [one if image[100, 100].max() > 9 else Detections.empty() for image in images]


def picture(label: int, seed: int, side: int = 100) -> np.ndarray:
    image = np.random.default_rng(seed).integers(10, 90, (side, side, 3)).astype(np.uint8)
    image[side // 8 * label : side // 8 * (label + 1), :, label % 3] = 230
    return image


@pytest.fixture
def rafdb(tmp_path: Path) -> Path:
    """RAF-DB's layout in small: 21 pictures to learn, 7 to test with."""
    folder = tmp_path / "rafdb"
    (folder / "aligned").mkdir(parents=True)
    lines = []
    for part, count in (("train", 21), ("test", 7)):
        for number in range(count):
            name = f"{part}_{number:05d}"
            cv2.imwrite(str(folder / "aligned" / f"{name}_aligned.png"), picture(number % 7, number))
            lines.append(f"{name}.png {number % 7 + 1}")
    (folder / "list_partition_label.txt").write_text("\n".join(lines))
    return folder


def small(path: Path, kind: str, **changed: Any) -> TrainConfig:
    """A run of a network of the published shape, but narrow."""
    size_px = 224 if kind in ("landmark-attention", "la-qvit") else 64
    transformer = {"layers": 1, "dense": (16, 8)} if "qvit" in kind else {}
    return TrainConfig.model_validate(
        {
            "name": "small",
            "data": {"path": str(path), "size_px": size_px, "validation": 7, "balance": 0},
            "augmentation": STILL,
            "network": {"kind": kind, "channels": 4, "trunk_width": 4, **transformer, **changed.get("network", {})},
            "schedule": {
                **{"epochs": 2, "batch": 7, "optimizer": "sgd", "learning_rate": 0.01, "warmup_epochs": 0},
                **{"average": 0, "threads": 1, **changed.get("schedule", {})},
            },
        }
    )


def begin(config: TrainConfig, folder: Path) -> Any:
    from fertrack.training.loop import Trainer

    view = view_of(config)
    learned, kept = load_images(config.data, Faces(), folder.parent / "cache", colour=view.colour)
    return Trainer(config, learned, kept, folder)


def weights_of(network: Any) -> dict[str, Any]:
    return {name: value.clone() for name, value in network.state_dict().items()}


KINDS = ("orthogonal-resnet50", "qvit", "landmark-attention", "la-qvit")


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_ends_at_the_same_weights_and_its_bundle_says_the_same(
    rafdb: Path, tmp_path: Path, kind: str
) -> None:
    from fertrack.classifiers import build_classifier
    from fertrack.training.finish import write_bundle

    config = small(rafdb, kind)
    whole = begin(config, tmp_path / "whole")
    first = weights_of(whole.network)
    assert whole.run()
    for expected in (False, True):
        part = begin(config, tmp_path / "parts")
        assert part.run(stop=lambda: True) is expected
    for name, value in weights_of(whole.network).items():
        assert (value == part.network.state_dict()[name]).all(), name
    learned = {name for name, value in weights_of(whole.network).items() if (value != first[name]).any()}
    unused = {"head.fc.weight", "head.fc.bias"} if "qvit" in kind else set()
    assert {name for name in first if name not in learned} <= unused, "everything learns, end to end"

    expected_logits = part.validation_logits()
    bundle = load_bundle(write_bundle(part.averaged, config, part.training_prior, tmp_path / "bundle"))
    assert bundle.card.licence == "not stated"
    assert bundle.card.input.mean == config.network.mean
    classifier = build_classifier(ClassificationConfig(), bundle)
    kept = part._kept
    crops = crop_faces(kept.images, kept.landmarks, classifier.template, classifier.crop_size)
    at_run_time = [
        align_faces(image, kept.landmarks[row : row + 1], classifier.template, classifier.crop_size)[0]
        for row, image in enumerate(kept.images)
    ]
    assert np.abs(crops.astype(int) - np.stack(at_run_time)).max() <= 1
    seen = aligned_landmarks(kept.landmarks, classifier.template)
    np.testing.assert_allclose(classifier.logits_at(crops, seen), expected_logits, atol=1e-4)


def test_the_loss_is_the_published_one(rafdb: Path, tmp_path: Path) -> None:
    trainer = begin(small(rafdb, "orthogonal-resnet50"), tmp_path / "run")
    batch = trainer._batch(0)
    (pixels,), targets = batch.inputs, batch.targets
    assert pixels.shape == (7, 3, 64, 64)
    network = trainer.network.train()
    with torch.no_grad():  # in training mode, as _learn sees it; statistics are not part of the answer
        features = network.head.features(pixels)
    units = []
    for vector in features.pooled:
        odds = torch.exp(vector) / torch.exp(vector).sum(1, keepdim=True)
        units.append(odds / odds.square().sum(1, keepdim=True).sqrt())
    cosines = [(units[a] * units[b]).sum(1) for a, b in ((0, 1), (0, 2), (1, 2))]
    overlap = float(torch.stack(cosines).mean())
    cross_entropy = float(-(torch.log_softmax(features.logits, 1) * targets).sum(1).mean())
    loss, reported = trainer._learn(batch)
    assert reported == pytest.approx(overlap, abs=1e-5)
    assert loss == pytest.approx(cross_entropy + 0.2 * overlap, abs=1e-5)


def test_steps_are_those_of_sgd(rafdb: Path, tmp_path: Path) -> None:
    config = small(rafdb, "orthogonal-resnet50", schedule={"weight_decay": 0.5, "largest_gradient": 0, "momentum": 0.9})
    trainer = begin(config, tmp_path / "run")
    layer, velocity = trainer.network.head.fc, None
    for step in range(2):
        before, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
        trainer._learn(trainer._batch(step))
        slope = layer.weight.grad + 0.5 * before
        velocity = slope if velocity is None else 0.9 * velocity + slope
        torch.testing.assert_close(layer.weight.detach(), before - 0.01 * velocity)
        if step == 0:
            torch.testing.assert_close(layer.bias.detach(), bias - 0.01 * layer.bias.grad)  # biases are not decayed
        trainer.step += 1


def test_learning_rate_falls_in_steps() -> None:
    config = ScheduleConfig(epochs=80, learning_rate=1e-3, warmup_epochs=0, decay_share=0, step_epochs=20)
    rates = [learning_rate(epoch * 10 + 9, 800, 10, config) for epoch in (0, 19, 20, 39, 40, 79)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-6])


def test_a_transformer_behind_a_frozen_head(rafdb: Path, tmp_path: Path) -> None:
    from fertrack.training.finish import write_bundle

    first = begin(small(rafdb, "orthogonal-resnet50"), tmp_path / "first")
    assert first.run()
    bundle = write_bundle(first.averaged, first.config, first.training_prior, tmp_path / "bundle")
    options = {"weights": str(bundle / "model.safetensors"), "frozen": True}
    second = begin(small(rafdb, "qvit", network=options, schedule={"optimizer": "adam"}), tmp_path / "second")
    before = weights_of(second.network)
    for name, value in weights_of(first.averaged).items():
        assert name.endswith(COUNTER) or (before[name] == value).all(), name
    assert second.run()
    changed = {name for name, value in weights_of(second.network).items() if (value != before[name]).any()}
    assert changed == {name for name in before if name.startswith("transformer.")}
    (bundle / "model.safetensors").unlink()  # a run that goes on needs it no more
    assert begin(second.config, tmp_path / "second").step == second.step


def test_a_run_begins_with_a_users_trunk(rafdb: Path, tmp_path: Path) -> None:
    from fertrack.models.networks.resnet50 import ResNet50

    torch.manual_seed(3)
    trunk = ResNet50(4)
    state = {f"module.{name}": value for name, value in trunk.state_dict().items()}
    state |= {
        "module.fc.weight": torch.zeros(12, 128),
        "module.fc.bias": torch.zeros(12),
    }  # identities, not expressions
    torch.save({"state_dict": state}, tmp_path / "faces.pth")
    for kind in ("orthogonal-resnet50", "landmark-attention"):
        network = begin(small(rafdb, kind, network={"weights": str(tmp_path / "faces.pth")}), tmp_path / kind).network
        for name, value in trunk.state_dict().items():
            assert name.endswith(COUNTER) or (network.head.trunk.state_dict()[name] == value).all(), name
        assert network.head.fc.weight.shape[0] == 7
    for options, error, sentence in (
        ({"weights": str(tmp_path / "none.pth")}, WeightsError, "cannot read the checkpoint"),
        (
            {"weights": str(tmp_path / "faces.pth"), "trunk_width": 8},
            ModelError,
            "of another shape: trunk.conv1.weight",
        ),
    ):
        with pytest.raises(error, match=sentence):
            begin(small(rafdb, "orthogonal-resnet50", network=options), tmp_path / "other")
    with pytest.raises(ModelError, match=r"no whole feature head, so network\.frozen must be false"):
        begin(small(rafdb, "qvit", network={"weights": str(tmp_path / "faces.pth"), "frozen": True}), tmp_path / "ice")


def test_pictures_of_a_labelled_set(rafdb: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    learned, kept = load_images(DataConfig(path=str(rafdb), validation=7), Faces(), tmp_path / "cache", colour=True)
    assert (len(learned), len(kept)) == (14, 7), "those of the part to learn from alone"
    np.testing.assert_allclose(learned.landmarks, np.broadcast_to(POINTS, (14, 5, 2)), atol=1e-3)
    for image, label in zip(learned.images, learned.labels, strict=True):
        assert image[100 // 8 * label + 3, 50, label % 3] == 230
    np.testing.assert_array_equal(learned.targets.argmax(1), learned.labels)
    grey, _ = load_images(DataConfig(path=str(rafdb), validation=7), Faces(), tmp_path / "cache")
    assert next(iter(grey.images)).shape == (100, 100)
    cv2.imwrite(str(rafdb / "aligned" / "train_00000_aligned.png"), np.zeros((200, 200, 3), np.uint8))
    everything, _ = load_images(DataConfig(path=str(rafdb), validation=0), Faces(), tmp_path / "cache", colour=True)
    np.testing.assert_allclose(everything.landmarks[0], 2 * POINTS, atol=1e-3)  # no face: average, in its own size
    with pytest.raises(ConfigError, match="keeps 21 pictures apart"):
        load_images(DataConfig(path=str(rafdb), validation=21), Faces(), tmp_path / "cache")
    broken = [rafdb / "aligned" / f"train_{number:05d}_aligned.png" for number in (0, 5, 9)]
    for path in broken[:2]:
        path.write_bytes(b"not a picture")
    with caplog.at_level("WARNING"):
        readable, _ = load_images(DataConfig(path=str(rafdb), validation=0), Faces(), tmp_path / "cache")
    assert len(readable) == len(list(readable.images)) == 19
    np.testing.assert_array_equal(readable.labels, np.delete(everything.labels, (0, 5)))
    assert "2 of 21 pictures cannot be read" in caplog.text
    broken[2].write_bytes(b"not a picture")
    with pytest.raises(ConfigError, match="3 of the 21 pictures of rafdb cannot be read"):
        load_images(DataConfig(path=str(rafdb)), Faces(), tmp_path / "cache")
    with pytest.raises(FertrackError, match=r"there is no .*nowhere"):
        load_images(DataConfig(path=str(tmp_path / "nowhere")), Faces(), tmp_path / "cache")
    for path in (rafdb / "aligned").iterdir():
        cv2.imwrite(str(path), np.zeros((100, 100, 3), np.uint8))
    with pytest.raises(ConfigError, match="no face is found in any picture"):
        load_images(DataConfig(path=str(rafdb)), Faces(), tmp_path / "cache")


def test_the_part_to_test_with_is_not_learned_by_oversight(tmp_path: Path) -> None:
    pixels = " ".join(["9"] * 48 * 48)
    rows = [f"{label},{pixels},{part}" for part in ("Training", "PublicTest") for label in range(7)]
    path = tmp_path / "fer2013.csv"
    path.write_text("\n".join(["emotion,pixels,Usage", *rows]))
    with pytest.raises(ConfigError, match=r"data\.split: say which part"):
        load_images(DataConfig(path=str(path)), Faces(), tmp_path)


def test_landmarks_go_where_the_crop_goes() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    for point, colour in zip(POINTS.astype(int).tolist(), range(100, 250, 30), strict=True):
        cv2.circle(image, point, 2, (colour, colour, colour), -1)
    config = AugmentConfig.model_validate({**STILL, "rotation_deg": 20, "scale": 0.1, "shift": 0.05})
    images, points = [image] * 8, np.repeat(POINTS[None], 8, axis=0)
    found = augment(images, points, np.asarray(DEFAULT_TEMPLATE), 224, config=config, rng=np.random.default_rng(1))
    assert found.crops.shape == (8, 224, 224, 3)
    mirrored = 0
    for crop, marks in zip(found.crops, found.landmarks, strict=True):
        levels = [int(crop[round(float(y)), round(float(x)), 0]) for x, y in marks]
        assert marks[0, 0] < marks[1, 0], "the left eye is the left one as seen"
        straight = np.abs(np.array(levels) - (100, 130, 160, 190, 220)).max() < 9
        flipped = np.abs(np.array(levels) - (130, 100, 160, 220, 190)).max() < 9
        assert straight or flipped, levels
        mirrored += flipped
    assert 0 < mirrored < 8


def test_every_disturbance_keeps_the_colours_in_place() -> None:
    image = picture(2, 0)
    template = np.asarray(DEFAULT_TEMPLATE, np.float32)
    for option in ("low_resolution", "blur", "sharpen", "compression", "lighting", "side_light", "noise", "occlusion"):
        config = AugmentConfig.model_validate({**STILL, option: 1.0})
        rng = np.random.default_rng(2)
        crops = augment([image], POINTS[None], template, 224, config=config, rng=rng).crops
        assert crops.shape == (1, 224, 224, 3), option
        means = crops[0].mean(axis=(0, 1))
        assert means.argmax() == 2, option


def test_normalised_as_the_card_says() -> None:
    crops = np.array([[[[0, 51, 255]]]], np.uint8)  # BGR
    pixels = normalise(crops, (0.5, 0.2, 0.1), (0.5, 0.25, 0.1))
    np.testing.assert_allclose(pixels[0, :, 0, 0], (1.0, 0.0, -1.0), atol=1e-6)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(
        normalise(crops[..., 1], (0.5, 0.2, 0.1), (0.5, 0.25, 0.1))[0, :, 0, 0], (-0.6, 0, 1), atol=1e-6
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[network]\nkind = "vit"\n', "network: kind must be compact, orthogonal-resnet50"),
        ('[network]\nkind = "qvit"\nwidths = [8]\n', r"network\.widths: Extra inputs"),
        ('[network]\nkind = "qvit"\nfrozen = true\n', "frozen needs a transformer that learns"),
        ('[network]\nkind = "qvit"\n[data]\nsize_px = 100\n', "a multiple of 32 px"),
        ('[network]\nkind = "la-qvit"\n[data]\nsize_px = 64\n', "needs crops of 224 px"),
        ('[network]\nkind = "qvit"\n[data]\nzoom = 1.3\n', "data.zoom is of the compact network"),
        ("[data]\nsize_px = 224\n", "takes 128 px at most"),
        ("[network]\nwidths = [8, 8]\nblocks = [1]\n", "network: widths and blocks must name as many stages"),
        ("[network]\nwidths = []\nblocks = []\n", "widths and blocks must name as many stages, one at least"),
        ("[network]\nwidths = [0]\nblocks = [0]\n", "widths must be 1 or more"),
        ("[network]\nwidths = [4, 4]\nblocks = [1, 1]\ngated_from = 0\n", "gates need widths of 8 or more"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(f'name = "a"\n{text}')
    with pytest.raises(ConfigError, match=sentence) as raised:
        load_train_config(path)
    assert "\n" not in str(raised.value)


def test_a_device_that_is_not_there(rafdb: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("it is there")
    with pytest.raises(ConfigError, match=r"schedule\.device: PyTorch finds no CUDA device here"):
        begin(small(rafdb, "orthogonal-resnet50", schedule={"device": "cuda"}), tmp_path / "run")


def test_the_committed_recipes_are_the_published_networks() -> None:
    from fertrack.training.networks import _published

    folder = REPOSITORY / "configs" / "train"
    orthogonal, qvit = (load_train_config(folder / f"{name}.toml") for name in ("orthogonal", "qvit"))
    alone = orthogonal.model_copy(update={"network": orthogonal.network.model_copy(update={"channels": 0})})
    with torch.device("meta"):
        first, second, third = (_published(config.network, 224) for config in (orthogonal, qvit, alone))
    assert first.head.conv2_1.weight.shape == (256, 2048, 1, 1)
    assert third.head.conv2_1.weight.shape == (64, 2048, 1, 1)
    assert second.transformer.shape == (1024, 49)
    heads, behind = (load_train_config(folder / f"la-{name}.toml") for name in ("orthogonal", "qvit"))
    with torch.device("meta"):
        fourth, fifth = (_published(config.network, 224) for config in (heads, behind))
    assert fourth.head.channels == 128
    assert fifth.transformer.shape == (512, 49)
    assert {name: v.shape for name, v in fourth.head.state_dict().items()} == {
        name: v.shape for name, v in fifth.head.state_dict().items()
    }, "the second step begins with what the first one ends with"
    assert [tuple(dense.bias.shape) for dense in second.transformer.dense] == [(2048,), (1024,)]
    assert {name for name, _ in first.named_parameters()} <= {name for name, _ in second.named_parameters()}
    assert orthogonal.network.mean == pytest.approx((0.576, 0.450, 0.402), abs=1e-3)
    assert orthogonal.network.std == pytest.approx((0.209, 0.191, 0.183), abs=1e-3)


def test_the_published_size_takes_a_step(tmp_path: Path) -> None:
    from fertrack.training.loop import Trainer

    images = np.stack([picture(label, label) for label in range(2)])
    targets = np.eye(7, dtype=np.float32)[:2]
    two = TrainingImages(images, np.repeat(POINTS[None], 2, axis=0), targets, np.arange(2))
    config = load_train_config(REPOSITORY / "configs" / "train" / "orthogonal.toml")
    trainer = Trainer(
        config.model_copy(update={"schedule": config.schedule.model_copy(update={"batch": 2})}), two, two, tmp_path
    )
    batch = trainer._batch(0)
    loss, overlap = trainer._learn(batch)
    assert batch.inputs[0].shape == (2, 3, 224, 224)
    assert 0.2 * overlap < loss < 10
    assert 0 < overlap <= 1


def test_the_command_ends_with_a_calibrated_classifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fertrack.cli.main import run

    write_shaded_faces(tmp_path / "faces")
    path = tmp_path / "run.toml"
    path.write_text(
        f'name = "tiny"\nlicence = "mine"\n[data]\npath = "{tmp_path / "faces"}"\nsize_px = 32\nvalidation = 100\n'
        '[network]\nkind = "qvit"\nchannels = 4\ntrunk_width = 4\nlayers = 1\ndense = [8]\n'
        "[schedule]\nepochs = 1\nbatch = 20\n[finish]\ncalibrate = true\n"
    )
    assert run(["models", "train", str(path), "-o", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    assert "calibrated on the 100 pictures kept apart" in said.err
    bundle = load_bundle(Path(said.out.strip()))
    assert bundle.card.licence == "mine"
    assert bundle.card.training_data == "faces; not stated"
    assert (tmp_path / "run" / "curves_loss.svg").is_file()
    assert (
        run(["models", "export", "--classifier", str(bundle.folder), "--format", "onnx", "-o", str(tmp_path / "onnx")])
        == 0
    )
