"""Conversion of RetinaFace MobileNet-0.25 from PyTorch to ONNX."""

from __future__ import annotations

import builtins
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from fertrack.errors import FertrackError, MissingExtraError, ModelError, OutputExistsError, WeightsError
from fertrack.models.conversion import retinaface as convert
from fertrack.models.conversion.retinaface import convert_retinaface
from fertrack.models.weights import find_weights

torch = pytest.importorskip("torch")

from fertrack.models.conversion.retinaface_torch import RetinaFaceMobileNetTorch  # noqa: E402 - needs torch


@pytest.fixture(scope="module")
def network() -> Any:
    """The network with random parameters and normalisation statistics that are not the neutral ones."""
    random = torch.Generator().manual_seed(5)
    network = RetinaFaceMobileNetTorch().eval()
    for name, value in network.state_dict().items():
        if name.endswith(("running_var", "1.weight", "4.weight")) and value.ndim == 1:
            value.copy_(torch.rand(value.shape, generator=random) + 0.5)
        elif value.ndim == 1 and value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=random) * 0.1)
        elif value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=random) * (1 / value[0].numel()) ** 0.5)
    network.body.stage1[0][0].weight.data /= 100  # pixels are up to 150; what comes out should be about 1
    return network


@pytest.fixture(scope="module")
def checkpoint(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "network.pth"
    torch.save(network.state_dict(), path)
    return path


Save = Callable[[Callable[[dict[str, Any]], object]], Path]


@pytest.fixture
def saved(network: Any, tmp_path: Path) -> Save:
    """Save the state dict after a change made to it."""

    def save(change: Callable[[dict[str, Any]], object]) -> Path:
        state = dict(network.state_dict())
        content = change(state)
        path = tmp_path / "changed.pth"
        torch.save(state if content is None else content, path)
        return path

    return save


def test_the_network_has_the_published_size() -> None:
    network = RetinaFaceMobileNetTorch()
    assert sum(parameter.numel() for parameter in network.parameters()) == 426_608
    assert len(network.state_dict()) == 300


def test_onnx_runtime_gives_what_pytorch_gives_at_any_size_and_batch(
    network: Any, checkpoint: Path, tmp_path: Path
) -> None:
    done = convert_retinaface(checkpoint, tmp_path / "out.onnx")
    session = onnxruntime.InferenceSession(done.path)
    for shape in ((1, 3, 32, 32), (3, 3, 96, 64), (2, 3, 64, 160)):
        pixels = np.random.default_rng(1).uniform(-120, 150, shape).astype(np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(pixels))
        for ours, theirs in zip(session.run(None, {"pixels": pixels}), expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))
    assert done.largest_difference < 1e-4


def test_the_file_is_what_is_announced_and_the_same_every_time(checkpoint: Path, tmp_path: Path) -> None:
    one = convert_retinaface(checkpoint, tmp_path / "one.onnx")
    two = convert_retinaface(checkpoint, tmp_path / "two.onnx")
    assert one.sha256 == two.sha256 == hashlib.sha256(one.path.read_bytes()).hexdigest()
    assert one.sha256 in str(one)
    facts = {entry.key: entry.value for entry in onnx.load(one.path).metadata_props}
    assert facts["checkpoint_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert facts["licence"] == "MIT"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.onnx", "two.onnx"]


