"""A classifier as a folder: ``bundle.toml``, which says everything about it, beside ``model.onnx`` (or another kind).

What a network expects (crop size, template, colours, normalisation, order of labels) and what is known of it (licence,
training data, calibration, measured accuracy) stands in the bundle and nowhere else. Every fact is checked on load;
the weights only run if their SHA-256 is the one the bundle names.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError, field_validator, model_validator

from fertrack.calibration import ClassifierCalibration, Expression, PerClass, Prior, in_order
from fertrack.errors import ModelError, WeightsError
from fertrack.reliability import Reliability
from fertrack.stage_config import StageConfig
from fertrack.types import EXPRESSIONS, FloatArray

__all__ = [
    "BUNDLE_FILE",
    "BundleCard",
    "CalibrationCard",
    "ClassifierBundle",
    "InputCard",
    "MeasuredCard",
    "load_bundle",
]

BUNDLE_FILE = "bundle.toml"
_SHIPPED = Path(__file__).parent

_Point = tuple[float, float]
_Share = Annotated[float, Field(ge=0.0, le=1.0)]


class InputCard(StageConfig):
    """What the network must be given."""

    size_px: int = Field(ge=16, le=1024, description="Side of the square crop, px.")
    template: tuple[_Point, _Point, _Point, _Point, _Point] = Field(
        description="Where left eye, right eye, nose, left and right mouth corner (as seen) lie in the crop, px."
    )
    colour: Literal["gray", "rgb", "bgr"] = Field(description="Channels and their order.")
    layout: Literal["NCHW", "NHWC"] = Field(description="Order of the tensor's axes.")
    mean: tuple[float, ...] = Field(description="Per channel, taken from pixel / 255.")
    std: tuple[Annotated[float, Field(gt=0.0)], ...] = Field(description="Per channel; what is left is divided by it.")

    @property
    def channels(self) -> int:
        """1 for gray, 3 for colour."""
        return 1 if self.colour == "gray" else 3

    @model_validator(mode="after")
    def _consistent(self) -> InputCard:
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(
                f"a {self.colour} input needs {self.channels} mean and std values, "
                f"got {len(self.mean)} and {len(self.std)}"
            )
        if not all(0.0 <= value <= self.size_px for point in self.template for value in point):
            raise ValueError(f"the template's points must lie inside the crop of {self.size_px} px")
        return self


class CalibrationCard(StageConfig):
    """Values fitted on labelled pictures; see ``fertrack.calibration`` for what they do."""

    fitted_on: str = Field(min_length=1, description="Which labelled pictures the values were fitted on.")
    temperature: float = Field(ge=0.05, le=20.0)
    prior_strength: float = Field(ge=0.0, le=1.0, description="Recommended strength of the prior correction.")
    training_prior: Prior = Field(description="Class shares the network saw in training.")
    biases: PerClass = Field({}, description="Added to the calibrated logits; 0 where not named.")
    thresholds: dict[Expression, _Share] = Field(description="Least smoothed probability for a label, all seven.")

    @field_validator("thresholds")
    @classmethod
    def _all_seven(cls, thresholds: dict[Expression, float]) -> dict[Expression, float]:
        missing = [name for name in EXPRESSIONS if name not in thresholds]
        if missing:
            raise ValueError(f"a threshold is missing for {', '.join(missing)}")
        return thresholds


class MeasuredCard(StageConfig):
    """One measurement of the network's quality."""

    data: str = Field(min_length=1, description="Which pictures, which labels, which were left out.")
    samples: int = Field(ge=1, description="Number of pictures scored.")
    setting: str = Field("", description="What was switched on: prior correction, temperature, detector in the loop.")
    accuracy: _Share
    mean_class_recall: _Share
    ece: _Share | None = Field(None, description="Expected calibration error, 15 bins, at the set's class shares.")
    ece_equal_shares: _Share | None = Field(None, description="The same with every class weighing the same.")


