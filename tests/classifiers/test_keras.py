"""Keras files as classifiers: run in a process of their own, nothing of a file that holds code is run."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fertrack.classifiers import build_classifier
from fertrack.classifiers.config import ClassificationConfig
from fertrack.classifiers.keras import KerasClassifier
from fertrack.errors import ConfigError, FertrackError, ModelError, WeightsError
from fertrack.models import keras_process
from fertrack.models.keras_process import KerasProcess
from fertrack.models.keras_worker import forbidden_parts, model_config, serve, unknown_layers
from fertrack.types import EXPRESSIONS
from tests.support.classifier_bundles import input_card, keras_bundle, make_keras_files, orthogonal, write_card

torch = pytest.importorskip("torch")
h5py = pytest.importorskip("h5py")
if importlib.util.find_spec("keras") is None:  # importing it here would need its backend chosen for this process
    pytest.skip("keras is not installed", allow_module_level=True)

ALPHABETICAL = sorted(EXPRESSIONS)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Keras files and what Keras itself says to one input; made once, by Keras, in another process."""
    return make_keras_files(tmp_path_factory.mktemp("keras"))


@pytest.fixture
def here(files: Path, tmp_path: Path) -> Path:
    """A fresh copy of them."""
    return Path(shutil.copytree(files, tmp_path / "files"))


def crops(count: int, side: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, side, side, 3), np.uint8)


def test_both_formats_answer_as_keras_itself(here: Path) -> None:
    before = dict(os.environ)
    pictures, expected = np.load(here / "crops.npy"), np.load(here / "probabilities.npy")
    for name in ("tiny.keras", "tiny.h5"):
        bundle = keras_bundle(here, name, labels=ALPHABETICAL)
        classifier = build_classifier(ClassificationConfig(), bundle)
        assert isinstance(classifier, KerasClassifier)
        logits = classifier.logits(pictures)
        for k, expression in enumerate(EXPRESSIONS):
            column = ALPHABETICAL.index(expression)
            np.testing.assert_allclose(np.exp(logits[:, k]), expected[:, column], atol=1e-5)
        assert classifier.runtime.startswith("Keras 3")
        classifier.close()
        classifier.close()
        with pytest.raises(ModelError, match="the process that runs it has ended"):
            classifier.logits(pictures)
    assert dict(os.environ) == before  # the backend was chosen for the other process alone


@pytest.mark.parametrize("name", ["row.keras", "row.h5"])
def test_a_sequential_model_runs_also_where_it_was_trained_with_a_loss_of_the_users_own(here: Path, name: str) -> None:
    """The loss is a function, but not loaded: how the network was trained is no part of what is run."""
    classifier = build_classifier(ClassificationConfig(), keras_bundle(here, name))
    assert isinstance(classifier, KerasClassifier)
    found = np.exp(classifier.logits(np.load(here / "crops.npy")))
    classifier.close()
    np.testing.assert_allclose(found, np.load(here / "row.npy"), atol=1e-5)


@pytest.mark.parametrize("name", ["own.keras", "own.h5"])
def test_layers_of_the_users_own_are_named_with_the_way_out(here: Path, name: str) -> None:
    with pytest.raises(
        ModelError, match=r"not Keras's own \(Own\).*model\.export.*classification\.trust_code=true"
    ) as caught:
        KerasProcess(here / name, "keras")
    assert "\n" not in str(caught.value)


def test_layers_keras_does_not_have_are_found_in_models_within_models() -> None:
    known = {"Dense": object}
    inner = {"class_name": "Functional", "module": "keras", "config": {"layers": [{"class_name": "Quaternion"}]}}
    foreign = {"class_name": "Thing", "module": "keras.src.ops.numpy"}
    assert unknown_layers({"config": {"layers": [{"class_name": "Dense"}, inner, foreign]}}, known) == ["Quaternion"]
    assert unknown_layers({"config": [{"class_name": "Dense"}]}, known) == []


