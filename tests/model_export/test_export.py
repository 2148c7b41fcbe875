"""Exported bundles: what is carried over, what is compared, what is refused; and that the pipeline runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from sqlalchemy import text

from fertrack.benchmarks.__main__ import main as laboratory
from fertrack.benchmarks.classifier_speed import measure_speed
from fertrack.benchmarks.export_parity import export_rows, render
from fertrack.classifiers import build_classifier
from fertrack.classifiers.config import ClassificationConfig
from fertrack.cli.main import run
from fertrack.demo import compose_demo, portrait
from fertrack.errors import (
    ConfigError,
    EvaluationError,
    FertrackError,
    MissingExtraError,
    ModelError,
    OutputExistsError,
)
from fertrack.model_export import requirements as packages
from fertrack.model_export.export import FaceSample, export_model
from fertrack.model_export.parity import SAME_WINNER, Parity, Scores, Tolerance, compare
from fertrack.model_export.sample import builtin_sample, labelled_sample
from fertrack.models.bundle import load_bundle
from fertrack.storage.engine import open_database
from fertrack.types import EXPRESSIONS, FloatArray, Image
from tests.support.classifier_bundles import landmark_attention, orthogonal, transformer, write_card

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SIDE = 64


@pytest.fixture(scope="module")
def few() -> FaceSample:
    """Some of the built-in faces, with made-up labels."""
    sample = builtin_sample(load_bundle().template, SIDE)
    crops = sample.crops[::8]
    return FaceSample("some faces", crops, np.arange(len(crops)) % len(EXPRESSIONS))


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory, few: FaceSample) -> Path:
    return export_model(
        "default", "onnx-int8", tmp_path_factory.mktemp("exports") / "int8", data=few, accuracy_tolerance=0.3
    ).folder


# --- what comes out


def test_an_onnx_export_is_the_network_itself_with_all_that_is_known_of_it(tmp_path: Path, few: FaceSample) -> None:
    done = export_model("default", "onnx", tmp_path / "deep" / "onnx", data=few)
    before, after = load_bundle(), load_bundle(done.folder)
    assert after.read_model() == before.read_model()
    assert after.calibration == before.calibration
    assert after.card.measured == before.card.measured
    assert after.card.summary.endswith(f"exported as onnx from sha256:{before.card.sha256[:8]}")
    assert done.parity.max_logit_difference == 0
    assert done.parity.accuracy_change == 0
    told = json.loads((done.folder / "parity.json").read_text())
    assert told["passed"] is True
    assert told["format"] == "onnx"
    assert told["faces"] == len(few)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_eight_bits_fit_and_are_compared_on_faces_their_ranges_did_not_come_from(int8: Path, few: FaceSample) -> None:
    bundle, told = load_bundle(int8), json.loads((int8 / "parity.json").read_text())
    assert bundle.model_path.stat().st_size == told["size_bytes"] <= 2_500_000
    assert told["faces"] == len(few) // 2
    assert 0 < told["max_logit_difference"] < 1.5
    assert bundle.calibration == load_bundle().calibration
    assert all("before the export to onnx-int8" in known.data for known in bundle.card.measured)


def test_the_pipeline_runs_an_export(int8: Path, tmp_path: Path) -> None:
    clip = compose_demo(tmp_path / "clip.mp4", frame_count=3)
    out = str(tmp_path / "out")
    assert run(["process", str(clip), "-o", out, "--classifier", str(int8), "--no-video", "--json"]) == 0
    with open_database(tmp_path / "out" / "fertrack.db") as database, database.session() as session:
        stored = session.execute(text("SELECT classifier FROM runs")).scalar_one()
    assert stored == load_bundle(int8).fingerprint


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:DeprecationWarning")  # there is no other way to load it
def test_torchscript_runs_only_when_it_is_trusted(tmp_path: Path, few: FaceSample) -> None:
    pytest.importorskip("torch")
    done = export_model("default", "torchscript", tmp_path / "script", data=few._only(np.arange(len(few)) < 3))
    assert done.parity.max_logit_difference < 1e-4
    with pytest.raises(ConfigError, match=r"classification\.trust_code=true"):
        build_classifier(ClassificationConfig(bundle=str(done.folder)))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:DeprecationWarning")
def test_pytorch_weights_are_exported_from_the_network_they_are_of(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(orthogonal().state_dict(), tmp_path / "mine.pth")
    bundle = write_card(tmp_path / "mine.pth")
    sample = FaceSample("noise", np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8), np.empty(0))
    done = export_model(tmp_path / "mine.pth", "torchscript", tmp_path / "script", data=sample)
    assert done.parity.max_logit_difference < 1e-4
    assert load_bundle(done.folder).card.input == bundle.card.input


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:DeprecationWarning")
def test_a_feature_head_and_the_classifier_behind_it_become_one_network(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(orthogonal().state_dict(), tmp_path / "orf.pth")
    torch.save(transformer().state_dict(), tmp_path / "qvit.pth")
    bundle = write_card(tmp_path / "qvit.pth", head=tmp_path / "orf.pth")
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    done = export_model(
        tmp_path / "qvit.pth", "torchscript", tmp_path / "one", data=FaceSample("noise", crops, np.empty(0, np.int64))
    )
    assert load_bundle(done.folder).card.head is None
    one = build_classifier(ClassificationConfig(trust_code=True), load_bundle(done.folder)).logits(crops)
    np.testing.assert_allclose(one, build_classifier(ClassificationConfig(), bundle).logits(crops), atol=1e-4)
    assert np.abs(np.diff(one, axis=0)).max() > 1e-4  # it looks at them


def test_an_onnx_file_behind_a_feature_head_is_not_exported(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(load_bundle().read_model())
    (tmp_path / "orf.pth").write_bytes(b"not asked for")
    write_card(tmp_path / "net.onnx", head=tmp_path / "orf.pth")
    with pytest.raises(ModelError, match=r"behind a PyTorch feature head.*export from the PyTorch weights"):
        export_model(tmp_path / "net.onnx", "torchscript", tmp_path / "out")


def test_a_network_that_looks_at_landmarks_is_not_exported(tmp_path: Path, few: FaceSample) -> None:
    torch = pytest.importorskip("torch")
    torch.save(landmark_attention().state_dict(), tmp_path / "mine.pth")
    write_card(tmp_path / "mine.pth", size=224)
    with pytest.raises(ModelError, match="looks at landmarks too"):
        export_model(tmp_path / "mine.pth", "torchscript", tmp_path / "out", data=few)
    assert not (tmp_path / "out").exists()


def test_programs_and_other_files_are_not_exported_again(tmp_path: Path, few: FaceSample) -> None:
    weights = tmp_path / "model.tflite"
    weights.write_bytes(b"never read as a network")
    write_card(weights)
    with pytest.raises(ModelError, match=r"from ONNX files and from PyTorch weights, not from \.tflite"):
        export_model(weights, "onnx", tmp_path / "out", data=few)


@pytest.mark.skipif(
    find_spec("litert_torch") is None, reason="litert-torch is kept in an environment of its own: fertrack[tflite]"
)
def test_tflite_answers_the_same(tmp_path: Path) -> None:
    out = tmp_path / "lite"  # in a process of its own, because the converter leaves threads behind
    command = [sys.executable, "-m", "fertrack", "models", "export", "--format", "tflite", "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "parity.json").read_text())["max_logit_difference"] < 1e-4


@pytest.mark.parametrize(("target", "package"), [("tflite", "litert_torch"), ("tensorrt", "tensorrt")])
def test_what_is_not_installed_is_a_sentence_and_nothing_is_left(
    tmp_path: Path, few: FaceSample, target: str, package: str
) -> None:
    if find_spec(package) is not None:
        pytest.skip(f"{package} is installed here")
    with pytest.raises(MissingExtraError, match=f"--format {target} needs .*pip install") as caught:
        export_model("default", target, tmp_path / "out", data=few)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("target", "package"),
    [("torchscript", "torch"), ("tflite", "litert_torch"), ("tflite", "ai_edge_litert"), ("tensorrt", "tensorrt")],
)
def test_what_a_format_needs_is_asked_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, package: str
) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == package else name)
    with pytest.raises(FertrackError, match=rf"--format {target} needs the {package.replace('_', '-')} package, not"):
        export_model(tmp_path / "no-bundle", target, tmp_path / "out", data=tmp_path / "no-pictures")


@pytest.mark.parametrize("target", ["onnx", "onnx-int8", "tensorrt"])
def test_what_pytorch_weights_need_is_asked_before_the_network_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    (tmp_path / "mine.pth").write_bytes(b"never read as a network")
    write_card(tmp_path / "mine.pth")
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(FertrackError, match=r"of a PyTorch network needs the onnxscript package.*torch,export"):
        export_model(tmp_path / "mine.pth", target, tmp_path / "out", data=tmp_path / "no-pictures")


# --- what is refused


def test_above_the_tolerance_nothing_is_written(tmp_path: Path, few: FaceSample) -> None:
    with pytest.raises(ModelError, match=r"a logit differs by 0\.\d+, more than the 0\.001 tolerated .*nothing was"):
        export_model("default", "onnx-int8", tmp_path / "out", data=few, logit_tolerance=0.001, accuracy_tolerance=1.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("loss", ["accuracy", "mean_class_recall"])
def test_a_loss_of_accuracy_is_refused_too(loss: str) -> None:
    scores = {"accuracy": 0.80, "mean_class_recall": 0.75}
    parity = Parity(
        format="onnx-int8",
        source="a",
        exported="b",
        size_bytes=1,
        sample="s",
        faces=9,
        max_logit_difference=0.5,
        mean_logit_difference=0.1,
        same_winner=0.9,
        before=Scores(**scores),
        after=Scores(**(scores | {loss: scores[loss] - 0.006})),
        tolerance=Tolerance(logit=1.5),
    )
    assert len(parity.failures) == 1
    assert parity.failures[0].startswith(f"{loss.replace('_', '-', 1).replace('_', ' ')} falls by 0.0060")
    assert parity.as_dict()["passed"] is False


def parity_with(same_winner: float, tolerance: Tolerance) -> Parity:
    return Parity("onnx-int8", "a", "b", 1, "s", 80, 0.5, 0.1, same_winner, None, None, tolerance)


@pytest.mark.parametrize(("same_winner", "failures"), [(0.94, 1), (0.95, 0)])
def test_too_few_faces_with_the_same_winner_are_refused(same_winner: float, failures: int) -> None:
    parity = parity_with(same_winner, Tolerance(1.5, same_winner=SAME_WINNER))
    assert len(parity.failures) == failures
    assert all("the same in 94.0% of the faces, fewer than the 95% needed" in failure for failure in parity.failures)
    assert not parity_with(same_winner, Tolerance(1.5)).failures


def test_a_tolerance_that_is_given_takes_the_place_of_the_same_winners(
    tmp_path: Path, few: FaceSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fertrack.model_export.export.SAME_WINNER", 1.01)  # more than any export reaches
    unlabelled = FaceSample("faces", few.crops[:4], np.empty(0, np.int64))
    with pytest.raises(
        ModelError, match=r"the most likely expression is the same in 100\.0% of the faces.*nothing was"
    ):
        export_model("default", "onnx", tmp_path / "out", data=unlabelled)
    export_model("default", "onnx", tmp_path / "out", data=unlabelled, logit_tolerance=1.5)


def test_the_help_tells_of_the_floor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["models", "export", "--help"]) == 0
    assert f"{SAME_WINNER:.0%}".removesuffix("%") + " %" in capsys.readouterr().out


def test_a_difference_that_is_not_a_number_does_not_pass() -> None:
    crops = np.zeros((2, SIDE, SIDE, 3), np.uint8)

    class Answers:
        template, crop_size, fingerprint = np.zeros((5, 2), np.float32), SIDE, "fixed"

        def __init__(self, value: float) -> None:
            self.value = value

        def logits(self, crops: Image) -> FloatArray:
            return np.full((len(crops), 7), self.value, np.float32)

    parity = compare(
        Answers(0.0),
        Answers(float("nan")),
        FaceSample("two", crops, np.empty(0, np.int64)),
        target="onnx",
        size_bytes=1,
        tolerance=Tolerance(1e9),
    )
    assert parity.failures
    assert parity.accuracy_change is None
    assert "accuracy was not compared" in parity.lines()[-1]


def test_only_an_earlier_export_is_replaced_and_only_when_asked(tmp_path: Path, few: FaceSample) -> None:
    out = tmp_path / "out"
    export_model("default", "onnx", out, data=few)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        export_model("default", "onnx", out, data=few)
    export_model("default", "onnx", out, data=few, overwrite=True)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="something else"):
        export_model("default", "onnx", out, data=few, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_faces_of_another_size_are_refused(tmp_path: Path) -> None:
    small = FaceSample("small", np.zeros((2, 32, 32, 3), np.uint8), np.empty(0, np.int64))
    with pytest.raises(ValueError, match=r"faces must be \(N, 64, 64, 3\), got \(2, 32, 32, 3\)"):
        export_model("default", "onnx", tmp_path / "out", data=small)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"target": "coreml"}, "no format 'coreml'"), ({"target": "onnx", "logit_tolerance": -1.0}, "a tolerance is")],
)
def test_nonsense_is_refused_before_anything_is_done(tmp_path: Path, given: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        export_model("default", out=tmp_path / "out", **given)


def test_an_export_is_not_exported_again_where_that_cannot_work(int8: Path, tmp_path: Path, few: FaceSample) -> None:
    for target in ("torchscript", "onnx-int8"):
        with pytest.raises(ModelError, match=r"in eight bits.*export the one it was made of"):
            export_model(int8, target, tmp_path / "out", data=few)
    assert list(tmp_path.iterdir()) == []


# --- what they are compared on


def test_the_built_in_sample_is_the_same_every_time_and_says_what_it_is() -> None:
    template = load_bundle().template
    one, other = builtin_sample(template, SIDE), builtin_sample(template, SIDE)
    np.testing.assert_array_equal(one.crops, other.crops)
    assert not one.labelled
    assert "2 public-domain portraits" in one.name
    # The landmarks written down beside the portraits are on the faces: the network sees a smile in most variants.
    answers = build_classifier(ClassificationConfig()).logits(one.crops[:60]).argmax(axis=1)
    assert (answers == EXPRESSIONS.index("happiness")).mean() > 0.8


def test_without_the_portraits_the_sample_is_textures_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Image:
        raise MissingExtraError(f"no portrait {name}", "demo")

    monkeypatch.setattr("fertrack.demo.portrait", absent)
    assert builtin_sample(load_bundle().template, SIDE).name == "built-in sample: 40 textures"


def test_halves_have_no_face_in_common(few: FaceSample) -> None:
    numbered = FaceSample("n", np.arange(1000, dtype=np.uint32).reshape(-1, 1).view(np.uint8), np.arange(1000) % 7)
    first, second = numbered.halves()
    assert len(first) in range(300, 400)
    assert not {row.tobytes() for row in first.crops} & {row.tobytes() for row in second.crops}
    assert len(first) + len(second) == 1000
    assert len(few.halves()[0].labels) == len(few.halves()[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Labelled pictures: the smiling portrait twice, once with a label that is wrong."""
    for label in ("happiness", "sadness"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "faces" / label / "a.png"), portrait("astronaut"))
    return tmp_path / "faces"


