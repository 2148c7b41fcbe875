"""The composition root: turns settings into parts. The only module that picks adapters by name."""

from __future__ import annotations

from fertrack.classifiers import build_classifier
from fertrack.config import Settings
from fertrack.detectors import build_detector
from fertrack.detectors.config import DetectionConfig
from fertrack.expression.calibration import Calibrator
from fertrack.models.bundle import load_bundle
from fertrack.pipeline.analyzer import FaceAnalyzer
from fertrack.pipeline.pipeline import Pipeline

__all__ = ["build_calibrator", "build_pipeline"]


def build_pipeline(settings: Settings, *, live: bool = False) -> Pipeline:
    """Load the models that the settings name and put the pipeline together.

    Everything that can be wrong with the weights is found here, before a video is opened.

    Args:
        settings: all options.
        live: emit every frame at once (see ``Pipeline``).

    Raises:
        ConfigError: an unknown detector or a device that is not available.
        WeightsError: a weights file is missing, or its hash differs.
        ModelError: a model is not what its bundle says.
    """
    detector = build_detector(_detection(settings))
    classifier = build_classifier(settings.classification)
    return Pipeline(
        FaceAnalyzer(detector, classifier, sign=settings.shots.enabled),
        build_calibrator(settings),
        tracking=settings.tracking,
        shots=settings.shots,
        smoothing=settings.smoothing,
        engine=settings.engine,
        detect_every=settings.detection.every,
        live=live,
    )


def _detection(settings: Settings) -> DetectionConfig:
    """Options of the detector; it reports all that the tracker can use, unless they say otherwise."""
    lowest = settings.tracking.low_score
    if settings.detection.score_threshold is not None or not lowest:
        return settings.detection
    return settings.detection.model_copy(update={"score_threshold": min(max(lowest, 0.01), 0.99)})


def build_calibrator(settings: Settings) -> Calibrator:
    """The calibrator that the settings and the classifier's bundle make together; no network is loaded."""
    return Calibrator(settings.calibration, load_bundle(settings.classification.bundle).calibration)
