"""Configuration of a training run: one strict TOML file, from which it can be repeated."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from fertrack.errors import ConfigError, reason_of
from fertrack.models.describe import PRESETS
from fertrack.stage_config import StageConfig

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "FinishConfig",
    "NetworkConfig",
    "PublishedNetworkConfig",
    "ScheduleConfig",
    "SourceConfig",
    "TeacherConfig",
    "TrainConfig",
    "TwinsConfig",
    "checked_train_config",
    "load_train_config",
]


MIN_TO_CALIBRATE = 100
_MIN_GATED = 8
_PUBLISHED_PX, _LARGEST_COMPACT_PX = 224, 128


Terms = Literal["open", "unstated", "research"]
"""Terms of images: "open": weights that learned from them may be passed on; "unstated": provenance unknown, so that
users judge for themselves; "research": research only."""


class TwinsConfig(StageConfig):
    """A labelled set of which no near twin may be learned from."""

    path: str = Field(min_length=1, description="Labelled set, or FER2013 with FER+ votes.")
    split: str = Field("", description="Part of it; empty: the usual part to test with.")
    apart: float = Field(1.0, gt=0, le=1, description="Only the part of it that is kept apart at this share.")


class SourceConfig(StageConfig):
    """One ``[[data.sources]]``: a labelled set among several."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$", description="For log and card.")
    path: str = Field(min_length=1, description="FER2013 with FER+ votes (npz), or any labelled set.")
    split: str = Field("", description="Part of a labelled set to learn from.")
    only: dict[str, tuple[str, ...]] = Field({}, description="Column of a CSV file -> values to learn from.")
    terms: Terms = Field(description='"open", "unstated" or "research": what a network that learns from it may be.')
    about: str = Field("", description="What it is and under what terms, for the card.")
    weight: float = Field(1.0, gt=0, description="How much is drawn from it, relative to the other sources.")
    balance: float = Field(0.5, ge=0, le=1, description="As data.balance, within the source.")
    apart: float = Field(0.0, ge=0, lt=1, description="Share of its persons (or pictures) kept apart.")
    label_share: float = Field(
        0.25, ge=0, le=1, description="Share of the one label in the target where there are raters' votes as well."
    )
    smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target that all seven expressions get alike.")
    cut_out: bool = Field(False, description="Faces are cut out on black: augmentation.surround fills it.")
    twins_of: tuple[TwinsConfig, ...] = Field((), description="Sets of which no near twin is learned from.")


class DataConfig(StageConfig):
    """The ``[data]`` section."""

    sources: tuple[SourceConfig, ...] = Field(
        (), description="Several sets to learn from, in the place of path, split, validation, fer2013_share, balance."
    )

    path: str = Field(
        "../shared/data/fer/fer2013_train_publictest.npz",
        description="FER2013 with FER+ votes (npz), or any labelled set that `fertrack evaluate expression` reads.",
    )
    split: str = Field("", description="Part of a labelled set to learn from; of RAF-DB 'train' if none is named.")
    size_px: int = Field(64, ge=32, le=224, description="Side of the crops, px.")
    zoom: float = Field(
        1.12,
        gt=0.5,
        lt=2.0,
        description="How much larger a face lies in the compact network's crop than in a FER2013 picture.",
    )
    validation: int = Field(1200, ge=0, description="Training pictures kept apart, to follow the run by.")
    fer2013_share: float = Field(
        0.25, ge=0.0, le=1.0, description="Share of FER2013's own label in the target; the rest are FER+ votes."
    )
    balance: float = Field(
        0.5, ge=0.0, le=1.0, description="Pictures are drawn with probability class count ** -balance; 0: as they come."
    )


