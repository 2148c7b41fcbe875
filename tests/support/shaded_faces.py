"""A labelled folder in small: one portrait in many shades, the same under every label."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from fertrack.types import EXPRESSIONS


def write_shaded_faces(folder: Path, count: int = 20) -> None:
    """A sub-folder for each expression, with so many pictures."""
    portrait = cv2.imread(str(pytest.importorskip("skimage").__path__[0] + "/data/astronaut.png"))[20:240, 120:340]
    for name in EXPRESSIONS:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            shade = np.clip(portrait.astype(np.int32) + number, 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / name / f"{number}.png"), cv2.resize(shade, (64, 64)))
