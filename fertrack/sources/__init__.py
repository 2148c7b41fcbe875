"""Where frames come from: files and images, read sequentially with exact times; cameras and streams, as they come.

=====================  ==================================================================================
``open_source``        picks the reader for a path
``FileSource``         any container FFmpeg reads: exact time stamps, rotation, damaged pictures skipped
``ImageFolderSource``  a folder of images, or one image
``Buffered``           another source read ahead in its own thread
``expand_inputs``      names, globs and folders as a person types them -> paths
``InputConfig``        the options
``open_live_source``   picks the reader for a camera, an address, or a file played in real time
``CameraSource``       a camera attached to this machine
``StreamSource``       rtsp, http (MJPEG, HLS), udp; connected again whenever it is lost
``RealtimeFile``       a file, played as if a camera showed it
``StreamConfig``       the options of these
``StreamStatus``       how one of them is doing
``mask_credentials``   takes names, passwords and tokens out of addresses
=====================  ==================================================================================

The video library is loaded when the first of these is used, not on import.
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
        raise AttributeError(f"module 'fertrack.sources' has no attribute {name!r}")
    return getattr(import_module(f"fertrack.sources.{_HOME[name]}"), name)
