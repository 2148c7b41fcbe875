"""Labelled pictures that installed packages ship."""

from __future__ import annotations

from pathlib import Path

import cv2

from fertrack.demo import portrait

__all__ = ["labelled_faces"]


def labelled_faces(folder: Path) -> None:
    """Twelve sizes each of the two public-domain portraits, as a folder with a sub-folder per expression."""
    for expression, name in (("happiness", "astronaut"), ("neutral", "hopper")):
        (folder / expression).mkdir(parents=True)
        for number in range(12):
            scale = 0.5 + 0.04 * number
            picture = cv2.resize(portrait(name), None, fx=scale, fy=scale)
            assert cv2.imwrite(str(folder / expression / f"{number}.png"), picture)
