"""What networks run on: chosen by name, and never silently something else."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from fertrack import doctor
from fertrack.build import build_pipeline
from fertrack.cli.main import run
from fertrack.config import load_settings
from fertrack.detectors import build_detector
from fertrack.detectors.config import DetectionConfig
from fertrack.errors import ConfigError, ModelError
from fertrack.models.devices import PROVIDERS, installed_devices, open_session

ABSENT = sorted(set(PROVIDERS) - set(installed_devices()))


def identity() -> bytes:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class FallsBack:
    """ONNX Runtime as it is with a GPU build and no driver: the provider is offered, and the session is the CPU's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, offered: str, *, raises: bool = False) -> None:
        self.asked: list[str] = []
        real, built_in = onnxruntime.InferenceSession, onnxruntime.get_available_providers()

        def session(content: bytes, settings: onnxruntime.SessionOptions, providers: list[str]) -> object:
            self.asked.append(providers[0])
            if raises and providers[0] == offered:
                raise RuntimeError("libcuda.so.1 is missing")
            return real(content, settings, providers=["CPUExecutionProvider"])

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [offered, *built_in])
        monkeypatch.setattr(onnxruntime, "InferenceSession", session)


@pytest.mark.parametrize("device", ABSENT)
def test_an_absent_device_is_one_sentence_naming_what_there_is(device: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_session(identity(), device=device, threads=1, option="classification.device")
    text = str(caught.value)
    assert text.startswith(f"classification.device = '{device}' is not available: this ONNX Runtime")
    assert "CPUExecutionProvider" in text
    assert text.endswith("or use cpu")
    assert "\n" not in text


def test_auto_takes_what_starts() -> None:
    session = open_session(identity(), device="auto", threads=1, option="classification.device")
    np.testing.assert_array_equal(session.run(None, {"x": np.ones(2, np.float32)})[0], [1, 1])


@pytest.mark.parametrize("raises", [False, True])
def test_auto_goes_on_to_the_cpu_where_a_provider_does_not_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, raises: bool
) -> None:
    runtime = FallsBack(monkeypatch, "CUDAExecutionProvider", raises=raises)
    with caplog.at_level(logging.INFO, logger="fertrack.models.devices"):
        open_session(identity(), device="auto", threads=1, option="detection.device")
    assert runtime.asked[0] == "CUDAExecutionProvider"
    assert runtime.asked[-1] == "CPUExecutionProvider"
    assert "detection.device = 'cuda' could not be started" in caplog.text


@pytest.mark.parametrize("raises", [False, True])
def test_a_device_that_does_not_start_is_an_error_when_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    FallsBack(monkeypatch, "CUDAExecutionProvider", raises=raises)
    with pytest.raises(ConfigError, match=r"detection\.device = 'cuda' could not be started"):
        build_detector(DetectionConfig(device="cuda"))


def test_a_broken_model_is_not_blamed_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    FallsBack(monkeypatch, "CUDAExecutionProvider")
    with pytest.raises(Exception, match=r"(?i)protobuf|parse") as caught:
        open_session(b"no model", device="cuda", threads=1, option="detection.device")
    assert not isinstance(caught.value, ConfigError)


@pytest.mark.skipif(not ABSENT, reason="every device is installed here")
def test_the_flag_reaches_detector_and_classifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = load_settings(
        flags={"detection.device": ("--device", "auto"), "classification.device": ("--device", "auto")}
    )
    pipeline = build_pipeline(settings)
    assert pipeline.analyzer.detector.options.device == "auto"  # type: ignore[attr-defined] # an OnnxDetector has it
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"never opened: the device is looked at first")
    assert run(["process", str(clip), "-o", str(tmp_path), "--set", f"detection.device={ABSENT[0]}"]) == 1
    assert f"detection.device = '{ABSENT[0]}' is not available" in capsys.readouterr().err


def test_an_unknown_device_names_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["process", "clip.mp4", "-o", str(tmp_path), "--set", "classification.device=gpu"]) == 2
    error = capsys.readouterr().err
    assert error.count("classification.device") == 1
    assert "'cuda'" in error


def test_doctor_lists_every_device() -> None:
    found = [finding.found for finding in doctor.examine("nowhere.db") if finding.what == "inference"]
    assert any(text.startswith("cpu: CPUExecutionProvider runs") for text in found)
    assert all(any(device in text for text in found) for device in PROVIDERS)


def test_doctor_says_what_is_built_in_but_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    FallsBack(monkeypatch, "CUDAExecutionProvider")
    findings = [finding for finding in doctor.examine("nowhere.db") if "CUDAExecutionProvider" in finding.found]
    assert [finding.state for finding in findings] == ["note"]
    assert "does not run here" in findings[0].found


def test_too_little_memory_is_called_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("Exception during initialization: std::bad_alloc")

    monkeypatch.setattr(onnxruntime, "InferenceSession", fails)
    with pytest.raises(ModelError, match="not enough memory to load the network of detection: close other programs"):
        build_detector(DetectionConfig())