class BundleCard(StageConfig):
    """The contents of ``bundle.toml``."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    version: str = Field(min_length=1)
    summary: str = ""
    model: str = Field(
        "model.onnx", pattern=r"^[^/\\]+\.[A-Za-z0-9]+$", description="File name of the network, beside the card."
    )
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    labels: tuple[str, ...] = Field(description="The network's output columns, in its own order.")
    licence: str = Field(min_length=1, description="Licence of the weights.")
    training_data: str = Field(min_length=1, description="What the network was trained on, and under what terms.")
    input: InputCard
    calibration: CalibrationCard | None = None
    measured: tuple[MeasuredCard, ...] = ()
    reliability: Reliability | None = Field(None, description="Reliability diagram; none: not measured.")

    @field_validator("labels")
    @classmethod
    def _the_seven_expressions(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [label for label in labels if label not in EXPRESSIONS]
        if unknown:
            raise ValueError(f"unknown expression {unknown[0]!r}; the names are {', '.join(EXPRESSIONS)}")
        if len(labels) != len(EXPRESSIONS):
            raise ValueError(f"{len(EXPRESSIONS)} labels are needed, got {len(labels)}")
        twice = [label for label in EXPRESSIONS if labels.count(label) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} stands twice")
        return labels


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierBundle:
    """A bundle whose card is valid and whose weights are there and are the ones the card names.

    Attributes:
        folder: where it lies.
        card: the contents of ``bundle.toml``.
    """

    folder: Path
    card: BundleCard

    @property
    def model_path(self) -> Path:
        """Path of the network's file."""
        return self.folder / self.card.model

    @property
    def fingerprint(self) -> str:
        """Name, version and the start of the weights' hash, for the record of a run."""
        return f"{self.card.name} {self.card.version} sha256:{self.card.sha256[:8]}"

    @property
    def template(self) -> FloatArray:
        """float32 (5, 2), px in the crop, read-only."""
        points = np.array(self.card.input.template, np.float32)
        points.flags.writeable = False
        return points

    @property
    def label_columns(self) -> list[int]:
        """For each of ``EXPRESSIONS``, the network's output column."""
        return [self.card.labels.index(name) for name in EXPRESSIONS]

    @property
    def calibration(self) -> ClassifierCalibration:
        """What the bundle says of calibration; neutral values, marked so, if it says nothing."""
        name = f"{self.card.name} {self.card.version}"
        fitted = self.card.calibration
        if fitted is None:
            return replace(ClassifierCalibration.uncalibrated(name), reliability=self.card.reliability)
        return ClassifierCalibration(
            classifier=name,
            calibrated=True,
            training_prior=in_order(fitted.training_prior),
            prior_strength=fitted.prior_strength,
            temperature=fitted.temperature,
            biases=in_order(fitted.biases, 0.0),
            thresholds=in_order(fitted.thresholds),
            reliability=self.card.reliability,
        )

    def read_model(self) -> bytes:
        """The network file's bytes, verified: what is checked here is what is run.

        Raises:
            WeightsError: the file is missing, unreadable, or its hash differs.
        """
        try:
            content = self.model_path.read_bytes()
        except FileNotFoundError as error:
            raise WeightsError(
                f"{self.model_path} is missing; put the network beside its {BUNDLE_FILE} or name another bundle"
            ) from error
        except OSError as error:
            raise WeightsError(f"{self.model_path} cannot be read: {error.strerror or error}") from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.card.sha256:
            raise WeightsError(
                f"{self.model_path} is not the file its bundle names: sha256 {found[:16]}… found, "
                f"{self.card.sha256[:16]}… expected; restore the file, or correct {BUNDLE_FILE} if it was replaced "
                "on purpose"
            )
        return content


def load_bundle(name_or_path: str | Path = "default") -> ClassifierBundle:
    """Read and verify a bundle.

    Args:
        name_or_path: ``"default"`` for the one that comes with fertrack, or a folder with ``bundle.toml`` in it (the
            path of the ``bundle.toml`` itself also does).

    Raises:
        ModelError: there is no such bundle, or ``bundle.toml`` cannot be read or is not valid.
        WeightsError: the network is missing or its hash differs.

    >>> load_bundle("default").card.input.size_px
    64
    """
    folder = _folder(name_or_path)
    bundle = ClassifierBundle(folder, _read_card(folder / BUNDLE_FILE))
    bundle.read_model()
    return bundle


def _folder(name_or_path: str | Path) -> Path:
    if str(name_or_path) == "default":  # a folder that happens to be called so is reached as ./default
        return _SHIPPED / "default"
    path = Path(name_or_path).expanduser()
    if path.name == BUNDLE_FILE:
        path = path.parent
    if path.is_dir():
        return path
    if path.is_file():
        raise ModelError(f"{path} is a file; name the folder that holds it together with a {BUNDLE_FILE}")
    raise ModelError(
        f'no classifier bundle {str(name_or_path)!r}: give "default" or a folder with a {BUNDLE_FILE} in it'
    )


def _read_card(path: Path) -> BundleCard:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing: the folder is not a classifier bundle") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{path} is not TOML: {error}") from error
    try:
        return BundleCard.model_validate(content)
    except ValidationError as error:
        raise ModelError(f"{path}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    reason = problem["msg"].removeprefix("Value error, ")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place}: {reason[:1].lower()}{reason[1:]}{more}"
