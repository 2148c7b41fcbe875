"""ONNX networks in several files: PyTorch's exporter puts the weights into a second one, ``net.onnx.data``.

What a card's hash covers must be all that is run, and ONNX Runtime, given bytes, would look for the other files in
whatever folder the program was started in. So they are found, read and hashed here, and the network is made whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fertrack.errors import ModelError, WeightsError
from fertrack.types import FloatArray

__all__ = ["joined", "parts_beside", "sha256_with_parts", "stored_arrays"]

_MARK = b"location"  # stands in every file that refers to another one


def parts_beside(path: Path, content: bytes) -> dict[str, bytes]:
    """The files that an ONNX file keeps weights in, by name; none if it is complete or no ONNX file.

    Args:
        path: where the ONNX file lies.
        content: its bytes.

    Raises:
        WeightsError: one of the files is missing, cannot be read, or is named as one elsewhere.
    """
    parts: dict[str, bytes] = {}
    for tensor in _outside(_model(content)):
        name = _where(tensor).get("location", "")
        if name in parts:
            continue
        if name in {"", ".."} or Path(name).name != name or "\\" in name:
            raise WeightsError(f"{path} keeps its weights in {name!r}, which is no file beside it; export it anew")
        try:
            parts[name] = (path.parent / name).read_bytes()
        except FileNotFoundError as error:
            raise WeightsError(f"{path} keeps its weights in {name}, which is missing; put it beside it") from error
        except OSError as error:
            raise WeightsError(f"{path.parent / name} cannot be read: {error.strerror or error}") from error
    return parts


def sha256_with_parts(content: bytes, parts: Mapping[str, bytes]) -> str:
    """SHA-256 of a file; with parts, of the list of its own hash and theirs."""
    own = hashlib.sha256(content).hexdigest()
    if not parts:
        return own
    lines = [f"{own}\n", *(f"{name}\0{hashlib.sha256(parts[name]).hexdigest()}\n" for name in sorted(parts))]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def joined(path: Path, content: bytes, parts: Mapping[str, bytes]) -> bytes:
    """The network as one file's bytes.

    Args:
        path: where the ONNX file lies, for messages.
        content: its bytes.
        parts: as ``parts_beside`` gives them.

    Raises:
        ModelError: a part is shorter than the network says, or the whole is too large for one file (2 GB).
    """
    if not parts:
        return content
    model = _model(content)
    try:
        for tensor in _outside(model):
            where = _where(tensor)
            part, start = parts[where["location"]], int(where.get("offset", 0))
            stop = start + int(where["length"]) if "length" in where else len(part)
            if not 0 <= start <= stop <= len(part):
                raise ValueError(f"{where['location']} is cut short")
            del tensor.external_data[:]
            tensor.data_location = 0  # TensorProto.DEFAULT: in the file itself
            tensor.raw_data = part[start:stop]
        return bytes(model.SerializeToString())
    except Exception as error:  # protobuf's EncodeError has no public base
        raise ModelError(f"{path} and its weights cannot be put together: {error}") from error


def stored_arrays(content: bytes) -> dict[str, FloatArray]:
    """The arrays that an ONNX network holds in itself, by name.

    Raises:
        ModelError: it is no ONNX network.
    """
    import onnx
    from onnx import numpy_helper

    try:
        graph = onnx.load_from_string(content).graph
        return {each.name: np.array(numpy_helper.to_array(each)) for each in graph.initializer}
    except Exception as error:  # protobuf's DecodeError has no public base
        raise ModelError(f"the weights of an ONNX network cannot be read: {error}") from error


def _model(content: bytes) -> Any:
    """The parsed file; None where it refers to no other, or is no ONNX file (its runtime will say so better)."""
    if _MARK not in content:
        return None
    import onnx

    try:
        return onnx.load_from_string(content)
    except Exception:  # protobuf's DecodeError has no public base
        return None


def _outside(part: Any) -> Iterator[Any]:
    """Tensors that lie in another file, wherever in the network they are.

    Walks over the messages themselves: tensors stand in graphs, in nodes' attributes, in branches and in functions.
    """
    if part is None:
        return
    if part.DESCRIPTOR.name == "TensorProto":
        if part.external_data:
            yield part
        return
    for field, value in part.ListFields():
        if field.message_type is not None:
            for item in value if hasattr(value, "__len__") else (value,):
                yield from _outside(item)


def _where(tensor: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}
