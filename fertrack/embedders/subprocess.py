"""Embedder in a subprocess, so that a live run goes on while faces are compared.

dlib's network keeps Python's global lock for an eighth of a second per face; in the process that shows a live image,
the image would stand still for as long. The child is this module run by the same interpreter, at the lowest
priority. Both talk over its standard input and output: a count of faces and their pixels one way, the vectors back.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import threading
from typing import IO

import numpy as np

from fertrack.errors import ModelError, reason_of
from fertrack.types import FloatArray, Image

__all__ = ["SubprocessEmbedder", "main"]

_COUNT = struct.Struct("<I")
_END_S = 5.0
_MIN_PRIORITY = 10


class SubprocessEmbedder:
    """The embedder that recognises faces, in a child process. Safe from several threads; one call at a time.

    Attributes:
        crop_size: S, the side of the square crops it takes, px.
        template: float32 (5, 2), where the five landmarks lie in such a crop, px.
        fingerprint: name and hash of what is run.
        recognises: True.
        in_subprocess: True: ``embed`` lets other threads go on.

    Raises:
        ModelError: the child could not be started.
    """

    recognises = True
    in_subprocess = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the parent alone: what is left is compared when it ends
            )
        except OSError as error:
            raise ModelError(
                f"recognising faces in a process of its own cannot be started: {reason_of(error)}"
            ) from error
        try:
            about = json.loads(_output(self._child).readline())
        except ValueError as error:
            self.close()
            raise ModelError("recognising faces in a process of its own cannot be started: it ended at once") from error
        self.crop_size: int = about["crop_size"]
        self.template: FloatArray = np.array(about["template"], np.float32)
        self.fingerprint: str = about["fingerprint"]

    def embed(self, crops: Image) -> FloatArray:
        """Vectors, float32 (N, D), for crops uint8 (N, S, S, 3) BGR; waits without keeping Python's lock.

        Raises:
            TypeError: crops are not uint8.
            ValueError: crops are not (N, S, S, 3).
            ModelError: the child has failed.
        """
        if crops.dtype != np.uint8:
            raise TypeError(f"crops must be uint8, got {crops.dtype}")
        if crops.shape[1:] != (self.crop_size, self.crop_size, 3):
            raise ValueError(f"crops must be (N, {self.crop_size}, {self.crop_size}, 3), got {crops.shape}")
        with self._lock:
            try:
                given = _input(self._child)
                given.write(_COUNT.pack(len(crops)) + np.ascontiguousarray(crops).tobytes())
                given.flush()
                header = _exactly(_output(self._child), 2 * _COUNT.size)
                rows, columns = (_COUNT.unpack_from(header, offset)[0] for offset in (0, _COUNT.size))
                packed = _exactly(_output(self._child), 4 * rows * columns)
            except (OSError, ValueError, EOFError) as error:
                raise ModelError("the process that recognises faces has ended unexpectedly") from error
        return np.frombuffer(packed, "<f4").reshape(rows, columns).astype(np.float32)

    def close(self) -> None:
        """End the child. May be called more than once."""
        with contextlib.suppress(OSError, ValueError):
            _input(self._child).close()
        try:
            self._child.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        _output(self._child).close()


def main() -> int:
    """The child process: names its embedder, then answers until its input ends."""
    from fertrack.embedders.dlib import build

    with contextlib.suppress(OSError, AttributeError):  # no such thing on Windows
        os.nice(_MIN_PRIORITY)
    given, answers = sys.stdin.buffer, sys.stdout.buffer
    embedder = build()
    about = {
        "crop_size": embedder.crop_size,
        "template": embedder.template.tolist(),
        "fingerprint": embedder.fingerprint,
    }
    answers.write(json.dumps(about).encode() + b"\n")
    answers.flush()
    side = embedder.crop_size
    with contextlib.suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        while True:
            (count,) = _COUNT.unpack(_exactly(given, _COUNT.size))
            crops = np.frombuffer(_exactly(given, count * side * side * 3), np.uint8).reshape(count, side, side, 3)
            vectors = embedder.embed(crops)
            answers.write(_COUNT.pack(len(vectors)) + _COUNT.pack(vectors.shape[1]) + vectors.astype("<f4").tobytes())
            answers.flush()
    return 0


def _exactly(stream: IO[bytes], size: int) -> bytes:
    read = stream.read(size) if size else b""
    if len(read) < size:
        raise EOFError
    return read


def _input(child: subprocess.Popen[bytes]) -> IO[bytes]:
    assert child.stdin is not None
    return child.stdin


def _output(child: subprocess.Popen[bytes]) -> IO[bytes]:
    assert child.stdout is not None
    return child.stdout


if __name__ == "__main__":
    sys.exit(main())
