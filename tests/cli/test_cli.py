"""The commands that read what is stored, and those that look at the machine."""

from __future__ import annotations

import io
import json
import math
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from fertrack import doctor
from fertrack.cli.main import run
from fertrack.config import Settings, digest, load_settings, to_toml
from fertrack.pipeline.pipeline import Pipeline
from fertrack.sinks.database import DatabaseSink, RunRecord
from fertrack.storage.engine import open_database
from fertrack.testing import ScenePerson, SceneSource, SyntheticScene
from tests.pipeline.test_pipeline import pipeline_for

SCENE = SyntheticScene(
    (
        ScenePerson((60, 80), (20, 0), script=((0.0, "happiness"), (1.0, "anger"))),
        ScenePerson((240, 160), script=((0.0, "sadness"),)),
    ),
    frame_count=60,
)


@pytest.fixture
def db(tmp_path: Path) -> str:
    """A database with one run of a scripted scene."""
    url = str(tmp_path / "results.db")
    pipeline: Pipeline = pipeline_for(SCENE)
    settings = Settings()
    record = RunRecord(
        config_toml=to_toml(settings),
        config_digest=digest(settings),
        detector="fake-detector",
        classifier="fake-classifier",
        calibration=pipeline.calibrator.record,
        fertrack_version="0",
    )
    source = SceneSource(SCENE)
    with open_database(url, create=True) as database:
        pipeline.run(source, [DatabaseSink(database, source.info, record, settings.storage)])
    return url


def test_runs_lists_what_is_stored(db: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "--db", db]) == 0
    table = capsys.readouterr().out
    assert "scene" in table
    assert "complete" in table
    assert run(["runs", "--db", db, "--format", "json"]) == 0
    (stored,) = json.loads(capsys.readouterr().out)
    assert (stored["run"], stored["frames"], stored["track_count"]) == (1, 60, 2)


def test_timeline_filters_and_formats(db: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["timeline", "last", "--db", db, "--track", "1", "--from", "0.4", "--to", "0.8", "--format", "csv"]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert rows["track"].unique().tolist() == [1]
    assert rows["time_s"].min() == pytest.approx(0.4)
    assert rows["time_s"].max() == pytest.approx(0.76)
    assert set(rows["label"]) == {"happiness"}
    assert run(["timeline", "1", "--db", db]) == 0
    printed = capsys.readouterr()
    assert "40 of 120 rows shown" in printed.err


def test_a_long_timeline_names_the_command_that_sums_it_up(db: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["timeline", "last", "--db", db]) == 0
    assert "'fertrack episodes 1' sums them up" in capsys.readouterr().err
    assert run(["episodes", "1", "--db", db, "--format", "json"]) == 0
    episodes = json.loads(capsys.readouterr().out)
    assert {(e["person"], e["expression"]) for e in episodes} == {
        ("ID 1", "happiness"),
        ("ID 1", "anger"),
        ("ID 2", "sadness"),
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["timeline", "7", "--db", "{db}"], "7"),
        (["timeline", "99999999999999999999", "--db", "{db}"], "no run 99999999999999999999"),
        (["timeline", "last", "--db", "{db}", "--track", "9"], "9"),
        (["timeline", "last", "--db", "{folder}/none.db"], "there is no database"),
        (["report", "last", "--db", "{db}", "-o", "{db}"], "cannot be made"),
        (["rescore", "last", "--db", "{db}", "--config", "{folder}/none.toml"], "no config file"),
        (["models", "convert", "{folder}/none.pth", "{folder}/out.onnx"], "none.pth"),
    ],
)
def test_a_bad_question_gets_one_sentence(
    arguments: list[str], sentence: str, db: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([argument.format(db=db, folder=tmp_path) for argument in arguments]) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: ")
    assert sentence in complaint
    assert len(complaint.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["proces", "clip.mp4"],
        ["process", "none.mp4", "--set", "tracking.max_age=-1"],
        ["process", "none.mp4", "--set", "tracking.maxage=3"],
        ["process", "none.mp4", "--set", "max_age"],
        ["process", "none.mp4", "--config", "fast", "--set", "video.crf=90"],
        ["process", "none.mp4", "--from", "2", "--to", "1"],
        ["process", "a.mp4", "b.mp4", "-o", "one.mp4"],
        ["process", "a.mp4", "-o", "one.mp4", "--no-video"],
        ["live", "0", "--set", "live.display_fps=-1"],
        ["timeline", "last", "--db", "{folder}/none.db", "--from", "2", "--to", "1"],
        ["rescore", "last", "--db", "{db}", "--set", "smoothing.halflife=1"],
        ["export", "last", "--db", "{folder}/none.db", "--format", "doc"],
        ["models", "pull", "yunett"],
        ["models", "calibrate", "none", "--set", "fit.fold=3"],
        ["models", "calibrate", "none", "--set", "fit.folds=1"],
        ["config", "show", "--set", "smoothing.half_life_s=-1"],
        ["privacy", "notice", "--set", "privacy.thumbnail=true"],
    ],
)
def test_what_is_wrong_as_typed_is_exit_code_2(
    arguments: list[str], db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever files and runs there are; see the guide's page ``start``."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.mp4").write_bytes(b"no video")
    assert run([argument.format(db=db, folder=tmp_path) for argument in arguments]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["process", "none.mp4"],
        ["process", "none.mp4", "--config", "none.toml"],
        ["process", "none.mp4", "--config", "wrong.toml"],
        ["process", "none.mp4", "--config", "broken.toml", "--set", "tracking.max_age=-1"],
        ["timeline", "9", "--db", "{db}"],
        ["timeline", "last", "--db", "{db}", "--person", "Nobody"],
        ["report", "last", "--db", "{folder}/none.db"],
        ["process", "clip.txt", "--classifier", "nothing"],
    ],
)
def test_what_could_not_be_done_is_exit_code_1(
    arguments: list[str], db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same line would do with other files, runs or devices."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.toml").write_text("[video]\ncrf = 90\n")
    (tmp_path / "broken.toml").write_text("[video\n")
    (tmp_path / "clip.txt").write_text("no video")
    assert run([argument.format(db=db, folder=tmp_path) for argument in arguments]) == 1
    assert capsys.readouterr().err.count("error: ") == 1


