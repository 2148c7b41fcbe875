"""Users' PyTorch weights as classifiers: what loads, what is refused, and that nothing of a file is run."""

from __future__ import annotations

import pickle
import resource
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fertrack
from fertrack.classifiers import build_classifier
from fertrack.classifiers.base import preprocessor
from fertrack.classifiers.config import ClassificationConfig
from fertrack.classifiers.feature_head import FeatureHead
from fertrack.classifiers.onnx import OnnxClassifier
from fertrack.classifiers.pytorch import PytorchClassifier
from fertrack.errors import ConfigError, FertrackError, ModelError, WeightsError
from fertrack.imaging.alignment import align_faces, aligned_landmarks
from fertrack.models.bundle import load_bundle
from fertrack.models.checkpoint import read_state
from fertrack.models.networks.architectures import build_network, load_orf_model
from fertrack.pipeline.analyzer import crop_logits
from fertrack.types import EXPRESSIONS
from tests.support.classifier_bundles import landmark_attention, orthogonal, save_torchscript, transformer, write_card
from tests.support.paths import REPOSITORY

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def crops(count: int, side: int = 64, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3))
    return np.repeat(np.repeat(coarse, side // 8, axis=1), side // 8, axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def head() -> Any:
    return orthogonal()


def flat(network: Any) -> dict[str, Any]:
    """A state dict as users have it: torchvision's names, no ``trunk.`` in front."""
    return {name.removeprefix("trunk."): value for name, value in network.state_dict().items()}


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state,
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"state_dict": state, "epoch": 18, "optimizer": {"lr": 0.001}},
        lambda state: {"model": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {"model": {"state_dict": state, "epoch": 3}},
        lambda state: {"state_dict": {"model": state}},
        lambda state: {f"module.module.{name}": value for name, value in state.items()},
        lambda state: {name: value for name, value in state.items() if "num_batches_tracked" not in name},
        lambda state: {f"trunk.{name}" if name[:2] in {"co", "bn", "la"} and "2_" not in name else name: value
                       for name, value in state.items()},
    ],
    ids=["plain", "several devices", "checkpoint", "wrapped and prefixed", "wrapped twice", "wrapped twice, turned",
         "prefixed twice", "older PyTorch", "our own names"],
)  # fmt: skip
def test_the_ways_users_save_their_weights(head: Any, tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    torch.save(change(flat(head)), tmp_path / "orf.pth")
    loaded = load_orf_model(tmp_path / "orf.pth")
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixels), head(pixels), atol=0, rtol=0)
    assert not loaded.training


