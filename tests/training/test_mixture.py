"""Several sources at once: what is drawn from each, who is kept apart, what a classifier for everybody may learn."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tomli_w

from fertrack.errors import ConfigError
from fertrack.imaging.alignment import align_faces
from fertrack.models.bundle import load_bundle
from fertrack.training.augment import augment, crop_faces
from fertrack.training.composites import cut_out, fill_surround, join_halves, surround_of
from fertrack.training.config import AugmentConfig, DataConfig, TrainConfig
from fertrack.training.images import TrainingImages, crop_template
from fertrack.training.labelled_images import MixedImages
from fertrack.training.mixture import load_sources, twins_by_crop
from fertrack.training.recipe import load_recipe
from fertrack.types import EXPRESSIONS
from tests.training.test_training import OneFace, bars, small, write_voted

NEUTRAL = EXPRESSIONS.index("neutral")
NOTHING = dict.fromkeys(AugmentConfig.model_fields, 0.0)
FACE = np.array(((70, 80), (120, 80), (95, 110), (75, 140), (115, 140)), np.float32)


def write_set(folder: Path, labels: list[int], *, seed: int, people: int = 4, side: int = 48) -> Path:
    """A CSV set of pictures like those of the FER2013 fixture, of people who each show several expressions."""
    images, _ = bars(len(labels), seed)
    (folder / "images").mkdir(parents=True)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file", "label", "subject", "origin"))
        for row, label in enumerate(labels):
            name = f"images/{row}.png"
            assert cv2.imwrite(str(folder / name), cv2.resize(images[row], (side, side)))
            writer.writerow((name, EXPRESSIONS[label], f"P{row % people}", "web" if row % 5 == 0 else "lab"))
    return folder / "labels.csv"


@pytest.fixture
def voted(tmp_path: Path) -> Path:
    return write_voted(tmp_path)


def source(path: Path, name: str, **changed: Any) -> dict[str, Any]:
    return {"name": name, "path": str(path), "terms": "research", **changed}


def data(*sources: dict[str, Any]) -> DataConfig:
    return DataConfig.model_validate({"sources": sources, "size_px": 32})


# Drawing ------------------------------------------------------------------------------------------------------------


def test_sources_are_drawn_by_their_weights_and_classes_alike_within_each(tmp_path: Path) -> None:
    many = write_set(tmp_path / "many", [0] * 30 + [1] * 10, seed=1)
    few = write_set(tmp_path / "few", [2, 3, 3, 3], seed=2)
    learned, kept = load_sources(
        data(source(many, "many", weight=3, balance=1), source(few, "few", weight=1, balance=1)),
        OneFace(),
        tmp_path / "cache",
    )
    assert len(kept) == 0
    assert learned.chances is not None
    of_many = learned.chances[:40]
    assert of_many.sum() == pytest.approx(0.75)
    assert of_many[learned.labels[:40] == 0].sum() == pytest.approx(0.375)
    assert learned.chances[40:][learned.labels[40:] == 3].sum() == pytest.approx(0.125)


def test_what_a_source_draws_is_taken_out_of_what_it_teaches(tmp_path: Path) -> None:
    calm = write_set(tmp_path / "calm", [NEUTRAL] * 9 + [0], seed=1)
    loud = write_set(tmp_path / "loud", [0] * 10, seed=2)
    learned, _ = load_sources(data(source(calm, "calm", balance=0), source(loud, "loud")), OneFace(), tmp_path / "c")
    assert learned.shifts is not None
    first, last = np.exp(learned.shifts[0]), np.exp(learned.shifts[-1])
    assert first[NEUTRAL] / first[0] == pytest.approx(9, rel=0.1)
    assert last[0] / last[NEUTRAL] == pytest.approx(100, rel=0.1), "a source without neutral faces says nothing of them"
    np.testing.assert_allclose(learned.class_shares(0.5), 1 / 7)


def test_persons_kept_apart_are_not_learned_from(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set", list(range(7)) * 8, seed=1, people=8)
    learned, kept = load_sources(data(source(path, "set", apart=0.4)), OneFace(), tmp_path / "cache")

    def people(pictures: TrainingImages) -> set[str]:
        assert isinstance(pictures.images, MixedImages)
        (part,) = pictures.images.parts
        return {f"P{int(part.labelled.paths[row].stem) % 8}" for row in part.rows[pictures.images.rows]}  # type: ignore[union-attr]

    assert people(learned) | people(kept) == {f"P{number}" for number in range(8)}
    assert not people(learned) & people(kept)
    assert len(kept)


def test_rows_of_a_source_are_chosen_by_a_column(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set", list(range(7)) * 5, seed=1)
    learned, _ = load_sources(data(source(path, "set", only={"origin": ("lab",)})), OneFace(), tmp_path / "cache")
    assert len(learned) == 28


def test_near_twins_of_faces_to_judge_by_are_left_out(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set", list(range(7)) * 2, seed=1)
    judged = write_set(tmp_path / "judged", [0, 1, 2], seed=1)  # the first three are the same pictures
    twins = {"twins_of": ({"path": str(judged)},)}
    learned, _ = load_sources(data(source(path, "set", **twins)), OneFace(), tmp_path / "cache")
    names = [learned.images.parts[0].labelled.paths[row].name for row in learned.images.parts[0].rows]  # type: ignore[union-attr]
    assert not {"0.png", "1.png", "2.png"} & set(names)
    assert len(names) >= 7


def test_a_twin_is_found_however_it_was_cut() -> None:
    rng = np.random.default_rng(3)
    faces = [cv2.GaussianBlur(rng.integers(0, 256, (200, 200), dtype=np.uint8), (0, 0), 6) for _ in range(3)]
    smaller = cv2.resize(faces[1], (100, 100), interpolation=cv2.INTER_AREA)[5:95, 10:90]
    at = (FACE + 0.5) / 2 - 0.5 - np.float32((10, 5))
    found = twins_by_crop((faces, np.stack([FACE] * 3)), ([smaller], at[None].astype(np.float32)))
    assert found.tolist() == [False, True, False]


def test_images_of_several_sources_come_in_the_order_asked_for() -> None:
    parts = [np.arange(3, dtype=np.uint8)[:, None, None], 10 + np.arange(2, dtype=np.uint8)[:, None, None]]
    mixed = MixedImages.of(parts)[np.array([4, 0, 3])]
    assert [int(image[0, 0]) for image in mixed] == [11, 0, 10]
    assert len(mixed) == 3
    assert mixed.digest() != mixed[np.array([0, 2, 1])].digest()


def test_a_large_face_is_learned_from_as_it_is_seen_at_run_time() -> None:
    image = np.random.default_rng(0).integers(0, 256, (600, 600), dtype=np.uint8)
    template = crop_template(64, 1.12)
    landmarks = (FACE * 3)[None].astype(np.float32)
    crop = crop_faces([image], landmarks, template, 64)[0]
    seen = align_faces(np.repeat(image[..., None], 3, axis=2), landmarks, template, 64)[0, :, :, 0]
    assert np.abs(crop.astype(int) - seen.astype(int)).mean() < 3  # plain bilinear differs by 40 and more


# Faces put together -------------------------------------------------------------------------------------------------


def oval_on_black(side: int = 100) -> np.ndarray:
    image = np.zeros((side, side), np.uint8)
    cv2.ellipse(image, (side // 2, side // 2), (30, 40), 0, 0, 360, 120, -1)
    cv2.circle(image, (40, 45), 3, 5, -1)  # a pupil is dark, too, but no surround
    return image


def test_black_around_a_face_is_filled_and_dark_parts_of_it_are_not() -> None:
    image, identity = oval_on_black(), np.array(((1, 0, 0), (0, 1, 0)), np.float64)
    mask = surround_of(image)
    assert mask[2, 2] == 255
    assert mask[45, 40] == mask[50, 50] == 0
    fills = [fill_surround(image, image, identity, np.random.default_rng(seed)) for seed in range(8)]
    assert len({int(filled[2, 2]) for filled in fills}) > 4
    assert all(filled[50, 50] == 120 and filled[45, 40] == 5 for filled in fills)


def test_surrounds_are_filled_where_faces_are_cut_out_and_nowhere_else() -> None:
    image = oval_on_black(200)
    config = AugmentConfig.model_validate({**NOTHING, "surround": 1.0})
    template = crop_template(64, 0.6)  # much of what is around

    def corner(cut_outs: list[bool]) -> list[int]:
        found = augment(
            [image] * 2,
            np.stack([FACE] * 2),
            template,
            64,
            config=config,
            rng=np.random.default_rng(4),
            cut_outs=np.array(cut_outs),
        )
        return [int(crop[0, 0]) + int(crop[0, -1]) for crop in found.crops]

    filled, left = corner([True, False])
    assert left == 0
    assert filled > 0


def test_a_face_is_cut_out_along_an_oval_about_its_middle() -> None:
    crops = [cut_out(np.full((64, 64), 100, np.uint8), np.random.default_rng(seed)) for seed in range(20)]
    assert all(crop[32, 32] == 100 for crop in crops)
    assert any(crop[0, 0] == 0 for crop in crops)


def test_halves_are_joined_below_the_eyes() -> None:
    rng = np.random.default_rng(0)
    upper, lower = (rng.integers(low, low + 40, (64, 64)).astype(np.uint8) for low in (60, 120))
    identity = np.array(((1, 0, 0), (0, 1, 0)), np.float64)
    joined = join_halves(upper, lower, identity, rng)
    np.testing.assert_allclose(joined[:25], upper[:25], atol=1)
    below, theirs = joined[52:].astype(float).ravel(), lower[52:].astype(float).ravel()
    assert np.corrcoef(below, theirs)[0, 1] > 0.95


def test_halved_faces_are_named_and_others_are_not() -> None:
    images, _ = bars(20, 0)
    landmarks = np.stack([FACE / 4] * 20).astype(np.float32)
    config = AugmentConfig.model_validate({**NOTHING, "halves": 0.5})
    found = augment(images, landmarks, crop_template(32, 1.12), 32, config=config, rng=np.random.default_rng(0))
    assert 3 < found.halved.sum() < 17


def test_noise_of_landmarks_moves_the_crop_by_as_much_as_is_said() -> None:
    image = np.tile(np.arange(200, dtype=np.uint8), (200, 1))
    config = AugmentConfig.model_validate({**NOTHING, "landmark_noise": 0.1})
    images, landmarks = [image] * 40, np.stack([FACE] * 40)
    template = crop_template(64, 1.12)
    moved = augment(images, landmarks, template, 64, config=config, rng=np.random.default_rng(1)).crops
    still = crop_faces(images, landmarks, template, 64)
    # Mirrored or not, the middle column shows how far a face was moved, in the grey levels of the ramp.
    off = np.abs(moved[:, 32, 31:33].mean(axis=1) - still[:, 32, 31:33].mean(axis=1))
    assert 0.2 < off.mean() < 5


# Terms --------------------------------------------------------------------------------------------------------------


def test_a_classifier_for_everybody_cannot_learn_from_images_for_research_only(tmp_path: Path) -> None:
    sources = [source(tmp_path / "a.csv", "faces"), source(tmp_path / "b.csv", "free", terms="open")]
    with pytest.raises(ValueError, match="faces may be learned from for research only: set release to research"):
        TrainConfig.model_validate({"name": "mine", "data": {"sources": sources}})
    assert TrainConfig.model_validate({"name": "mine", "release": "research", "data": {"sources": sources}})
    assert TrainConfig.model_validate({"name": "mine", "data": {"sources": sources[1:]}})


def test_a_source_must_say_its_terms(tmp_path: Path) -> None:
    silent = {"name": "faces", "path": "a.csv"}
    with pytest.raises(ValueError, match="terms"):
        TrainConfig.model_validate({"name": "mine", "data": {"sources": [silent]}})


def test_faces_without_labels_need_a_teacher_that_sees_them() -> None:
    for options in ({"augmentation": {"halves": 0.2}}, {"teacher": {"mixed_share": 0.5}}):
        with pytest.raises(ValueError, match=r"need teachers with teacher\.view same"):
            TrainConfig.model_validate({"name": "mine", **options})
    teacher = {"bundles": ("default",), "view": "same", "mixed_share": 0.5}
    assert TrainConfig.model_validate({"name": "mine", "augmentation": {"halves": 0.2}, "teacher": teacher})


# Recipes ------------------------------------------------------------------------------------------------------------


def written(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
    return path


def test_a_stage_says_what_differs_and_names_what_earlier_ones_made(tmp_path: Path) -> None:
    path = written(
        tmp_path / "recipe.toml",
        {
            "name": "whole",
            "schedule": {"epochs": 5, "seed": 3},
            "stages": [
                {"name": "first"},
                {
                    "name": "second",
                    "start": "@first",
                    "schedule": {"epochs": 2},
                    "teacher": {"bundles": ["@first", "default"]},
                    "finish": {"average_with": ["@first"]},
                },
            ],
        },
    )
    (first, first_at), (second, second_at) = load_recipe(path, tmp_path / "out")
    assert (first.schedule.epochs, second.schedule.epochs, second.schedule.seed) == (5, 2, 3)
    assert (first_at, second_at) == (tmp_path / "out" / "first", tmp_path / "out" / "second")
    assert second.start == str(first_at / "bundle")
    assert second.teacher.bundles == (str(first_at / "bundle"), "default")
    assert second.finish.average_with == (str(first_at),)


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ([{"name": "a", "start": "@b"}, {"name": "b"}], "@b is no stage that comes before this one"),
        ([{"name": "a"}, {"name": "a"}], "each stage needs a name of its own"),
        ([{"start": "default"}], "each stage needs a name of its own"),
        ([{"name": "a", "schedule": {"epoch": 1}}], r"stage a: schedule\.epoch"),
        ([], "one \\[\\[stages\\]\\] or more"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_one_sentence(
    tmp_path: Path, stages: list[dict[str, Any]], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_recipe(written(tmp_path / "recipe.toml", {"name": "whole", "stages": stages}), tmp_path)


class TestRuns:
    """With PyTorch."""

    @pytest.fixture(autouse=True)
    def _torch(self, one_torch_thread: None) -> None:
        pytest.importorskip("torch", reason="needs fertrack[train]")

    def recipe(self, voted: Path, tmp_path: Path) -> Path:
        faces = write_set(tmp_path / "faces", list(range(7)) * 10, seed=5, people=10)
        fer = {"name": "fer", "path": str(voted), "terms": "unstated", "about": "bars with votes", "weight": 3}
        base = small(voted).model_dump(mode="json", exclude_defaults=True)
        base["data"] = {"size_px": 32, "sources": [fer]}
        base["schedule"]["epochs"] = 1
        return written(
            tmp_path / "recipe.toml",
            {
                **base,
                "name": "whole",
                "stages": [
                    {
                        "name": "for-research",
                        "release": "research",
                        "data": {"sources": [fer, source(faces, "faces", apart=0.3, about="faces of ten people")]},
                        "teacher": {"own_share": 0.3, "own_from": 0.0},
                    },
                    {
                        "name": "for-all",
                        "augmentation": {"halves": 0.3, "mixup": 0.4},
                        "teacher": {"bundles": ["@for-research"], "view": "same", "mixed_share": 0.9},
                    },
                ],
            },
        )

    def test_stages_run_in_order_and_their_cards_say_what_each_learned_from(
        self,
        voted: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from fertrack.training import command

        monkeypatch.setattr(command, "build", lambda options: OneFace())
        told: list[str] = []
        recipe = self.recipe(voted, tmp_path)
        last = command.train_classifier(recipe, tmp_path / "out", say=told.append)
        assert last == tmp_path / "out" / "for-all" / "bundle"
        research, everybody = (
            load_bundle(tmp_path / "out" / name / "bundle").card for name in ("for-research", "for-all")
        )
        assert (research.release, research.licence) == ("research", "research only")
        assert [(each.name, each.terms, each.share) for each in research.sources] == [
            ("fer", "unstated", 0.75),
            ("faces", "research", 0.25),
        ]
        assert "faces of ten people" in research.training_data
        assert everybody.release == "any"
        assert [each.name for each in everybody.sources] == ["fer"]
        assert everybody.taught_by == ("for-research 1 (learned from images for research only)",)
        assert "faces of ten people" not in everybody.training_data

        told.clear()
        assert command.train_classifier(recipe, tmp_path / "out", say=told.append) == last
        assert not [line for line in told if line.startswith("epoch")], "finished stages are not trained again"

    def test_a_stopped_recipe_goes_on_where_it_was(
        self,
        voted: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from fertrack.training import command
        from fertrack.training.checkpoint import load_averaged

        monkeypatch.setattr(command, "build", lambda options: OneFace())
        recipe = self.recipe(voted, tmp_path)
        text = recipe.read_text(encoding="utf-8").replace("epochs = 1", "epochs = 2")
        recipe.write_text(text, encoding="utf-8")
        command.train_classifier(recipe, tmp_path / "whole")
        ends = [command.train_classifier(recipe, tmp_path / "parts", 1).name for _ in range(4)]
        assert ends == ["for-research", "for-all", "for-all", "bundle"] or ends[-1] == "bundle"
        for stage in ("for-research", "for-all"):
            one, other = (load_averaged(tmp_path / run / stage) for run in ("whole", "parts"))
            assert all((one[name] == other[name]).all() for name in one)

    def test_weights_for_everybody_do_not_begin_with_weights_for_research(
        self,
        voted: Path,
        tmp_path: Path,
    ) -> None:
        from fertrack.training.command import train_classifier

        shipped = load_bundle()
        folder = tmp_path / "research"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(shipped.read_model())
        card = shipped.card.model_copy(update={"release": "research"})
        written(folder / "bundle.toml", card.model_dump(mode="json", exclude_none=True))
        config = written(tmp_path / "run.toml", {"name": "mine", "start": str(folder), "data": {"path": str(voted)}})
        with pytest.raises(ConfigError, match="has learned from images for research only"):
            train_classifier(config, tmp_path / "run")

    def test_what_is_added_to_the_logits_is_part_of_the_loss(self, voted: Path, tmp_path: Path) -> None:
        """Without it, a source that shows one expression alone would teach that expression everywhere."""
        from fertrack.training.loop import Trainer, logits_of
        from fertrack.training.views import view_of

        faces = write_set(tmp_path / "faces", list(range(7)) * 4, seed=5)
        alone = write_set(tmp_path / "alone", [NEUTRAL] * 28, seed=6)
        content = small(voted, epochs=6, learning_rate=0.01).model_dump()
        content["data"] = {"size_px": 32, "sources": [source(faces, "faces"), source(alone, "alone", weight=3)]}
        config = TrainConfig.model_validate({**content, "release": "research"})
        learned, kept = load_sources(config.data, OneFace(), tmp_path / "cache")

        def called_neutral(pictures: TrainingImages, name: str) -> float:
            trainer = Trainer(config, pictures, kept, tmp_path / name)
            trainer.run()
            logits = logits_of(trainer.averaged, learned, view_of(config))
            return float((logits.argmax(axis=1) == NEUTRAL).mean())

        plain = called_neutral(replace(learned, shifts=np.zeros_like(learned.targets)), "plain")
        assert called_neutral(learned, "shifted") < plain - 0.2

    def test_a_bias_is_fitted_with_all_sets_weighing_the_same(self) -> None:
        from fertrack.training.calibrate_logits import calibrate_logits

        rng = np.random.default_rng(0)
        labels = np.concatenate([np.arange(700) % 7, np.arange(70) % 7])
        logits = rng.normal(size=(770, 7)).astype(np.float32)
        logits[np.arange(770), labels] += 2
        logits[700:, NEUTRAL] += 3  # the small set is called neutral
        even = np.full(7, 1 / 7)
        alike = np.concatenate([np.full(700, 0.5 / 700), np.full(70, 0.5 / 70)])
        many = calibrate_logits(logits, labels, even, even, np.full(770, 1 / 770))
        each = calibrate_logits(logits, labels, even, even, alike)
        assert each.offset[NEUTRAL] < many.offset[NEUTRAL] - 0.1

    def test_calibrating_needs_faces_kept_apart(
        self, voted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from fertrack.training import command

        monkeypatch.setattr(command, "build", lambda options: OneFace())
        content = {
            "name": "mine",
            "data": {"size_px": 32, "sources": [{"name": "fer", "path": str(voted), "terms": "unstated"}]},
            "finish": {"calibrate": True},
        }
        with pytest.raises(ConfigError, match=r"raise apart of data\.sources"):
            command.train_classifier(written(tmp_path / "run.toml", content), tmp_path / "run")
