"""Draft of a video: the file beside its place that grows while it is written, of one writer at a time."""

from __future__ import annotations

import errno
import glob
import logging
import os
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from fertrack.errors import OutputExistsError

fcntl: Any = None
with suppress(ImportError):  # Windows has none, and lets nobody replace a file that another has open
    fcntl = import_module("fcntl")

__all__ = ["VideoDraft", "remains_of"]

logger = logging.getLogger(__name__)

_IN_USE = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


class VideoDraft:
    """The file ``NAME.part.SUFFIX`` beside a video ``NAME.SUFFIX``.

    Whoever claims it holds a lock of the operating system on it, which ends with the program, however that ends. What
    a program that was killed has left there is set aside as ``NAME.cut-off.SUFFIX``, and stays until ``replace``
    has put a complete video into place.

    Args:
        target: the video.

    Attributes:
        path: the draft.
        set_aside: what was found there when it was claimed; None: nothing.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.stem}.part{target.suffix}")
        self.set_aside: Path | None = None
        self._target = target
        self._lock: int | None = None

    def claim(self) -> None:
        """Make the draft, empty, for this writer alone.

        Raises:
            OutputExistsError: another run is writing this video.
            OSError: the folder cannot be written to.
        """
        while self._lock is None:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
            try:
                self._take_lock(descriptor)
                if os.name == "nt" or _is_at(self.path, descriptor):  # else its last writer has just put it into place
                    self._lock = descriptor
            finally:
                if self._lock is None:
                    os.close(descriptor)
        is_empty = not os.fstat(self._lock).st_size
        if fcntl is None:
            self.release()
        if not is_empty:
            self._put_aside()

    def replace(self, finished: Path) -> None:
        """Put the complete video into its place, and delete the draft and what earlier runs had left.

        Raises:
            OSError: it cannot be moved there.
        """
        finished.replace(self._target)
        for left in [self.path, *remains_of(self._target)]:
            with suppress(OSError):
                left.unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete the draft; what earlier runs had left stays."""
        self.path.unlink(missing_ok=True)

    def release(self) -> None:
        """Let others write the video. May be called more than once."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self, descriptor: int) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _IN_USE:  # a network folder without locks
                logger.debug("%s cannot be locked: %s", self.path, error)
                return
            raise OutputExistsError(
                f"{self._target} is being written by another run: wait until that has finished, or write elsewhere "
                "with -o"
            ) from error

    def _put_aside(self) -> None:
        """Move what is there out of the way, under a name that is free; begin with an empty file."""
        number, aside = 1, self._target.with_name(f"{self._target.stem}.cut-off{self._target.suffix}")
        while aside.exists():
            number += 1
            aside = self._target.with_name(f"{self._target.stem}.cut-off-{number}{self._target.suffix}")
        self.path.rename(aside)
        self.set_aside = aside
        logger.warning(
            "%s: a run that was cut off had written a part of it, which stays as %s until this one is complete",
            self._target,
            aside.name,
        )
        self.release()
        self.claim()


def remains_of(target: Path) -> list[Path]:
    """What runs that were cut off have left of a video, set aside by later ones."""
    stem, suffix = glob.escape(target.stem), glob.escape(target.suffix)
    found = [*target.parent.glob(f"{stem}.cut-off{suffix}"), *target.parent.glob(f"{stem}.cut-off-[0-9]*{suffix}")]
    return sorted(path for path in found if path.is_file())


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
