"""Training: what is drawn, disturbed and learned, and that a run goes on exactly where it was."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from fertrack.classifiers.onnx import OnnxClassifier
from fertrack.errors import ConfigError, ModelError, WeightsError
from fertrack.models.bundle import load_bundle
from fertrack.training.augment import augment, crop_faces, normalise
from fertrack.training.config import (
    AugmentConfig,
    DataConfig,
    NetworkConfig,
    ScheduleConfig,
    TeacherConfig,
    TrainConfig,
    load_train_config,
)
from fertrack.training.curves import write_curves
from fertrack.training.images import TrainingImages, crop_template, load_images, subset
from fertrack.training.recipe import load_recipe
from fertrack.training.schedule import draw_rows, learning_rate, step_generator
from fertrack.training.teachers import WatchingTeachers, taught, teachers_view
from fertrack.types import EXPRESSIONS, Detections
from tests.support.paths import REPOSITORY
from tests.support.shaded_faces import write_shaded_faces

VOTE_NAMES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
CLASS_NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FACE = np.array(((17, 21), (30, 21), (24, 28), (18, 36), (29, 36)), np.float32)


class OneFace:
    """A detector that sees the same face in every picture."""

    name = "one-face"

    def __init__(self) -> None:
        self.asked = 0

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        self.asked += len(images)
        points = (FACE + 0.5) * (160 / 48) - 0.5 + 32
        box = np.array([[40, 40, 180, 180]], np.float32)
        return [Detections(box, np.ones(1, np.float32), points[None].astype(np.float32)) for _ in images]


def bars(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images whose class can be seen: a bright bar at a height that the class gives."""
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % 7
    images = rng.integers(0, 60, (count, 48, 48)).astype(np.uint8)
    for image, label in zip(images, classes, strict=True):
        image[6 + 5 * label : 10 + 5 * label, 8:40] = 220
    return images, classes


@pytest.fixture
def voted_file(tmp_path: Path) -> Path:
    return write_voted(tmp_path)


def write_voted(tmp_path: Path) -> Path:
    """FER2013 with FER+ votes in small: 140 pictures to learn, three of them among the 14 to test."""
    learned, classes = bars(140, 1)
    tested, test_classes = bars(14, 2)
    learned[:3] = tested[:3]
    order = [VOTE_NAMES.index(name) for name in EXPRESSIONS]
    both = np.concatenate([classes, test_classes])
    votes = np.zeros((len(both), 10), np.int8)
    votes[np.arange(len(both)), np.array(order)[both]] = 8
    votes[:, VOTE_NAMES.index("unknown")] = 2
    called = {"anger": "angry", "happiness": "happy", "sadness": "sad"}
    own = np.array([CLASS_NAMES.index(called.get(name, name)) for name in EXPRESSIONS])
    path = tmp_path / "fer.npz"
    np.savez(
        path,
        images=np.concatenate([learned, tested]),
        labels=own[both].astype(np.int8),
        class_names=np.array(CLASS_NAMES),
        split=np.array([0] * 140 + [1] * 14, np.int8),
        split_names=np.array(("Training", "PublicTest", "PrivateTest")),
        ferplus_votes=votes,
        ferplus_vote_names=np.array(VOTE_NAMES),
    )
    return path


def small(path: Path, **schedule: object) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "name": "small",
            "data": {"path": str(path), "size_px": 32, "validation": 21},
            "augmentation": {"rotation_deg": 2, "shift": 0.01, "occlusion": 0, "mixup": 0.2},
            "network": {"widths": (8, 8, 16), "blocks": (0, 1, 1), "gated_from": 2, "head_channels": 8},
            "schedule": {"epochs": 3, "batch": 16, "threads": 1, "average": 0.9, **schedule},
        }
    )