class AugmentConfig(StageConfig):
    """The ``[augmentation]`` section: what video does to faces. Probabilities per image unless said otherwise."""

    rotation_deg: float = Field(16.0, ge=0, le=45, description="Largest turn either way.")
    scale: float = Field(0.16, ge=0, lt=1, description="Largest change of size, as a logarithm.")
    shift: float = Field(0.07, ge=0, le=0.3, description="Largest shift, share of the crop's side.")
    shear: float = Field(0.08, ge=0, le=0.3, description="Largest shear: a head half turned.")
    low_resolution: float = Field(0.2, ge=0, le=1, description="Shrunk to 16-40 px and enlarged again.")
    blur: float = Field(0.15, ge=0, le=1, description="Gaussian or motion blur.")
    sharpen: float = Field(0.2, ge=0, le=1, description="Unsharp mask: a face larger in the frame than in the crop.")
    compression: float = Field(0.2, ge=0, le=1, description="JPEG at quality 12-60.")
    lighting: float = Field(0.8, ge=0, le=1, description="Gamma, contrast and brightness.")
    side_light: float = Field(0.2, ge=0, le=1, description="A linear gradient of light across the face.")
    noise: float = Field(0.15, ge=0, le=1, description="Sensor noise.")
    occlusion: float = Field(0.25, ge=0, le=1, description="A rectangle of noise or plain grey over a part.")
    landmark_noise: float = Field(
        0, ge=0, le=0.2, description="Largest error of landmarks, share of the eyes' distance."
    )
    surround: float = Field(0, ge=0, le=1, description="Black around a face that was cut out is filled with noise.")
    cut_out: float = Field(0, ge=0, le=1, description="Any other face is cut out along an oval.")
    halves: float = Field(
        0, ge=0, le=1, description="The lower half is another picture's: only teachers say what such a face shows."
    )
    mixup: float = Field(0.2, ge=0, le=1, description="Beta parameter of mixup (arXiv 1710.09412); 0: none.")
    mixed_batches: float = Field(0.5, ge=0, le=1, description="Share of batches that are mixed.")

    def calmed(self) -> AugmentConfig:
        """For the end of a run: no mixup, and what is done with a probability half as likely."""
        halved = {name: getattr(self, name) / 2 for name in _BY_CHANCE}
        return self.model_copy(update={**halved, "mixup": 0.0})


_BY_CHANCE = (
    "low_resolution",
    "blur",
    "sharpen",
    "compression",
    "lighting",
    "side_light",
    "noise",
    "occlusion",
    "cut_out",
    "halves",
)


class NetworkConfig(StageConfig):
    """The ``[network]`` section; see ``fertrack.models.networks.compact.CompactNet``."""

    kind: Literal["compact"] = "compact"
    widths: tuple[int, ...] = (32, 64, 128, 192)
    blocks: tuple[int, ...] = (0, 1, 2, 2)
    gated_from: int = Field(2, ge=0, description="First stage with squeeze-and-excitation gates.")
    head_channels: int = Field(64, ge=0, description="Channels of each orthogonal head; 0: no heads.")
    head_weight: float = Field(0.1, ge=0, description="Weight of the heads' overlap in the loss.")
    dropout: float = Field(0.2, ge=0, lt=1)

    @model_validator(mode="after")
    def _stages_fit(self) -> NetworkConfig:
        if not self.widths or len(self.widths) != len(self.blocks):
            raise ValueError("widths and blocks must name as many stages, one at least")
        if min(self.widths) < 1 or min(self.blocks) < 0:
            raise ValueError("widths must be 1 or more, blocks 0 or more")
        gated = self.widths[self.gated_from :]
        if gated and min(gated) < _MIN_GATED:
            raise ValueError(f"stages with gates need widths of {_MIN_GATED} or more: raise gated_from or widths")
        return self


PublishedKind = Literal["orthogonal-resnet50", "landmark-attention", "qvit", "la-qvit"]