def test_safetensors_give_the_same(head: Any, tmp_path: Path) -> None:
    save = pytest.importorskip("safetensors.torch").save_file
    save(flat(head), tmp_path / "orf.safetensors")
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(load_orf_model(tmp_path / "orf.safetensors")(pixels), head(pixels), atol=0, rtol=0)
    (tmp_path / "bad.safetensors").write_bytes(b"\x09\x00\x00\x00\x00\x00\x00\x00no header")
    with pytest.raises(WeightsError, match=r"bad\.safetensors is not a safetensors file"):
        load_orf_model(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.__delitem__("layer3.2.conv1.weight"), r"missing: trunk\.layer3\.2\.conv1\.weight$"),
        (lambda s: s.update(extra=torch.zeros(2), more=torch.zeros(1)), r"unexpected: trunk\.extra, trunk\.more$"),
        (
            lambda s: s.update({"conv2_3.weight": torch.zeros(16, 99, 1, 1)}),
            r"of another shape: conv2_3\.weight \(16, 99, 1, 1\) instead of \(16, 256, 1, 1\)",
        ),
        (lambda s: s.update({"conv2_2.bias": torch.full((16,), float("nan"))}), r"not finite numbers: conv2_2\.bias"),
        (
            lambda s: s.update({"fc.bias": torch.tensor([1e39, -1e39, 0, 0, 0, 0, 0], dtype=torch.float64)}),
            r"not finite .*: fc\.bias",
        ),
        (lambda s: s.pop("conv2_1.weight"), r"fits no network .* begin with conv1\.weight.*give 'rename'"),
        (lambda s: [s.pop(n) for n in list(s) if n.startswith("layer")], r"missing: trunk\.layer1.* and \d+ more"),
    ],
    ids=["missing", "unexpected", "shape", "nan", "infinite", "another network", "many"],
)
def test_weights_of_another_network_are_told_apart(
    head: Any, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    state = flat(head)
    change(state)
    torch.save(state, tmp_path / "orf.pth")
    with pytest.raises(ModelError, match=message):
        load_orf_model(tmp_path / "orf.pth")


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch says of some of these that they are prototypes
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.ones(16).to_sparse(),
        lambda: torch.eye(4).to_sparse_csr(),
        lambda: torch.quantize_per_tensor(torch.zeros(16), 0.1, 0, torch.qint8),
        lambda: torch.zeros(16, device="meta"),
        lambda: torch.zeros(16, dtype=torch.complex64),
        lambda: torch.nested.nested_tensor([torch.zeros(16)]),
        lambda: torch.zeros(16, dtype=torch.int8),
        lambda: torch.zeros(16, dtype=torch.bool),
        lambda: torch.zeros(1).expand(16),
    ],
    ids=["sparse", "sparse rows", "quantised", "meta", "complex", "nested", "int8", "bool", "one value, repeated"],
)
def test_arrays_that_are_no_plain_numbers_are_one_sentence(head: Any, tmp_path: Path, make: Callable[[], Any]) -> None:
    torch.save(flat(head) | {"conv2_1.bias": make()}, tmp_path / "orf.pth")
    with pytest.raises(WeightsError, match=r"orf\.pth holds arrays that are .*\(conv2_1\.bias\); save") as caught:
        load_orf_model(tmp_path / "orf.pth")
    assert "\n" not in str(caught.value)


def test_weights_in_whole_numbers_are_refused_in_safetensors_too(head: Any, tmp_path: Path) -> None:
    save = pytest.importorskip("safetensors.torch").save_file
    save(flat(head) | {"fc.weight": torch.ones(7, 48, dtype=torch.int8)}, tmp_path / "orf.safetensors")
    with pytest.raises(WeightsError, match=r"holds arrays that are whole numbers \(fc\.weight\)"):
        load_orf_model(tmp_path / "orf.safetensors")


def test_a_few_bytes_that_ask_for_all_memory_are_refused(head: Any, tmp_path: Path) -> None:
    torch.save(flat(head) | {"conv2_1.weight": torch.zeros(1).expand(2**31, 256, 1, 1)}, tmp_path / "orf.pth")
    with pytest.raises(WeightsError, match=r"larger than the values that the file holds \(conv2_1\.weight\)"):
        load_orf_model(tmp_path / "orf.pth")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux tells it")
def test_shapes_are_compared_before_memory_is_taken(tmp_path: Path) -> None:
    """A bias of 4 MB asks for a weight of 1 GB, and one without a value for more than can be counted."""
    torch.save(transformer().state_dict() | {"dense.0.bias": torch.zeros(2**20)}, tmp_path / "qvit.pt")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + 2**29, limits[1]))
    try:
        with pytest.raises(ModelError, match=r"of another shape: dense\.0\.weight \(4, 16, 256\) instead of"):
            load_orf_model(tmp_path / "qvit.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    torch.save(orthogonal().state_dict() | {"trunk.conv1.weight": torch.zeros(2**40, 0)}, tmp_path / "orf.pth")
    with pytest.raises(ModelError, match=r"orf\.pth is not a feature-orthogonal checkpoint: .*overflow") as caught:
        load_orf_model(tmp_path / "orf.pth")
    assert "\n" not in str(caught.value)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@pytest.mark.parametrize("kind", ["head", "landmarks", "transformer"])
def test_a_loaded_network_is_the_saved_one_whole_and_draws_no_random_numbers(
    head: Any, tmp_path: Path, kind: str
) -> None:
    saved = {"head": head, "landmarks": landmark_attention(), "transformer": transformer()}[kind]
    torch.save(saved.state_dict(), tmp_path / "net.pth")
    before = torch.get_rng_state()
    loaded = build_network(read_state(tmp_path / "net.pth"), tmp_path / "net.pth")
    assert torch.equal(torch.get_rng_state(), before)
    theirs, ours = ({**dict(net.named_parameters()), **dict(net.named_buffers())} for net in (saved, loaded))
    assert theirs.keys() == ours.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, atol=0, rtol=0)
        assert ours[name].stride() == value.stride()
        assert ours[name].requires_grad == value.requires_grad


