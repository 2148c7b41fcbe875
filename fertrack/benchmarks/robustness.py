"""Robustness of classifiers to video: the same images, small, blurred, compressed, badly lit, occluded.

Run ``python -m fertrack.benchmarks robustness PICTURES.npz OUT.md [BUNDLE...]``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fertrack.classifiers.onnx import OnnxClassifier
from fertrack.evaluation.datasets.ferplus import VotedImages, find_landmarks, load_ferplus
from fertrack.models.bundle import ClassifierBundle, load_bundle
from fertrack.training.augment import crop_faces, disturbed
from fertrack.types import EXPRESSIONS, FloatArray, Image

__all__ = ["DISTURBANCES", "main", "measure_robustness"]

DISTURBANCES = {
    "as it is": "",
    "shrunk to 16-40 px and enlarged": "low_resolution",
    "blurred (out of focus or moving)": "blur",
    "sharpened": "sharpen",
    "JPEG, quality 12-60": "compression",
    "gamma, contrast, brightness": "lighting",
    "light from one side": "side_light",
    "sensor noise": "noise",
    "a rectangle covered": "occlusion",
}
"""What is done to every crop -> the option of the training's augmentation that does it."""

_SEED = 7
_RESAMPLES = 1000


def measure_robustness(
    voted: VotedImages, landmarks: FloatArray, bundles: Sequence[ClassifierBundle], *, resamples: int = _RESAMPLES
) -> str:
    """A Markdown table: accuracy and mean-class recall under each disturbance, with 95 % intervals.

    Every bundle sees the same images under the same chance; landmarks are those of the undisturbed images, so
    only the network is tested. Accuracy is at the training prior; recall with it divided out.

    Args:
        voted: labelled images.
        landmarks: float32 (N, 5, 2), px of the images.
        bundles: classifiers with calibration.
        resamples: bootstrap resamples.
    """
    head = " | ".join(f"{bundle.card.name} {bundle.card.version}: accuracy | mean-class recall" for bundle in bundles)
    lines = [f"| disturbance | {head} |", "|---" * (1 + 2 * len(bundles)) + "|"]
    for name, option in DISTURBANCES.items():
        cells = [name]
        for bundle in bundles:
            logits = _logits(bundle, voted.images, landmarks, option)
            prior = np.log(np.asarray(bundle.calibration.training_prior, np.float32))
            as_trained = (logits.argmax(1) == voted.labels).astype(np.float64)
            balanced = ((logits - prior).argmax(1) == voted.labels).astype(np.float64)
            cells += [_share(as_trained, resamples), _recall(balanced, voted, resamples)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _logits(bundle: ClassifierBundle, images: Image, landmarks: FloatArray, option: str) -> FloatArray:
    classifier = OnnxClassifier(bundle)
    crops = crop_faces(images, landmarks, classifier.template, classifier.crop_size)
    if option:
        crops = disturbed(crops, option, np.random.default_rng(_SEED))
    return classifier.logits(np.repeat(crops[..., None], 3, axis=3))


def _share(right: FloatArray, resamples: int) -> str:
    rng = np.random.default_rng(_SEED)
    means = right[rng.integers(0, len(right), (resamples, len(right)))].mean(axis=1)
    return _with_interval(float(right.mean()), means)


def _recall(right: FloatArray, voted: VotedImages, resamples: int) -> str:
    rng = np.random.default_rng(_SEED)
    classes = [right[voted.labels == label] for label in range(len(EXPRESSIONS)) if (voted.labels == label).any()]
    drawn = [rows[rng.integers(0, len(rows), (resamples, len(rows)))].mean(axis=1) for rows in classes]
    return _with_interval(float(np.mean([rows.mean() for rows in classes])), np.mean(drawn, axis=0))


def _with_interval(value: float, resampled: FloatArray) -> str:
    low, high = np.percentile(resampled, (2.5, 97.5))
    return f"{value:.3f} ({low:.3f}-{high:.3f})"


def main(arguments: Sequence[str]) -> int:
    """Measure and write the report."""
    from fertrack.detectors.centerface import Options, build

    parser = argparse.ArgumentParser(prog="python -m fertrack.benchmarks robustness", description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("bundles", nargs="*", default=["default"])
    given = parser.parse_args(arguments)
    voted = load_ferplus(given.pictures)
    landmarks, _ = find_landmarks(voted.images, build(Options(long_side=224, score_threshold=0.1, precision="fp32")))
    bundles = [load_bundle(name) for name in given.bundles]
    table = measure_robustness(voted, landmarks, bundles)
    text = (
        "# What video does to faces, done to test pictures\n\n"
        f"FER+ PublicTest, {len(voted)} pictures, each crop disturbed in one way. "
        "`fertrack models train` leaves out training pictures that have a twin here; other classifiers may have seen "
        "such twins. "
        "Written by `python -m fertrack.benchmarks robustness`. Accuracy: at the training prior; mean-class recall: "
        "with the training prior divided out; 95 % bootstrap intervals.\n\n"
        "The disturbances are of the kinds that `fertrack models train` uses as augmentation: this says that the "
        "network learned to stand them, not that it stands everything that other cameras do.\n\n"
        f"Classifiers: {'; '.join(bundle.fingerprint for bundle in bundles)}\n\n{table}\n"
    )
    given.out.write_text(text, encoding="utf-8")
    return 0
