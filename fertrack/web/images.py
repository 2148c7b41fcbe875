"""The live image as JPEG: encoded once for all browsers, and only while one watches."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2

from fertrack.types import Image

if TYPE_CHECKING:
    from fertrack.live.session import LiveSession

__all__ = ["PageImage", "PageImages", "jpeg"]

LONGEST_SIDE_PX = 1280
"""Larger images are scaled down for the page; the recording is not."""

QUALITY = 80
"""Of the JPEG, 0 to 100."""


@dataclass(frozen=True, slots=True)
class PageImage:
    """One displayed image.

    Attributes:
        number: its display number; -1 before the first.
        jpeg: the encoded image.
    """

    number: int
    jpeg: bytes


class PageImages:
    """Newest image of a session, for all who ask.

    A browser asks for the next image when it has drawn the last one. So nothing can pile up on the way to it: a slow
    one simply sees fewer images. All that ask at the same time share one look at the session.
    """

    def __init__(self, session: LiveSession, *, patience_s: float) -> None:
        self._session = session
        self._patience_s = patience_s
        self._newest = PageImage(-1, b"")
        self._renewal: asyncio.Task[None] | None = None

    async def newer_than(self, number: int) -> PageImage | None:
        """The newest image, waiting up to ``patience_s`` for one newer than ``number``; None if there is none."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew())
        # Shielded: a browser that goes away while it waits must not take the image from the others.
        await asyncio.shield(self._renewal)
        return self._newest if self._newest.number > number else None

    async def _renew(self) -> None:
        newer = await asyncio.to_thread(self._take, self._newest.number)
        self._newest = newer or self._newest

    def _take(self, after: int) -> PageImage | None:
        view = self._session.view(after, self._patience_s)
        return None if view is None else PageImage(view.number, jpeg(view.image))


def jpeg(image: Image) -> bytes:
    """Encode an image for the page.

    Args:
        image: uint8 (H, W, 3), BGR.
    """
    height, width = image.shape[:2]
    scale = LONGEST_SIDE_PX / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype("uint8", copy=False)
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return encoded.tobytes()
