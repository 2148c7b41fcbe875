"""Sources of frames: files and images, read sequentially with exact times; cameras and streams, as they come.

``open_source`` picks the reader for a path, ``open_live_source`` the one for a camera or an address. The video library
is loaded when the first reader is used, not on import.

Reading order::

    config       options of video input
    open         paths, globs and folders to a source
    file         video files
    images       image folders and single images
    image_file   one image file of any kind to BGR
    container    containers opened and their facts read
    programmes   programmes of a transport stream
    frame_order  decoded frames paired with packets
    deinterlace  interlaced frames made whole
    pixels       decoded frame to upright BGR
    timing       time windows, frame rates and steady clocks
    seekable     a file read from any time on, for players
    buffered     another source, read ahead in a thread
    realtime     a file, played as a camera
    stream/      cameras and network streams
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fertrack.sources.config import InputConfig
from fertrack.sources.stream.config import StreamConfig
from fertrack.sources.stream.credentials import mask_credentials
from fertrack.sources.stream.status import StreamStatus

if TYPE_CHECKING:
    from fertrack.sources.buffered import Buffered
    from fertrack.sources.file import FileSource
    from fertrack.sources.images import IMAGE_SUFFIXES, ImageFolderSource
    from fertrack.sources.open import expand_inputs, open_source
    from fertrack.sources.realtime import RealtimeFile
    from fertrack.sources.stream.camera import CameraSource
    from fertrack.sources.stream.network import StreamSource
    from fertrack.sources.stream.open import open_live_source

__all__ = [
    "IMAGE_SUFFIXES",
    "Buffered",
    "CameraSource",
    "FileSource",
    "ImageFolderSource",
    "InputConfig",
    "RealtimeFile",
    "StreamConfig",
    "StreamSource",
    "StreamStatus",
    "expand_inputs",
    "mask_credentials",
    "open_live_source",
    "open_source",
]

_HOME = {
    "Buffered": "buffered",
    "CameraSource": "stream.camera",
    "FileSource": "file",
    "IMAGE_SUFFIXES": "images",
    "ImageFolderSource": "images",
    "RealtimeFile": "realtime",
    "StreamSource": "stream.network",
    "expand_inputs": "open",
    "open_live_source": "stream.open",
    "open_source": "open",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