def test_loading_does_not_import_what_draws_on_no_device() -> None:
    """Some 800 modules, a second and more, for each program that loads a network."""
    program = (
        "import sys, torch; from pathlib import Path\n"
        "from tests.support.classifier_bundles import orthogonal, transformer\n"
        "from fertrack.models.networks.architectures import build_network\n"
        "nets = [orthogonal(), transformer()]; before = set(sys.modules)\n"
        "[build_network(net.state_dict(), Path('net.pth')) for net in nets]\n"
        "print(len(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, check=True)
    assert int(done.stdout) < 50


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e5m2"])
def test_weights_of_fewer_bits_load(head: Any, tmp_path: Path, dtype: str) -> None:
    bias = torch.linspace(-1, 1, 16).to(getattr(torch, dtype))
    torch.save(flat(head) | {"conv2_1.bias": bias}, tmp_path / "orf.pth")
    loaded = load_orf_model(tmp_path / "orf.pth").conv2_1.bias
    assert loaded.dtype == torch.float32
    torch.testing.assert_close(loaded, bias.float(), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("position", (0, 16), r"of another shape: position \(0, 16\)"),
        ("layers.30000.x", (1,), r"unexpected: layers\.30000\.x"),  # and no 30,000 layers are made meanwhile
        ("layers.x.y", (1,), r"unexpected: layers\.x\.y"),
        ("dense.0.bias", (), r"of another shape: dense\.0\.bias \(\) instead of \(64,\)$"),
        ("layers.0.feed_forward.first.1.bias", (), r"of another shape: layers\.0\..*\(\) instead of \(16,\)$"),
    ],
)
def test_sizes_that_make_no_network_are_told(tmp_path: Path, name: str, value: tuple[int, ...], message: str) -> None:
    torch.save(transformer().state_dict() | {name: torch.zeros(value)}, tmp_path / "qvit.pt")
    with pytest.raises(ModelError, match=message):
        load_orf_model(tmp_path / "qvit.pt")


def test_other_names_are_brought_in_line(head: Any, tmp_path: Path) -> None:
    theirs = {
        name.replace("trunk.", "backbone.").replace("conv2_", "head"): value
        for name, value in head.state_dict().items()
    }
    torch.save(theirs, tmp_path / "orf.pth")
    loaded = load_orf_model(tmp_path / "orf.pth", rename={"backbone.": "trunk.", "head": "conv2_"})
    torch.testing.assert_close(loaded.fc.weight, head.fc.weight, atol=0, rtol=0)


