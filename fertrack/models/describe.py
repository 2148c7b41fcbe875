"""Cards for users' weights files: input, output columns, hash.

A preset holds the constants that a family of models was trained with; what it says can be overruled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import tomli_w
from pydantic import ValidationError

from fertrack.errors import ConfigError, FertrackError, OutputExistsError, WrongUsageError
from fertrack.imaging.alignment import DEFAULT_TEMPLATE
from fertrack.models.bundle import Architecture, BundleCard, card_beside, first_problem, weights_sha256

__all__ = ["LABEL_ORDERS", "PRESETS", "Preset", "card_for", "describe_model"]

LABEL_ORDERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "alphabetical": ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
        "rafdb": ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
        "fer2013": ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"),
        "affectnet": ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"),
    }
)
"""Orders of the seven columns: folders sorted by name (anger, disgust, ..., happy or happiness, ...), and the numbers
that RAF-DB (1 to 7), FER2013 (0 to 6) and AffectNet (0 to 6) give their classes."""

_SYNONYMS = {"angry": "anger", "happy": "happiness", "sad": "sadness", "surprised": "surprise", "disgusted": "disgust"}


@dataclass(frozen=True, slots=True)
class Preset:
    """Constants of a family of models.

    Attributes:
        meaning: for people.
        size_px: side of the crop.
        colour: of the crop.
        mean: per channel, of pixel / 255.
        std: per channel.
        labels: name of the order of labels.
        template: where the five landmarks lie in the crop, px.
    """

    meaning: str
    size_px: int
    colour: Literal["gray", "rgb"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: str
    template: tuple[tuple[float, float], ...]


_Points = tuple[tuple[float, float], ...]
_TEMPLATE_224: _Points = tuple((float(x), float(y)) for x, y in DEFAULT_TEMPLATE)
_TEMPLATE_FER2013: _Points = ((23.299, 28.742), (40.616, 28.646), (32.012, 38.591), (24.899, 48.728), (39.239, 48.649))
"""Where the landmarks of FER2013's average face lie in an image enlarged to 64 px."""

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "rafdb": Preset(
            "224 px RGB, mean and standard deviation of RAF-DB: what Orthogonal_CNN was trained with",
            224,
            "rgb",
            (0.5758095, 0.4500876, 0.40176094),
            (0.20888616, 0.19142343, 0.18289249),
            "alphabetical",
            _TEMPLATE_224,
        ),
        "imagenet": Preset(
            "224 px RGB, mean and standard deviation of ImageNet: what the notebook pipeline fed its networks",
            224,
            "rgb",
            (0.485, 0.456, 0.406),
            (0.229, 0.224, 0.225),
            "alphabetical",
            _TEMPLATE_224,
        ),
        "fer2013": Preset(
            "64 px grey, -1 to 1: mini-Xception and its like",
            64,
            "gray",
            (0.5,),
            (0.5,),
            "fer2013",
            _TEMPLATE_FER2013,
        ),
    }
)
"""Presets by name."""

_CHANNELS_LAST = (".keras", ".h5", ".hdf5", ".tflite")


def describe_model(
    weights: Path, preset: str, *, out: Path | None = None, overwrite: bool = False, **facts: Any
) -> Path:
    """Write the card of a weights file, so that ``--classifier`` takes the file.

    Args:
        weights: the file (or SavedModel folder); it is hashed, not loaded.
        preset: name in ``PRESETS``.
        out: where to write the card; by default beside the file, ``my.pth.toml`` for ``my.pth``. It must lie in the
            same folder as the file.
        overwrite: replace a card that is there.
        facts: as for ``card_for``.

    Returns:
        Path of the card.

    Raises:
        ConfigError: unknown preset or order of labels, or values that do not fit together.
        WeightsError: a file is missing.
        OutputExistsError: there is a card already.
        FertrackError: the card cannot be written.
    """
    card = card_for(weights, preset, **facts)
    target = out or card_beside(weights)
    if target.absolute().parent != weights.absolute().parent:
        raise ConfigError(f"the card must lie beside {weights}, not in {target.parent}")
    if target.exists() and not overwrite:
        raise OutputExistsError(f"{target} is there already; give --overwrite to replace it")
    content = card.model_dump(mode="json", exclude_none=True, exclude_defaults=True) | {"model": card.model}
    try:
        target.write_text(tomli_w.dumps(content), encoding="utf-8")
    except OSError as error:
        raise FertrackError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def card_for(
    weights: Path,
    preset: str,
    *,
    labels: str | Sequence[str] = "",
    size_px: int = 0,
    head: Path | None = None,
    architecture: Architecture = "auto",
    output: Literal["logits", "probabilities"] = "logits",
    rename: Mapping[str, str] | None = None,
    licence: str = "not stated",
    training_data: str = "not stated",
    name: str = "",
) -> BundleCard:
    """The card of a weights file from a preset and what is known besides.

    Args:
        weights: the file (or SavedModel folder).
        preset: name in ``PRESETS``.
        labels: name in ``LABEL_ORDERS``, or the seven columns' names (also one text, separated by commas).
        size_px: side of the crop; 0: the preset's. The template grows and shrinks with it.
        head: weights of a PyTorch feature head in front, in the same folder.
        architecture: which network the weights are of.
        output: what the columns are.
        rename: beginnings of the weights' names, theirs to ours.
        licence: of the weights.
        training_data: what the network was trained on.
        name: by default from the file's name.

    Raises:
        ConfigError: unknown preset or order of labels, or values that do not fit together.
        WeightsError: a file is missing.
    """
    if preset not in PRESETS:
        raise WrongUsageError(f"there is no preset {preset!r}; there are {', '.join(PRESETS)}")
    chosen = PRESETS[preset]
    side = size_px or chosen.size_px
    scale = side / chosen.size_px
    last = weights.is_dir() or weights.suffix.lower() in _CHANNELS_LAST
    content: dict[str, Any] = {
        "name": name or re.sub(r"[^A-Za-z0-9._-]+", "-", weights.stem).strip("-") or "mine",
        "version": "1",
        "model": weights.name,
        "sha256": weights_sha256(weights),
        "labels": _labels(labels or chosen.labels),
        "licence": licence,
        "training_data": training_data,
        "architecture": architecture,
        "output": output,
        "rename": dict(rename or {}) if head is None else {},
        "input": {
            "size_px": side,
            "template": [[round(x * scale, 3), round(y * scale, 3)] for x, y in chosen.template],
            "colour": chosen.colour,
            "layout": "NHWC" if last and head is None else "NCHW",
            "mean": chosen.mean,
            "std": chosen.std,
        },
    }
    if head is not None:
        if head.absolute().parent != weights.absolute().parent:
            raise ConfigError(f"{head} must lie in the same folder as {weights}")
        content["head"] = {"model": head.name, "sha256": weights_sha256(head), "rename": dict(rename or {})}
    try:
        return BundleCard.model_validate(content)
    except ValidationError as error:
        raise WrongUsageError(f"{weights}: {first_problem(error)}") from error


def _labels(given: str | Sequence[str]) -> list[str]:
    if isinstance(given, str):
        if given in LABEL_ORDERS:
            return list(LABEL_ORDERS[given])
        given = [part.strip() for part in given.split(",")]
        if len(given) == 1:
            raise WrongUsageError(
                f"there is no order of labels {given[0]!r}; there are {', '.join(LABEL_ORDERS)}, or give seven names"
            )
    return [_SYNONYMS.get(label.lower(), label.lower()) for label in given]
