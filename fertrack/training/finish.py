"""The end of a training run: the averaged weights as a classifier bundle.

The compact network is written as ONNX; of the published architecture the weights, as safetensors, which ``fertrack
export`` makes ONNX and other formats of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import tomli_w
import torch

from fertrack.errors import ModelError
from fertrack.model_export.onnx import from_module
from fertrack.models.bundle import (
    BUNDLE_FILE,
    BundleCard,
    CalibrationCard,
    HeadCard,
    InputCard,
    SourceCard,
    load_bundle,
)
from fertrack.models.networks.compact import CompactNet
from fertrack.training.checkpoint import load_averaged
from fertrack.training.config import TrainConfig
from fertrack.training.from_bundle import is_bundle
from fertrack.training.images import is_fer2013
from fertrack.training.networks import PublishedNet
from fertrack.training.views import view_of
from fertrack.types import EXPRESSIONS, FloatArray

__all__ = ["mean_network", "write_bundle"]

_WEIGHTS, _HEAD = "model.safetensors", "head.safetensors"
LICENCE = "MIT"
RESEARCH = "research only"
TRAINING_DATA = (
    "FER2013 Training pictures (ICML 2013 challenge; research data, provenance of the pictures unknown: judge "
    "commercial use yourself) with FER+ ten-rater votes (MIT, Microsoft)"
)


def write_bundle(
    network: CompactNet | PublishedNet,
    config: TrainConfig,
    training_prior: FloatArray,
    folder: Path,
    *,
    fitted_on: str = "",
) -> Path:
    """Write the network as a bundle: ``model.onnx``, batch norms folded in, or weights by themselves; and its card.

    The card says which class shares the logits assume; temperature and thresholds are neutral until ``fertrack
    calibrate`` has fitted them.

    Args:
        network: the averaged weights.
        config: the run.
        training_prior: float64 (7,), class shares seen in training, or those its logits were brought to.
        folder: made if need be; an earlier bundle in it is replaced.
        fitted_on: which images the logits were calibrated with; empty: they are as trained, and the card says so.

    Returns:
        The folder.

    Raises:
        FertrackError: onnxscript, which PyTorch's exporter needs, is not installed.
        ModelError: PyTorch cannot export the network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network.eval().to("cpu", memory_format=torch.contiguous_format)
    facts = _write_onnx(network, config, folder) if isinstance(network, CompactNet) else _write_weights(network, folder)
    view = view_of(config)
    begun = load_bundle(config.start).card if is_bundle(config.start) else None
    known = is_fer2013(config.data)
    shares = {name: round(float(share), 4) for name, share in zip(EXPRESSIONS, training_prior, strict=True)}
    shares[EXPRESSIONS[-1]] = round(1.0 - sum(shares[name] for name in EXPRESSIONS[:-1]), 4)
    card = BundleCard(
        name=config.name,
        version=config.version,
        summary=config.summary,
        labels=EXPRESSIONS,
        licence=config.licence or (RESEARCH if config.release == "research" else LICENCE if known else "not stated"),
        training_data=_training_data(config, known)
        + (f"; begun with {begun.name} {begun.version}: {begun.training_data}" if begun and not known else ""),
        release=config.release,
        sources=_sources(config),
        taught_by=tuple(_teacher(load_bundle(name).card) for name in config.teacher.bundles),
        input=InputCard(
            size_px=config.data.size_px,
            template=tuple((round(x, 3), round(y, 3)) for x, y in view.template.astype(float).tolist()),
            colour="rgb" if view.colour else "gray",
            layout="NCHW",
            mean=view.mean,
            std=view.std,
        ),
        calibration=CalibrationCard(
            fitted_on=fitted_on,
            temperature=1.0,
            prior_strength=0.5,
            training_prior=shares,
            thresholds=dict.fromkeys(EXPRESSIONS, 0.4),
        ),
        **facts,
    )
    text = tomli_w.dumps(card.model_dump(mode="json", exclude_none=True))
    (folder / BUNDLE_FILE).write_text(text, encoding="utf-8")
    return folder


def _training_data(config: TrainConfig, known: bool) -> str:
    if config.training_data:
        return config.training_data
    if config.data.sources:
        return "; ".join(source.about or source.name for source in config.data.sources)
    return TRAINING_DATA if known else f"{Path(config.data.path).name}; not stated"


def _sources(config: TrainConfig) -> tuple[SourceCard, ...]:
    total = sum(source.weight for source in config.data.sources)
    return tuple(
        SourceCard(name=each.name, terms=each.terms, share=round(each.weight / total, 4), about=each.about)
        for each in config.data.sources
    )


def _teacher(card: BundleCard) -> str:
    terms = " (learned from images for research only)" if card.release == "research" else ""
    return f"{card.name} {card.version}{terms}"


def mean_network(network: CompactNet | PublishedNet, others: Sequence[str]) -> CompactNet | PublishedNet:
    """A copy of the network with the mean of its own weights and those of other runs.

    Runs that begin with the same weights and differ by chance end in one basin, where the mean is better than each
    (Wortsman et al. 2022, arXiv 2203.05482, uniform soup).

    Args:
        network: averaged weights of one run.
        others: folders of the others; with none, the copy is the same.

    Raises:
        ModelError: a folder holds no run, or one of another network.
    """
    copy = deepcopy(network)
    own = copy.state_dict()
    states = [own]
    for folder in others:
        states.append(load_averaged(Path(folder)))
        if {name: values.shape for name, values in states[-1].items()} != {n: v.shape for n, v in own.items()}:
            raise ModelError(
                f"finish.average_with: {folder} is a run of another network: average runs of one [network]"
            )
    for name, values in own.items():
        if values.dtype.is_floating_point:
            values.copy_(torch.stack([state[name].to(values) for state in states]).mean(dim=0))
    return copy


def _write_onnx(network: CompactNet, config: TrainConfig, folder: Path) -> dict[str, Any]:
    content = from_module(network, (1, config.data.size_px, config.data.size_px))
    return {"model": "model.onnx", "sha256": _written(content, folder / "model.onnx")}


def _write_weights(network: PublishedNet, folder: Path) -> dict[str, Any]:
    """Of a head behind which a transformer classifies, without the linear layer that then has no part in it."""
    kind: Any = "landmark-attention" if hasattr(network.head, "attention") else "feature-orthogonal"
    if network.transformer is None:
        sha256 = _written(_safetensors(network.head), folder / _WEIGHTS)
        return {"model": _WEIGHTS, "sha256": sha256, "architecture": kind}
    head = HeadCard(
        model=_HEAD, sha256=_written(_safetensors(network.head, without="fc."), folder / _HEAD), architecture=kind
    )
    sha256 = _written(_safetensors(network.transformer), folder / _WEIGHTS)
    return {"model": _WEIGHTS, "sha256": sha256, "architecture": "quaternion-transformer", "head": head}


def _safetensors(module: Any, without: str = "\0") -> bytes:
    from safetensors.torch import save

    return bytes(
        save({name: v.contiguous() for name, v in module.state_dict().items() if not name.startswith(without)})
    )


def _written(content: bytes, path: Path) -> str:
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()