class PublishedNetworkConfig(StageConfig):
    """The ``[network]`` section of the published architecture; see ``fertrack.training.networks``."""

    kind: PublishedKind
    channels: int = Field(
        0, ge=0, description="Channels of each sub-feature (of each branch); 0: 256 for qvit, else 64, as published."
    )
    trunk_width: int = Field(64, ge=1, description="Channels of the trunk's first map; 64 is ResNet-50.")
    layers: int = Field(4, ge=1, description="Of the transformer.")
    dense: tuple[Annotated[int, Field(ge=4, multiple_of=4)], ...] = Field(
        (), description="Sizes of its last layers; none: 2048 and 1024 (la-qvit: 2048 and 512), as published."
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="Before and between them.")
    head_weight: float = Field(0.2, ge=0, description="Weight of the orthogonal loss.")
    weights: str = Field("", description="File whose trunk, or whole feature head, this run begins with.")
    rename: dict[str, str] = Field({}, description="Beginnings of that file's names, theirs to ours.")
    frozen: bool = Field(False, description="The feature head stays as in the file: only the transformer learns.")
    mean: tuple[float, float, float] = PRESETS["rafdb"].mean  # type: ignore[assignment]  # three colours
    std: tuple[float, float, float] = PRESETS["rafdb"].std  # type: ignore[assignment]  # three colours

    @property
    def has_transformer(self) -> bool:
        """Whether a quaternion transformer classifies; else a linear layer on the pooled vectors."""
        return self.kind in ("qvit", "la-qvit")

    @property
    def looks_at_landmarks(self) -> bool:
        """Whether the feature head has a local branch."""
        return self.kind in ("landmark-attention", "la-qvit")

    @model_validator(mode="after")
    def _frozen_has_weights(self) -> PublishedNetworkConfig:
        if self.frozen and not (self.has_transformer and self.weights):
            raise ValueError("frozen needs a transformer that learns (kind qvit or la-qvit) and the head's weights")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self


def _compact_or_published(section: Any) -> str | None:
    kind = section.get("kind", "compact") if isinstance(section, dict) else getattr(section, "kind", None)
    if kind == "compact":
        return "compact"
    return "published" if kind in PublishedKind.__args__ else None  # type: ignore[attr-defined]  # of a Literal


AnyNetworkConfig = Annotated[
    Annotated[NetworkConfig, Tag("compact")] | Annotated[PublishedNetworkConfig, Tag("published")],
    Discriminator(
        _compact_or_published,
        custom_error_type="kind",
        custom_error_message="kind must be compact, orthogonal-resnet50, landmark-attention, qvit or la-qvit",
    ),
]


class ScheduleConfig(StageConfig):
    """The ``[schedule]`` section."""

    epochs: int = Field(60, ge=1, description="One epoch draws as many pictures as there are.")
    batch: int = Field(128, ge=2)
    learning_rate: float = Field(3e-3, gt=0)
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: float = Field(0.9, ge=0, lt=1, description="Of SGD.")
    weight_decay: float = Field(0.05, ge=0, description="Of all weights but biases and norms.")
    largest_gradient: float = Field(5.0, ge=0, description="Longer gradients are cut to this length; 0: none are.")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    warmup_epochs: float = Field(1.0, ge=0, description="The learning rate rises from 0.")
    decay_share: float = Field(0.4, ge=0, le=1, description="Last share of the run, in which it falls to 0 (cosine).")
    step_epochs: int = Field(0, ge=0, description="Every so many epochs it is multiplied by step_factor; 0: never.")
    step_factor: float = Field(0.1, gt=0, le=1)
    calm_share: float = Field(
        0.0, ge=0, le=1, description="Last share of the run, without mixup and with disturbances half as likely."
    )
    average: float = Field(0.999, ge=0, lt=1, description="Decay per step of the weights' running mean (EMA).")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="Of the forward pass.")
    seed: int = 0
    threads: int = Field(2, ge=1, description="CPU threads.")
    device: Literal["cpu", "cuda"] = "cpu"


class TeacherConfig(StageConfig):
    """The ``[teacher]`` section: finished classifiers whose answers are part of the targets."""

    bundles: tuple[str, ...] = Field(
        (), description="Folders of classifier bundles that run in ONNX; none: no teacher."
    )
    share: float = Field(0.5, ge=0.0, le=1.0, description="Share of the teachers' mean answer in the target.")
    view: Literal["plain", "same"] = Field(
        "plain", description="What teachers see: the plain picture and its mirror image, or the crop as it is learned."
    )
    mixed_share: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="With view same: share of the teachers in the target of evenly mixed crops, which they see mixed; "
        "0: what they say of each crop is mixed.",
    )
    own_share: float = Field(
        0.0, ge=0.0, lt=1.0, description="Share of the network's own running mean in the target (self-distillation)."
    )
    own_from: float = Field(0.5, ge=0.0, le=1.0, description="Part of the run after which it has one.")


