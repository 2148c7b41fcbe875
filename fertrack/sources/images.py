"""Folders of images, and single images, as a source of frames."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self

from fertrack.errors import MissingExtraError, VideoOpenError
from fertrack.sources.config import InputConfig
from fertrack.sources.image_file import IMAGE_SUFFIXES, pages_of, read_image
from fertrack.sources.stream.credentials import mask_mistyped
from fertrack.sources.timing import FrameSelector, Verdict
from fertrack.types import Frame, Image, VideoInfo

__all__ = ["IMAGE_SUFFIXES", "ImageFolderSource", "images_in", "listed", "natural_key"]

logger = logging.getLogger(__name__)

_MAX_NAMED = 5
_MAY_HOLD_SEVERAL = {".avif", ".png", ".tif", ".tiff", ".webp"}


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key that orders numbers by value and ignores case: ``img2`` before ``img10``."""
    return tuple(
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.casefold()) if part
    )


def images_in(folder: Path) -> list[Path]:
    """The images directly in a folder, in natural order of their names; hidden files do not count.

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

    A file that is read by itself and holds several images is read image by image: the pages of a TIFF like images of a
    folder, an animated WebP, PNG or AVIF with its own times (0 and 10 ms last 100 ms, as in browsers). In a folder the
    first image of such a file is read, and a note says so, as it names files that are left out.

    Image i is shown at ``i / image_fps`` seconds (1 image a second unless set otherwise) and has index i; the time
    window and the rate select by those times, and images left out are not opened. EXIF orientation is honoured unless
    ``rotate`` is set, which then applies to the pixels as stored.

    Every image keeps its own size, so that boxes are in its own px. ``info`` has the size of the first; a note says
    how many differ (a video made of them has to fit those into the first size).

    Images that cannot be read are counted in ``decode_failures`` and leave a gap in the indices.

    Args:
        path: a folder with at least one readable jpg, png, bmp, webp, tif, heic or avif; or one such file.
        config: part, rate, rotation and images per second.

    Raises:
        VideoOpenError: no image there can be read, or none lies in the time window.
        MissingExtraError: the first image is HEIC, and what reads it is not installed.
    """

    def __init__(self, path: str | Path, config: InputConfig | None = None) -> None:
        path = Path(path)
        self.decode_failures = 0
        self.dropped = 0
        self.notes: list[str] = []
        self._config = config or InputConfig()
        self._images = _list_images(path)
        self._time_base = 1 / Fraction(self._config.image_fps).limit_denominator(1_000_000)
        self._starts_s, self._end_s = self._times(path)
        self._chosen = self._choose()
        self._closed = False
        self._started = False
        self._lacking = False
        if not self._chosen:
            last_s = self._starts_s[-1]
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
            frame_count=len(self._starts_s),
            rotation=0 if self._config.rotate == "auto" else self._config.rotate,
            path=str(path.absolute()),
            duration_s=self._end_s,
            end_s=self._end_s if self._is_timed else 0.0,
            time_base=self._time_base,
        )
        if path.is_dir():
            self._note_left_out(path)

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

    def _times(self, path: Path) -> tuple[list[float], float]:
        """When each image begins to be shown, and when the last one ends, seconds."""
        pages = [None] * len(self._images) if path.is_dir() else pages_of(path)
        self._pages = not path.is_dir() and len(pages) > 1
        self._is_timed = any(pages)
        if self._is_timed:
            self._time_base = Fraction(1, 1000)
            ends_ms = list(accumulate(round((page or 0.0) * 1e3) for page in pages))
            return [end_ms / 1e3 for end_ms in (0, *ends_ms[:-1])], ends_ms[-1] / 1e3
        count = len(pages)
        return [float(index * self._time_base) for index in range(count)], float(count * self._time_base)

    def _choose(self) -> list[tuple[int, float, Path]]:
        selector = FrameSelector(self._config)
        chosen = []
        for index, timestamp_s in enumerate(self._starts_s):
            verdict = selector.judge(timestamp_s)
            if verdict is Verdict.STOP:
                break
            if verdict is Verdict.TAKE:
                chosen.append((index, timestamp_s, self._images[0 if self._pages else index]))
        return chosen

    def _note_left_out(self, folder: Path) -> None:
        """Name what is in the folder and is not read."""
        others = sorted(p.name for p in folder.iterdir() if p.is_file() and p not in self._images and p.name[0] != ".")
        if others:
            self.notes.append(f"{self.info.name}: left out as no images: {listed(others)}")
        several = [image.name for image in self._images if image.suffix.lower() in _MAY_HOLD_SEVERAL]
        several = [name for name in several if len(pages_of(folder / name)) > 1]
        if several:
            self.notes.append(f"{self.info.name}: only the first image is read of each of these: {listed(several)}")

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

    def _image(self, path: Path, page: int | None) -> Image | None:
        """Pixels of an image; None if it cannot be read. Without its package, or immense, only a single file ends."""
        try:
            return read_image(path, self._config.rotate, page, self._config.max_pixels)
        except (MissingExtraError, VideoOpenError) as error:
            if len(self._images) == 1:
                raise
            if not self._lacking:
                self.notes.append(str(error))
            self._lacking = True
            return None

    def _read(self) -> Generator[Frame, None, None]:
        for index, timestamp_s, path in self._chosen:
            started = time.perf_counter()
            image = self._image(path, index if self._pages else None)
            if image is None:
                level = logging.DEBUG if self.decode_failures else logging.WARNING
                logger.log(level, "%s cannot be read as an image and is skipped", path)
                self.decode_failures += 1
                continue
            yield Frame(index, timestamp_s, image, read_ms=(time.perf_counter() - started) * 1e3)


def listed(names: Sequence[str]) -> str:
    """The first names, and how many there are beyond them."""
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


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
