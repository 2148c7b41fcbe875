"""A process that reads broken files: what hangs or crashes in native code costs one file, and is told."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from fertrack.benchmarks.fuzz.readers import READERS, outcome

__all__ = ["ReaderProcess"]

_MAX_MEMORY = 4 << 30


class ReaderProcess:
    """Reads files in a process of its own, which is begun again where it ended.

    Args:
        limit_s: longest time for one file, seconds.
    """

    def __init__(self, limit_s: float = 20.0) -> None:
        self._limit_s = limit_s
        self._context = multiprocessing.get_context("spawn")
        self._begin()

    def read(self, reader: str, path: Path) -> str:
        """As ``readers.outcome``; also "hangs" or "ends the process (SIGSEGV)"."""
        with suppress(OSError):  # the process may have ended by itself: the answer says so
            self._connection.send((reader, str(path)))
        if not self._connection.poll(self._limit_s):
            self.close()
            self._begin()
            return f"hangs for more than {self._limit_s:g} s"
        try:
            return str(self._connection.recv())
        except EOFError:
            self._process.join()
            code = self._process.exitcode or 0
            self.close()
            self._begin()
            return f"ends the process ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"

    def peak_mb(self) -> float:
        """Most memory that the process has used so far, MB."""
        self._connection.send(("", ""))
        return float(self._connection.recv())

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.join()

    def _begin(self) -> None:
        self._connection, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()


def _serve(connection: Connection) -> None:
    logging.disable(logging.WARNING)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)  # where native libraries complain
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    readers = {reader.name: reader for reader in READERS}
    with suppress(EOFError, OSError):
        while True:
            name, path = connection.recv()
            connection.send(outcome(readers[name], Path(path)) if name else _peak_mb())


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