def test_a_head_without_its_last_layer_still_gives_features_but_does_not_classify(head: Any, tmp_path: Path) -> None:
    state = {name: value for name, value in flat(head).items() if not name.startswith("fc.")}
    torch.save(state, tmp_path / "orf.pth")
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        loaded = load_orf_model(tmp_path / "orf.pth")
        torch.testing.assert_close(loaded.tokens(pixels), head.tokens(pixels))
        assert not loaded(pixels).any()
    with pytest.raises(ModelError, match=r"missing: fc\.weight, fc\.bias"):
        build_classifier(ClassificationConfig(), write_card(tmp_path / "orf.pth"))


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("way", ["zip", "legacy pickle", "inside a state dict"])
def test_a_file_with_code_in_it_is_refused_and_nothing_is_run(head: Any, tmp_path: Path, way: str) -> None:
    trap, path = tmp_path / "touched", tmp_path / "orf.pth"
    if way == "zip":
        torch.save(Trap(trap), path)
    elif way == "legacy pickle":
        path.write_bytes(pickle.dumps({"conv2_1.weight": Trap(trap)}, protocol=2))
    else:
        torch.save({"state_dict": flat(head), "notes": Trap(trap)}, path)
    with pytest.raises(WeightsError, match=r"orf\.pth holds more than arrays .* was not loaded") as caught:
        load_orf_model(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="holds more than arrays"):
        build_classifier(ClassificationConfig(trust_code=True), write_card(path))  # trust is for programs, not pickles
    assert not trap.exists()


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(3, 7), tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"save the weights alone: .* torch\.save\(network\.state_dict\(\), FILE\)"):
        load_orf_model(tmp_path / "net.pth")


@pytest.mark.parametrize("beside", [{"best_acc": np.float64(0.5)}, {"args": Namespace(lr=0.1)}], ids=["numpy", "args"])
def test_what_else_a_training_checkpoint_holds_is_refused_with_the_way_out(
    head: Any, tmp_path: Path, beside: dict[str, Any]
) -> None:
    torch.save({"state_dict": flat(head)} | beside, tmp_path / "orf.pth")
    with pytest.raises(
        WeightsError,
        match=r"holds more than arrays .* load it where it was made and save the weights alone: "
        r'torch\.save\(checkpoint\["state_dict"\], FILE\)',
    ):
        load_orf_model(tmp_path / "orf.pth")


@pytest.mark.parametrize("load", ["load_orf_model", "load_emotion_model"])
def test_an_argument_that_there_is_not_is_told_by_the_loaders_name(load: str) -> None:
    for arguments in (("orf.pth",), ("orf.pth", "rafdb"))[: 1 + (load == "load_emotion_model")]:
        with pytest.raises(TypeError, match=rf"^{load}\(\) got an unexpected keyword argument 'foo'"):
            getattr(fertrack, load)(*arguments, foo=1)


def test_the_classifier_is_preprocessing_then_the_network(head: Any, tmp_path: Path) -> None:
    torch.save(flat(head), tmp_path / "orf.pth")
    alphabetical = sorted(EXPRESSIONS)
    classifier = build_classifier(ClassificationConfig(), write_card(tmp_path / "orf.pth", labels=alphabetical))
    assert isinstance(classifier, PytorchClassifier)
    pictures = crops(3)
    with torch.no_grad():
        pixels = torch.from_numpy((pictures[..., ::-1] / 255 - [0.576, 0.450, 0.402]) / [0.209, 0.191, 0.183])
        expected = head(pixels.permute(0, 3, 1, 2).float()).numpy()
    found = classifier.logits(pictures)
    for k, name in enumerate(EXPRESSIONS):
        np.testing.assert_allclose(found[:, k], expected[:, alphabetical.index(name)], atol=1e-4)


def test_head_and_transformer_together(head: Any, tmp_path: Path) -> None:
    second = transformer()
    torch.save(flat(head), tmp_path / "orf.pth")
    torch.save({"model": second.state_dict()}, tmp_path / "qvit.pt")
    bundle = write_card(tmp_path / "qvit.pt", head=tmp_path / "orf.pth")
    classifier = build_classifier(ClassificationConfig(), bundle)
    pictures = crops(2)
    with torch.no_grad():
        tokens = head.tokens(torch.from_numpy(preprocessor(bundle.card.input)(pictures)))
        expected = second(tokens).numpy()
    np.testing.assert_allclose(classifier.logits(pictures), expected, atol=1e-4)
    assert not classifier.wants_landmarks


