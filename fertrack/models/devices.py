"""Devices that networks run on: ONNX Runtime's execution providers by short names, chosen loudly.

A device that was asked for and is not there is an error with one sentence, never a silent fallback to the CPU.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from fertrack.errors import ConfigError, ModelError
from fertrack.types import Device

__all__ = ["EXPERIMENTAL_DEVICES", "PROVIDERS", "installed_devices", "open_session"]

logger = logging.getLogger(__name__)


PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),  # what TensorRT cannot do stays on the GPU
    "openvino": ("OpenVINOExecutionProvider",),
    "coreml": ("CoreMLExecutionProvider",),
}
"""Execution providers of each device, the one that gives it its name first."""

EXPERIMENTAL_DEVICES = ("cuda", "tensorrt", "coreml")
"""Devices that we have never run, for want of the hardware."""

_AUTO_ORDER = ("cuda", "coreml", "openvino")
"""What ``auto`` tries before the CPU. Not TensorRT: it builds an engine for minutes on every start."""

_REMEDIES = {
    "cuda": "install onnxruntime-gpu in place of onnxruntime",
    "tensorrt": "install onnxruntime-gpu in place of onnxruntime, and tensorrt",
    "openvino": "install onnxruntime-openvino in place of onnxruntime",
    "coreml": "onnxruntime has it on macOS only",
}


def installed_devices() -> list[str]:
    """Devices that the installed ONNX Runtime has a provider for, whether or not it would start here.

    >>> "cpu" in installed_devices()
    True
    """
    import onnxruntime

    built_in = onnxruntime.get_available_providers()
    return [device for device, providers in PROVIDERS.items() if providers[0] in built_in]


def open_session(model: bytes, *, device: Device, threads: int, option: str) -> Any:
    """Open an ONNX Runtime session that may be run from several threads at once.

    Args:
        model: serialised ONNX model.
        device: what it shall run on; "auto" takes the first of cuda, coreml and openvino that starts, else the CPU.
        threads: CPU threads inside one run.
        option: dotted name of the option that says so, for messages, such as ``"classification.device"``.

    Returns:
        An ``onnxruntime.InferenceSession``.

    Raises:
        ConfigError: the device is not installed, or it is and does not start.
        Exception: ONNX Runtime's own, of many kinds, where the model itself cannot be loaded.
    """
    if device != "auto":
        return _open_on(device, model, threads, option)
    for candidate in _AUTO_ORDER:
        if candidate in installed_devices():
            try:
                session = _open_on(candidate, model, threads, option)
            except ConfigError as error:
                logger.info("%s = 'auto': %s", option, error)
                continue
            logger.info("%s = 'auto': running on %s", option, candidate)
            return session
    return _open_on("cpu", model, threads, option)


def _open_on(device: str, model: bytes, threads: int, option: str) -> Any:
    import onnxruntime

    providers = list(PROVIDERS[device])
    offered = onnxruntime.get_available_providers()
    if providers[0] not in offered:
        raise ConfigError(
            f"{option} = {device!r} is not available: this ONNX Runtime ({onnxruntime.__version__}) offers "
            f"{', '.join(offered)}; {_REMEDIES.get(device, 'reinstall onnxruntime')}, or use "
            f"{' or '.join(installed_devices()) or 'another device'}"
        )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    # Idle threads must sleep: the core they would spin on is busy decoding or encoding.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 4  # whatever fails is raised below; nothing is printed
    try:
        session = onnxruntime.InferenceSession(model, settings, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        if _OUT_OF_MEMORY.search(f"{type(error).__name__}: {error}"):
            raise ModelError(
                f"there is not enough memory to load the network of {option.partition('.')[0]}: close other programs, "
                "or use fewer workers"
            ) from error
        if device == "cpu":
            raise
        _open_on("cpu", model, threads, option)  # raises the model's own error, where it is the model's fault
        raise _does_not_start(option, device) from error
    if session.get_providers()[0] != providers[0]:  # the runtime fell back with no more than a log line
        raise _does_not_start(option, device)
    return session


_OUT_OF_MEMORY = re.compile(r"MemoryError|bad_alloc|bad allocation|Failed to allocate|out of memory", re.IGNORECASE)


def _does_not_start(option: str, device: str) -> ConfigError:
    return ConfigError(
        f"{option} = {device!r} could not be started (its drivers or libraries are missing); repair them, or use cpu"
    )
