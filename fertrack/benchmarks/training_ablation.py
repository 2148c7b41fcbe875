"""Ablation of the training: the same short run without each part, several seeds, on images never learned.

Run ``python -m fertrack.benchmarks training_ablation CONFIG PICTURES.npz OUT.md``; a run that was stopped goes on
where it was.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fertrack.detectors.centerface import Options, build
from fertrack.evaluation.datasets.ferplus import VotedImages, find_landmarks, load_ferplus
from fertrack.models.bundle import load_bundle
from fertrack.training.augment import crop_faces, disturbed, normalise
from fertrack.training.calibrate_logits import calibrate_logits, class_shares
from fertrack.training.config import TrainConfig, load_train_config
from fertrack.training.images import TrainingImages, crop_template
from fertrack.training.loop import Trainer, logits_of_crops
from fertrack.training.mixture import load_sources
from fertrack.training.teachers import taught
from fertrack.types import EXPRESSIONS, FloatArray, IntArray

__all__ = ["CHANGES", "Change", "Outcome", "ablation_table", "compare", "main"]

logger = logging.getLogger(__name__)

_GEOMETRY_ONLY = dict.fromkeys(
    ("low_resolution", "blur", "sharpen", "compression", "lighting", "side_light", "noise", "occlusion"), 0.0
)
_DISTURBANCES = ("low_resolution", "blur", "noise")
_SEED = 7
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """One thing done differently: options by section."""

    name: str
    options: Mapping[str, Mapping[str, Any]]
    seeds: int = 1

    def config(self, base: TrainConfig, seed: int) -> TrainConfig:
        """The run with the change."""
        values = base.model_dump()
        for section, options in self.options.items():
            values[section].update(options)
        values["schedule"]["seed"] = seed
        return TrainConfig.model_validate(values)


CHANGES = (
    Change("as it is", {}, 3),
    Change("heads, but no loss that sets them apart", {"network": {"head_weight": 0.0}}, 3),
    Change("no heads: the trunk pooled", {"network": {"head_channels": 0}}, 3),
    Change("pictures drawn as they come", {"data": {"balance": 0.0}}),
    Change("FER+ votes alone", {"data": {"fer2013_share": 0.0}}),
    Change("no mixup", {"augmentation": {"mixup": 0.0}}),
    Change("turns, shifts and flips alone", {"augmentation": _GEOMETRY_ONLY}),
    Change("half of the targets from the default classifier", {"teacher": {"bundles": ("default",)}}),
)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Estimates of one trained network.

    Attributes:
        plain: float32 (N, 7), logits of the test images, calibrated on images kept apart.
        disturbed: float32 (N, 7), logits of the same, each made small, blurred or noisy.
        prior: float64 (7,), class shares that the logits assume.
    """

    plain: FloatArray
    disturbed: FloatArray
    prior: FloatArray


def compare(
    config: TrainConfig, changes: Sequence[Change], tested: TrainingImages, folder: Path
) -> list[list[Outcome]]:
    """Train every change with each of its seeds.

    Returns:
        Per change, per seed.
    """
    detector = build(Options(long_side=224, score_threshold=0.1))
    outcomes: list[list[Outcome]] = []
    for number, change in enumerate(changes):
        outcomes.append([])
        for seed in range(change.seeds):
            changed = change.config(config, seed)
            learned, kept = load_sources(changed.data, detector, folder)
            teachers = [load_bundle(name) for name in changed.teacher.bundles]
            prior = learned.class_shares(changed.data.balance)
            learned = taught(learned, teachers, changed.teacher.share, prior)
            trainer = Trainer(changed, learned, kept, folder / f"{number}-{seed}")
            trainer.run(on_epoch=lambda report, name=change.name: logger.info("%s: %s", name, report))  # type: ignore[misc]
            outcomes[-1].append(_outcome(trainer, tested, changed, (learned.labels, kept.labels)))
    return outcomes


