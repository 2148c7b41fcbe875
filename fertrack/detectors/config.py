"""Options of face detection: what every detector takes, and the ``[detection]`` section of the configuration."""

from typing import Annotated, Any, Literal

from pydantic import Field

from fertrack.stage_config import StageConfig
from fertrack.types import Device

__all__ = ["DetectionConfig", "DetectorOptions", "Precision"]

Precision = Literal["auto", "int8", "fp32"]

LongSide = Annotated[
    int,
    Field(
        ge=64,
        le=4096,
        multiple_of=32,
        description="Longer side of the image given to the network, px; a multiple of 32. Half of it takes a quarter "
        "of the time and doubles the smallest face that is found.",
    ),
]
ScoreThreshold = Annotated[
    float, Field(ge=0.01, le=0.99, description="Faces that the network is less sure of are dropped.")
]
NmsIou = Annotated[
    float,
    Field(ge=0.05, le=0.95, description="Of two boxes that overlap by more than this, the less sure one is dropped."),
]
MinFacePx = Annotated[
    float,
    Field(ge=0.0, le=4096.0, description="Faces whose box has a shorter side than this, px of the frame, are dropped."),
]
Threads = Annotated[
    int,
    Field(
        ge=1,
        le=64,
        description="Threads inside one run of the network. Several frames side by side use the cores better than "
        "several threads in one frame.",
    ),
]

RunsOn = Annotated[
    Device,
    Field(
        description="What the network runs on; asking for a device that is not available is an error. auto: the first "
        "of cuda, coreml and openvino that starts, else cpu. Detectors on ONNX Runtime only."
    ),
]

Arithmetic = Annotated[
    Precision,
    Field(
        description="Arithmetic of the network. int8: 8-bit integers, about twice as fast, boxes and landmarks differ "
        "slightly; centerface on cpu only. auto: int8 where this processor finds the same faces with it, and faster, "
        "else fp32; what was chosen is stored with the run.",
    ),
]


class DetectorOptions(StageConfig):
    """Options every face detector takes. An adapter's own ``Options`` derives from this and may change defaults."""

    long_side: LongSide = 640
    score_threshold: ScoreThreshold = 0.5
    nms_iou: NmsIou = 0.3
    min_face_px: MinFacePx = 0.0
    threads: Threads = 1
    device: RunsOn = "cpu"
    precision: Arithmetic = "fp32"


def _own(option: str) -> Any:
    """A field that is not set unless it is given; its description is that of the detectors' option."""
    field = DetectorOptions.model_fields[option]
    return Field(None, description=f"{field.description} Unset: the detector's own, usually {field.default}.")


class DetectionConfig(StageConfig):
    """The ``[detection]`` section: which detector, and its options. What is not set is the detector's own default."""

    name: str = Field(
        "centerface",
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="Detector: centerface, retinaface-mobilenet, retinaface, yunet, or the dotted path of a module of "
        "your own.",
    )
    weights: str | None = Field(
        None, min_length=1, description="Path of the weights file; where it is not set, the detector's known file."
    )
    every: int = Field(
        1,
        ge=1,
        le=8,
        description="Detect in every so many frames. Faces of the frames between are interpolated and classified on "
        "their own pixels; near a cut, with fast motion, or where a face comes or goes, they are detected after all. "
        "Not live.",
    )
    long_side: LongSide | None = _own("long_side")
    score_threshold: ScoreThreshold | None = Field(
        None,
        description="Faces that the network is less sure of are dropped. Unset: tracking.low_score, so that a face "
        "that turns away can still be followed.",
    )
    nms_iou: NmsIou | None = _own("nms_iou")
    min_face_px: MinFacePx | None = _own("min_face_px")
    threads: Threads | None = _own("threads")
    device: RunsOn | None = _own("device")
    precision: Arithmetic | None = Field(
        None,
        description=f"{DetectorOptions.model_fields['precision'].description} Unset: auto for centerface, fp32 for the "
        "others.",
    )
