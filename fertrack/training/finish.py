"""The end of a training run: the averaged weights as a classifier bundle, and the curves."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import tomli_w
import torch

from fertrack.models.bundle import BUNDLE_FILE, BundleCard, CalibrationCard, InputCard
from fertrack.models.compact import CompactNet
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

_OPSET = 18


def write_bundle(network: CompactNet, config: TrainConfig, training_prior: FloatArray, folder: Path) -> Path:
    """Write the network as a bundle: ``model.onnx``, batch norms folded in, and its card.

    The card says what the network was fed; temperature and thresholds are neutral until ``fertrack calibrate`` has
    fitted them.

    Args:
        network: the averaged weights.
        config: the run.
        training_prior: float64 (7,), class shares seen in training.
        folder: made if need be; an earlier bundle in it is replaced.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = to_onnx(network, config.data.size_px)
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
            fitted_on="nothing yet: as trained",
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


def to_onnx(network: CompactNet, size_px: int) -> bytes:
    """The network as an ONNX file with input ``crops`` (n, 1, S, S) and output ``logits`` (n, 7)."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # torch says that this exporter is the older one; the newer needs a package more for the same graph.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network.eval().to(memory_format=torch.contiguous_format),
            (torch.zeros(2, 1, size_px, size_px),),
            stream,
            input_names=["crops"],
            output_names=["logits"],
            dynamic_axes={"crops": {0: "n"}, "logits": {0: "n"}},
            opset_version=_OPSET,
            dynamo=False,
        )
    return stream.getvalue()
