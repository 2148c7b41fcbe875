"""Folders of images, and single images, as a source of frames."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import cv2
import numpy as np

from fertrack.errors import VideoOpenError
from fertrack.sources.config import InputConfig
from fertrack.sources.pixels import Orientation
from fertrack.sources.stream.credentials import mask_mistyped
from fertrack.sources.timing import FrameSelector, Verdict
from fertrack.types import Frame, Image, VideoInfo

__all__ = ["IMAGE_SUFFIXES", "ImageFolderSource", "images_in", "natural_key"]

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key that orders numbers by value and ignores case: ``img2`` before ``img10``."""
    return tuple(
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.casefold()) if part
    )


def images_in(folder: Path) -> list[Path]:
    """The images directly in a folder, in natural order of their names; hidden files are left out.

    Raises:
        VideoOpenError: the folder cannot be listed.
    """
    try:
        found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
        return sorted((p for p in found if p.is_file()), key=lambda p: (natural_key(p.name), p.name))
    except OSError as error:
        raise VideoOpenError(f"folder {folder} cannot be listed ({error.strerror}): check its permissions") from error


class ImageFolderSource:
    """The images of a folder in natural order of their names, or one image.

    Image i is shown at ``i / image_fps`` seconds (1 image a second unless set otherwise) and has index i; the time
    window and the rate select by those times, and images left out are not opened. EXIF orientation is honoured unless
    ``rotate`` is set, which then applies to the pixels as stored.

    Every image keeps its own size, so that boxes are in its own px. ``info`` has the size of the first; a note says
    how many differ (a video made of them has to fit those into the first size).

    Images that cannot be read are counted in ``decode_failures`` and leave a gap in the indices.

    Args:
        path: a folder with at least one readable jpg, png, bmp, webp or tif; or one such file.
        config: part, rate, rotation and images per second.

    Raises:
        VideoOpenError: no image there can be read, or none lies in the time window.
    """

    def __init__(self, path: str | Path, config: InputConfig | None = None) -> None:
        path = Path(path)
        self.decode_failures = 0
        self.dropped = 0
        self.notes: list[str] = []
        self._config = config or InputConfig()
        self._images = _list_images(path)
        self._time_base = 1 / Fraction(self._config.image_fps).limit_denominator(1_000_000)
        self._chosen = self._choose()
        self._closed = False
        self._started = False
        if not self._chosen:
            last_s = float((len(self._images) - 1) * self._time_base)
            raise VideoOpenError(
                f"{path} has no image in the part asked for: its last image is shown at {last_s:g} s "
                f"({self._config.image_fps:g} images a second)"
            )
        self._reading = self._read()
        self._first = next(self._reading, None)
        if self._first is None:
            raise VideoOpenError(f"{path}: none of {len(self._chosen)} images can be read")
        height, width = self._first.image.shape[:2]
        self.info = VideoInfo(
            name=path.name or path.absolute().name,
            width=width,
            height=height,
            fps=self._config.image_fps,
            frame_count=len(self._images),
            rotation=0 if self._config.rotate == "auto" else self._config.rotate,
            path=str(path.absolute()),
            duration_s=float(len(self._images) * self._time_base),
            time_base=self._time_base,
        )

    def __iter__(self) -> Iterator[Frame]:
        """Yield the images.

        Raises:
            ValueError: iterated a second time.
        """
        if self._started:
            raise ValueError(f"{self.info.name} was read before: open it again to read it again")
        self._started = True
        return self._frames()

    def close(self) -> None:
        """End an iteration under way. May be called more than once."""
        self._closed = True

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _choose(self) -> list[tuple[int, float, Path]]:
        selector = FrameSelector(self._config)
        chosen = []
        for index, image in enumerate(self._images):
            timestamp_s = float(index * self._time_base)
            verdict = selector.judge(timestamp_s)
            if verdict is Verdict.STOP:
                break
            if verdict is Verdict.TAKE:
                chosen.append((index, timestamp_s, image))
        return chosen

    def _frames(self) -> Generator[Frame, None, None]:
        other_sizes = 0
        frame, self._first = self._first, None
        while frame is not None and not self._closed:
            height, width = frame.image.shape[:2]
            other_sizes += (width, height) != (self.info.width, self.info.height)
            yield frame
            frame = next(self._reading, None)
        if other_sizes:
            self.notes.append(
                f"{self.info.name}: {other_sizes} of {len(self._chosen)} images are not "
                f"{self.info.width}x{self.info.height} like the first"
            )

    def _read(self) -> Generator[Frame, None, None]:
        for index, timestamp_s, path in self._chosen:
            started = time.perf_counter()
            image = _read_image(path, self._config)
            if image is None:
                level = logging.DEBUG if self.decode_failures else logging.WARNING
                logger.log(level, "%s cannot be read as an image and is skipped", path)
                self.decode_failures += 1
                continue
            yield Frame(index, timestamp_s, image, read_ms=(time.perf_counter() - started) * 1e3)


def _list_images(path: Path) -> list[Path]:
    if path.is_dir():
        images = images_in(path)
        if not images:
            raise VideoOpenError(
                f"folder {path} has no images in it ({' '.join(sorted(IMAGE_SUFFIXES))}): "
                f"give another folder, or the videos in it by name"
            )
        return images
    if not path.exists():
        raise VideoOpenError(f"{mask_mistyped(str(path))} does not exist: check the spelling and the folder")
    return [path]


def _read_image(path: Path, config: InputConfig) -> Image | None:
    """Pixels of an image file, uint8 (H, W, 3) BGR upright; None if it is not one."""
    flags = cv2.IMREAD_COLOR if config.rotate == "auto" else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        encoded = np.frombuffer(path.read_bytes(), np.uint8)
        image = cv2.imdecode(encoded, flags) if encoded.size else None
    except (OSError, MemoryError, cv2.error):
        return None
    if image is None or 0 in image.shape:
        return None
    turned = image if config.rotate == "auto" else Orientation.clockwise(config.rotate).apply(cast(Image, image))
    return np.ascontiguousarray(turned)
