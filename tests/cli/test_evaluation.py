"""The commands on labelled faces: evaluate expression and corrections, calibrate, bias."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from fertrack.cli.main import run
from fertrack.models.bundle import load_bundle
from fertrack.storage.engine import Database, open_database
from tests.support import queries
from tests.support.classifier_bundles import landmark_attention, save_torchscript, write_card
from tests.support.labelled_faces import labelled_faces
from tests.support.storage_scenes import store
from tests.tuning.test_bias_fit import SETTINGS, db  # noqa: F401  # a fixture
from tests.tuning.test_diagnose import CALM, scene


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled") / "faces"
    labelled_faces(folder)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_pictures_are_scored_with_the_detector_in_the_loop(
    faces: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "expression", str(faces), "--with-detector", "--resamples", "5"]
    assert run([*words, "-o", "scores", "--model-card", "card.md"]) == 0
    shown = capsys.readouterr()
    assert "24 of 24 faces found" in shown.out
    assert "faces classified a second" in shown.out
    assert "Those of calibration errors lie above their values" in shown.out
    fear = next(line for line in shown.out.splitlines() if line.startswith("fear "))
    assert fear.split() == ["fear", "0", "-", "-", "-"]
    assert [line.split("  ")[0] for line in shown.out.splitlines()[-4:]] == [
        "training's",
        "as configured",
        "equal",
        "this set's own",
    ]
    assert "happiness" in shown.out
    assert sorted(path.name for path in (here / "scores").iterdir()) == [
        "confusion.csv",
        "confusion.svg",
        "expression.html",
        "expression.json",
    ]
    assert load_bundle().fingerprint in (here / "card.md").read_text()
    record = json.loads((here / "scores" / "expression.json").read_text())
    # The smile is wide and the other portrait is earnest: both are read as they are labelled.
    assert record["scores"]["measures"]["accuracy"]["value"] > 0.9
    away = faces.rename(faces.parent / "away")
    assert run([*words, "-o", "scores"]) == 1
    assert "use --overwrite" in capsys.readouterr().err, "said before the pictures are looked at"
    away.rename(faces)


def test_weights_that_look_at_landmarks_are_scored(faces: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    torch.save(landmark_attention().state_dict(), here / "la.pth")
    bundle = write_card(here / "la.pth", size=224)
    words = ["evaluate", "expression", str(faces), "--classifier", "la.pth", "--json", "--resamples", "0"]
    for more in ([], ["--with-detector"]):
        assert run([*words, *more]) == 0
        record = json.loads(capsys.readouterr().out)
        assert bundle.fingerprint in record["facts"]["classifier"]
        assert record["scores"]["faces"] == 24


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("command", [["evaluate", "expression"], ["models", "calibrate"]])
def test_a_program_is_scored_and_calibrated_when_it_is_trusted(
    faces: Path, here: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8, 8), torch.nn.Flatten(), torch.nn.Linear(256, 7))
    write_card(save_torchscript(network, torch.zeros(1, 3, 64, 64), here / "net.pt"))
    words = [*command, str(faces), "--classifier", "net.pt", "--resamples", "0"]
    assert run(words) == 1
    told = capsys.readouterr().err
    assert "allow it with --set classification.trust_code=true if you trust its maker" in " ".join(told.split())
    assert run([*words, "--set", "classification.trust_code=true"]) == 0
    assert (
        run(
            [
                *words,
                "--set",
                "classification.trust_code=true",
                *(["--overwrite"] if command == ["models", "calibrate"] else []),
            ]
        )
        == 0
    )


def test_pictures_are_taken_as_crops_otherwise(faces: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "expression", str(faces), "--json", "--resamples", "0"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert "taken as aligned: cut to a square, resized" in record["facts"]["crops"]
    assert record["scores"]["faces"] == 24


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["evaluate", "expression", "nothing/"], "there is no nothing"),
        (["evaluate", "expression", "FACES", "--classifier", "nothing"], "no classifier bundle 'nothing'"),
        (["evaluate", "expression", "FACES", "--config", "nothing.toml"], "no config file 'nothing.toml'"),
        (["evaluate", "expression", "blank/"], "no face was found in any of the 1 images"),
        (["models", "calibrate", "few/"], "at least 20 labelled faces of two expressions are needed"),
        (["models", "calibrate", "one/"], "got 20 of 1"),
        (["models", "calibrate", "nothing", "-o", "there.toml"], "there is no nothing"),
        (
            ["models", "calibrate", "FACES", "-o", "there.toml"],
            "there.toml is already there: use --overwrite, or write it",
        ),
        (["models", "bias", "fit", "few/"], "no profile was made: too few labels"),
        (["models", "bias", "use", "1", "last"], "there is no bias profile 1"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    faces: Path, here: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    for folder in ("blank", "few"):
        (here / folder / "sad").mkdir(parents=True)
        assert cv2.imwrite(str(here / folder / "sad" / "a.png"), np.zeros((60, 60, 3), np.uint8))
    with open_database(here / "fertrack-out" / "fertrack.db", create=True) as database:
        frames, _ = scene(CALM[:3])
        store(database, frames)
    (here / "one" / "sad").mkdir(parents=True)
    for number in range(20):  # too few expressions: refused before it is found that these are no pictures
        (here / "one" / "sad" / f"{number}.png").write_text("no picture")
    (here / "there.toml").write_text("")
    given = [str(faces) if word == "FACES" else word for word in words]
    assert run(given if "blank/" not in words else [*given, "--with-detector"]) == 1
    assert sentence in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", [["evaluate", "expression"], ["models", "calibrate"]])
def test_an_unreadable_picture_is_left_out_and_named(
    here: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    labelled_faces(here / "faces")
    (here / "faces" / "neutral" / "0.png").write_bytes(b"no picture")
    assert run([*command, "faces", "--resamples", "0"]) == 0
    shown = capsys.readouterr()
    assert "left out: 1 unreadable: neutral/0.png" in shown.out
    assert "note: left out: 1 unreadable: neutral/0.png" in shown.err


def test_a_calibration_is_fitted_written_and_used(faces: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit = [
        "models",
        "calibrate",
        str(faces),
        "--with-detector",
        "--resamples",
        "0",
        "--prior-strength",
        "0.5",
        "--set",
        "fit.folds=2",
    ]
    assert run([*fit, "--report", "scores"]) == 0
    out = capsys.readouterr().out
    assert "after, held out" in out
    assert "happiness: only 12 images of it" in out
    assert "fear: no image shows it" in out
    name = load_bundle().calibration.classifier.replace(" ", "-")
    path = here / "configs" / "calibration" / f"{name}.toml"
    content = tomllib.loads(path.read_text())
    written = content["calibration"]
    assert written["prior_strength"] == 0.5
    assert len(content["record"]["data_sha256"]) == 64
    assert (here / "scores" / "calibration.html").is_file()
    assert run(fit) == 1, "nothing is replaced unasked"
    assert "use --overwrite" in capsys.readouterr().err
    scored = ["evaluate", "expression", str(faces), "--with-detector", "--json", "--resamples", "0"]
    assert run([*scored, "--config", str(path)]) == 0
    facts = json.loads(capsys.readouterr().out)["facts"]
    assert facts["calibration"].startswith(f"prior strength 0.5, T {written['temperature']:g}; fitted on faces")
    assert run([*fit, "--json", "-o", "other.toml", "--fit", "bias"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == ["other.toml"]
    assert [each["problems"][0] for each in told["targets"]].count("no images") == 5
    spoilt = path.read_text().replace(f'classifier = "{written["classifier"]}"', 'classifier = "another 1"')
    path.write_text(spoilt)
    assert run([*scored, "--config", str(path)]) == 1
    assert "were fitted for 'another 1'" in capsys.readouterr().err


def test_corrections_are_scored_and_learned_from(
    db: Database,  # noqa: F811  # the fixture
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ["--db", db.name]
    assert run(["evaluate", "corrections", "last", *where, "--resamples", "5", "-o", "scores"]) == 0
    assert "399 with an expression" in capsys.readouterr().out
    assert (here / "scores" / "expression.html").is_file()
    assert run(["models", "bias", "fit", "last", *where]) == 0
    out = capsys.readouterr().out
    assert "profile 1, learned from 399 moments" in out
    assert "95 % interval of the gain +0." in out
    assert "taken for" in out
    profile = (here / "fertrack-out" / "bias" / "bias-v1.toml").read_text(encoding="utf-8")
    source = queries.run_facts(db, "last").source_name
    assert source
    assert source not in profile, "the source may be called like somebody, and no erasure looks into this file"
    assert run(["models", "bias", "fit", "last", *where, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["version"] == 2
    assert told["macro_f1_gain"]["low"] > 0.0
    assert told["mean_recall_gain"]["low"] > 0.0
    assert run(["models", "bias", "list"]) == 0
    assert "corrections of run 1" in capsys.readouterr().out
    assert run(["models", "bias", "list", "--json"]) == 0
    assert [each["version"] for each in json.loads(capsys.readouterr().out)] == [1, 2]
    assert run(["models", "bias", "use", "1", "last", *where]) == 0
    changed = capsys.readouterr().out
    assert "400 faces rescored" in changed
    assert "0 labels changed" not in changed
    assert run(["models", "bias", "undo", "last", *where]) == 0
    assert capsys.readouterr().out == changed, "as many labels change back"
    assert run(["models", "bias", "undo", "last", *where]) == 1
    assert "nothing to undo" in capsys.readouterr().err
    assert run(["models", "bias", "use", "none", "last", *where]) == 0
    assert run(["models", "bias", "use", "first", "last", *where]) == 2
    assert SETTINGS.calibration.bias_profile is None


def test_biases_are_learned_from_pictures(faces: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit = ["models", "bias", "fit", str(faces), "--with-detector", "--profiles", "mine"]
    assert run(fit) == 1, "all are right as it is"
    assert "no profile was made: on faces held out no answer gains by it" in " ".join(capsys.readouterr().err.split())
    assert not (here / "mine").exists()
    spoilt = ["--set", "calibration.temperature=1", "--set", "calibration.bias={neutral=5.5}"]
    assert run([*fit, *spoilt]) == 0
    assert "profile 1, learned from 24 moments: faces" in capsys.readouterr().out
    assert (here / "mine" / "bias-v1.toml").is_file()
