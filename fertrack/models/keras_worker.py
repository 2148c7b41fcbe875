"""Subprocess that runs one Keras or TensorFlow network, asked through standard input and output.

Run as a script, never imported by fertrack: Keras picks its backend from the environment when it is imported, writes
into the user's home, and TensorFlow talks on standard error; here all that stays in this process. It ends when its
standard input does.

Protocol: each message is one line of JSON, followed by as many bytes as its ``shape`` (float32) says. First the worker
says what it has loaded, then it answers each request (``{"shape": [n, ...]}`` and the values) with the output, or with
``{"error": "..."}``.

    python keras_worker.py FILE keras|saved-model
"""

from __future__ import annotations

import json
import os
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

__all__ = ["forbidden_parts", "main", "model_config", "serve", "unknown_layers"]

_PROGRAMS = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer", "function", "__lambda__"}
"""Parts of a Keras model that are code, or load code from elsewhere."""

Network = Callable[[Any], Any]


def main(arguments: list[str]) -> int:  # pragma: no cover - in a process of its own
    """Load the network, then answer until standard input ends."""
    path, kind = Path(arguments[0]), arguments[1]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks; it ends this one
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever libraries print must not mix with the replies
    load = _load_saved_model if kind == "saved-model" else _load_keras
    return serve(lambda: load(path), sys.stdin.buffer, replies)


def serve(load: Callable[[], tuple[Network, dict[str, Any]]], requests: BinaryIO, replies: BinaryIO) -> int:
    """Load a network and answer requests; 1 if it cannot be loaded."""
    try:
        network, facts = load()
    except Exception as error:  # it is told to whoever asks, in its own words
        _say(replies, {"error": _sentence(error)})
        return 1
    _say(replies, facts)
    for values in _requests(requests):
        try:
            answer = np.ascontiguousarray(network(values), np.float32)
        except Exception as error:  # as above
            _say(replies, {"error": _sentence(error)})
        else:
            _say(replies, {"shape": answer.shape}, answer)
    return 0


def _requests(stream: BinaryIO) -> Iterator[Any]:
    while line := stream.readline():
        shape = json.loads(line)["shape"]
        content = stream.read(4 * int(np.prod(shape)))
        yield np.frombuffer(content, np.float32).reshape(shape)


def _say(stream: BinaryIO, message: dict[str, Any], values: Any = None) -> None:
    stream.write(json.dumps(message).encode() + b"\n")
    if values is not None:
        stream.write(values.tobytes())
    stream.flush()


def _sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _load_keras(path: Path) -> tuple[Network, dict[str, Any]]:  # pragma: no cover - in a process of its own
    config = model_config(path)
    found = forbidden_parts(config)
    if found:
        raise ValueError(f"it contains {', '.join(found)}, which is code or loads some; nothing of it was run")
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (TypeError, ValueError) as error:
        own = unknown_layers(config, vars(keras.layers))
        if not own:
            raise
        raise ValueError(
            f"it has layers that are not Keras's own ({', '.join(own)}), and their code is not in the file; where that "
            "code is, load the model, write it with model.export(FOLDER), and use the folder with --set "
            "classification.trust_code=true"
        ) from error
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(f"{len(model.inputs)} inputs and {len(model.outputs)} outputs found, one of each is needed")
    backend = keras.config.backend()
    facts = {
        "input": list(model.inputs[0].shape),
        "output": list(model.outputs[0].shape),
        "runtime": f"Keras {keras.__version__} on {backend}",
    }
    # Older files keep their one input in a list; a Sequential model has no ``input``.
    wrapped = isinstance(getattr(model, "input", None), list)

    def run(values: Any) -> Any:
        return keras.ops.convert_to_numpy(model([values] if wrapped else values, training=False))

    if backend != "torch":
        return run, facts
    import torch

    def run_without_gradients(values: Any) -> Any:
        with torch.no_grad():
            return run(values.copy())

    return run_without_gradients, facts


def _load_saved_model(path: Path) -> tuple[Network, dict[str, Any]]:  # pragma: no cover - in a process of its own
    import tensorflow as tf

    program = tf.saved_model.load(str(path))
    signature = program.signatures["serving_default"]
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(f"{len(inputs)} inputs and {len(outputs)} outputs found, one of each is needed")
    (name, given), (output, made) = next(iter(inputs.items())), next(iter(outputs.items()))
    facts = {
        "input": given.shape.as_list(),
        "output": made.shape.as_list(),
        "runtime": f"TensorFlow {tf.__version__}",
    }

    def run(values: Any) -> Any:
        held = program  # the signature holds its variables weakly
        return signature(**{name: tf.constant(values)})[output].numpy() if held is not None else None

    return run, facts


def model_config(path: Path) -> Any:
    """Architecture of the network in a Keras file as plain data, without building it.

    How it was trained (``compile_config``) is left out, as it is when the network is loaded: a loss function of the
    user's own is no part of what is run.

    Raises:
        ValueError: the file has no such description: it holds weights alone, or is no Keras file.
    """
    if path.suffix != path.suffix.lower():
        raise ValueError(
            f"Keras wants small letters at the end of its name: rename it to {path.stem}{path.suffix.lower()}"
        )
    # By the suffix, as Keras chooses: an HDF5 file may have an archive with another, harmless description at its end.
    if path.suffix == ".keras":
        if not zipfile.is_zipfile(path):
            raise ValueError("it is not a Keras file: one that ends in .keras is an archive; older files end in .h5")
        with zipfile.ZipFile(path) as archive:
            if "config.json" not in archive.namelist():
                raise ValueError("it is an archive without a Keras model in it")
            config = json.loads(archive.read("config.json"))
        return {key: value for key, value in config.items() if key != "compile_config"}
    import h5py

    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
    except OSError as error:
        raise ValueError("it is not a Keras file") from error
    if config is None:
        raise ValueError("it holds weights alone, without the model; save the whole model with model.save(...)")
    return json.loads(config)


def forbidden_parts(config: Any) -> list[str]:
    """Names of parts that are code, or that come from somewhere else than Keras itself.

    Keras refuses such parts too (``safe_mode``); looking first means that nothing of the file is built before.
    """
    found: dict[str, None] = {}
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, dict):
            waiting.extend(part.values())
            name, module = part.get("class_name"), part.get("module")
            foreign = isinstance(module, str) and module.split(".")[0] not in {"keras", "builtins"}
            if isinstance(name, str) and (name in _PROGRAMS or foreign):
                found[f"{module}.{name}" if foreign else name] = None
    return sorted(found)


def unknown_layers(config: Any, known: Mapping[str, Any]) -> list[str]:
    """Names of the network's layers that Keras does not have: its maker wrote them, and their code is elsewhere.

    Args:
        config: as ``model_config`` gives it.
        known: Keras's layers by name.
    """
    layers = config.get("config", {}).get("layers", []) if isinstance(config.get("config"), dict) else []
    found: dict[str, None] = {}
    for layer in layers:
        name = layer.get("class_name")
        if name in {"Functional", "Model", "Sequential"}:
            found |= dict.fromkeys(unknown_layers(layer, known))
        elif name not in known and not layer.get("module"):
            found[str(name)] = None
    return sorted(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
