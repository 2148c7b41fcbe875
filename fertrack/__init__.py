"""fertrack: who showed which facial expression, when, for how long, and how sure we are.

>>> import fertrack
>>> result = fertrack.process_video("clip.mp4")    # doctest: +SKIP
>>> result.persons()                               # doctest: +SKIP
>>> result.timeline(track=1)                       # doctest: +SKIP

Importing the package loads neither models nor video libraries; each public name is loaded when first used.

To understand it, read these ten files (40 minutes). Every folder's docstring lists its own files in the same way::

    types               the values that flow: Frame, FrameFaces, FrameResult
    protocols           the interface of every part
    pipeline/analyzer   inference on one frame: detect, align, classify
    tracking/tracker    detections to track IDs
    expression/fold     logits to smoothed, calibrated labels
    pipeline/pipeline   the frame loop
    sinks/database      results to rows
    storage/models      the tables
    process             the main job: a video in; video, rows and report out
    testing             the whole pipeline without weights
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fertrack.build import build_pipeline
    from fertrack.classifiers.loading import load_emotion_model
    from fertrack.config import Settings, load_settings
    from fertrack.errors import FertrackError
    from fertrack.live.results import open_live
    from fertrack.models.networks.architectures import load_orf_model
    from fertrack.pipeline.pipeline import Pipeline
    from fertrack.process import ProcessResult, process_video
    from fertrack.reporting.notebook.views import open_run
    from fertrack.sources import open_source
    from fertrack.storage.engine import open_database
    from fertrack.types import EXPRESSIONS, Detections, Faces, Frame, FrameFaces, FrameResult, RunSummary, VideoInfo

__all__ = [
    "EXPRESSIONS",
    "Detections",
    "Faces",
    "FertrackError",
    "Frame",
    "FrameFaces",
    "FrameResult",
    "Pipeline",
    "ProcessResult",
    "RunSummary",
    "Settings",
    "VideoInfo",
    "build_pipeline",
    "load_emotion_model",
    "load_orf_model",
    "load_settings",
    "open_database",
    "open_live",
    "open_run",
    "open_source",
    "process_video",
]

_HOME = {
    "EXPRESSIONS": "types",
    "Detections": "types",
    "Faces": "types",
    "FertrackError": "errors",
    "Frame": "types",
    "FrameFaces": "types",
    "FrameResult": "types",
    "Pipeline": "pipeline.pipeline",
    "ProcessResult": "process",
    "RunSummary": "types",
    "Settings": "config",
    "VideoInfo": "types",
    "build_pipeline": "build",
    "load_emotion_model": "classifiers.loading",
    "load_orf_model": "models.networks.architectures",
    "load_settings": "config",
    "open_database": "storage.engine",
    "open_live": "live.results",
    "open_run": "reporting.notebook.views",
    "open_source": "sources",
    "process_video": "process",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("fertrack")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