def test_capital_letters_at_the_end_of_the_name_are_a_sentence(tmp_path: Path) -> None:
    """On some systems files end so; Keras chooses its reader by small letters."""
    with pytest.raises(ValueError, match=r"small letters at the end of its name: rename it to net\.h5"):
        model_config(tmp_path / "net.H5")


FAKE_WORKER = """
import json, sys
from array import array
print(json.dumps({"input": [None, 48, 48, 1], "output": [None, 7], "runtime": "none"}), flush=True)
while line := sys.stdin.buffer.readline():
    size = 4
    for length in json.loads(line)["shape"]:
        size *= length
    sys.stdin.buffer.read(size)
    sys.stdout.buffer.write(b'{"shape": [1, 7]}' + bytes([10]) + array("f", [0.25, 0.75, 0, 0, 0, 0, 0]).tobytes())
    sys.stdout.buffer.flush()
"""
"""Speaks the worker's protocol without Keras: 48 x 48 grey pixels, always the same probabilities."""


def test_what_the_card_says_wrongly_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_process, "_WORKER", tmp_path / "worker.py")
    (tmp_path / "worker.py").write_text(FAKE_WORKER)
    (tmp_path / "tiny.keras").write_bytes(b"its worker does not look")
    with pytest.raises(ModelError, match=r"answers with probabilities, but its card says output = 'logits'"):
        build_classifier(ClassificationConfig(), keras_bundle(tmp_path, output="logits"))
    with pytest.raises(ModelError, match=r"input is \(n, 48, 48, 1\), its card says \(n, 64, 64, 1\)"):
        build_classifier(ClassificationConfig(), keras_bundle(tmp_path, size=64))
    with pytest.raises(ConfigError, match="not available for Keras networks"):
        build_classifier(ClassificationConfig(device="cuda"), keras_bundle(tmp_path))
    classifier = build_classifier(ClassificationConfig(), keras_bundle(tmp_path))
    assert isinstance(classifier, KerasClassifier)
    logits = classifier.logits(crops(2, 48))
    np.testing.assert_allclose(np.exp(logits[:, :3]), [[0.25, 0.75, 1e-7]] * 2, rtol=1e-5)  # finite at zero
    classifier.close()


def test_the_hybrid_pipeline_is_head_then_four_stack_then_keras(here: Path) -> None:
    head = orthogonal(channels=16)
    torch.save(head.state_dict(), here / "orf.pth")
    pixels = np.random.default_rng(3).normal(0, 1, (2, 3, 64, 64)).astype(np.float32)
    bundle = write_card(here / "tokens.keras", head=here / "orf.pth")
    classifier = build_classifier(ClassificationConfig(), bundle)
    assert isinstance(classifier, KerasClassifier)
    assert classifier.network_shape == (64, 4)
    assert "head sha256:" in classifier.fingerprint
    with torch.no_grad():
        maps = [part.numpy() for part in head.features(torch.from_numpy(pixels)).maps]
    # The training data of the transformer stage: channel-last maps, joined on channels, channels moved to the front.
    dumped = [np.moveaxis(part, 1, 3) for part in maps]
    tokens = np.concatenate([np.mean(dumped, axis=0), *dumped], axis=3).transpose(0, 3, 1, 2).reshape(2, 64, 4)
    weights = np.load(here / "tokens_weights.npz")
    expected = tokens.reshape(2, -1) @ weights["kernel"] + weights["bias"]
    found = np.concatenate([classifier._infer(row[None], classifier.template[None]) for row in pixels])
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert classifier.logits(crops(2, 64)).shape == (2, 7)
    classifier.close()


def test_a_network_with_a_lambda_is_refused_and_nothing_of_it_is_run(here: Path) -> None:
    trap = here / "touched"
    for name in ("lambda.keras", "lambda.h5"):
        with pytest.raises(ModelError, match=rf"{name} cannot be run: .*: it contains .*Lambda.* nothing"):
            KerasProcess(here / name, "keras")
    assert not trap.exists()


