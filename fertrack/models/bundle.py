"""Classifier bundle, a folder: ``bundle.toml``, which describes it, beside ``model.onnx`` (or another kind).

What a network expects (crop size, template, colours, normalisation, order of labels) and what is known of it (licence,
training data, calibration, measured accuracy) stands in the bundle and nowhere else. Every fact is checked on load;
the weights only run if their SHA-256 is the one the bundle names.

The card may also lie beside one weights file among others, named after it: ``my.pth.toml`` for ``my.pth``.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError, field_validator, model_validator

from fertrack.errors import ModelError, WeightsError
from fertrack.expression.calibration import ClassifierCalibration, in_order
from fertrack.expression.config import Expression, PerClass, Prior
from fertrack.expression.reliability import Reliability
from fertrack.models.onnx_external_data import joined, parts_beside, sha256_with_parts
from fertrack.stage_config import StageConfig
from fertrack.types import EXPRESSIONS, FloatArray

__all__ = [
    "BUNDLE_FILE",
    "SAVED_MODEL_FILE",
    "SHIPPED",
    "Architecture",
    "BundleCard",
    "CalibrationCard",
    "ClassifierBundle",
    "HeadCard",
    "InputCard",
    "MeasuredCard",
    "SourceCard",
    "card_beside",
    "first_problem",
    "load_bundle",
    "weights_sha256",
]

BUNDLE_FILE = "bundle.toml"
SAVED_MODEL_FILE = "saved_model.pb"  # what makes a folder a TensorFlow SavedModel
_SHIPPED = Path(__file__).parent
SHIPPED = tuple(name for name in ("default", "research") if (_SHIPPED / name / "bundle.toml").is_file())
"""Bundles that come with fertrack: the default one, and one for research only."""

Architecture = Literal["auto", "feature-orthogonal", "landmark-attention", "quaternion-transformer"]
"""Networks that fertrack has code for, so that a file of weights alone is enough; "auto" goes by the weights' names."""

_FileName = Annotated[str, Field(pattern=r"^[^./\\][^/\\]*$")]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Point = tuple[float, float]
_Share = Annotated[float, Field(ge=0.0, le=1.0)]


class InputCard(StageConfig):
    """Input that the network expects."""

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
    """Values fitted on labelled images; see ``fertrack.expression.calibration`` for what they do."""

    fitted_on: str = Field(
        "", description="Which labelled pictures the values were fitted on; empty: none, the logits are as trained."
    )
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


class SourceCard(StageConfig):
    """One set of images that the network learned from."""

    name: str = Field(min_length=1)
    terms: Literal["open", "unstated", "research"] = Field(description="As in ``fertrack.training.config.Terms``.")
    share: _Share = Field(description="Of the images drawn in training.")
    about: str = Field("", description="What it is and under what terms.")


class HeadCard(StageConfig):
    """A PyTorch feature head in front of the network, which then takes the head's tokens instead of pixels."""

    model: _FileName = Field(description="File name of the head's weights, beside the card.")
    sha256: _Sha256
    architecture: Architecture = Field("auto", description="Which feature head the weights are of.")
    rename: dict[str, str] = Field({}, description="Beginnings of the weights' names, theirs to ours.")


class BundleCard(StageConfig):
    """The contents of ``bundle.toml``."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    version: str = Field(min_length=1)
    summary: str = ""
    model: _FileName = Field("model.onnx", description="File name of the network, beside the card.")
    sha256: _Sha256
    architecture: Architecture = Field("auto", description="Where the file holds weights alone: which network's.")
    rename: dict[str, str] = Field({}, description="Beginnings of the weights' names, theirs to ours.")
    output: Literal["logits", "probabilities"] = Field(
        "logits", description="What the network's columns are; of probabilities the logarithm is taken."
    )
    labels: tuple[str, ...] = Field(description="The network's output columns, in its own order.")
    licence: str = Field(min_length=1, description="Licence of the weights.")
    training_data: str = Field(min_length=1, description="What the network was trained on, and under what terms.")
    release: Literal["any", "research"] = Field(
        "any", description='"research": it learned from images for research only, and so may be used for that only.'
    )
    sources: tuple[SourceCard, ...] = Field((), description="Sets it learned from, where there were several.")
    taught_by: tuple[str, ...] = Field((), description="Classifiers whose answers were part of its targets.")
    input: InputCard
    head: HeadCard | None = Field(None, description="Feature head in front of the network; none: it takes pixels.")
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
    def head_path(self) -> Path | None:
        """Path of the feature head's weights, if there is one."""
        return self.folder / self.card.head.model if self.card.head else None

    @property
    def fingerprint(self) -> str:
        """Name, version and the start of the weights' hash, for the record of a run."""
        head = f" head sha256:{self.card.head.sha256[:8]}" if self.card.head else ""
        return f"{self.card.name} {self.card.version} sha256:{self.card.sha256[:8]}{head}"

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
        """Calibration stated by the bundle; neutral values, marked so, if it states none."""
        name = f"{self.card.name} {self.card.version}"
        fitted = self.card.calibration
        if fitted is None:
            return replace(ClassifierCalibration.uncalibrated(name), reliability=self.card.reliability)
        return ClassifierCalibration(
            classifier=name,
            calibrated=bool(fitted.fitted_on),
            training_prior=in_order(fitted.training_prior),
            prior_strength=fitted.prior_strength,
            temperature=fitted.temperature,
            biases=in_order(fitted.biases, 0.0),
            thresholds=in_order(fitted.thresholds),
            reliability=self.card.reliability,
        )

    def read_model(self) -> bytes:
        """The network file's bytes, verified: what is checked here is what is run.

        An ONNX network that keeps its weights in a second file is made one.

        Raises:
            WeightsError: a file is missing, unreadable, or its hash differs.
            ModelError: the network and its second file do not fit together.
        """
        try:
            content = self.model_path.read_bytes()
        except OSError as error:
            raise _unreadable(self.model_path, error) from error
        parts = parts_beside(self.model_path, content) if _may_have_parts(self.model_path) else {}
        _compare(self.model_path, sha256_with_parts(content, parts), self.card.sha256)
        return joined(self.model_path, content, parts)

    def verify(self) -> None:
        """Compare the hashes of the network and, if there is one, of its feature head.

        Raises:
            WeightsError: a file is missing, unreadable, or its hash differs.
        """
        _compare(self.model_path, weights_sha256(self.model_path), self.card.sha256)
        if self.card.head and self.head_path:
            _compare(self.head_path, weights_sha256(self.head_path), self.card.head.sha256)


