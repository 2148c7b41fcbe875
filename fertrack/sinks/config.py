"""Options of the annotated video: codec, quality, container, sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

from pydantic import Field, model_validator

from fertrack.errors import ConfigError, WrongUsageError
from fertrack.stage_config import StageConfig

__all__ = ["CONTAINERS", "Container", "VideoOutputConfig", "container_for"]

Codec = Literal["h264", "vp9", "av1"]
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"]

_LARGEST_CRF = {"h264": 51, "vp9": 63, "av1": 63}
_USUAL_CRF = {"h264": 22, "vp9": 34, "av1": 38}
# x264's fastest preset also leaves out its entropy coder and deblocking: together they are 0.3 of 4.1 ms a 720p frame,
# and without them files are a quarter larger and 1 dB worse. The next preset takes 6.3 ms.
_ULTRAFAST = {"x264-params": "cabac=1:deblock=1,0,0"}
# Speeds of the other encoders (VP9 cpu-used, SVT-AV1 preset) that stand for x264's presets.
_VP9_SPEED = {"ultrafast": 8, "superfast": 8, "veryfast": 7, "faster": 6, "fast": 5, "medium": 4, "slow": 2}
_AV1_SPEED = {"ultrafast": 12, "superfast": 11, "veryfast": 10, "faster": 9, "fast": 8, "medium": 6, "slow": 4}


@dataclass(frozen=True, slots=True)
class Container:
    """Capabilities of a container format.

    Attributes:
        format: FFmpeg's name of it.
        codecs: video codecs that players expect in it.
        copied_sound: audio codecs that go in as they are; ``None`` = all that FFmpeg can put there.
        encoded_sound: FFmpeg's encoder for any other sound.
        fragment_options: options under which a file that is cut off at any point can be played up to there.
        final_options: options of the finished file.
        is_mp4: whether it is of the MP4 family.
    """

    format: str
    codecs: tuple[str, ...]
    copied_sound: frozenset[str] | None
    encoded_sound: str
    fragment_options: MappingProxyType[str, str]
    final_options: MappingProxyType[str, str]
    is_mp4: bool


_FLUSHED = {"flush_packets": "1"}  # else FFmpeg holds back 256 KiB, which is minutes of a quiet scene
_MP4_FRAGMENTS = MappingProxyType(
    {
        "movflags": "frag_keyframe+empty_moov+delay_moov+default_base_moof",
        "frag_duration": "250000",
        **_FLUSHED,
    }
)
_MP4_FINAL = MappingProxyType({"movflags": "faststart"})
_CLUSTERS = MappingProxyType({"cluster_time_limit": "250", **_FLUSHED})
_NOTHING = MappingProxyType(dict[str, str]())
_MP4_SOUND = frozenset({"aac", "mp3", "opus"})  # what browsers play: AC-3 and ALAC would go in, and be silent there
_MOV_SOUND = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_f32le"})
_WEBM_SOUND = frozenset({"opus", "vorbis"})

CONTAINERS = MappingProxyType(
    {
        ".mp4": Container("mp4", ("h264", "vp9", "av1"), _MP4_SOUND, "aac", _MP4_FRAGMENTS, _MP4_FINAL, True),
        ".mov": Container("mov", ("h264",), _MOV_SOUND, "aac", _MP4_FRAGMENTS, _MP4_FINAL, True),
        ".mkv": Container("matroska", ("h264", "vp9", "av1"), None, "libopus", _CLUSTERS, _NOTHING, False),
        ".webm": Container("webm", ("vp9", "av1"), _WEBM_SOUND, "libopus", _CLUSTERS, _NOTHING, False),
    }
)
"""By suffix, in lower case."""


class VideoOutputConfig(StageConfig):
    """The annotated video.

    H.264 is encoded by x264, which is GPL software inside PyAV's wheel. VP9 (libvpx) and AV1 (SVT-AV1) do without it;
    SVT-AV1 prints a banner of its own on standard error.

    Raises:
        ConfigError: the codec does not go into the container, or has no such ``crf``.
    """

    enabled: bool = Field(True, description="write an annotated video")
    codec: Codec = Field(
        "h264", description='"h264" (x264, plays everywhere), or without x264: "vp9", or "av1" (smallest files)'
    )
    container: Literal["auto", "mp4", "mov", "mkv", "webm"] = Field(
        "auto",
        description='file format, unless the file\'s name determines it; "auto" = mp4 for h264, webm for vp9 and av1',
    )
    preset: Preset = Field(
        "ultrafast", description="speed of the encoder, from ultrafast to slow; slower gives smaller files"
    )
    crf: int | None = Field(
        None,
        ge=0,
        le=63,
        description="quality: lower is better and larger; h264 0 to 51, vp9 and av1 0 to 63; unset = 22, 34, 38",
    )
    audio: bool = Field(True, description="keep the video's sound, copied unchanged where the container supports it")
    debug_overlay: bool = Field(
        False, description="draw frame number, times, and per person the aligned face and all probabilities"
    )
    anonymise: bool = Field(
        False,
        description="pixelate every face; the video is then drawn after the analysis, in a second pass over the source",
    )
    font: str = Field(
        "sans",
        min_length=1,
        description='font of names: "sans" (built in: Latin, Cyrillic, Greek, Hebrew, Arabic letters, CJK) or a .ttf',
    )
    threads: int = Field(0, ge=0, le=64, description="threads of the encoder; 0 = chosen by the frame size")
    queue_size: int = Field(4, ge=1, le=64, description="frames that may wait to be drawn and encoded")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.crf is not None and self.crf > _LARGEST_CRF[self.codec]:
            raise ConfigError(f"video.crf = {self.crf} is out of range for {self.codec}: give 0 to 51, lower is better")
        if self.container != "auto":
            container_for(Path(f"video.{self.container}"), self.codec)
        return self

    @property
    def suffix(self) -> str:
        """Suffix of the file that these options make, e.g. ``".mp4"``."""
        if self.container != "auto":
            return f".{self.container}"
        return ".mp4" if self.codec == "h264" else ".webm"

    @property
    def encoder(self) -> str:
        """FFmpeg's name of the encoder."""
        return {"h264": "libx264", "vp9": "libvpx-vp9", "av1": "libsvtav1"}[self.codec]

    def encoder_options(self) -> dict[str, str]:
        """Options for FFmpeg's encoder."""
        crf = str(_USUAL_CRF[self.codec] if self.crf is None else self.crf)
        if self.codec == "h264":
            options = {"preset": self.preset, "crf": crf}
            return options | _ULTRAFAST if self.preset == "ultrafast" else options
        if self.codec == "av1":
            return {"preset": str(_AV1_SPEED[self.preset]), "crf": crf}
        speed = _VP9_SPEED[self.preset]
        deadline = "realtime" if speed >= 5 else "good"
        # By default 25 frames are held back, which a program that is killed takes with it.
        held_back = {"lag-in-frames": "12"}
        return {"deadline": deadline, "cpu-used": str(speed), "crf": crf, "b": "0", "row-mt": "1", **held_back}


def container_for(path: Path, codec: str) -> Container:
    """The container that a file name asks for.

    Raises:
        WrongUsageError: the suffix is unknown, or its container does not carry the codec.
    """
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        known = ", ".join(CONTAINERS)
        raise WrongUsageError(
            f"{path.name}: an annotated video cannot be written to this kind of file: name it {known}"
        )
    if codec not in container.codecs:
        fitting = " or ".join(suffix for suffix, other in CONTAINERS.items() if codec in other.codecs)
        raise WrongUsageError(
            f"{path.name}: {codec} video does not go into {path.suffix} files: name it {fitting}, or choose "
            f"video.codec = {' or '.join(container.codecs)}"
        )
    return container
