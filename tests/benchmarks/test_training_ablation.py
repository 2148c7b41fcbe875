"""The ablation: what is changed, and what the table says about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fertrack.evaluation.datasets.ferplus import VotedImages
from fertrack.training.config import load_train_config
from tests.support.paths import REPOSITORY

pytest.importorskip("torch", reason="needs fertrack[train]")
from fertrack.benchmarks.training_ablation import CHANGES, Change, Outcome, ablation_table, compare
from fertrack.training.images import TrainingImages

CONFIG = REPOSITORY / "configs" / "train" / "ablation.toml"


@pytest.fixture
def voted() -> VotedImages:
    labels = np.arange(140) % 7
    votes = (0.8 * np.eye(7)[labels] + 0.2 / 7).astype(np.float32)
    return VotedImages(np.zeros((140, 48, 48), np.uint8), labels, votes, np.zeros(140, bool))


def outcome(voted: VotedImages, wrong: int, prior: np.ndarray | None = None) -> Outcome:
    """Sure of the right label, but for the first so many pictures."""
    prior = np.full(7, 1 / 7) if prior is None else prior
    said = voted.labels.copy()
    said[:wrong] = (said[:wrong] + 1) % 7
    logits = (np.log(0.8 * np.eye(7)[said] + 0.2 / 7) + np.log(prior)).astype(np.float32)
    return Outcome(logits, logits, prior)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_every_change_changes_what_it_says_and_nothing_else(change: Change) -> None:
    base = load_train_config(CONFIG)
    changed = change.config(base, 0)
    same = changed.model_dump()
    for section, options in change.options.items():
        for name, value in options.items():
            assert getattr(getattr(base, section), name) != value, "the base does so already"
            same[section][name] = getattr(getattr(base, section), name)
    assert same == base.model_dump()
    assert change.config(base, 2).schedule.seed == 2


def test_the_table_compares_with_the_first_row(voted: VotedImages) -> None:
    changes = (Change("base", {}, 2), Change("worse", {}), Change("same", {}))
    outcomes = [[outcome(voted, 14), outcome(voted, 14)], [outcome(voted, 28)], [outcome(voted, 14)]]
    base, worse, same = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in ablation_table(changes, outcomes, voted).splitlines()[2:]
    )
    assert base[:4] == ["base", "2", "0.900 / 0.900", "-"]
    assert worse[2] == "0.800"
    assert worse[3].startswith("-10.0 (-")
    low, high = (float(part) for part in worse[3][7:-1].split(" to "))
    assert low < -10 < high < 0, "certain of a difference of a tenth"
    assert worse[4] == "0.800"
    assert same[3] == same[5] == "-"
    assert float(base[7]) < float(worse[7]), "further from the votes"


def test_the_training_prior_is_exchanged(voted: VotedImages) -> None:
    skewed = np.array([0.7, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05])
    text = ablation_table([Change("skewed", {})], [[outcome(voted, 0, skewed)]], voted)
    assert "| 1.000 | - | 1.000 |" in text


def test_a_run_per_change_and_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from fertrack.benchmarks import training_ablation as ablation

    rng = np.random.default_rng(0)
    labels = np.arange(70) % 7
    face = np.array(((17, 21), (30, 21), (24, 28), (18, 36), (29, 36)), np.float32)
    pictures = TrainingImages(
        rng.integers(0, 255, (70, 48, 48)).astype(np.uint8),
        np.repeat(face[None], 70, axis=0),
        np.eye(7, dtype=np.float32)[labels],
        labels,
    )
    monkeypatch.setattr(ablation, "load_sources", lambda data, detector, folder: (pictures, pictures))
    tiny = {"widths": (8, 8), "blocks": (0, 1)}
    base = load_train_config(CONFIG).model_dump()
    base["schedule"].update(epochs=1, batch=35, precision="float32")
    base["network"].update(tiny)
    base["data"].update(size_px=32)
    config = type(load_train_config(CONFIG)).model_validate(base)
    changes = (Change("base", {}, 2), Change("no heads", {"network": {"head_channels": 0}}))
    (first, second), (headless,) = compare(config, changes, pictures, tmp_path)
    assert first.plain.shape == first.disturbed.shape == headless.plain.shape == (70, 7)
    assert (first.plain != second.plain).any(), "another seed is another run"
    (pupil,) = compare(config, [Change("taught", {"teacher": {"bundles": ("default",)}})], pictures, tmp_path / "t")[0]
    assert (first.plain != pupil.plain).any(), "what the teacher says is learned"
    assert (first.plain != first.disturbed).any()
    again = compare(config, changes[:1], pictures, tmp_path)[0][0]
    np.testing.assert_array_equal(again.plain, first.plain)  # from the checkpoint: nothing is trained twice