def ablation_table(changes: Sequence[Change], outcomes: Sequence[Sequence[Outcome]], voted: VotedImages) -> str:
    """A Markdown table; the differences have 95 % intervals, bootstrapped over images (all seeds of a run together).

    Args:
        changes: the first is what the others are compared with.
        outcomes: per change, per seed.
        voted: the test images.
    """
    lines = [
        "| run | seeds | accuracy at the set's shares | difference | mean-class recall at equal shares | difference |"
        " recall, disturbed | KL to the votes |",
        "|---|---:|---|---|---|---|---|---:|",
    ]
    columns = np.random.default_rng(_SEED).integers(0, len(voted), (_RESAMPLES, len(voted)))
    shares = np.asarray(np.bincount(voted.labels, minlength=len(EXPRESSIONS)) / len(voted))
    first: tuple[FloatArray, FloatArray] | None = None
    for change, runs in zip(changes, outcomes, strict=True):
        natural = np.array([_right(run.plain, run.prior, voted, shares) for run in runs])
        even = np.array([_right(run.plain, run.prior, voted) for run in runs])
        stood = np.array([_right(run.disturbed, run.prior, voted) for run in runs])
        first = first or (natural.mean(axis=0), even.mean(axis=0))
        kl = np.mean([_divergence(run.plain, voted.votes) for run in runs])
        cells = [
            change.name,
            str(len(runs)),
            _seeds([float(row.mean()) for row in natural]),
            _difference(natural.mean(axis=0) - first[0], columns),
            _seeds([_recall(row, voted) for row in even]),
            _recall_difference(even.mean(axis=0) - first[1], voted),
            _seeds([_recall(row, voted) for row in stood]),
            f"{kl:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _outcome(
    trainer: Trainer, tested: TrainingImages, config: TrainConfig, labels: tuple[IntArray, IntArray]
) -> Outcome:
    learned, kept = labels
    size = config.data.size_px
    crops = crop_faces(tested.images, tested.landmarks, crop_template(size, config.data.zoom), size)
    rng = np.random.default_rng(_SEED)
    spoilt = crops.copy()
    for place, option in enumerate(_DISTURBANCES):
        spoilt[place :: len(_DISTURBANCES)] = disturbed(crops[place :: len(_DISTURBANCES)], option, rng)
    plain, other = (logits_of_crops(trainer.averaged, normalise(view)) for view in (crops, spoilt))
    calibration = calibrate_logits(trainer.validation_logits(), kept, trainer.training_prior, class_shares(learned))
    return Outcome(calibration.apply(plain), calibration.apply(other), calibration.prior)


def _right(logits: FloatArray, prior: FloatArray, voted: VotedImages, shares: Any = None) -> FloatArray:
    """float64 (N,): 1 where the label is right with the prior exchanged for ``shares``, equal ones by default."""
    assumed = np.zeros(len(prior)) if shares is None else np.log(shares)
    return np.asarray((logits - np.log(prior) + assumed).argmax(axis=1) == voted.labels, np.float64)


def _recall(right: FloatArray, voted: VotedImages) -> float:
    return float(np.mean([right[voted.labels == label].mean() for label in np.unique(voted.labels)]))


def _divergence(logits: FloatArray, votes: FloatArray) -> float:
    """Mean Kullback-Leibler divergence from the votes to the softmax of the logits, nats."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    voted = np.where(votes > 0, votes * (np.log(np.maximum(votes, 1e-12)) - log_p), 0.0)
    return float(voted.sum(axis=1).mean())


def _seeds(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.3f}" for value in values)


def _difference(gained: FloatArray, columns: np.ndarray) -> str:
    return _points(float(gained.mean()), gained[columns].mean(axis=1))


def _recall_difference(gained: FloatArray, voted: VotedImages) -> str:
    rng = np.random.default_rng(_SEED)
    classes = [gained[voted.labels == label] for label in np.unique(voted.labels)]
    drawn = [rows[rng.integers(0, len(rows), (_RESAMPLES, len(rows)))].mean(axis=1) for rows in classes]
    return _points(float(np.mean([rows.mean() for rows in classes])), np.mean(drawn, axis=0))


def _points(value: float, resampled: FloatArray) -> str:
    if not resampled.any():
        return "-"
    low, high = np.percentile(resampled, (2.5, 97.5))
    return f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def main(arguments: Sequence[str]) -> int:
    """Train, compare and write the report."""
    parser = argparse.ArgumentParser(
        prog="python -m fertrack.benchmarks training_ablation",
        description="Train without each part of a recipe, and compare.",
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("fertrack-out/training/ablation"))
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = load_train_config(given.config)
    voted = load_ferplus(given.pictures)
    landmarks, _ = find_landmarks(voted.images, build(Options(long_side=224, score_threshold=0.1)))
    outcomes = compare(
        config, CHANGES, TrainingImages(voted.images, landmarks, voted.votes, voted.labels), given.folder
    )
    text = (
        "# What each part of the training is worth\n\n"
        f"Runs of {config.schedule.epochs} epochs of `{given.config}`, a network smaller than the default one so that "
        "they can be repeated, each with one thing done differently; measured on FER+ PublicTest, "
        f"{len(voted)} pictures (arg-max of the votes), of which no twin was learned. Temperature and biases are "
        "fitted on training pictures kept apart. Differences in points, to the first row, 95 % bootstrap intervals "
        "over pictures. Values separated by / are seeds. Disturbed: a third each shrunk to 16-40 px, blurred, noisy. "
        "Written by `python -m fertrack.benchmarks training_ablation`.\n\n"
        f"{ablation_table(CHANGES, outcomes, voted)}\n"
    )
    given.out.write_text(text, encoding="utf-8")
    return 0
