"""Client of the subprocess that runs a Keras or TensorFlow network.

The process is needed because Keras is configured by environment variables read on import; they are set for the process
alone. It also keeps TensorFlow's threads, memory and messages out of this one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from fertrack.errors import MissingExtraError, ModelError
from fertrack.types import FloatArray

__all__ = ["KerasProcess", "keras_backend"]

_WORKER = Path(__file__).with_name("keras_worker.py")
_END_WAIT_S = 5.0
_OR = " (or the extra [keras], which runs Keras files on PyTorch)"


def keras_backend() -> str:
    """Backend of Keras on this machine: ``KERAS_BACKEND`` if it is set, else TensorFlow if installed, else PyTorch.

    Raises:
        MissingExtraError: Keras is not installed, or nothing that it runs on.
    """
    chosen = os.environ.get("KERAS_BACKEND", "")
    installed = [name for name in ("tensorflow", "torch") if importlib.util.find_spec(name) is not None]
    if importlib.util.find_spec("keras") is None or not (chosen or installed):
        raise MissingExtraError("a Keras file needs Keras", "tensorflow", advice=_OR)
    return chosen or installed[0]


class KerasProcess:
    """Network in a subprocess, asked with float32 arrays. Safe to use from several threads: they take turns.

    The process ends with ``close``, when this object is no longer used, or when this program ends, however it does.

    Attributes:
        input_shape: of the network's input; None where any size goes, so usually in the first place.
        output_shape: of its output.
        runtime: what runs it, for people: "Keras 3.15.1 on torch".
    """

    def __init__(self, path: Path, kind: Literal["keras", "saved-model"], *, threads: int = 1) -> None:
        """Start the process and load the network; takes seconds.

        Args:
            path: a Keras file, or the folder of a TensorFlow SavedModel.
            kind: which of the two. A SavedModel is a program: its maker must be trusted.
            threads: CPU threads inside one run.

        Raises:
            MissingExtraError: Keras or TensorFlow is not installed.
            ModelError: the file is not such a network, or contains code.
        """
        if kind == "saved-model":
            if importlib.util.find_spec("tensorflow") is None:
                raise MissingExtraError("a SavedModel needs TensorFlow", "tensorflow")
            backend = "tensorflow"
        else:
            backend = keras_backend()
        self._path = path
        self._lock = threading.Lock()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed together with the process
        self._home = tempfile.TemporaryDirectory(prefix="fertrack-keras-")  # Keras writes its settings there
        settings = {
            "KERAS_BACKEND": backend,
            "KERAS_HOME": self._home.name,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",  # what it is asked is small, and the CPU's numbers are the reproducible ones
            "OMP_NUM_THREADS": str(threads),
            "TF_NUM_INTRAOP_THREADS": str(threads),
            "TF_NUM_INTEROP_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER), str(path.absolute()), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **settings},
        )
        self._end = weakref.finalize(self, _end, self._process, self._errors, self._home)
        try:
            facts = self._reply()
        except ModelError:
            self.close()
            raise
        self.input_shape: list[int | None] = facts["input"]
        self.output_shape: list[int | None] = facts["output"]
        self.runtime: str = facts["runtime"]

    def run(self, block: FloatArray) -> FloatArray:
        """The network's output, float32, for an input of its shape.

        Raises:
            ModelError: the network refused the input, or its process has ended.
        """
        values = np.ascontiguousarray(block, np.float32)
        with self._lock:
            stream = self._process.stdin
            try:
                if stream is None or stream.closed:
                    raise BrokenPipeError
                stream.write(json.dumps({"shape": values.shape}).encode() + b"\n" + values.tobytes())
                stream.flush()
            except OSError as error:
                raise self._gone() from error
            reply = self._reply()
            content = self._read(4 * int(np.prod(reply["shape"])))
        return np.frombuffer(content, np.float32).reshape(reply["shape"]).copy()

    def close(self) -> None:
        """End the process; may be called more than once."""
        self._end()

    def _reply(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            raise self._gone()
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise ModelError(f"{self._path} cannot be run: {reply['error']}")
        return reply

    def _read(self, count: int) -> bytes:
        content = self._process.stdout.read(count) if self._process.stdout else b""
        if len(content) != count:
            raise self._gone()
        return content

    def _gone(self) -> ModelError:
        said: list[bytes] = []
        if not self._errors.closed:
            self._errors.seek(0)
            said = [line for line in self._errors.read().splitlines() if line.strip()]
        last = said[-1].decode(errors="replace").strip() if said else "it said nothing"
        return ModelError(f"{self._path}: the process that runs it has ended ({last})")


def _end(process: subprocess.Popen[bytes], errors: IO[bytes], home: tempfile.TemporaryDirectory[str]) -> None:
    """Close its input, which ends it; if it does not listen, end it anyway."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):  # it ended before it had read everything
                stream.close()
    try:
        process.wait(_END_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    errors.close()
    home.cleanup()