def test_without_paths_it_goes_from_cache_to_cache_where_the_detector_finds_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="get them with: fertrack models pull retinaface-mobilenet-checkpoint"):
        convert_retinaface()
    done = convert_retinaface(checkpoint)
    assert find_weights("retinaface-mobilenet") == done.path
    done.path.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="is not the file known as retinaface-mobilenet"):
        find_weights("retinaface-mobilenet")


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {name: value for name, value in state.items() if "num_batches_tracked" not in name},
        lambda state: {name: value.double() for name, value in state.items()},
    ],
    ids=["several devices", "with its epoch", "without counters", "double precision"],
)
def test_other_ways_to_save_the_same_network_are_understood(
    saved: Save, checkpoint: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    expected = onnx.load(convert_retinaface(checkpoint, tmp_path / "expected.onnx").path)
    found = onnx.load(convert_retinaface(saved(change), tmp_path / "found.onnx").path)
    assert found.graph == expected.graph


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.__delitem__("fpn.merge1.0.weight"), "missing: fpn.merge1.0.weight"),
        (lambda state: state.update(extra=torch.zeros(2)), "unexpected: extra"),
        (
            lambda state: state.update({"BboxHead.0.conv1x1.weight": torch.zeros(12, 64, 1, 1)}),
            r"of another shape: BboxHead.0.conv1x1.weight \(12, 64, 1, 1\) instead of \(8, 64, 1, 1\)",
        ),
        (
            lambda state: {f"backbone.{name}": value for name, value in state.items()},
            r"missing: body\.stage1\.0\.0\.weight, .* and \d+ more; unexpected: backbone\.body",
        ),
    ],
    ids=["missing", "unexpected", "shape", "other names"],
)
def test_another_network_is_refused_with_the_names_that_differ(
    saved: Save, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        convert_retinaface(saved(change), tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    trap = tmp_path / "touched"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return (Path.touch, (trap,))

    path = tmp_path / "trap.pth"
    torch.save({"weight": Trap()}, path)
    with pytest.raises(WeightsError, match=r"holds more than arrays .* was not loaded, because .* can run code"):
        convert_retinaface(path, tmp_path / "out.onnx")
    path.write_bytes(pickle.dumps({"weight": Trap()}, protocol=2))
    with pytest.raises(WeightsError, match="holds more than arrays"):
        convert_retinaface(path, tmp_path / "out.onnx")
    assert not trap.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"just text", bytes(200)])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"file\.pth"):
        convert_retinaface(path, tmp_path / "out.onnx")


def test_a_checkpoint_of_something_else_is_refused(saved: Save, tmp_path: Path) -> None:
    for content in (torch.zeros(3), {"weight": 3.0}, [1, 2]):
        with pytest.raises(WeightsError, match="is not a state dict"):
            convert_retinaface(saved(lambda _, content=content: content), tmp_path / "out.onnx")


def test_a_missing_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot read the checkpoint .*absent\.pth: No such file"):
        convert_retinaface(tmp_path / "absent.pth", tmp_path / "out.onnx")


def test_a_file_is_replaced_only_if_asked(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    out.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="give --overwrite to replace it"):
        convert_retinaface(checkpoint, out)
    assert out.read_bytes() == b"mine"
    convert_retinaface(checkpoint, out, overwrite=True)
    assert out.stat().st_size > 1_000_000


def test_a_folder_that_cannot_be_written_is_one_sentence(checkpoint: Path, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(FertrackError, match="cannot write "):
        convert_retinaface(checkpoint, in_the_way / "out.onnx")


def test_nothing_is_written_if_the_two_frameworks_disagree(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = convert.build_graph

    def wrong(arrays: dict[str, np.ndarray], facts: dict[str, str]) -> bytes:
        return build({**arrays, "BboxHead.1.conv1x1.bias": arrays["BboxHead.1.conv1x1.bias"] + 1}, facts)

    monkeypatch.setattr(convert, "build_graph", wrong)
    with pytest.raises(ModelError, match=r"PyTorch and ONNX Runtime differ by .*; nothing was written"):
        convert_retinaface(checkpoint, tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


def test_without_pytorch_it_says_what_to_install(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "torch":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"converting needs PyTorch: pip install .*\[torch\]"):
        convert_retinaface(checkpoint, tmp_path / "out.onnx")


@pytest.mark.shared
def test_the_real_checkpoint_converts(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "weights" / "bubbliiiing_Retinaface_mobilenet0.25.pth"
    done = convert_retinaface(path, tmp_path / "out.onnx")
    assert done.largest_difference < 1e-5