def test_a_transformer_that_does_not_fit_its_head_is_told(head: Any, tmp_path: Path) -> None:
    torch.save(flat(head), tmp_path / "orf.pth")
    torch.save(transformer(tokens=32).state_dict(), tmp_path / "qvit.pt")
    with pytest.raises(ModelError, match=r"tokens must be \(N, 32, 4\), got \(1, 64, 4\)"):
        build_classifier(ClassificationConfig(), write_card(tmp_path / "qvit.pt", head=tmp_path / "orf.pth"))
    with pytest.raises(ModelError, match="holds a transformer, not a feature head"):
        load_orf_model(tmp_path / "qvit.pt")
    torch.save({"position": torch.zeros(32, 15), "embed.weight": torch.zeros(15, 4)}, tmp_path / "odd.pt")
    with pytest.raises(ModelError, match="is not a quaternion-transformer checkpoint"):
        build_classifier(ClassificationConfig(), write_card(tmp_path / "odd.pt"))


def test_a_head_that_does_not_take_the_crops_is_told(head: Any, tmp_path: Path) -> None:
    torch.save(flat(head), tmp_path / "orf.pth")
    torch.save(transformer().state_dict(), tmp_path / "qvit.pt")
    grey = {"colour": "gray", "mean": [0.5], "std": [0.5]}
    card = write_card(tmp_path / "qvit.pt", head=tmp_path / "orf.pth").card.input.model_dump() | grey
    with pytest.raises(ModelError, match="a feature head takes colour crops, layout NCHW"):
        build_classifier(
            ClassificationConfig(), write_card(tmp_path / "qvit.pt", head=tmp_path / "orf.pth", input=card)
        )


def test_a_head_exchanged_after_it_was_described_is_refused(head: Any, tmp_path: Path) -> None:
    torch.save(flat(head), tmp_path / "orf.pth")
    torch.save(transformer().state_dict(), tmp_path / "qvit.pt")
    bundle = write_card(tmp_path / "qvit.pt", head=tmp_path / "orf.pth")
    torch.save({"other": torch.zeros(1)}, tmp_path / "orf.pth")
    with pytest.raises(WeightsError, match=r"orf\.pth is not the file its bundle names"):
        load_bundle(tmp_path / "qvit.pt")
    with pytest.raises(WeightsError, match=r"orf\.pth is not the file its card names"):
        build_classifier(ClassificationConfig(), bundle)


def test_landmarks_reach_a_network_that_looks_at_them_in_the_crops_own_px(tmp_path: Path) -> None:
    network = landmark_attention()
    torch.save(flat(network), tmp_path / "la.pth")
    bundle = write_card(tmp_path / "la.pth", size=224)
    classifier = build_classifier(ClassificationConfig(), bundle)
    assert classifier.wants_landmarks
    frame = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
    turn = np.array([[0.9, -0.4], [0.4, 0.9]]) * 1.3
    points = (classifier.template @ turn.T + (200, 40)).astype(np.float32)
    points[4] += 30  # a mouth that no similarity lays on the template
    cut = align_faces(frame, points[None], classifier.template, 224)
    mapped = aligned_landmarks(points[None], classifier.template)
    with torch.no_grad():
        expected = network(torch.from_numpy(preprocessor(bundle.card.input)(cut)), torch.from_numpy(mapped)).numpy()
    found = crop_logits(classifier, cut, points[None])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(classifier.logits(cut) - found).max() > 1e-4  # the template's places are others
    np.testing.assert_array_equal(
        classifier.logits(cut), classifier.logits_at(cut, classifier.template[None].astype(np.float32))
    )
    blank = classifier.logits_at(cut, np.full((1, 5, 2), np.nan, np.float32))
    assert np.isfinite(blank).all()
    with pytest.raises(ValueError, match=r"landmarks must be float32 \(1, 5, 2\)"):
        classifier.logits_at(cut, mapped[:, :4])
    with pytest.raises(TypeError, match="landmarks must be float32"):
        classifier.logits_at(cut, mapped.astype(np.float64))


