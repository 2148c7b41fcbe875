"""From what a person types to paths, and from a path to the source that reads it."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from fertrack.errors import VideoOpenError
from fertrack.protocols import VideoSource
from fertrack.sources.config import InputConfig
from fertrack.sources.file import FileSource
from fertrack.sources.images import IMAGE_SUFFIXES, ImageFolderSource, images_in, listed, natural_key
from fertrack.sources.stream.credentials import mask_mistyped

__all__ = ["expand_inputs", "open_source"]

logger = logging.getLogger(__name__)

# fmt: off
_VIDEO_SUFFIXES = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf",
    ".ogv", ".ts", ".vob", ".webm", ".wmv",
})
# fmt: on
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def open_source(location: str | Path, config: InputConfig | None = None) -> VideoSource:
    """Open a video file, a folder of images, or one image. Reading starts when it is iterated.

    Args:
        location: path of what to read.
        config: which part, how often, which way up.

    Raises:
        VideoOpenError: it is missing, is neither a video nor images, has nothing in it that can be decoded, or is a
            URL.

    >>> with open_source("clip.mp4") as source:          # doctest: +SKIP
    ...     for frame in source:
    ...         print(frame.index, frame.timestamp_s, frame.image.shape)
    """
    _refuse_url(str(location))
    path = Path(location).expanduser()
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFolderSource(path, config)
    return FileSource(path, config)


def expand_inputs(patterns: Sequence[str]) -> list[Path]:
    """Files and image folders named by paths and globs, in the order given, each once.

    A folder with videos in it means these videos; frames beside them (covers, posters) are left out.

    A pattern that names something existing means just that, whatever characters are in it. Else it is a glob (``*``,
    ``?``, ``[ ]``, ``**`` for any depth); its matches come in natural order (``clip2`` before ``clip10``). A glob that
    names no suffix, such as ``recordings/*``, matches videos, images and folders of images only.

    Raises:
        VideoOpenError: a pattern matches nothing, or is a URL; or no pattern was given.
    """
    if not patterns:
        raise VideoOpenError("no input was named: give video files, globs or folders of images")
    found: dict[Path, None] = {}
    for pattern in patterns:
        _refuse_url(pattern)
        path = Path(pattern).expanduser()
        named = [path] if path.exists() else _matches(pattern, path)
        for one in named:
            found.update(dict.fromkeys(_videos_in(one) or [one]))
    return list(found)


def _videos_in(folder: Path) -> list[Path]:
    """The videos directly in a folder, in natural order; what is left out beside them is logged."""
    if not folder.is_dir():
        return []
    try:
        files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    except OSError:  # said when it is opened
        return []
    videos = [path for path in files if path.suffix.lower() in _VIDEO_SUFFIXES]
    others = sorted(path.name for path in files if path not in videos)
    if videos and others:
        logger.warning("%s: its videos are analysed; left out: %s", folder, listed(others))
    return sorted(videos, key=lambda path: natural_key(path.name))


def _matches(pattern: str, path: Path) -> list[Path]:
    if not glob.has_magic(pattern):
        raise VideoOpenError(f"{mask_mistyped(pattern)} does not exist: check the spelling and the folder")
    found = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute patterns
    matches = [Path(match) for match in found]
    wanted = [match for match in matches if _is_input(match, any_suffix=bool(path.suffix))]
    others = sorted(match.name for match in set(matches) - set(wanted) if match.is_file())
    if wanted and others:
        logger.warning("%s: left out as neither videos nor images: %s", mask_mistyped(pattern), listed(others))
    if not wanted:
        raise VideoOpenError(f"nothing matches {mask_mistyped(pattern)}: check the folder, or name a file")
    return sorted(wanted, key=lambda match: natural_key(str(match)))


def _is_input(path: Path, *, any_suffix: bool) -> bool:
    if path.is_dir():
        return bool(images_in(path)) or any(p.suffix.lower() in _VIDEO_SUFFIXES for p in path.iterdir() if p.is_file())
    return any_suffix or path.suffix.lower() in _VIDEO_SUFFIXES | IMAGE_SUFFIXES


def _refuse_url(location: str) -> None:
    if match := _URL.match(location):
        raise VideoOpenError(
            f"{match.group()}... is an address: only files and folders of images on this machine can be analysed as a "
            "whole; watch a stream with 'fertrack live', in Python with fertrack.open_live"
        )
