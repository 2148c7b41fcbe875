"""The demo clip: two people who move, cross, turn and come back, composed on the fly.

The portraits are in the public domain (NASA's Eileen Collins, the US Navy's Grace Hopper) and are read from the
packages that ship them, scikit-image and matplotlib. Nothing is downloaded.
"""

from __future__ import annotations

from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from fertrack.errors import MissingExtraError, VideoOpenError, VideoWriteError, reason_of
from fertrack.types import Image

__all__ = ["FPS", "FRAME_COUNT", "HEIGHT", "WIDTH", "compose_demo", "portrait"]

WIDTH, HEIGHT = 1280, 720
FPS = 25
FRAME_COUNT = 300
_AUDIO_RATE = 48_000
_TONE_HZ = 440.0

_PORTRAITS = {
    # package, file in it, head as x, y, width, height in px of the image
    "astronaut": ("skimage", "data/astronaut.png", (120, 5, 220, 270)),
    "hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", (115, 25, 300, 360)),
}


def compose_demo(path: Path, *, frame_count: int = FRAME_COUNT) -> Path:
    """Write the demo clip: H.264 with a 440 Hz tone, 1280x720, 25 fps, 12 s. Replaces an earlier one.

    Args:
        path: file to write.
        frame_count: stop after so many frames.

    Raises:
        ConfigError: scikit-image or matplotlib is not installed.
        VideoWriteError: the file cannot be written.
    """
    people = [_Cutout(portrait("astronaut"), 300), _Cutout(portrait("hopper"), 320)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(path, "w") as container:
            video = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "20"})
            video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            audio = container.add_stream("aac", rate=_AUDIO_RATE, layout="mono")
            for index in range(frame_count):
                picture = av.VideoFrame.from_ndarray(_image(index, people), format="bgr24")
                picture.pts, picture.time_base = index, Fraction(1, FPS)
                container.mux(video.encode(picture))
            container.mux(video.encode(None))
            for chunk in _tone(frame_count / FPS):
                container.mux(audio.encode(chunk))
            container.mux(audio.encode(None))
    except OSError as error:
        raise VideoWriteError(f"the demo clip {path} cannot be written: {reason_of(error)}") from error
    return path


def portrait(name: str) -> Image:
    """Head of a public-domain portrait, ``"astronaut"`` or ``"hopper"``: uint8 (H, W, 3), BGR.

    Raises:
        MissingExtraError: the package that ships it is not installed.
        VideoOpenError: the image cannot be read.
    """
    package, file, (x, y, width, height) = _PORTRAITS[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingExtraError("the demo's portraits come with scikit-image and matplotlib", "demo")
    path = Path(spec.origin).parent / file
    picture = cv2.imread(str(path))
    if picture is None:
        raise VideoOpenError(f"the portrait {path} cannot be read: reinstall {package}")
    return np.asarray(picture[y : y + height, x : x + width], np.uint8)


class _Cutout:
    """A head with soft edges that can be laid over an image at sub-pixel positions."""

    def __init__(self, head: Image, height_px: int) -> None:
        scale = height_px / head.shape[0]
        size = (round(head.shape[1] * scale), height_px)
        self._head = cv2.resize(head, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        across, down = np.meshgrid(np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1]))
        oval = np.clip((1.0 - (across**2 + down**2) ** 0.5) * 8, 0, 1).astype(np.float32)
        self._alpha = np.dstack([oval] * 3)

    def lay_over(self, picture: npt.NDArray[np.float32], centre_xy: tuple[float, float]) -> None:
        """Blend the head onto ``picture`` (float32 BGR, changed in place), centred at ``centre_xy`` px."""
        height, width = self._head.shape[:2]
        left, top = centre_xy[0] - width / 2, centre_xy[1] - height / 2
        x, y = int(left), int(top)
        shift = np.array([[1, 0, left - x], [0, 1, top - y]], np.float32)
        size = (width + 1, height + 1)
        alpha = cv2.warpAffine(self._alpha, shift, size)
        under = picture[y : y + height + 1, x : x + width + 1]
        under += alpha * (cv2.warpAffine(self._head, shift, size) - under)


def _image(index: int, people: list[_Cutout]) -> Image:
    """Frame ``index``: the first person crosses in front of the second at 3 s, turns, and crosses back at 9 s."""
    swing = np.cos(2 * np.pi * index / FRAME_COUNT)
    bob = np.sin(2 * np.pi * index / 60)
    shade = np.linspace(70, 150, HEIGHT, dtype=np.float32)[:, None, None]
    picture = np.broadcast_to(shade * np.array([1.0, 0.95, 0.85], np.float32), (HEIGHT, WIDTH, 3)).copy()
    people[1].lay_over(picture, (WIDTH / 2 + 380 * swing, 390 - 12 * bob))
    people[0].lay_over(picture, (WIDTH / 2 - 380 * swing, 330 + 12 * bob))
    return np.clip(picture, 0, 255).astype(np.uint8)


def _tone(duration_s: float) -> list[av.AudioFrame]:
    chunk, samples = 1024, int(duration_s * _AUDIO_RATE)
    wave = (0.1 * np.sin(2 * np.pi * _TONE_HZ * np.arange(samples) / _AUDIO_RATE)).astype(np.float32)
    frames = []
    for start in range(0, samples, chunk):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + chunk], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = _AUDIO_RATE, start, Fraction(1, _AUDIO_RATE)
        frames.append(frame)
    return frames