def weights_sha256(path: Path) -> str:
    """SHA-256 of a weights file; of several that belong together, that of the list of them and their hashes.

    Several are a TensorFlow SavedModel (a folder) and an ONNX file with its weights in another one beside it.

    Raises:
        WeightsError: it is missing or cannot be read.
    """
    try:
        if not path.is_dir():
            if _may_have_parts(path):
                content = path.read_bytes()
                return sha256_with_parts(content, parts_beside(path, content))
            with path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        if not (path / SAVED_MODEL_FILE).is_file():
            raise WeightsError(f"{path} cannot be read: it is a folder without a {SAVED_MODEL_FILE}")
        listing = hashlib.sha256()
        for file in sorted(found for found in path.rglob("*") if found.is_file()):
            listing.update(f"{file.relative_to(path).as_posix()}\0{weights_sha256(file)}\n".encode())
        return listing.hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _may_have_parts(path: Path) -> bool:
    return path.suffix.lower() == ".onnx"


def card_beside(path: Path) -> Path:
    """Path of the card of one weights file among others: ``my.pth.toml`` for ``my.pth``."""
    return path.with_name(f"{path.name}.toml")


def _unreadable(path: Path, error: OSError) -> WeightsError:
    if isinstance(error, FileNotFoundError):
        return WeightsError(f"{path} is missing; put the network beside its {BUNDLE_FILE} or name another bundle")
    return WeightsError(f"{path} cannot be read: {error.strerror or error}")


def _compare(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise WeightsError(
            f"{path} is not the file its bundle names: sha256 {found[:16]}… found, {expected[:16]}… expected; "
            f"restore the file, or correct {BUNDLE_FILE} if it was replaced on purpose"
        )


def load_bundle(name_or_path: str | Path = "default") -> ClassifierBundle:
    """Read and verify a bundle.

    Args:
        name_or_path: ``"default"`` or ``"research"`` (those of ``SHIPPED``), a folder with ``bundle.toml`` in it (the
            path of the card itself also does), or a weights file that has a card beside it.

    Raises:
        ModelError: there is no such bundle, or ``bundle.toml`` cannot be read or is not valid.
        WeightsError: the network is missing or its hash differs.

    >>> load_bundle("default").card.input.size_px
    64
    """
    card = _card_path(name_or_path)
    bundle = ClassifierBundle(card.parent, _read_card(card))
    bundle.verify()
    return bundle


def _card_path(name_or_path: str | Path) -> Path:
    if str(name_or_path) in SHIPPED:  # a folder that happens to be called so is reached as ./default
        return _SHIPPED / str(name_or_path) / BUNDLE_FILE
    path = Path(name_or_path).expanduser()
    if path.suffix == ".toml":
        return path
    if not path.exists():
        known = ", ".join(f'"{name}"' for name in SHIPPED)
        raise ModelError(
            f"no classifier bundle {str(name_or_path)!r}: give {known}, a folder with a {BUNDLE_FILE} in it, or a "
            "weights file"
        )
    if card_beside(path).is_file():
        return card_beside(path)
    if path.is_dir() and not (path / SAVED_MODEL_FILE).is_file():
        return path / BUNDLE_FILE
    shared = path.parent / BUNDLE_FILE
    if shared.is_file() and _read_card(shared).model == path.name:
        return shared
    raise ModelError(
        f"nothing says what {path} expects and answers; write its card with: "
        f"fertrack models describe {path} --preset PRESET ('fertrack guide weights' says more)"
    )


def _read_card(path: Path) -> BundleCard:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing: the folder is not a classifier bundle") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ModelError(f"{path} is not TOML: {error}") from error
    try:
        return BundleCard.model_validate(content)
    except ValidationError as error:
        raise ModelError(f"{path}: {first_problem(error)}") from error


def first_problem(error: ValidationError) -> str:
    """First error in a card, with its place, on one line."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    reason = problem["msg"].removeprefix("Value error, ")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place}: {reason[:1].lower()}{reason[1:]}{more}"
