"""Networks made from weights, kept in the user's cache folder: making one takes longer than all else at the start."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from fertrack.models.weights import cache_folder

__all__ = ["keep", "kept_graph"]

logger = logging.getLogger(__name__)


def kept_graph(name: str, made_of: tuple[bytes | str, ...], make: Callable[[], bytes]) -> bytes:
    """A network made from weights, read back from the cache folder where it was made before.

    Args:
        name: the file's name without suffix.
        made_of: all that the graph depends on; with any other, it is made anew.
        make: makes it.
    """
    mark = hashlib.sha256()
    for part in made_of:
        mark.update(hashlib.sha256(part if isinstance(part, bytes) else part.encode()).digest())
    path = cache_folder().parent / "graphs" / f"{name}-{mark.hexdigest()[:16]}.onnx"
    with contextlib.suppress(OSError):
        kept = path.read_bytes()
        content, digest = kept[:-32], kept[-32:]
        if hashlib.sha256(content).digest() == digest:  # not half written, not damaged
            return content
    content = make()
    keep(path, content + hashlib.sha256(content).digest())
    return content


def keep(path: Path, content: bytes) -> None:
    """Write a file of the cache folder, whole or not at all; where that cannot be done, it is done without."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        logger.debug("%s could not be kept: %s", path, error)
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
