"""Face detectors, one adapter a file. The folder is the registry: a file with a ``build`` function is a detector.

To add one, put ``mine.py`` here with a frozen ``Options`` (derived from ``DetectorOptions``), a class with
``detect``, ``smallest_face_px`` and ``fingerprint``, and ``build(options, weights)``; or keep it in a package of your
own and name it by its dotted path. The contract tests find a file of this folder by themselves.

Reading order::

    config                options of all detectors
    base                  inference loop of the detectors on ONNX Runtime
    session               ONNX Runtime sessions with bounded threads
    letterbox             frame to network input
    boxes                 candidates to ``Detections``: non-maximum suppression, scaling, clipping
    centerface            CenterFace, the default
    centerface_graph      its ONNX graph, made resizable and faster
    centerface_int8       the same graph in 8-bit integers
    precision             whether integers are right and faster on this processor
    graph_cache           prepared graphs, kept between runs
    anchors               anchor decoding of the RetinaFace family
    retinaface            RetinaFace with ResNet-50
    retinaface_mobilenet  RetinaFace with MobileNet-0.25
    yunet                 YuNet
"""

from __future__ import annotations

import difflib
import importlib
import re
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from fertrack.detectors.config import DetectionConfig, DetectorOptions
from fertrack.errors import ConfigError, WrongUsageError
from fertrack.models.weights import find_weights
from fertrack.protocols import Detector

__all__ = ["available_detectors", "build_detector", "load_adapter"]

_BUILD = re.compile(r"^def build\(", re.MULTILINE)


def available_detectors() -> list[str]:
    """Names of the detectors of this folder, without importing any of them.

    >>> "centerface" in available_detectors()
    True
    """
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [file.stem.replace("_", "-") for file in files if _BUILD.search(file.read_text(encoding="utf-8"))]


def load_adapter(name: str) -> ModuleType:
    """The module of a detector: by its name, or by the dotted path of a module elsewhere.

    Raises:
        ConfigError: there is no such detector, its module cannot be imported, or it lacks ``build`` or ``Options``.
    """
    names = available_detectors()
    if name in names:
        return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    if "." not in name:
        close = difflib.get_close_matches(name, names, n=1)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        raise WrongUsageError(
            f"there is no detector {name!r}{meant}; there are {', '.join(names)}, or give a dotted path"
        )
    try:
        module = importlib.import_module(name)
    except Exception as error:  # importing runs the module, which may raise anything
        raise ConfigError(f"the detector module {name} cannot be imported: {type(error).__name__}: {error}") from error
    missing = [part for part in ("Options", "build") if not hasattr(module, part)]
    if missing:
        raise ConfigError(f"the module {name} is not a detector: it has no {' and no '.join(missing)}")
    return module


def build_detector(config: DetectionConfig) -> Detector:
    """Build the detector that the configuration names, with its weights found and checked.

    Raises:
        ConfigError: there is no such detector, or it does not take an option.
        WeightsError: its weights are missing or are not the expected file.
        ModelError: its weights are of another network.
    """
    adapter = load_adapter(config.name)
    given = config.model_dump(exclude={"name", "weights", "every"}, exclude_none=True)
    try:
        options: DetectorOptions = adapter.Options(**given)
    except ValidationError as error:
        problem = error.errors()[0]
        raise ConfigError(
            f"the detector {config.name} refuses {'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        ) from error
    weights = None if config.weights is None else find_weights(Path(config.weights))
    detector: Detector = adapter.build(options, weights)
    return detector
