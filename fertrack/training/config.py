"""What a training run is: one strict TOML file, from which it can be repeated."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from fertrack.errors import ConfigError, reason_of
from fertrack.stage_config import StageConfig

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "FinishConfig",
    "NetworkConfig",
    "ScheduleConfig",
    "TeacherConfig",
    "TrainConfig",
    "load_train_config",
]


LEAST_TO_CALIBRATE = 100


class DataConfig(StageConfig):
    """The ``[data]`` section."""

    path: str = Field("../shared/data/fer/fer2013_train_publictest.npz", description="FER2013 with FER+ votes, npz.")
    size_px: int = Field(64, ge=32, le=128, description="Side of the crops, px.")
    zoom: float = Field(
        1.12, gt=0.5, lt=2.0, description="How much larger a face lies in the crop than in a FER2013 picture."
    )
    validation: int = Field(1200, ge=0, description="Training pictures kept apart, to follow the run by.")
    fer2013_share: float = Field(
        0.25, ge=0.0, le=1.0, description="Share of FER2013's own label in the target; the rest are FER+ votes."
    )
    balance: float = Field(
        0.5, ge=0.0, le=1.0, description="Pictures are drawn with probability class count ** -balance; 0: as they come."
    )


class AugmentConfig(StageConfig):
    """The ``[augmentation]`` section: what video does to faces. Probabilities per picture unless said otherwise."""

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
)


class NetworkConfig(StageConfig):
    """The ``[network]`` section; see ``fertrack.models.compact.CompactNet``."""

    widths: tuple[int, ...] = (32, 64, 128, 192)
    blocks: tuple[int, ...] = (0, 1, 2, 2)
    gated_from: int = Field(2, ge=0, description="First stage with squeeze-and-excitation gates.")
    head_channels: int = Field(64, ge=0, description="Channels of each orthogonal head; 0: no heads.")
    head_weight: float = Field(0.1, ge=0, description="Weight of the heads' overlap in the loss.")
    dropout: float = Field(0.2, ge=0, lt=1)


class ScheduleConfig(StageConfig):
    """The ``[schedule]`` section."""

    epochs: int = Field(60, ge=1, description="One epoch draws as many pictures as there are.")
    batch: int = Field(128, ge=2)
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    warmup_epochs: float = Field(1.0, ge=0, description="The learning rate rises from 0.")
    decay_share: float = Field(0.4, ge=0, le=1, description="Last share of the run, in which it falls to 0 (cosine).")
    calm_share: float = Field(
        0.0, ge=0, le=1, description="Last share of the run, without mixup and with disturbances half as likely."
    )
    average: float = Field(0.999, ge=0, lt=1, description="Decay per step of the weights' running mean (EMA).")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="Of the forward pass.")
    seed: int = 0
    threads: int = Field(2, ge=1, description="CPU threads.")


class TeacherConfig(StageConfig):
    """The ``[teacher]`` section: finished classifiers whose answers are part of the targets."""

    bundles: tuple[str, ...] = Field(
        (), description="Folders of classifier bundles that run in ONNX; none: no teacher."
    )
    share: float = Field(0.5, ge=0.0, le=1.0, description="Share of the teachers' mean answer in the target.")
    view: Literal["plain", "same"] = Field(
        "plain", description="What teachers see: the plain picture and its mirror image, or the crop as it is learned."
    )


class FinishConfig(StageConfig):
    """The ``[finish]`` section: what is done to the averaged weights after the last epoch."""

    calibrate: bool = Field(
        False, description="Bring the logits to calibrated ones at the pictures' class shares, by those kept apart."
    )


class TrainConfig(StageConfig):
    """A training run."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$", description="Name of the classifier that comes of it.")
    version: str = Field("1", min_length=1)
    summary: str = ""
    start: str = Field("", description="Folder of an earlier run whose averaged weights this one begins with.")
    data: DataConfig = DataConfig()
    augmentation: AugmentConfig = AugmentConfig()
    network: NetworkConfig = NetworkConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    teacher: TeacherConfig = TeacherConfig()
    finish: FinishConfig = FinishConfig()

    @model_validator(mode="after")
    def _enough_to_calibrate(self) -> TrainConfig:
        if self.finish.calibrate and self.data.validation < LEAST_TO_CALIBRATE:
            raise ValueError(
                f"finish.calibrate needs pictures kept apart: set data.validation to {LEAST_TO_CALIBRATE} or more"
            )
        return self


def load_train_config(path: Path) -> TrainConfig:
    """Read a training configuration.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or has unknown or impossible values.
    """
    try:
        return TrainConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a training configuration: {reason_of(error)}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {where}: {first['msg']}") from error