def test_labelled_pictures_are_aligned_as_in_the_pipeline(folder: Path) -> None:
    seen: list[int] = []
    sample = labelled_sample(folder, load_bundle().template, SIDE, on_image=seen.append)
    assert seen == [1, 2]
    assert sample.labelled
    assert [EXPRESSIONS[label] for label in sample.labels] == ["happiness", "sadness"]
    logits = build_classifier(ClassificationConfig()).logits(sample.crops)
    assert (logits.argmax(axis=1) == EXPRESSIONS.index("happiness")).all()


def test_pictures_without_a_face_are_no_sample(tmp_path: Path) -> None:
    (tmp_path / "fear").mkdir()
    cv2.imwrite(str(tmp_path / "fear" / "a.png"), np.full((200, 200, 3), 90, np.uint8))
    with pytest.raises(EvaluationError, match="no face is found in any of the 1 images"):
        labelled_sample(tmp_path, load_bundle().template, SIDE)


# --- commands


def test_models_export_writes_the_classifier(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new"
    assert run(["models", "export", "--format", "onnx", "-o", str(out), "--data", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "accuracy 0.5000 → 0.5000 (+0.0000), mean-class recall 0.5000 → 0.5000" in printed
    assert printed.splitlines()[-1] == str(out)
    assert run(["models", "export", "--format", "onnx", "-o", str(out), "--overwrite", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["passed"] is True
    assert told["accuracy_change"] is None
    assert "--data" in told["accuracy_note"]
    assert json.loads((out / "parity.json").read_text())["accuracy_note"] == told["accuracy_note"]
    assert run(["models", "export", "--format", "onnx", "-o", str(out), "--overwrite"]) == 0
    assert "accuracy was not compared: no labelled images were given; give some with --data" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("model_format", ["onnx", "onnx-int8", "torchscript"])
def test_the_accuracy_on_labelled_pictures_is_compared_for_every_format(
    model_format: str, folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    done = export_model("default", model_format, tmp_path / "out", data=folder)
    parity = json.loads((done.folder / "parity.json").read_text())
    assert parity["accuracy_change"] == parity["after"]["accuracy"] - parity["before"]["accuracy"]
    assert parity["sample"].startswith("faces (")
    assert "accuracy_note" not in parity


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "last", "--format", "onnx"], "'onnx' is not one of"),
        (["export", "--format", "csv"], "Missing argument 'RUN'"),
        (["models", "export", "--format", "csv"], "'csv' is not one of"),
        (["models", "export"], "--format"),
    ],
)
def test_a_run_and_a_classifier_are_not_mixed_up(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_refusal_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(["models", "export", "--format", "onnx-int8", "-o", str(out), "--tolerance", "1e-6"]) == 1
    assert "nothing was written" in capsys.readouterr().err
    assert not out.exists()


# --- speed


def test_speed_is_told_per_face(int8: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert laboratory(["classifier_speed", str(int8), "--seconds", "0.05", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["faces"] for row in rows] == [1, 8]
    for row in rows:
        assert 0 < row["best_ms"] <= row["median_ms"]
        assert 0 < row["network_cpu_ms"] < 100
        assert row["runs"] >= 5
    assert laboratory(["classifier_speed", "--seconds", "0.05"]) == 0
    assert "network_cpu_ms" in capsys.readouterr().out
    with pytest.raises(ValueError, match="above 0"):
        measure_speed(seconds=0)


def test_the_report_has_a_row_for_every_format(few: FaceSample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fertrack.benchmarks.export_parity.FORMATS", {"onnx": "model.onnx", "tensorrt": "model.engine"})
    report = render("mine", few, export_rows("default", few, seconds=0.01))
    size_mb = load_bundle().model_path.stat().st_size / 1e6
    assert f"| onnx | {size_mb:.2f} | 20 | 0 | 0 | 100.00% |" in report
    if find_spec("tensorrt") is None:
        assert "| tensorrt | not made here: --format tensorrt needs the tensorrt package" in report
