"""Options of the expression classifier."""

from __future__ import annotations

from pydantic import Field

from fertrack.stage_config import StageConfig
from fertrack.types import Device

__all__ = ["ClassificationConfig"]


class ClassificationConfig(StageConfig):
    """Network that estimates the expression, and the device it runs on."""

    bundle: str = Field(
        "default",
        min_length=1,
        description='"default", the folder of a bundle (bundle.toml beside its network), or a weights file with a card '
        "beside it.",
    )
    trust_code: bool = Field(
        False,
        description="Run networks that are programs (TorchScript, TensorFlow SavedModel): they can do anything that "
        "you can do. No bundle can ask for it.",
    )
    device: Device = Field(
        "cpu",
        description="What the network runs on; asking for a device that is not available is an error. auto: the first "
        "of cuda, coreml and openvino that starts, else cpu.",
    )
    threads: int = Field(
        1, ge=1, le=64, description="CPU threads for one face; several faces at once are the engine's business."
    )