class FinishConfig(StageConfig):
    """The ``[finish]`` section: what is done to the averaged weights after the last epoch."""

    calibrate: bool = Field(
        False, description="Bring the logits to calibrated ones at the pictures' class shares, by those kept apart."
    )
    average_with: tuple[str, ...] = Field(
        (),
        description="Folders of other runs that began with the same weights: what comes of this one is the mean of all "
        "their averaged weights and its own.",
    )


class TrainConfig(StageConfig):
    """A training run."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$", description="Name of the classifier that comes of it.")
    version: str = Field("1", min_length=1)
    summary: str = ""
    start: str = Field(
        "",
        description="Folder of an earlier run whose averaged weights this one begins with, or of a compact network's "
        "bundle; default: the classifier that comes with fertrack.",
    )
    licence: str = Field("", description="Of the weights, for the card; none: MIT for FER2013, else not stated.")
    training_data: str = Field("", description="What is learned from and under what terms, for the card.")
    release: Literal["any", "research"] = Field(
        "any", description='"research": for research only, and so it may learn from sources under such terms.'
    )
    data: DataConfig = DataConfig()
    augmentation: AugmentConfig = AugmentConfig()
    network: AnyNetworkConfig = NetworkConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    teacher: TeacherConfig = TeacherConfig()
    finish: FinishConfig = FinishConfig()

    @model_validator(mode="after")
    def _terms_allow_release(self) -> TrainConfig:
        for_research = [source.name for source in self.data.sources if source.terms == "research"]
        if for_research and self.release != "research":
            raise ValueError(
                f"{', '.join(for_research)} may be learned from for research only: set release to research, or take "
                "the source out (a teacher may have learned from it)"
            )
        names = [source.name for source in self.data.sources]
        if len(set(names)) < len(names):
            raise ValueError("data.sources: each source needs a name of its own")
        return self

    @model_validator(mode="after")
    def _teachers_see_what_needs_them(self) -> TrainConfig:
        watched = self.teacher.bundles and self.teacher.view == "same"
        if (self.augmentation.halves or self.teacher.mixed_share) and not watched:
            raise ValueError("augmentation.halves and teacher.mixed_share need teachers with teacher.view same")
        return self

    @model_validator(mode="after")
    def _enough_to_calibrate(self) -> TrainConfig:
        if self.finish.calibrate and not self.data.sources and self.data.validation < MIN_TO_CALIBRATE:
            raise ValueError(
                f"finish.calibrate needs pictures kept apart: set data.validation to {MIN_TO_CALIBRATE} or more"
            )
        return self

    @model_validator(mode="after")
    def _crops_fit_the_network(self) -> TrainConfig:
        if isinstance(self.network, NetworkConfig):
            if self.data.size_px > _LARGEST_COMPACT_PX:
                raise ValueError(f"the compact network takes {_LARGEST_COMPACT_PX} px at most: lower data.size_px")
            return self
        if self.data.zoom != DataConfig().zoom:
            raise ValueError("data.zoom is of the compact network: leave it out")
        if self.network.looks_at_landmarks and self.data.size_px != _PUBLISHED_PX:
            raise ValueError(f"{self.network.kind} needs crops of {_PUBLISHED_PX} px: set data.size_px")
        if self.data.size_px % 32:
            raise ValueError(f"{self.network.kind} needs crops of a multiple of 32 px ({_PUBLISHED_PX} as published)")
        return self


def load_train_config(path: Path) -> TrainConfig:
    """Read a training configuration without stages.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or has unknown or impossible values.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a training configuration: {reason_of(error)}") from error
    return checked_train_config(content, path)


def checked_train_config(content: Mapping[str, Any], where: Path | str) -> TrainConfig:
    """Training configuration of a file's contents.

    Raises:
        ConfigError: it has unknown or impossible values.
    """
    try:
        return TrainConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("compact", "published"))
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{where}: {place}: {reason}" if place else f"{where}: {reason}") from error