def test_landmarks_reach_a_head_that_looks_at_them(tmp_path: Path) -> None:
    network, second = landmark_attention(), transformer(tokens=64, token_size=49)
    torch.save(flat(network), tmp_path / "la.pth")
    torch.save(second.state_dict(), tmp_path / "qvit.pt")
    bundle = write_card(tmp_path / "qvit.pt", head=tmp_path / "la.pth", size=224)
    classifier = build_classifier(ClassificationConfig(), bundle)
    assert classifier.wants_landmarks
    pictures, points = crops(1, 224), (classifier.template + 9)[None].astype(np.float32)
    with torch.no_grad():
        pixels = torch.from_numpy(preprocessor(bundle.card.input)(pictures))
        expected = second(network.tokens(pixels, torch.from_numpy(points))).numpy()
    np.testing.assert_allclose(classifier.logits_at(pictures, points), expected, atol=1e-4)


def test_others_are_not_asked_about_landmarks() -> None:
    classifier = build_classifier(ClassificationConfig())
    pictures = crops(2)
    np.testing.assert_array_equal(
        crop_logits(classifier, pictures, np.zeros((2, 5, 2), np.float32)), classifier.logits(pictures)
    )


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_a_program_and_needs_trust(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8, 8), torch.nn.Flatten(), torch.nn.Linear(256, 7))
    path = save_torchscript(network, torch.zeros(1, 3, 64, 64), tmp_path / "net.pt")
    bundle = write_card(path)
    with pytest.raises(ConfigError, match=r"net\.pt is a TorchScript program, and .* runs its code; allow it"):
        build_classifier(ClassificationConfig(), bundle)
    with pytest.raises(WeightsError, match="is a TorchScript program, not weights"):
        load_orf_model(path)
    pictures = crops(2)
    found = build_classifier(ClassificationConfig(trust_code=True), bundle).logits(pictures)
    with torch.no_grad():
        expected = network(torch.from_numpy(preprocessor(bundle.card.input)(pictures))).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_program_is_no_feature_head_even_if_programs_may_run(tmp_path: Path) -> None:
    torch.save(transformer().state_dict(), tmp_path / "qvit.pt")
    program = save_torchscript(torch.nn.Conv2d(3, 4, 8, 8), torch.zeros(1, 3, 64, 64), tmp_path / "orf.pt")
    bundle = write_card(tmp_path / "qvit.pt", head=program)
    with pytest.raises(WeightsError, match=r"a feature head needs weights \(a state dict, or safetensors\)") as caught:
        build_classifier(ClassificationConfig(trust_code=True), bundle)
    assert "trust_code" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_behind_a_head(head: Any, tmp_path: Path) -> None:
    second = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 7))
    torch.save(flat(head), tmp_path / "orf.pth")
    path = save_torchscript(second, torch.zeros(1, 64, 4), tmp_path / "net.torchscript")
    bundle = write_card(path, head=tmp_path / "orf.pth")
    classifier = build_classifier(ClassificationConfig(trust_code=True), bundle)
    pictures = crops(2)
    with torch.no_grad():
        expected = second(head.tokens(torch.from_numpy(preprocessor(bundle.card.input)(pictures)))).numpy()
    np.testing.assert_allclose(classifier.logits(pictures), expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_program_takes_pixels_whatever_its_parts_are_called(tmp_path: Path) -> None:
    """Many networks have parts called features and attention; that does not make them look at landmarks."""

    class Theirs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = torch.nn.Conv2d(3, 4, 8, 8)
            self.attention = torch.nn.Linear(256, 7)

        def forward(self, pixels: Any) -> Any:
            return self.attention(self.features(pixels).flatten(1))

    network = Theirs()
    bundle = write_card(save_torchscript(network, torch.zeros(1, 3, 64, 64), tmp_path / "net.pt"))
    classifier = build_classifier(ClassificationConfig(trust_code=True), bundle)
    assert not classifier.wants_landmarks
    pictures = crops(2)
    with torch.no_grad():
        expected = network(torch.from_numpy(preprocessor(bundle.card.input)(pictures))).numpy()
    np.testing.assert_allclose(classifier.logits(pictures), expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_program_that_answers_something_else_is_told(tmp_path: Path) -> None:
    class Two(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.mean((2, 3)), x

    path = save_torchscript(Two(), torch.zeros(1, 3, 64, 64), tmp_path / "net.torchscript")
    with pytest.raises(ModelError, match="answers with tuple, one tensor is needed"):
        build_classifier(ClassificationConfig(trust_code=True), write_card(path))
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    with pytest.raises(FertrackError, match=r"net\.torchscript is not a"):
        build_classifier(ClassificationConfig(trust_code=True), write_card(path))


def test_pytorchs_threads_are_left_as_they_were(head: Any, tmp_path: Path) -> None:
    seen: list[int] = []
    torch.save(flat(head), tmp_path / "orf.pth")
    classifier = PytorchClassifier(write_card(tmp_path / "orf.pth"), ClassificationConfig(threads=1))
    classifier._network.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    torch.set_num_threads(2)
    try:
        classifier.logits(crops(1))
        assert torch.get_num_threads() == 2
        assert seen == [1]
    finally:
        torch.set_num_threads(1)


def test_a_device_that_is_not_here_is_an_error(head: Any, tmp_path: Path) -> None:
    torch.save(flat(head), tmp_path / "orf.pth")
    bundle = write_card(tmp_path / "orf.pth")
    with pytest.raises(ConfigError, match=r"classification\.device = 'coreml' is not available: PyTorch"):
        build_classifier(ClassificationConfig(device="coreml"), bundle)
    build_classifier(ClassificationConfig(device="auto"), bundle)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="'cuda' is not available"):
            build_classifier(ClassificationConfig(device="cuda"), bundle)


def test_a_head_runs_on_the_device_that_is_asked_for_or_not_at_all(head: Any, tmp_path: Path) -> None:
    torch.save(flat(head), tmp_path / "orf.pth")
    torch.save(transformer().state_dict(), tmp_path / "qvit.pt")
    bundle = write_card(tmp_path / "qvit.pt", head=tmp_path / "orf.pth")
    with pytest.raises(ConfigError, match=r"classification\.device = 'openvino' is not available: PyTorch"):
        FeatureHead(bundle, device="openvino")
    asked = "cuda" if torch.cuda.is_available() else "cpu"
    assert FeatureHead(bundle, device="auto")._network.fc.weight.device.type == asked


@pytest.fixture(scope="module", params=["head alone", "transformer behind the head"])
def both(request: pytest.FixtureRequest, head: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The same network run by PyTorch and, exported, by ONNX Runtime.

    Made here and not in a test, because the exporter's progress bar starts a thread that stays.
    """
    pytest.importorskip("onnxscript")
    from fertrack.model_export.onnx import from_module

    folder = tmp_path_factory.mktemp("parity")
    torch.save(flat(head), folder / "orf.pth")
    behind = None if request.param == "head alone" else folder / "orf.pth"
    network = transformer() if behind else head
    torch.save(network.state_dict(), folder / "net.pth")
    theirs = build_classifier(ClassificationConfig(), write_card(folder / "net.pth", head=behind))
    (folder / "net.onnx").write_bytes(from_module(network, theirs.network_shape))
    return theirs, build_classifier(ClassificationConfig(), write_card(folder / "net.onnx", head=behind))


def test_the_same_network_as_onnx_gives_the_same_logits(both: tuple[Any, Any]) -> None:
    theirs, ours = both
    assert isinstance(ours, OnnxClassifier)
    pictures = crops(3, seed=4)
    expected = theirs.logits(pictures)
    np.testing.assert_allclose(ours.logits(pictures), expected, atol=1e-4 * max(1.0, float(np.abs(expected).max())))
    assert np.abs(np.diff(expected, axis=0)).max() > 1e-4  # it looks at them
