"""All options in one object: ``Settings`` composes the stages' own configs, reads them from TOML and writes them back.

Layers, later ones win: built-in defaults, then each ``--config`` (a file, or the name of a shipped preset such as
``fast``), then each ``--set section.key=value``. Unknown keys and values out of range are errors that name the place
and what was probably meant. A table ``[record]``, which says where a written file comes from, is passed over.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tomli_w
from pydantic import BaseModel, Field, ValidationError

from fertrack.classifiers.config import ClassificationConfig
from fertrack.detectors.config import DetectionConfig
from fertrack.errors import ConfigError, reason_of
from fertrack.expression.config import CalibrationConfig, SmoothingConfig
from fertrack.live.config import LiveConfig
from fertrack.live.outlets.config import OutletConfig
from fertrack.pipeline.config import EngineConfig, ShotConfig
from fertrack.reid.config import LinkingConfig
from fertrack.reporting.config import ReportConfig
from fertrack.rights.config import PrivacyConfig
from fertrack.sinks.video import VideoOutputConfig
from fertrack.sources import InputConfig, StreamConfig
from fertrack.stage_config import StageConfig
from fertrack.storage.config import RecordingConfig, StorageConfig
from fertrack.tracking.tracker import TrackerConfig

__all__ = ["Settings", "digest", "load_settings", "parse_override", "preset_folder", "presets", "to_toml"]


class Settings(StageConfig):
    """Every option of fertrack, one table per stage."""

    input: InputConfig = Field(InputConfig(), description="Part of the video to read, sampling rate, orientation.")
    stream: StreamConfig = Field(StreamConfig(), description="Cameras and streams: opening, and coming back when lost.")
    detection: DetectionConfig = Field(DetectionConfig(), description="Face detection.")
    shots: ShotConfig = Field(ShotConfig(), description="Detection of cuts between shots; no track crosses one.")
    tracking: TrackerConfig = Field(TrackerConfig(), description="Tracking: detections to persons with an ID (SORT).")
    classification: ClassificationConfig = Field(
        ClassificationConfig(), description="Network that estimates the expression."
    )
    calibration: CalibrationConfig = Field(
        CalibrationConfig(), description="Calibration of logits to probabilities and labels."
    )
    smoothing: SmoothingConfig = Field(SmoothingConfig(), description="Smoothing of estimates per person over time.")
    linking: LinkingConfig = Field(
        LinkingConfig(), description="Re-identification: tracks joined to persons after a gap."
    )
    engine: EngineConfig = Field(EngineConfig(), description="Parallelism. Changes speed, never results.")
    live: LiveConfig = Field(LiveConfig(), description="Promises of a live run, and what it may give up for them.")
    outlet: OutletConfig = Field(OutletConfig(), description="What a live run sends to other programs.")
    video: VideoOutputConfig = Field(VideoOutputConfig(), description="The annotated video.")
    storage: StorageConfig = Field(StorageConfig(), description="The database.")
    report: ReportConfig = Field(ReportConfig(), description="Files written besides video and database.")
    recording: RecordingConfig = Field(RecordingConfig(), description="What the recording is of.")
    privacy: PrivacyConfig = Field(PrivacyConfig(), description="Purpose, consent and retention of a run.")


_MAX_HALF_LIFE_S = 60.0
_ROW_SECTIONS = ("input", "detection", "shots", "tracking", "classification", "calibration", "smoothing")


def preset_folder() -> Path:
    """Folder of the shipped presets: inside the installed package, or ``configs/`` of the source tree."""
    installed = Path(__file__).parent / "_configs"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "configs"


def presets() -> dict[str, Path]:
    """Shipped presets by name, for example ``fast`` or ``rafdb``."""
    folder = preset_folder()
    return {path.stem: path for pattern in ("*.toml", "calibration/*.toml") for path in sorted(folder.glob(pattern))}


def load_settings(
    configs: Sequence[str | Path] = (),
    overrides: Sequence[str] = (),
    *,
    flags: Mapping[str, tuple[str, object]] = MappingProxyType({}),
    base: str = "",
) -> Settings:
    """Compose settings from config files (or preset names) and ``section.key=value`` overrides; later ones win.

    Args:
        configs: paths of TOML files, or names of presets.
        overrides: for example ``["tracking.max_age=15"]``.
        flags: dotted option to command-line flag and value, ``{"input.rate_hz": ("--rate", 5.0)}``; these win.
        base: TOML text to start from, for example what a stored run was made with, by this or an earlier version;
            empty: the built-in defaults.

    Raises:
        ConfigError: a file is missing or not TOML, a key is unknown, or a value is out of range.

    >>> load_settings(["fast"], ["tracking.max_age=15"]).tracking.max_age
    15
    """
    merged = _upgraded(tomllib.loads(base))
    origin: dict[tuple[str, ...], str] = {}
    for config in configs:
        path = _config_path(config)
        _merge(merged, _read_toml(path), str(config), origin)
    for override in overrides:
        _merge(merged, parse_override(override), f"--set {override}", origin)
    for option, (flag, value) in flags.items():
        section, _, key = option.partition(".")
        _merge(merged, {section: {key: value}}, f"{flag} {value}", origin)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, origin)) from error


def to_toml(settings: Settings, *, comments: bool = False) -> str:
    """Settings as TOML that ``load_settings`` reads back to the same settings.

    Args:
        settings: what to write.
        comments: add each option's meaning, and a commented-out line for each option that is not set.
    """
    blocks = []
    for section, described in Settings.model_fields.items():
        config: StageConfig = getattr(settings, section)
        lines = [f"# {described.description}"] if comments and described.description else []
        lines.append(f"[{section}]")
        for name, option in type(config).model_fields.items():
            value = getattr(config, name)
            if comments and option.description:
                lines += textwrap.wrap(option.description, 110, initial_indent="# ", subsequent_indent="# ")
            if value is None:
                if comments:
                    lines.append(f"# {name} =")
            else:
                lines.append(f"{name} = {_toml_value(_plain(value))}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def digest(settings: Settings) -> str:
    """SHA-256 over the options that can change a row: equal digests and weights mean equal rows for the same video."""
    canonical = json.dumps(settings.model_dump(mode="json", include=set(_ROW_SECTIONS)), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def differing(one: Settings, other: Settings) -> list[str]:
    """Options that can change a row, or who is who, and are not the same in both: ``["tracking.max_age_s"]``."""
    tables = [each.model_dump(mode="json", include={*_ROW_SECTIONS, "linking"}) for each in (one, other)]
    return [
        f"{section}.{key}"
        for section, table in tables[0].items()
        for key in table
        if table[key] != tables[1][section][key]
    ]


def _upgraded(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The tables that an earlier version stored with a run, in today's options.

    - ``calibration.boost`` and ``penalty`` multiplied and divided odds: their logarithms are added to the run's bias;
      where it took its classifier's, to the bias profile.
    - ``smoothing.alpha``, the weight of the newest value at ``reference_fps``, is a half-life by another name.
      ``ema_past_weight`` counted frames: it becomes a half-life at the rate at which frames were analysed, taken as 30
      a second where every frame was.
    - ``calibration.fitted_on`` and ``data_sha256`` were a record.
    """
    tables = {name: dict(table) if isinstance(table, Mapping) else table for name, table in stored.items()}
    calibration, smoothing = tables.get("calibration", {}), tables.get("smoothing", {})
    boost, penalty = calibration.pop("boost", {}), calibration.pop("penalty", {})
    shift = {name: math.log(boost.get(name, 1.0) / penalty.get(name, 1.0)) for name in (*boost, *penalty)}
    if any(shift.values()):
        place = "bias" if "bias" in calibration else "bias_profile"
        before = calibration.get(place, {})
        calibration[place] = before | {name: before.get(name, 0.0) + value for name, value in shift.items()}
    for name in ("fitted_on", "data_sha256"):
        calibration.pop(name, None)
    alpha, fps = smoothing.pop("alpha", 0.0), smoothing.pop("reference_fps", 30.0)
    past = smoothing.pop("ema_past_weight", 0.0)
    if past:
        alpha, fps = 1.0 - past, tables.get("input", {}).get("rate_hz") or 30.0
    if alpha:
        half_life_s = -math.log(2.0) / (math.log1p(-alpha) * fps) if alpha < 1.0 else 0.0
        smoothing["half_life_s"] = min(half_life_s, _MAX_HALF_LIFE_S)
    return tables