def test_parts_from_elsewhere_are_found_wherever_they_hide() -> None:
    layer = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 7}}
    assert forbidden_parts({"config": {"layers": [layer, layer]}}) == []
    hidden = {"module": "keras.layers", "class_name": "TimeDistributed", "config": {"layer": {"class_name": "Lambda"}}}
    assert forbidden_parts({"config": {"layers": [layer, hidden]}}) == ["Lambda"]
    foreign = {"module": "os", "class_name": "system", "config": ["touch x"]}
    assert forbidden_parts([foreign]) == ["os.system"]
    function = {"module": "builtins", "class_name": "function", "config": "exec"}
    assert forbidden_parts({"config": {"activation": function}}) == ["function"]


def test_files_that_are_no_keras_models_are_told_apart(tmp_path: Path) -> None:
    text = tmp_path / "text.h5"
    text.write_text("just text")
    with pytest.raises(ValueError, match="it is not a Keras file"):
        model_config(text)
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["kernel"] = np.zeros(3)
    with pytest.raises(ValueError, match="it holds weights alone"):
        model_config(tmp_path / "weights.h5")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("readme", "no")
    with pytest.raises(ValueError, match="without a Keras model"):
        model_config(tmp_path / "other.keras")


def test_an_archive_at_the_end_of_an_hdf5_file_hides_nothing(tmp_path: Path) -> None:
    """Keras reads the file by its suffix; what is looked through must be what Keras will build."""
    layer = {"class_name": "Lambda", "config": {"function": "code"}}
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"config": {"layers": [layer]}})
    with zipfile.ZipFile(tmp_path / "two.h5", "a") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "module": "keras"}))
    assert zipfile.is_zipfile(tmp_path / "two.h5")
    assert forbidden_parts(model_config(tmp_path / "two.h5")) == ["Lambda"]
    (tmp_path / "two.h5").rename(tmp_path / "two.keras")
    assert forbidden_parts(model_config(tmp_path / "two.keras")) == [], "there the archive is what Keras builds"


def test_the_worker_answers_and_goes_on_after_a_refusal() -> None:
    def network(values: Any) -> Any:
        if values.shape[1] != 2:
            raise RuntimeError("two numbers, please\nand a long story")
        return values.sum(axis=1, keepdims=True)

    requests = io.BytesIO()
    for shape in ((1, 3), (2, 2)):
        requests.write(json.dumps({"shape": shape}).encode() + b"\n" + np.ones(shape, np.float32).tobytes())
    requests.seek(0)
    replies = io.BytesIO()
    assert serve(lambda: (network, {"input": [None, 2]}), requests, replies) == 0
    replies.seek(0)
    assert json.loads(replies.readline()) == {"input": [None, 2]}
    assert json.loads(replies.readline()) == {"error": "RuntimeError: two numbers, please"}
    assert json.loads(replies.readline()) == {"shape": [2, 1]}
    assert np.frombuffer(replies.read(), np.float32).tolist() == [2.0, 2.0]

    def fails() -> Any:
        raise ValueError

    replies = io.BytesIO()
    assert serve(fails, requests, replies) == 1
    assert json.loads(replies.getvalue()) == {"error": "ValueError"}


def test_a_worker_that_dies_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = tmp_path / "worker.py"
    monkeypatch.setattr(keras_process, "_WORKER", worker)
    worker.write_text("import sys; print('out of memory', file=sys.stderr)")
    with pytest.raises(ModelError, match=r"net\.keras: the process that runs it has ended \(out of memory\)"):
        KerasProcess(tmp_path / "net.keras", "keras")
    facts = json.dumps({"input": [None, 4], "output": [None, 7], "runtime": "none"})
    worker.write_text(f"import sys; print({facts!r}, flush=True); sys.stdin.readline()")
    process = KerasProcess(tmp_path / "net.keras", "keras")
    with pytest.raises(ModelError, match=r"has ended \(it said nothing\)"):
        process.run(np.zeros((1, 4), np.float32))
    process.close()


