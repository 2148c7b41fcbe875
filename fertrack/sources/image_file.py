"""One image file of any kind to upright BGR: formats told by content, and files of several images one by one.

=====================  ====================================================================================
JPEG, PNG, BMP, WebP   OpenCV
TIFF                   OpenCV, page by page
HEIC, HEIF             pillow-heif (extra ``heif``): the whole image, also one made of tiles, as phones write
AVIF                   Pillow, likewise
animated WebP, PNG     Pillow, with the time that each image is shown
=====================  ====================================================================================
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import cv2
import numpy as np

from fertrack.errors import MissingExtraError, VideoOpenError
from fertrack.sources.container import too_large
from fertrack.sources.pixels import Orientation
from fertrack.types import Image

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

__all__ = ["IMAGE_SUFFIXES", "pages_of", "read_image"]

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".heic", ".heif", ".hif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)

_SIZES = threading.Lock()
_HEAD_BYTES = 4096
_MAX_MISSING = 64 * 1024 * 1024
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_AVIF_BRANDS = {b"avif", b"avis"}
_MAX_RUSHED_S, _USUAL_S = 0.01, 0.1  # as browsers show what asks for less than two hundredths of a second
Kind = Literal["heif", "avif", "tiff", "animation", "still"]


def pages_of(path: Path) -> Sequence[float | None]:
    """Time that each image in a file is shown, seconds; None where nothing says it, as for pages of a TIFF.

    Files that cannot be read, like single images, have one.
    """
    try:
        with path.open("rb") as file:
            kind = _kind(file.read(_HEAD_BYTES))
        if kind == "tiff":
            return [None] * max(1, cv2.imcount(str(path)))
        if kind not in ("animation", "avif"):
            return [None]
        with _pillow(path.read_bytes()) as image:
            count = getattr(image, "n_frames", 1)
            return [_duration_s(image, page) for page in range(count)] if count > 1 else [None]
    except (OSError, ValueError, cv2.error) as error:
        logger.debug("%s: its images cannot be counted: %s", path, error)
        return [None]


def read_image(
    path: Path, rotate: Literal["auto", 0, 90, 180, 270], page: int | None = None, max_pixels: int = 0
) -> Image | None:
    """Pixels of an image file, uint8 (H, W, 3) BGR upright; None if it is not one.

    Args:
        path: the file.
        rotate: degrees clockwise from the pixels as stored, or "auto": as the file says. HEIF and AVIF count as stored
            the way they say to show them.
        page: which image of a file of several; None = the only or first one.
        max_pixels: of the largest image that is decoded; 0: any.

    Raises:
        VideoOpenError: it has more pixels.
        MissingExtraError: it is HEIC, and pillow-heif is not installed.
    """
    try:
        content = path.read_bytes()
        kind = _kind(content[:_HEAD_BYTES])
        width, height = _size(content) if max_pixels else (0, 0)
        if width * height > max_pixels > 0:
            raise VideoOpenError(too_large(path, width, height))
        if _claims_too_much(content):
            return None
        image: Image | None
        if kind == "heif":
            image = _heif(content, path)
        elif kind == "avif" or (kind == "animation" and page is not None):
            image = _by_pillow(content, page or 0, upright=rotate == "auto")
        else:
            image = _by_opencv(content, page if kind == "tiff" else None, upright=rotate == "auto")
    except (OSError, ValueError, MemoryError, EOFError, cv2.error) as error:
        logger.debug("%s: %s", path, error)
        return None
    if image is None or 0 in image.shape:
        return None
    return np.ascontiguousarray(image if rotate == "auto" else Orientation.clockwise(rotate).apply(image))


def _size(content: bytes) -> tuple[int, int]:
    """Width and height that the head of an image names; 0, 0 where Pillow knows no such image."""
    from PIL import Image as Pillow

    with _SIZES:  # Pillow's own limit is for those who decode; here the head alone is read
        limit, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
        try:
            with Pillow.open(io.BytesIO(content)) as image:
                return image.size
        except (OSError, ValueError, SyntaxError):
            return 0, 0
        finally:
            Pillow.MAX_IMAGE_PIXELS = limit


def _claims_too_much(content: bytes) -> bool:
    """Whether a chunk of a PNG says to be far longer than the file: OpenCV would take that much memory for it."""
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        return False
    at = 8
    while at + 8 <= len(content):
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return at > len(content) + _MAX_MISSING


def _kind(head: bytes) -> Kind:
    """What a file is, by its first bytes; whatever its name says."""
    if head[4:8] == b"ftyp":
        size = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}
        if brands & _AVIF_BRANDS:
            return "avif"
        return "heif" if brands & _HEIF_BRANDS else "still"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    animated_webp = head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & 0x02)
    animated_png = head[:4] == b"\x89PNG" and b"acTL" in head
    return "animation" if animated_webp or animated_png else "still"


def _by_opencv(content: bytes, page: int | None, *, upright: bool) -> Image | None:
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    encoded = np.frombuffer(content, np.uint8)
    if not encoded.size:
        return None
    if page is None:
        return cast(Image | None, cv2.imdecode(encoded, flags))
    _, found = cv2.imdecodemulti(encoded, flags, range=(page, page + 1))
    return cast(Image, found[0]) if found else None


def _by_pillow(content: bytes, page: int, *, upright: bool) -> Image:
    from PIL import ImageOps

    with _pillow(content) as image:
        image.seek(page)
        shown = ImageOps.exif_transpose(image) if upright else image
        return _bgr(shown.convert("RGB"))


def _heif(content: bytes, path: Path) -> Image:
    try:
        from pillow_heif import open_heif
    except ImportError as error:
        raise MissingExtraError(f"{path} is a HEIC image, which needs pillow-heif", "heif") from error
    image = open_heif(content, convert_hdr_to_8bit=True)  # libheif puts tiles together and turns it upright
    return _bgr(image.to_pillow().convert("RGB"))


def _pillow(content: bytes) -> PillowImage:
    from PIL import Image as Pillow

    return Pillow.open(io.BytesIO(content))


def _bgr(image: Any) -> Image:
    return np.ascontiguousarray(np.asarray(image, np.uint8)[:, :, ::-1])


def _duration_s(image: PillowImage, page: int) -> float:
    image.seek(page)
    image.load()
    said_s = float(image.info.get("duration") or 0) / 1e3
    return said_s if said_s > _MAX_RUSHED_S else _USUAL_S
