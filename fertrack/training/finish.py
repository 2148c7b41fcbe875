"""The end of a training run: the averaged weights as a classifier bundle."""

from __future__ import annotations

import hashlib
from pathlib import Path

import tomli_w
import torch

from fertrack.models.bundle import BUNDLE_FILE, BundleCard, CalibrationCard, InputCard
from fertrack.models.compact import CompactNet
from fertrack.models.export.onnx_file import from_module
from fertrack.training.augment import MEAN, STD
from fertrack.training.config import TrainConfig
from fertrack.training.pictures import crop_template
from fertrack.types import EXPRESSIONS, FloatArray

__all__ = ["write_bundle"]

LICENCE = "MIT"
TRAINING_DATA = (
    "FER2013 Training pictures (ICML 2013 challenge; research data, provenance of the pictures unknown: judge "
    "commercial use yourself) with FER+ ten-rater votes (MIT, Microsoft)"
)


def write_bundle(
    network: CompactNet,
    config: TrainConfig,
    training_prior: FloatArray,
    folder: Path,
    *,
    fitted_on: str = "nothing yet: as trained",
) -> Path:
    """Write the network as a bundle: ``model.onnx``, batch norms folded in, and its card.

    The card says which class shares the logits assume; temperature and thresholds are neutral until ``fertrack
    calibrate`` has fitted them.

    Args:
        network: the averaged weights.
        config: the run.
        training_prior: float64 (7,), class shares seen in training, or those its logits were brought to.
        folder: made if need be; an earlier bundle in it is replaced.
        fitted_on: what the logits were calibrated with.

    Returns:
        The folder.

    Raises:
        FertrackError: onnxscript, which PyTorch's exporter needs, is not installed.
        ModelError: PyTorch cannot export the network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network.eval().to(memory_format=torch.contiguous_format)
    model = from_module(network, (1, config.data.size_px, config.data.size_px))
    template = crop_template(config.data.size_px, config.data.zoom).astype(float)
    shares = {name: round(float(share), 4) for name, share in zip(EXPRESSIONS, training_prior, strict=True)}
    shares[EXPRESSIONS[-1]] = round(1.0 - sum(shares[name] for name in EXPRESSIONS[:-1]), 4)
    card = BundleCard(
        name=config.name,
        version=config.version,
        summary=config.summary,
        sha256=hashlib.sha256(model).hexdigest(),
        labels=EXPRESSIONS,
        licence=LICENCE,
        training_data=TRAINING_DATA,
        input=InputCard(
            size_px=config.data.size_px,
            template=tuple((round(x, 3), round(y, 3)) for x, y in template.tolist()),
            colour="gray",
            layout="NCHW",
            mean=(MEAN,),
            std=(STD,),
        ),
        calibration=CalibrationCard(
            fitted_on=fitted_on,
            temperature=1.0,
            prior_strength=0.5,
            training_prior=shares,
            thresholds=dict.fromkeys(EXPRESSIONS, 0.4),
        ),
    )
    (folder / card.model).write_bytes(model)
    text = tomli_w.dumps(card.model_dump(mode="json", exclude_none=True))
    (folder / BUNDLE_FILE).write_text(text, encoding="utf-8")
    return folder