def test_the_worker_ends_with_the_program_that_asked(tmp_path: Path) -> None:
    worker = tmp_path / "worker.py"
    facts = json.dumps({"input": [None, 4], "output": [None, 7], "runtime": "none"})
    worker.write_text(
        f"import os, sys; print({facts!r}, flush=True); sys.stdin.read(); open(sys.argv[1], 'w').write('x')"
    )
    program = (
        "import os, sys; from pathlib import Path; from fertrack.models import keras_process\n"
        f"keras_process._WORKER = Path({str(worker)!r})\n"
        f"process = keras_process.KerasProcess(Path({str(tmp_path / 'ended')!r}), 'keras')\n"
        "os._exit(0)"  # no clean-up of any kind
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    for _ in range(100):
        if (tmp_path / "ended").exists():
            return
        time.sleep(0.05)
    pytest.fail("the worker is still there")


def test_what_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_process.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(FertrackError, match=r"a Keras file needs Keras: .*\[tensorflow\]"):
        KerasProcess(tmp_path / "net.keras", "keras")
    with pytest.raises(FertrackError, match=r"a SavedModel needs TensorFlow"):
        KerasProcess(tmp_path / "net", "saved-model")


def test_the_users_choice_of_backend_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert keras_process.keras_backend() == "jax"


def test_a_saved_model_is_a_program_and_needs_trust(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"\x08\x01")
    bundle = write_card(folder, input=input_card(48, layout="NHWC"))
    with pytest.raises(ConfigError, match=r"is a TensorFlow SavedModel, .* runs its code; allow it with --set"):
        build_classifier(ClassificationConfig(), bundle)
    (folder / "assets").mkdir()
    (folder / "assets" / "more.txt").write_text("changed")
    with pytest.raises(WeightsError, match="is not the file its bundle names"):
        bundle.verify()


def test_a_saved_model_runs_when_it_is_trusted(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow, 600 MB, is not among what continuous integration installs")
    program = (
        "import sys, tensorflow as tf\n"
        "net = tf.Module(); net.w = tf.Variable(tf.random.stateless_normal((4, 7), (1, 2)))\n"
        "spec = tf.TensorSpec((None, 32, 32, 1))\n"
        "run = tf.function(lambda x: {'y': tf.reshape(x, (-1, 1024))[:, :4] @ net.w}, input_signature=[spec])\n"
        "tf.saved_model.save(net, sys.argv[1], signatures=run.get_concrete_function())"
    )
    folder = tmp_path / "saved"
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True, capture_output=True)
    card = input_card(32, layout="NHWC", colour="gray", mean=[0.0], std=[1.0])
    classifier = build_classifier(ClassificationConfig(trust_code=True), write_card(folder, input=card))
    assert isinstance(classifier, KerasClassifier)
    logits = classifier.logits(crops(3, 32))
    assert np.abs(logits).max() > 0.01
    assert len(np.unique(logits, axis=0)) == 3
    classifier.close()


@pytest.mark.shared
def test_a_real_keras_classifier_is_as_good_as_it_is_known_to_be(shared_data: Path, tmp_path: Path) -> None:
    """FER2013 mini-Xception; 64 % on FER+ PublicTest, with its own preprocessing: x / 127.5 - 1, grey, 64 x 64."""
    from fertrack.evaluation.datasets.ferplus import load_ferplus

    weights = tmp_path / "mini.hdf5"
    shutil.copy(shared_data / "weights" / "oarriaga_fer2013_mini_XCEPTION.102-0.66.hdf5", weights)
    labels = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
    card = input_card(64, layout="NHWC", colour="gray", mean=[0.5], std=[0.5])
    classifier = build_classifier(
        ClassificationConfig(), write_card(weights, input=card, labels=labels, output="probabilities")
    )
    assert isinstance(classifier, KerasClassifier)
    voted = load_ferplus(shared_data / "fer" / "fer2013_train_publictest.npz")
    chosen = slice(0, len(voted), len(voted) // 120)
    pictures = [cv2.cvtColor(cv2.resize(image, (64, 64)), cv2.COLOR_GRAY2BGR) for image in voted.images[chosen]]
    logits = classifier.logits(np.asarray(pictures, np.uint8))
    classifier.close()
    assert (logits.argmax(axis=1) == voted.labels[chosen]).mean() > 0.55  # chance is 0.14, another label order 0.2