def _config_path(config: str | Path) -> Path:
    path = Path(config)
    if path.is_file():
        return path
    known = presets()
    if str(config) in known:
        return known[str(config)]
    raise ConfigError(
        f"no config file {str(config)!r}: give the path of a TOML file or one of the presets "
        f"{', '.join(sorted(known))}{_suggestion(str(config), known)}"
    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {reason_of(error)}") from error
    content.pop("record", None)
    return content


def parse_override(override: str) -> dict[str, Any]:
    """Nested tables of one ``section.key=value``; a value that is no TOML is taken as text.

    Raises:
        ConfigError: it is not of that form.

    >>> parse_override("tracking.max_age=15")
    {'tracking': {'max_age': 15}}
    """
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or len(parts) < 2 or not all(re.fullmatch(r"[A-Za-z0-9_-]+", part) for part in parts):
        raise ConfigError(f"--set {override!r} is not of the form section.key=value, for example tracking.max_age=15")
    try:
        value: Any = tomllib.loads(f"value = {text.strip()}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text.strip()
    for part in reversed(parts):
        value = {part: value}
    return dict(value)


def _merge(
    target: dict[str, Any],
    layer: Mapping[str, Any],
    source: str,
    origin: dict[tuple[str, ...], str],
    at: tuple[str, ...] = (),
) -> None:
    for key, value in layer.items():
        origin[(*at, key)] = source
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _merge(target[key], value, source, origin, (*at, key))
        elif isinstance(value, Mapping):
            target[key] = {}
            _merge(target[key], value, source, origin, (*at, key))
        else:
            target[key] = value


def _explain(error: ValidationError, origin: Mapping[tuple[str, ...], str]) -> str:
    sentences = []
    for problem in error.errors():
        place = tuple(str(part) for part in problem["loc"])
        source = next((origin[place[:n]] for n in range(len(place), 0, -1) if place[:n] in origin), "settings")
        dotted = ".".join(place)
        if problem["type"] == "extra_forbidden":
            kind = "table" if len(place) == 1 else "option"
            sentences.append(f"{source}: unknown {kind} {dotted!r}{_suggestion(place[-1], _known_keys(place))}")
        else:
            reason = problem["msg"].removeprefix("Value error, ")
            place_given = "" if source.startswith("--") else f"{dotted} = {problem['input']!r}: "
            sentences.append(f"{source}: {place_given}{reason[:1].lower()}{reason[1:]}")
    return "; ".join(dict.fromkeys(sentences))  # one flag may set several options, each wrong in the same way


def _known_keys(place: tuple[str, ...]) -> list[str]:
    """Names that could stand where the unknown key stands."""
    model: type[BaseModel] = Settings
    for part in place[:-1]:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _suggestion(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _toml_value(value: Any) -> str:
    """One TOML value on one line; a table inside a section becomes an inline table."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml_value(item)}" for key, item in value.items()) + " }" if value else "{}"
    return tomli_w.dumps({"v": value}).partition("=")[2].strip()


def _plain(value: Any) -> Any:
    """Value in the types TOML knows."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
