"""The video beside a report: nothing, a link to the file, or the file itself inside the page."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from fertrack.errors import ReportError

if TYPE_CHECKING:
    from fertrack.storage.facts import RunFacts

__all__ = ["Film", "FilmMode", "find_film"]

FilmMode = Literal["none", "link", "embed"]

_MIME = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm", ".mkv": "video/webm"}
"""Browsers go by what is inside: a .mov with H.264 plays as MP4, a .mkv with VP9 as WebM."""

_MB = 1e6
_DRAWN_MARKS = (".annotated.", ".anonymised.")

NONE_RECORDED: Mapping[Path, float | None] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Film:
    """A video that the report plays.

    Attributes:
        mode: "link" or "embed".
        path: the file.
        address: for "link", where it is, relative to the report and quoted.
        content: for "embed", the file as base64.
        mime: its media type.
        size_mb: its size, in millions of bytes.
        starts_s: the time of the run at which the file's own time is 0, s.
        drawn: whether it is the annotated video.
    """

    mode: str
    path: Path
    address: str
    content: str
    mime: str
    size_mb: float
    starts_s: float
    drawn: bool

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name


def find_film(
    mode: FilmMode,
    facts: RunFacts,
    report: Path,
    *,
    given: Path | None = None,
    max_embed_mb: float = 50.0,
    begins_s: float = 0.0,
    recorded: Mapping[Path, float | None] = NONE_RECORDED,
) -> Film | None:
    """The video for a report: the one given; else the annotated one, beside the report or elsewhere; else the source.

    Args:
        mode: "none", "link" or "embed".
        facts: the run.
        report: where the report will be.
        given: a video file of this run, annotated or not.
        max_embed_mb: largest file that is embedded, in millions of bytes.
        begins_s: time of the source at which the annotated video's own time is 0, s.
        recorded: videos known to have been drawn from this run, the newest last, each with its own ``begins_s`` where
            that is another.

    Raises:
        ReportError: there is no such file, browsers know no media type for it, or it is too large to be embedded.
    """
    if mode == "none":
        return None
    path = given or _beside(facts, report) or _last_there(recorded) or Path(facts.source_path or facts.source_name)
    if not path.is_file():
        raise ReportError(
            f"there is no video {path} to {mode} for run {facts.id}: name it with --video-file, or use --video none"
        )
    mime = _MIME.get(path.suffix.lower())
    if mime is None:
        raise ReportError(f"{path.name} is no video that browsers play: name an MP4 or WebM file with --video-file")
    size_mb = path.stat().st_size / _MB
    if mode == "embed" and size_mb > max_embed_mb:
        raise ReportError(
            f"{path.name} has {size_mb:.0f} MB, and only up to {max_embed_mb:g} MB are put into a report: use --video "
            "link, name a smaller file with --video-file, or raise report.max_embed_mb"
        )
    offsets = {known.resolve(): offset_s for known, offset_s in recorded.items()}
    drawn = path.resolve() in offsets or any(mark in path.name for mark in _DRAWN_MARKS)
    offset_s = offsets.get(path.resolve())
    return Film(
        mode=mode,
        path=path,
        address=_address(path, report) if mode == "link" else "",
        content=_content(path) if mode == "embed" else "",
        mime=mime,
        size_mb=size_mb,
        starts_s=(begins_s if offset_s is None else offset_s) if drawn else 0.0,
        drawn=drawn,
    )


def _beside(facts: RunFacts, report: Path) -> Path | None:
    """The annotated video where ``fertrack process`` or ``fertrack render`` put it."""
    stem = Path(facts.source_name).stem
    for name in (report.name.removesuffix(".report.html"), f"run{facts.id}.{stem}", stem):
        for suffix in (".mp4", ".webm", ".mkv", ".mov"):
            path = report.parent / f"{name}.annotated{suffix}"
            if path.is_file():
                return path
    return None


def _last_there(recorded: Mapping[Path, float | None]) -> Path | None:
    return next((path for path in reversed([*recorded]) if path.is_file()), None)


def _address(path: Path, report: Path) -> str:
    try:
        relative = os.path.relpath(path.resolve(), report.resolve().parent)
    except ValueError as error:  # on another drive
        raise ReportError(
            f"{path} cannot be linked from {report}: put both on one drive, or use --video embed"
        ) from error
    address = quote(Path(relative).as_posix())
    return address if address.startswith(".") else f"./{address}"  # a name such as a:b.mp4 must not look like a scheme


def _content(path: Path) -> str:
    try:
        return base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error.strerror or error}") from error
