"""Files that are complete or not there: written beside their place, then moved into it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fertrack.errors import OutputExistsError, ReportError, StorageError

if TYPE_CHECKING:
    pass

__all__ = ["check_free", "content_digest", "drafted", "make_folder", "replacing"]


_BLOCKS, _BLOCK_BYTES = 64, 4 * 1024 * 1024
"""Files larger than all blocks together, 256 MiB, are known by their size and by blocks at even distances."""


def content_digest(path: Path) -> str:
    """SHA-256 of a file's content, or of the names and contents of a folder's files; empty if it cannot be read.

    Of a file of more than 256 MiB, its size and 64 blocks of 4 MiB from its beginning to its end are taken, so that a
    day's recordings are recognised in seconds: two encoded videos that agree in all of that are the same.
    """
    digest = hashlib.sha256()
    try:
        if path.is_dir():
            for each in sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith(".")):
                digest.update(f"{each.name}\0{content_digest(each)}\0".encode("utf-8", "surrogateescape"))
            return digest.hexdigest()
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            last = size - _BLOCK_BYTES
            if size <= _BLOCKS * _BLOCK_BYTES:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
                return digest.hexdigest()
            digest.update(f"{size}\0".encode())
            for number in range(_BLOCKS):
                file.seek(last * number // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK_BYTES))
    except OSError:
        return ""
    return digest.hexdigest()


def check_free(path: Path, *, overwrite: bool) -> None:
    """Make sure that ``path`` may be written.

    Raises:
        OutputExistsError: something is already there and ``overwrite`` is False.
    """
    if not overwrite and path.exists():
        raise OutputExistsError(f"{path} is already there: use --overwrite, or write it elsewhere")


@contextmanager
def replacing(path: Path, *, overwrite: bool) -> Iterator[TextIO]:
    """Open a UTF-8 text file that appears at ``path`` only when the block ends without an error.

    Line ends are written as given. Missing folders are made.

    Raises:
        OutputExistsError: something is already there and ``overwrite`` is False.
        ReportError: the file cannot be written (read-only folder, disk full).
    """
    with drafted(path, overwrite=overwrite) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def drafted(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; the file appears at ``path`` when the block ends without an error.

    Missing folders are made.

    Raises:
        OutputExistsError: something is already there and ``overwrite`` is False.
        ReportError: the file cannot be written (read-only folder, disk full).
    """
    check_free(path, overwrite=overwrite)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(path)
    except OSError as error:
        raise ReportError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make an output folder.

    Raises:
        StorageError: it cannot be made, or cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"output folder {folder} cannot be made ({error.strerror}): name another with -o") from error
    if not os.access(folder, os.W_OK):
        raise StorageError(f"output folder {folder} cannot be written to: name another with -o")