def test_pictures_have_both_label_sets_and_no_twins_of_test_pictures(voted_file: Path, tmp_path: Path) -> None:
    detector = OneFace()
    config = DataConfig(path=str(voted_file), validation=20, fer2013_share=0.25)
    learned, kept = load_images(config, detector, tmp_path / "cache")
    assert len(learned) + len(kept) == 137
    assert len(kept) == 20
    np.testing.assert_allclose(learned.targets.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(learned.targets.argmax(1), learned.labels)
    np.testing.assert_allclose(learned.targets.max(1), 1, atol=1e-6)  # both label sets say the same here
    np.testing.assert_allclose(learned.landmarks, np.broadcast_to(FACE, learned.landmarks.shape), atol=1e-4)
    asked = detector.asked
    again, _ = load_images(config, detector, tmp_path / "cache")
    assert detector.asked == asked, "landmarks are searched for once"
    np.testing.assert_array_equal(again.landmarks, learned.landmarks)
    (stored,) = (tmp_path / "cache").iterdir()
    stored.write_bytes(stored.read_bytes()[:200])
    again, _ = load_images(config, detector, tmp_path / "cache")
    assert detector.asked == 2 * asked, "a damaged file is replaced"
    np.testing.assert_array_equal(again.landmarks, learned.landmarks)


def test_too_many_pictures_kept_apart(voted_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.validation keeps 137 pictures apart"):
        load_images(DataConfig(path=str(voted_file), validation=137), OneFace(), tmp_path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    with pytest.raises(ConfigError, match=r"other\.npz cannot be read"):
        load_images(DataConfig(path=str(tmp_path / "other.npz")), OneFace(), tmp_path)


def test_draws_follow_class_counts() -> None:
    labels = np.repeat(np.arange(2), (90, 10))
    targets = np.eye(7, dtype=np.float32)[labels]
    pictures = TrainingImages(np.zeros((100, 48, 48), np.uint8), np.zeros((100, 5, 2), np.float32), targets, labels)
    np.testing.assert_allclose(pictures.class_shares(0.0)[:2], (0.9, 0.1))
    np.testing.assert_allclose(pictures.class_shares(1.0)[:2], (0.5, 0.5))
    np.testing.assert_allclose(pictures.class_shares(0.5)[:2], np.sqrt((90, 10)) / np.sqrt((90, 10)).sum())
    drawn = labels[draw_rows(pictures.draw_probabilities(1.0), 4000, np.random.default_rng(0))]
    assert 0.45 < drawn.mean() < 0.55


def test_learning_rate_rises_stays_and_falls_to_nothing() -> None:
    config = ScheduleConfig(epochs=10, learning_rate=0.01, warmup_epochs=1, decay_share=0.4)
    rates = [learning_rate(step, 100, 10, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.001)
    assert rates[10:61] == [0.01] * 51
    assert rates[80] == pytest.approx(0.005)
    assert 0 < rates[99] < 0.0001
    assert rates[60:] == sorted(rates[60:], reverse=True)


def test_crops_are_those_of_the_aligner() -> None:
    from fertrack.imaging.alignment import align_faces

    image = bars(1, 3)[0]
    template = crop_template(64, 1.12)
    own = crop_faces(image, FACE[None], template, 64)[0]
    colour = np.repeat(image[0][:, :, None], 3, axis=2)
    at_run_time = align_faces(colour, FACE[None], template, 64)[0, :, :, 0]
    assert np.abs(own.astype(int) - at_run_time.astype(int)).max() <= 1


def test_zoom_keeps_the_face_in_place_and_makes_it_larger() -> None:
    plain, zoomed = crop_template(64, 1.0), crop_template(64, 1.25)
    np.testing.assert_allclose(zoomed[1, 0] - zoomed[0, 0], 1.25 * (plain[1, 0] - plain[0, 0]), rtol=1e-5)
    np.testing.assert_allclose(zoomed[:, 0].mean(), 32, atol=1)


def test_every_disturbance_changes_pictures_and_depends_on_chance_alone() -> None:
    images = bars(8, 4)[0]
    marks = np.repeat(FACE[None], 8, axis=0)
    template = crop_template(48, 1.0)
    still = dict.fromkeys(AugmentConfig.model_fields, 0.0)
    plain = crop_faces(images, marks, template, 48)

    def disturbed(**options: float) -> np.ndarray:
        config = AugmentConfig(**{**still, **options})
        return augment(images, marks, template, 48, config=config, rng=np.random.default_rng(5)).crops

    mirrored = plain[:, :, ::-1]
    untouched = disturbed()
    for crop, ours, flipped in zip(untouched, plain, mirrored, strict=True):
        nearest = min(np.abs(crop.astype(int) - known.astype(int)).mean() for known in (ours, flipped))
        assert nearest < 3, "only flips are left when everything is off"
    for option in sorted(set(still) - {"mixup", "mixed_batches", "surround"}):
        amount = (
            10.0
            if option == "rotation_deg"
            else 0.2
            if option in {"scale", "shift", "shear", "landmark_noise"}
            else 1.0
        )
        assert (disturbed(**{option: amount}) != untouched).any(), option
        np.testing.assert_array_equal(disturbed(**{option: amount}), disturbed(**{option: amount}))


def test_the_end_of_a_run_may_be_calm() -> None:
    config = AugmentConfig(blur=0.4, rotation_deg=8, mixup=0.2, cut_out=0.4, halves=0.4)
    calm = config.calmed()
    assert (calm.blur, calm.rotation_deg, calm.mixup) == (0.2, 8, 0)
    by_chance = {name for name in AugmentConfig.model_fields if getattr(calm, name) != getattr(AugmentConfig(), name)}
    assert by_chance == set(AugmentConfig.model_fields) - {
        "scale",
        "shift",
        "shear",
        "mixed_batches",
        "landmark_noise",
        "surround",
    }


def test_normalise() -> None:
    crops = normalise(np.array([[[0, 255]]], np.uint8))
    assert crops.dtype == np.float32
    np.testing.assert_allclose(crops, [[[[-2.0, 2.0]]]])


def test_steps_have_chances_of_their_own() -> None:
    assert step_generator(0, 3).random() == step_generator(0, 3).random()
    assert len({step_generator(seed, step).random() for seed in (0, 1) for step in (0, 1, 2)}) == 6


def test_configuration_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('name = "a"\n[schedule]\nepoch = 3\n')
    with pytest.raises(ConfigError, match=r"schedule\.epoch"):
        load_train_config(path)
    path.write_text("name = ")
    with pytest.raises(ConfigError, match="cannot be read as a training configuration"):
        load_train_config(path)
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_train_config(tmp_path / "none.toml")


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("configs/train/*.toml")), ids=lambda p: p.stem)
def test_committed_configurations_are_valid(path: Path) -> None:
    assert all(config.name for config, _ in load_recipe(path))


class TestRuns:
    """With PyTorch."""

    @pytest.fixture(autouse=True)
    def _torch(self) -> None:
        pytest.importorskip("torch", reason="needs fertrack[train]")

    def test_a_stopped_run_ends_at_the_same_weights(self, voted_file: Path, tmp_path: Path) -> None:
        from fertrack.training.loop import Trainer

        config = small(voted_file)
        learned, kept = load_images(config.data, OneFace(), tmp_path / "cache")
        whole = Trainer(config, learned, kept, tmp_path / "whole")
        assert whole.run()
        for expected in (False, False, True):
            part = Trainer(config, learned, kept, tmp_path / "parts")
            assert part.run(stop=lambda: True) is expected
        for (name, one), other in zip(
            whole.averaged.state_dict().items(), part.averaged.state_dict().values(), strict=True
        ):
            assert (one == other).all(), name
        rows = list(csv.DictReader((tmp_path / "parts" / "log.csv").read_text().splitlines()))
        assert [row["epoch"] for row in rows] == ["1", "2", "3"]

    def test_a_run_learns_and_its_bundle_says_the_same(self, voted_file: Path, tmp_path: Path) -> None:
        from fertrack.training.finish import write_bundle
        from fertrack.training.loop import Trainer

        config = small(voted_file, epochs=25, learning_rate=0.01)
        learned, kept = load_images(config.data, OneFace(), tmp_path / "cache")
        trainer = Trainer(config, learned, kept, tmp_path / "run")
        reports = []
        assert trainer.run(on_epoch=reports.append)
        assert reports[-1].loss < reports[0].loss - 0.5
        assert reports[-1].accuracy > 0.6  # 1 in 7 by guessing
        assert reports[-1].overlap < reports[0].overlap, "the heads are pushed apart"

        bundle = load_bundle(write_bundle(trainer.averaged, config, trainer.training_prior, tmp_path / "bundle"))
        np.testing.assert_allclose(bundle.calibration.training_prior, trainer.training_prior, atol=1e-3)
        assert not bundle.calibration.calibrated, "nobody has fitted anything, and reports must say so"
        assert bundle.calibration.names_training_prior
        classifier = OnnxClassifier(bundle)
        crops = crop_faces(kept.images, kept.landmarks, crop_template(32, config.data.zoom), 32)
        logits = classifier.logits(np.repeat(crops[..., None], 3, axis=3))
        np.testing.assert_allclose(logits, trainer.validation_logits(), atol=1e-3)

    def test_another_configuration_does_not_go_on(self, voted_file: Path, tmp_path: Path) -> None:
        from fertrack.training.loop import Trainer

        config = small(voted_file)
        learned, kept = load_images(config.data, OneFace(), tmp_path / "cache")
        Trainer(config, learned, kept, tmp_path / "run").run(stop=lambda: True)
        with pytest.raises(ModelError, match=r"trained with another schedule\.seed"):
            Trainer(small(voted_file, seed=1), learned, kept, tmp_path / "run")
        longer = Trainer(small(voted_file, epochs=4), learned, kept, tmp_path / "run")
        assert longer.step == longer.steps_per_epoch
        (tmp_path / "run" / "checkpoint.pt").write_bytes(b"no checkpoint")
        with pytest.raises(ModelError, match="is no checkpoint of a training run"):
            Trainer(config, learned, kept, tmp_path / "run")

    def test_a_run_goes_on_with_its_own_pictures_and_log(self, voted_file: Path, tmp_path: Path) -> None:
        from fertrack.training.loop import LOG, Trainer

        config, log = small(voted_file), tmp_path / "run" / LOG
        learned, kept = load_images(config.data, OneFace(), tmp_path / "cache")
        log.parent.mkdir()
        log.write_text("epoch,loss\n1,0.5\n", encoding="utf-8")
        Trainer(config, learned, kept, log.parent).run(stop=lambda: True)
        whole = log.read_text(encoding="utf-8")
        assert whole.startswith("epoch,learning_rate"), "what another run left is not gone on with"
        log.write_text(whole + whole.splitlines()[1].replace("1,", "2,", 1) + "\n", encoding="utf-8")
        Trainer(config, learned, kept, log.parent)
        assert log.read_text(encoding="utf-8") == whole, "killed between log and checkpoint"
        changed = replace(learned, labels=np.roll(learned.labels, 1))
        with pytest.raises(ModelError, match="was trained with other pictures or labels"):
            Trainer(config, changed, kept, log.parent)

    def test_a_run_begins_with_another_ones_weights(self, voted_file: Path, tmp_path: Path) -> None:
        from fertrack.training.loop import Trainer

        config = small(voted_file)
        learned, kept = load_images(config.data, OneFace(), tmp_path / "cache")
        first = Trainer(config, learned, kept, tmp_path / "first")
        assert first.run()
        second = config.model_copy(update={"start": str(tmp_path / "first")})
        begun = Trainer(second, learned, kept, tmp_path / "second")
        np.testing.assert_array_equal(begun.validation_logits(), first.validation_logits())
        assert begun.step == 0
        assert begun.run(stop=lambda: True) is False
        assert Trainer(second, learned, kept, tmp_path / "second").step == begun.step, "it resumes its own checkpoint"
        other = second.model_copy(update={"network": NetworkConfig(widths=(8, 16), blocks=(0, 1))})
        with pytest.raises(ModelError, match="a network of another shape"):
            Trainer(other, learned, kept, tmp_path / "third")
        nowhere = config.model_copy(update={"start": str(tmp_path / "nowhere")})
        with pytest.raises(ModelError, match="train that one first"):
            Trainer(nowhere, learned, kept, tmp_path / "fourth")

    def test_a_run_begins_with_a_finished_classifier(self, voted_file: Path, tmp_path: Path) -> None:
        import torch

        from fertrack.training.calibrate_logits import calibrate_logits, class_shares, with_calibrated_logits
        from fertrack.training.finish import write_bundle
        from fertrack.training.loop import Trainer

        config = small(voted_file, learning_rate=0.01)
        learned, kept = load_images(config.data, OneFace(), tmp_path / "cache")
        first = Trainer(config, learned, kept, tmp_path / "first")
        assert first.run()
        found = calibrate_logits(
            first.validation_logits(), kept.labels, first.training_prior, class_shares(learned.labels)
        )
        write_bundle(with_calibrated_logits(first.averaged, found), config, found.prior, tmp_path / "bundle")
        second = config.model_copy(update={"start": str(tmp_path / "bundle")})
        begun = Trainer(second, learned, kept, tmp_path / "second")

        expected = found.apply(first.validation_logits()) - np.log(found.prior) + np.log(begun.training_prior)
        logits = begun.validation_logits()
        np.testing.assert_allclose(
            logits - logits.mean(1, keepdims=True), expected - expected.mean(1, keepdims=True), atol=2e-3
        )
        network, crops = begun.network, begun._batch(0).inputs[0]
        norm = network.body[0].norm1
        with torch.no_grad():
            inputs = network.body[0].conv1(network.stem(crops))
        assert norm.running_var.mean() == pytest.approx(float(inputs.var((0, 2, 3)).mean()), rel=0.3), "as is learned"
        assert begun.run(stop=lambda: True) is False
        (tmp_path / "bundle" / "bundle.toml").unlink()
        assert Trainer(second, learned, kept, tmp_path / "second").step == begun.step, "it resumes its own checkpoint"

    def test_a_classifier_that_no_run_begins_with(self, voted_file: Path, tmp_path: Path) -> None:
        from fertrack.training.finish import write_bundle
        from fertrack.training.loop import Trainer

        config = small(voted_file)
        learned, kept = load_images(config.data, OneFace(), tmp_path / "cache")
        trainer = Trainer(config, learned, kept, tmp_path / "first")
        bundle = write_bundle(trainer.averaged, config, trainer.training_prior, tmp_path / "bundle")
        begins = {"start": str(bundle)}
        other = config.model_copy(update={**begins, "network": NetworkConfig(widths=(8, 16), blocks=(0, 1))})
        with pytest.raises(ModelError, match=r"start: .*bundle is no compact network of this shape"):
            Trainer(other, learned, kept, tmp_path / "second")
        (bundle / "model.onnx").write_bytes(b"\0" * 100)
        with pytest.raises(WeightsError):
            Trainer(config.model_copy(update=begins), learned, kept, tmp_path / "third")

    def test_runs_with_one_beginning_are_averaged(
        self, voted_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import torch

        from fertrack.training import command
        from fertrack.training.loop import Trainer, logits_of_crops

        monkeypatch.setattr(command, "build", lambda options: OneFace())
        learned, kept = load_images(small(voted_file).data, OneFace(), tmp_path)
        runs = [Trainer(small(voted_file, seed=seed), learned, kept, tmp_path / str(seed)) for seed in range(2)]
        assert all(run.run() for run in runs)
        ends = f'average_with = ["{tmp_path / "1"}"]'
        path = tmp_path / "run.toml"
        path.write_text(tomli_w.dumps(small(voted_file).model_dump(mode="json")).replace("average_with = []", ends))
        bundle = load_bundle(command.train_classifier(path, tmp_path / "0"))
        mean = runs[0].averaged
        with torch.no_grad():
            for name, values in mean.state_dict().items():
                if values.dtype.is_floating_point:
                    values.add_(runs[1].averaged.state_dict()[name]).div_(2)
        crops = crop_faces(kept.images, kept.landmarks, crop_template(32, 1.12), 32)
        expected = logits_of_crops(mean, normalise(crops))
        logits = OnnxClassifier(bundle).logits(np.repeat(crops[..., None], 3, axis=3))
        np.testing.assert_allclose(logits, expected, atol=1e-3)

        path.write_text(path.read_text().replace(ends, 'average_with = ["nowhere"]'))
        with pytest.raises(ModelError, match=r"finish\.average_with: nowhere holds no training run"):
            command.train_classifier(path, tmp_path / "never begun")
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match=r"the run's folder .*file/run cannot be made"):
            command.train_classifier(path, tmp_path / "file" / "run")
        other = small(voted_file).model_copy(update={"network": NetworkConfig(widths=(8, 16), blocks=(0, 1))})
        Trainer(other, learned, kept, tmp_path / "other").run()
        path.write_text(path.read_text().replace("nowhere", str(tmp_path / "other")))
        with pytest.raises(ModelError, match="is a run of another network"):
            command.train_classifier(path, tmp_path / "0")

    def test_the_default_classifier_learns_on(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from fertrack.cli.main import run

        write_shaded_faces(tmp_path / "faces")
        committed = (REPOSITORY / "configs" / "train" / "finetune.toml").read_text(encoding="utf-8")
        path = tmp_path / "finetune.toml"
        path.write_text(
            committed.replace('"faces"', f'"{tmp_path / "faces"}"')
            .replace("epochs = 10", "epochs = 2")
            .replace("batch = 64", "batch = 20")
        )
        assert run(["models", "train", str(path), "-o", str(tmp_path / "run")]) == 0
        said = capsys.readouterr()
        bundle = load_bundle(Path(said.out.strip()))
        assert bundle.card.name == "finetuned"
        view = load_bundle("default").card.input
        assert bundle.card.input == view, "its crops are those that it has learned to look at"
        begun = load_bundle("default").card
        assert bundle.card.training_data.endswith(f"begun with {begun.name} {begun.version}: {begun.training_data}")
        assert "what it begins with, kept apart: accuracy " in said.err

    def test_without_heads(self) -> None:
        import torch

        from fertrack.models.networks.compact import CompactNet, head_overlap

        logits, pooled = CompactNet(head_channels=0).eval().with_heads(torch.zeros(2, 1, 64, 64))
        assert logits.shape == (2, 7)
        assert pooled == []
        assert head_overlap(pooled) == 0
        one, two, three = torch.eye(3)[:, None]
        assert head_overlap([one, two, three]) == 0
        assert head_overlap([one, one, one]) == pytest.approx(1)
        assert head_overlap([one, one, two]) == pytest.approx(1 / 3)

    def test_calibrated_logits_are_calibrated_at_the_pictures_own_shares(self) -> None:
        import torch

        from fertrack.evaluation.expression.measures import negative_log_likelihood
        from fertrack.models.networks.compact import CompactNet
        from fertrack.training.calibrate_logits import calibrate_logits, class_shares, with_calibrated_logits

        rng = np.random.default_rng(0)
        own, drawn = np.array((0.05, 0.05, 0.1, 0.3, 0.1, 0.1, 0.3)), np.full(7, 1 / 7)
        labels = rng.choice(7, 4000, p=own)
        evidence = rng.normal(size=(4000, 7)) + 2 * np.eye(7)[labels]  # of unit variance, so 2 z is the log likelihood
        bias = np.array((0.5, -0.5, 0, 0, 0, 0, 0))
        logits = ((2 * evidence + bias) * 0.5 + np.log(drawn)).astype(np.float32)  # too unsure, and biased
        found = calibrate_logits(logits, labels, drawn, own)
        assert found.temperature == pytest.approx(0.5, rel=0.05)
        expected = np.log(own) - bias
        np.testing.assert_allclose(found.offset - found.offset.mean(), expected - expected.mean(), atol=0.25)

        def loss(values: np.ndarray) -> float:
            odds = np.exp(values - values.max(axis=1, keepdims=True))
            weights = np.full(len(labels), 1 / len(labels))
            return negative_log_likelihood(odds / odds.sum(axis=1, keepdims=True), labels, weights)

        assert loss(found.apply(logits)) == pytest.approx(loss(2 * evidence + np.log(own)), abs=0.005)
        network = CompactNet((8, 8), (0, 1), head_channels=0).eval()
        crops = torch.from_numpy(rng.normal(size=(3, 1, 32, 32)).astype(np.float32))
        with torch.inference_mode():
            plain, changed = network(crops).numpy(), with_calibrated_logits(network, found)(crops).numpy()
        np.testing.assert_allclose(changed, found.apply(plain), atol=1e-5)
        np.testing.assert_allclose(class_shares(np.array([0, 0, 1])), np.array((3, 2, 1, 1, 1, 1, 1)) / 10)

    def test_the_command_ends_with_a_calibrated_bundle(
        self, voted_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from fertrack.cli.main import run

        config = tmp_path / "run.toml"
        text = (
            f'name = "tiny"\n[data]\npath = "{voted_file}"\nsize_px = 32\nvalidation = 100\n'
            "[network]\nwidths = [8, 8]\nblocks = [0, 1]\nhead_channels = 0\n[schedule]\nepochs = 1\nbatch = 16\n"
        )
        config.write_text(text)
        assert run(["models", "train", str(config), "-o", str(tmp_path / "run")]) == 0
        plain = load_bundle(Path(capsys.readouterr().out.strip()))
        config.write_text(text + "[finish]\ncalibrate = true\n")
        assert (
            run(["models", "train", str(config), "-o", str(tmp_path / "run")]) == 0
        )  # of a complete run: its end alone
        said = capsys.readouterr()
        assert "calibrated on the 100 pictures kept apart" in said.err
        changed = load_bundle(Path(said.out.strip()))
        assert changed.card.sha256 != plain.card.sha256
        assert changed.card.calibration.fitted_on == "100 of the training pictures, kept apart"
        assert changed.calibration.training_prior != plain.calibration.training_prior
        config.write_text(config.read_text().replace("validation = 100", "validation = 50"))
        assert run(["models", "train", str(config)]) == 1
        assert "finish.calibrate needs pictures kept apart" in capsys.readouterr().err

    def test_targets_of_a_teacher_that_watches(
        self, voted_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from fertrack.cli.main import run
        from fertrack.training.loop import Trainer

        config = small(voted_file).model_copy(update={"teacher": TeacherConfig(share=0.25)})
        learned, kept = load_images(config.data, OneFace(), tmp_path / "cache")
        seen: list[np.ndarray] = []

        def fear(crops: np.ndarray, shifts: np.ndarray) -> np.ndarray:
            assert not shifts.any(), "one set is learned at the shares that are drawn"
            seen.append(crops)
            return np.tile(np.eye(7, dtype=np.float32)[EXPRESSIONS.index("fear")], (len(crops), 1))

        plain, watched = (Trainer(config, learned, kept, tmp_path / "none", teacher) for teacher in (None, fear))
        for step in range(3):
            alone, helped = plain._batch(step), watched._batch(step)
            assert (alone.inputs[0] == helped.inputs[0]).all()
            expected = 0.75 * alone.targets.numpy()
            expected[:, EXPRESSIONS.index("fear")] += 0.25
            np.testing.assert_allclose(helped.targets.numpy(), expected, atol=1e-6)
        assert seen[0].dtype == np.uint8
        assert seen[0].shape == (16, 32, 32)

        path = tmp_path / "run.toml"
        path.write_text(
            f'name = "tiny"\n[data]\npath = "{voted_file}"\nsize_px = 32\nvalidation = 21\n'
            "[network]\nwidths = [8, 8]\nblocks = [0, 1]\nhead_channels = 0\n[schedule]\nepochs = 1\nbatch = 16\n"
        )
        digests = set()
        for teacher in ("", 'bundles = ["default"]\n', 'bundles = ["default"]\nview = "same"\n'):
            path.write_text(path.read_text().partition("[teacher]")[0] + "[teacher]\n" + teacher)
            assert run(["models", "train", str(path), "-o", str(tmp_path / str(len(digests)))]) == 0
            digests.add(load_bundle(Path(capsys.readouterr().out.strip())).card.sha256)
        assert len(digests) == 3, "three ways of teaching, three networks"

    def test_the_command_in_parts(self, voted_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from fertrack.cli.main import run

        config = tmp_path / "run.toml"
        config.write_text(
            f'name = "tiny"\n[data]\npath = "{voted_file}"\nsize_px = 32\nvalidation = 21\n'
            "[network]\nwidths = [8, 8]\nblocks = [0, 1]\nhead_channels = 0\n[schedule]\nepochs = 2\nbatch = 16\n"
        )
        arguments = ["models", "train", str(config), "-o", str(tmp_path / "run"), "--epochs-now", "1"]
        assert run(arguments) == 0
        assert "goes on from here" in capsys.readouterr().err
        first = (tmp_path / "run" / "curves_loss.svg").read_text()
        assert run(arguments) == 0
        folder = Path(capsys.readouterr().out.strip())
        assert load_bundle(folder).card.name == "tiny"
        assert "cross-entropy, kept apart" in first
        assert (tmp_path / "run" / "curves_loss.svg").read_text() != first
        assert "mean class recall" in (tmp_path / "run" / "curves_accuracy.svg").read_text()
        assert run(["models", "train", str(tmp_path / "none.toml")]) == 1
        told = " ".join(capsys.readouterr().err.split())
        assert "none.toml cannot be read as a training configuration: No such file or directory" in told
        assert "Errno" not in told


def test_teachers_are_part_of_the_target(voted_file: Path, tmp_path: Path) -> None:
    learned, _ = load_images(small(voted_file).data, OneFace(), tmp_path / "cache")
    bundle = load_bundle()
    prior = np.asarray(bundle.calibration.training_prior)
    view = teachers_view(learned, bundle, prior)
    np.testing.assert_allclose(view.sum(axis=1), 1.0, atol=1e-6)

    even = teachers_view(learned, bundle, np.full(7, 1 / 7))
    expected = view / prior
    np.testing.assert_allclose(even, expected / expected.sum(axis=1, keepdims=True), atol=1e-5)

    mixed = taught(learned, [bundle, bundle], 0.25, prior)
    np.testing.assert_allclose(mixed.targets, 0.75 * learned.targets + 0.25 * view, atol=1e-6)
    np.testing.assert_array_equal(mixed.labels, learned.labels)
    assert taught(learned, [], 0.25, prior) is learned


def test_teachers_may_watch_the_crops_that_are_learned(voted_file: Path, tmp_path: Path) -> None:
    learned, _ = load_images(small(voted_file).data, OneFace(), tmp_path / "cache")
    bundle, even = load_bundle(), np.full(7, 1 / 7)
    classifier = OnnxClassifier(bundle)
    crops = crop_faces(learned.images[:5], learned.landmarks[:5], classifier.template, classifier.crop_size)
    mirrored = crops[:, :, ::-1]
    asked = WatchingTeachers([bundle], even, classifier.template)
    view = teachers_view(first_rows(learned, 5), bundle, even)
    # The plain picture's answer is the mean over both mirror images of what is said of each.
    both = np.sqrt(asked(crops) * asked(mirrored))
    np.testing.assert_allclose(both / both.sum(axis=1, keepdims=True), view, atol=1e-4)

    shifted = classifier.template + np.float32((4, 0))
    moved = np.roll(crops, 4, axis=2)
    cropped_again = WatchingTeachers([bundle], even, shifted)(moved)
    columns = np.arange(classifier.crop_size)
    expected = moved[:, :, np.minimum(columns + 4, classifier.crop_size - 1)]
    np.testing.assert_allclose(cropped_again, asked(np.ascontiguousarray(expected)), atol=1e-3)


def first_rows(pictures: TrainingImages, count: int) -> TrainingImages:
    return subset(pictures, np.arange(count))


def test_curves_of_a_log_that_is_none(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("epoch,loss\n1,0.5\n")
    with pytest.raises(ModelError, match="cannot be drawn as curves"):
        write_curves(log)


def test_robustness_is_a_table_of_disturbances() -> None:
    from fertrack.benchmarks.robustness import DISTURBANCES, measure_robustness
    from fertrack.evaluation.datasets.ferplus import VotedImages

    images, labels = bars(14, 6)
    voted = VotedImages(images, labels, np.eye(7, dtype=np.float32)[labels], np.zeros(14, np.bool_))
    bundle = load_bundle("default")
    lines = measure_robustness(voted, np.repeat(FACE[None], 14, axis=0), [bundle], resamples=20).splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == list(DISTURBANCES)
    prior = np.log(np.asarray(bundle.calibration.training_prior))
    classifier = OnnxClassifier(bundle)
    crops = crop_faces(images, np.repeat(FACE[None], 14, axis=0), np.asarray(classifier.template), 64)
    logits = classifier.logits(np.repeat(crops[..., None], 3, axis=3))
    accuracy, recall = lines[2].split(" | ")[1:]
    assert accuracy.startswith(f"{(logits.argmax(1) == labels).mean():.3f} (")
    assert recall.startswith(f"{((logits - prior).argmax(1) == labels).mean():.3f} (")  # classes are equally many here
