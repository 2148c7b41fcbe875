"""Where frames come from: video files, image folders and single images, read sequentially with exact times.

=====================  ==================================================================================
``open_source``        picks the reader for a path
``FileSource``         any container FFmpeg reads: exact time stamps, rotation, damaged pictures skipped
``ImageFolderSource``  a folder of images, or one image
``Buffered``           another source read ahead in its own thread
``expand_inputs``      names, globs and folders as a person types them -> paths
``InputConfig``        the options
=====================  ==================================================================================

The video library is loaded when the first of these is used, not on import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fertrack.sources.config import InputConfig

if TYPE_CHECKING:
    from fertrack.sources.buffered import Buffered
    from fertrack.sources.file import FileSource
    from fertrack.sources.images import IMAGE_SUFFIXES, ImageFolderSource
    from fertrack.sources.locate import expand_inputs, open_source

__all__ = [
    "IMAGE_SUFFIXES",
    "Buffered",
    "FileSource",
    "ImageFolderSource",
    "InputConfig",
    "expand_inputs",
    "open_source",
]

_HOME = {
    "Buffered": "buffered",
    "FileSource": "file",
    "IMAGE_SUFFIXES": "images",
    "ImageFolderSource": "images",
    "expand_inputs": "locate",
    "open_source": "locate",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fertrack.sources' has no attribute {name!r}")
    return getattr(import_module(f"fertrack.sources.{_HOME[name]}"), name)
