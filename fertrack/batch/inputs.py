"""Inputs of a batch: what patterns, folders and lists name, each with its own options."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fertrack.config import Settings, load_settings, to_toml
from fertrack.errors import ConfigError, TableError, VideoOpenError
from fertrack.sources import expand_inputs
from fertrack.tables import Row, Table, read_table, rows_sentence

__all__ = ["BatchInput", "batch_inputs"]

_VIDEO = ("video", "file", "path")
_TEXTS = {
    "participant": "recording.participant",
    "session": "recording.session",
    "condition": "recording.condition",
    "purpose": "privacy.purpose",
    "consent": "privacy.consent",
}
_NUMBERS: Mapping[str, tuple[str, Callable[[Row, str], object]]] = {
    "retention": ("privacy.retention_days", Row.whole),
    "retention_days": ("privacy.retention_days", Row.whole),
    "from": ("input.from_s", Row.seconds),
    "to": ("input.to_s", Row.seconds),
    "rate": ("input.rate_hz", Row.number_in),
}


@dataclass(frozen=True, slots=True)
class BatchInput:
    """One file or folder of images to be processed.

    Attributes:
        location: its path, as given.
        settings: all options, those of its row of a list included.
        named_alone: whether it was named by itself, not by a folder, a pattern or a list.
    """

    location: str
    settings: Settings
    named_alone: bool = True


def batch_inputs(named: Sequence[str], settings: Settings) -> list[BatchInput]:
    """Inputs in the order in which they are named; one that is named twice with the same options counts once.

    A CSV file is a list: the column ``video`` (or file, path; relative to the list's folder), and if wanted
    participant, session, condition, purpose, consent, retention (days), from, to, rate, or any option by its full name,
    such as ``detection.long_side``. Empty cells leave the option as it is.

    Args:
        named: files, folders, patterns and lists.
        settings: options of all.

    Raises:
        VideoOpenError: a pattern matches nothing, or is a URL.
        TableError: a list cannot be read, or a row of it is wrong.
    """
    found: list[BatchInput] = []
    for name in named or ("",):
        path = Path(name).expanduser()
        if name.lower().endswith(".csv") and path.is_file():
            found += _listed(read_table(path), settings)
            continue
        paths = expand_inputs([name] if name else [])
        found += [BatchInput(str(each), settings, named_alone=each == path) for each in paths]
    distinct: list[BatchInput] = []
    for each in found:
        same = [other for other in distinct if other.location == each.location and other.settings == each.settings]
        if not same:
            distinct.append(each)
    return distinct


def _listed(table: Table, settings: Settings) -> list[BatchInput]:
    column = next((name for name in _VIDEO if name in table.columns), None)
    if column is None:
        raise TableError(f"{table.path} has no column 'video': name the file of each row in one")
    for name in table.columns:
        _check_column(table, name)
    base = to_toml(settings)
    found: list[BatchInput] = []
    mistakes: list[tuple[int, str]] = []
    for row in table.rows:
        try:
            own = _settings(row, table.columns, base, settings)
            found += [BatchInput(each, own, named_alone=False) for each in _videos(table, row.text(column))]
        except (ValueError, ConfigError) as error:
            mistakes.append((row.number, str(error)))
    if mistakes:
        raise TableError(f"{table.path}: nothing was processed: {rows_sentence(mistakes)}")
    if not found:
        raise TableError(f"{table.path} names no video: write one into each row")
    return found


def _check_column(table: Table, name: str) -> None:
    known = [*_VIDEO, *_TEXTS, *_NUMBERS]
    if name in known or "." in name:
        return
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}, and options like input.rotate"
    raise TableError(f"{table.path}: there is nothing called {name!r} to set for a recording: {meant}")


def _videos(table: Table, text: str) -> list[str]:
    """Files that a cell names; one that is not there is named as it is, and fails when its turn comes."""
    if not text:
        raise ValueError("no video is named")
    place = table.path.parent / Path(text).expanduser()
    try:
        return [str(each) for each in expand_inputs([str(place)])]
    except (VideoOpenError, OSError):  # also a name that no file can have
        return [str(place)]


def _settings(row: Row, columns: Sequence[str], base: str, settings: Settings) -> Settings:
    flags: dict[str, tuple[str, object]] = {}
    overrides = []
    for name in columns:
        if not (text := row.text(name)):
            continue
        if name in _TEXTS:
            flags[_TEXTS[name]] = (name, text)
        elif name in _NUMBERS:
            option, read = _NUMBERS[name]
            flags[option] = (name, read(row, name))
        elif "." in name:
            overrides.append(f"{name}={text}")
    if not flags and not overrides:
        return settings
    # An address may hold a password, which the text of the settings is not made for: it stays as it is.
    return load_settings((), overrides, flags=flags, base=base).model_copy(update={"storage": settings.storage})