@pytest.mark.parametrize("command", ["timeline", "episodes"])
def test_an_unknown_expression_is_wrong_usage(db: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "last", "--db", db, "--expression", "hapiness"]) == 2
    words = capsys.readouterr().err.replace("│", " ").split()
    assert "did you mean 'happiness'?" in " ".join(words)


def test_debug_shows_where_an_error_came_from(db: str) -> None:
    from fertrack.errors import RunNotFoundError

    with pytest.raises(RunNotFoundError):
        run(["--debug", "timeline", "7", "--db", db])


def test_report_is_written_again_without_the_video(db: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "reports"
    assert run(["report", "last", "--db", db, "-o", str(out)]) == 0
    assert run(["export", "last", "--format", "csv", "--db", db, "-o", str(out)]) == 0
    paths = capsys.readouterr().out.split()
    assert [Path(path).name for path in paths] == [
        "run1.scene.report.html",
        "run1.scene.faces.csv",
        "run1.scene.episodes.csv",
    ]
    assert all(Path(path).stat().st_size for path in paths)
    assert run(["report", "last", "--db", db, "-o", str(out)]) == 1
    assert "run1.scene.report.html" in capsys.readouterr().err
    assert run(["report", "last", "--db", db, "-o", str(out), "--overwrite"]) == 0


def test_rescore_starts_from_what_the_run_was_made_with(db: str, capsys: pytest.CaptureFixture[str]) -> None:
    change = ["--set", "calibration.thresholds={happiness = 1.0}"]
    assert run(["rescore", "last", "--db", db, *change, "--set", "smoothing.half_life_s=0.1"]) == 0
    assert "120 faces rescored" in capsys.readouterr().out
    assert run(["timeline", "last", "--db", db, "--track", "1", "--to", "0.9", "--format", "csv"]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert set(rows["label"]) == {"uncertain"}
    assert run(["rescore", "last", "--db", db, "--set", "smoothing.hysteresis_margin=0.01"]) == 0
    with closing(sqlite3.connect(db)) as connection:
        (stored,) = connection.execute("SELECT config_toml FROM runs").fetchone()
    settings = load_settings(base=stored)
    assert (settings.smoothing.half_life_s, settings.smoothing.hysteresis_margin) == (0.1, 0.01)
    assert run(["rescore", "last", "--db", db, "--original"]) == 0
    with closing(sqlite3.connect(db)) as connection:
        (stored,) = connection.execute("SELECT config_toml FROM runs").fetchone()
    assert load_settings(base=stored) == Settings()


def test_a_run_of_an_earlier_version_is_rescored_reported_and_diagnosed(db: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(db)) as connection, connection:
        (stored,) = connection.execute("SELECT config_toml FROM runs").fetchone()
        earlier = stored.replace("\nuse_bias = true", "\nuse_bias = true\nboost = { anger = 4.0 }\npenalty = {}")
        earlier = earlier.replace("half_life_s = 0.25", "half_life_s = 0.0\nalpha = 0.2\nreference_fps = 25.0")
        assert earlier.count("\n") == stored.count("\n") + 4
        connection.execute("UPDATE runs SET config_toml = ?", (earlier,))
    assert run(["rescore", "last", "--db", db, "--set", "smoothing.hysteresis_margin=0.01"]) == 0
    with closing(sqlite3.connect(db)) as connection:
        (now,) = connection.execute("SELECT config_toml FROM runs").fetchone()
    settings = load_settings(base=now)
    assert settings.calibration.bias_profile == {"anger": pytest.approx(math.log(4.0))}
    assert settings.smoothing.half_life_s == pytest.approx(-math.log(2.0) / math.log(0.8) / 25.0)
    assert "boost" not in now
    assert run(["rescore", "last", "--db", db, "--original"]) == 0
    assert run(["report", "last", "--db", db, "-o", str(tmp_path / "report.html")]) == 0
    assert run(["diagnose", "last", "--db", db]) == 0


def test_rescore_takes_nothing_else_from_a_config_file(db: str) -> None:
    assert run(["rescore", "last", "--db", db, "--config", "accurate", "--config", "rafdb"]) == 0
    with closing(sqlite3.connect(db)) as connection:
        (stored,) = connection.execute("SELECT config_toml FROM runs").fetchone()
    settings = load_settings(base=stored)
    assert settings.tracking == Settings().tracking
    assert settings.calibration == load_settings(["rafdb"]).calibration


def test_rescore_refuses_what_it_cannot_change(db: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rescore", "last", "--db", db, "--set", "tracking.max_age=60"]) == 2
    assert "process the video again" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_timeline_names_its_video_and_says_when_nothing_is_there(db: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["timeline", "last", "--db", db]) == 0
    assert f"scene, run 1, from {db}" in capsys.readouterr().out
    assert run(["timeline", "last", "--db", db, "--from", "500"]) == 0
    assert "nothing there: the run covers 2.40 s and 2 tracks" in capsys.readouterr().err
    assert run(["timeline", "last", "--db", db, "--from", "2", "--to", "1"]) == 2


def test_square_brackets_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) in (0, 1)
    assert "extra [torch]" in capsys.readouterr().out
    assert run(["rescore", "--help"]) == 0
    assert "[calibration]" in capsys.readouterr().out


def test_db_current_and_upgrade(db: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["db", "current", "--db", db]) == 0
    assert "has the current schema" in capsys.readouterr().out
    assert run(["db", "upgrade", "--db", db]) == 0
    assert "has the current schema" in capsys.readouterr().out
    empty = tmp_path / "empty.db"
    empty.touch()
    assert run(["db", "upgrade", "--db", str(empty)]) == 0
    assert "upgraded from no tables" in capsys.readouterr().out


def test_models_list_names_licences_and_training_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(row["licence"] and row["training_data"] for row in rows)
    assert {"centerface", "yunet", "retinaface"} <= {row["name"] for row in rows}
    assert run(["models", "list"]) == 0
    assert "MIT" in capsys.readouterr().out


def test_models_verify_reads_the_files(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["models", "verify"]) == 0
    assert "centerface: verified" in capsys.readouterr().out
    from fertrack.models import inventory

    def differs(*_: object) -> None:
        raise inventory.WeightsError("another file")

    monkeypatch.setattr(inventory, "verify", differs)
    assert run(["models", "verify"]) == 1
    assert "centerface: hash differs" in capsys.readouterr().out


def test_config_show_is_read_back(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["config", "show", "--config", "fast", "--set", "tracking.max_age=7", "--plain"]) == 0
    shown = capsys.readouterr().out
    assert "#" not in shown
    assert load_settings(base=shown) == load_settings(["fast"], ["tracking.max_age=7"])


def test_doctor_finds_this_machine_ready(db: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--db", db]) == 0
    table = capsys.readouterr().out
    for expected in ("CPUExecutionProvider runs", "h264 (libx264)", "centerface: verified", "has the current schema"):
        assert expected in table
    assert run(["doctor", "--db", str(tmp_path / "new.db"), "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert any("none yet" in finding["found"] for finding in findings)


def test_doctor_says_what_to_do_about_each_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    not_ours = tmp_path / "notes.txt"
    not_ours.write_text("this is not a database, and it is longer than the header that a database would have here")
    monkeypatch.setattr(doctor, "packages_distributions", lambda: {"cv2": ["opencv-python", "opencv-python-headless"]})
    monkeypatch.setattr(doctor, "_ENCODERS", {"h264": "libnonsense"})
    assert run(["doctor", "--db", str(not_ours), "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    problems = [finding for finding in findings if finding["state"] == "problem"]
    assert [problem["what"] for problem in problems] == ["database"]
    assert all(finding["remedy"] for finding in findings if finding["state"] != "ok")
    doubled = next(finding for finding in findings if finding["what"] == "OpenCV")
    assert "several packages share the cv2 folder" in doubled["found"]
    assert "pip uninstall -y opencv-python-headless" in doubled["remedy"]


def test_one_broken_check_does_not_hide_the_others(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("no such library")

    broken.__name__ = "_encoders"
    monkeypatch.setattr(doctor, "_encoders", broken)
    findings = doctor.examine(db)
    assert any(f.what == "encoders" and f.is_problem for f in findings)
    assert any(f.what == "database" for f in findings)


def test_version_and_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("fertrack 0.")
    assert run([]) == 2
    assert "Usage" in capsys.readouterr().out


def test_help_comes_quickly() -> None:
    """No model, video or database library is loaded to print help; 0.5 s is promised, and this leaves room for load."""
    probe = (
        "import sys\nfrom fertrack.cli.main import run\nrun(['process', '--help'])\n"
        "heavy = {'cv2', 'av', 'onnxruntime', 'sqlalchemy', 'pandas', 'scipy', 'numpy'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or None)"
    )
    started = time.process_time()
    finished = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"--help loads {finished.stderr}"
    assert time.process_time() - started < 5
