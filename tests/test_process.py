"""The main job, end to end, on a clip composed from public-domain portraits, with the models that ship."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest

import fertrack
from fertrack.cli.main import run
from fertrack.config import load_settings
from fertrack.demo import compose_demo
from fertrack.detectors import centerface
from tests.support import queries

FRAMES = 40


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, 1.6 s, with sound."""
    return compose_demo(tmp_path_factory.mktemp("clip") / "two people.mp4", frame_count=FRAMES)


@pytest.fixture(scope="module")
def processed(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> fertrack.ProcessResult:
    return fertrack.process_video(clip, tmp_path_factory.mktemp("out"))


def test_two_persons_are_found_and_followed(processed: fertrack.ProcessResult) -> None:
    assert (processed.summary.status, processed.summary.frames, processed.summary.tracks) == ("complete", FRAMES, 2)
    persons = processed.persons()
    assert persons["track_ids"].tolist() == [(1,), (2,)]
    assert persons["person"].tolist() == ["P1", "P2"]
    assert persons["frames"].tolist() == [FRAMES, FRAMES]
    timeline = processed.timeline(track=2)
    assert timeline["frame_index"].tolist() == list(range(FRAMES))
    np.testing.assert_allclose(timeline["time_s"], np.arange(FRAMES) / 25)
    assert (timeline["x1"].diff().dropna().abs() < 20).all()  # one smooth path: never the other face, 500 px away


def test_the_annotated_video_plays_and_keeps_time_and_sound(clip: Path, processed: fertrack.ProcessResult) -> None:
    assert processed.video_path is not None
    with av.open(clip) as before, av.open(processed.video_path) as after:
        for container in (before, after):
            assert [stream.type for stream in container.streams] == ["video", "audio"]
        video = after.streams.video[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        times = [[frame.time for frame in container.decode(video=0)] for container in (before, after)]
        np.testing.assert_allclose(times[1], times[0], atol=1e-6)
    assert processed.video_path.read_bytes().find(b"moov") < processed.video_path.read_bytes().find(b"mdat")


def test_the_report_and_the_database_are_there(processed: fertrack.ProcessResult) -> None:
    assert processed.report_path is not None
    report = processed.report_path.read_text(encoding="utf-8")
    assert "two people.mp4" in report
    with fertrack.open_database(processed.database_url) as database:
        facts = queries.run_facts(database, processed.run)
        assert facts.status == "complete"
        assert "centerface sha256:" in facts.detector
        # What was left to the detector is stored as what it chose, so that the run can be repeated elsewhere.
        chosen = centerface.build().options.precision
        assert load_settings(base=facts.config_toml) == load_settings([], [f"detection.precision={chosen}"])
        assert ("int8" in facts.detector) == (chosen == "int8")


@pytest.mark.parametrize(
    "overrides", [["engine.workers=1"], ["engine.workers=3", "engine.batch=4", "input.prefetch=1"]]
)
def test_rows_do_not_depend_on_batch_size_or_threads(
    clip: Path, processed: fertrack.ProcessResult, tmp_path: Path, overrides: list[str]
) -> None:
    settings = load_settings([], [*overrides, "video.enabled=false", "report.html=false"])
    other = fertrack.process_video(clip, tmp_path, settings=settings)
    expected, got = (result.timeline().drop(columns="run") for result in (processed, other))
    assert got.equals(expected)


def test_a_password_in_a_database_url_is_not_stored(clip: Path, tmp_path: Path) -> None:
    from fertrack.process import _without_address

    settings = load_settings([], ["storage.url=postgresql://me:secret@host/db"])
    assert "secret" not in repr(_without_address(settings))


def test_videos_of_the_same_name_get_names_of_their_own(tmp_path: Path) -> None:
    from fertrack.outputs.plan import plan_outputs

    locations = ["day1/a.mov", "day2/a.mov", "day2/a.mp4", "b.mp4", "x/day1/a.mov"]
    plans = plan_outputs([str(tmp_path / name) for name in locations], tmp_path, fertrack.Settings(), overwrite=False)
    names = [plan.stem for plan in plans]
    assert names == ["1-a.mov", "day2-a.mov", "a.mp4", "b", "5-a.mov"]


def test_the_video_that_is_read_is_never_replaced(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "recording.mp4"
    recording.write_bytes(clip.read_bytes())
    assert run(["process", str(recording), "-o", str(recording), "--overwrite"]) == 1
    assert "is the video that is to be read" in capsys.readouterr().err
    assert recording.read_bytes() == clip.read_bytes()


def test_a_file_name_is_refused_where_a_folder_is_needed(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = str(tmp_path / "one.mp4"), tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes())
    assert run(["process", str(clip), str(other), "-o", out]) == 2
    assert "there are several videos: name a folder" in capsys.readouterr().err
    assert run(["process", str(clip), "-o", out, "--no-video"]) == 2
    assert "no video is written: name a folder" in capsys.readouterr().err


def test_existing_outputs_are_refused_before_any_work(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    existing = tmp_path / "two people.annotated.mp4"
    existing.write_bytes(b"precious")
    assert run(["process", str(clip), "-o", str(tmp_path)]) == 1
    assert "is already there: use --overwrite" in capsys.readouterr().err
    assert existing.read_bytes() == b"precious"
    assert not (tmp_path / "fertrack.db").exists()


def stored_frames(path: Path) -> int:
    """Frames committed so far by another process."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM frames").fetchone()[0])
    except sqlite3.OperationalError:  # not there yet, or still being made
        return 0


@pytest.mark.parametrize(("ending", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_whatever_ends_a_run_what_was_done_is_kept(tmp_path: Path, ending: str, code: int) -> None:
    long_clip = compose_demo(tmp_path / "long.mp4", frame_count=250)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "fertrack", "process", str(long_clip), "-o", str(out), "--set", "engine.workers=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while stored_frames(out / "fertrack.db") < 10 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, getattr(signal, ending))
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == code, complaint
    assert "what was done so far is kept" in complaint
    with fertrack.open_database(out / "fertrack.db") as database:
        (stored,) = queries.runs(database).to_dict("records")
        assert stored["status"] == "interrupted"
        assert 0 < stored["frames"] < 250
        rows = queries.timeline(database, 1)
    assert rows["frame_index"].max() == stored["frames"] - 1
    with av.open(out / "long.annotated.mp4") as video:
        assert sum(1 for _ in video.decode(video=0)) == stored["frames"]


def test_ctrl_c_between_two_videos_is_not_forgotten() -> None:
    """The run that is being finished is past its frame loop; only the event still knows that a stop was asked for."""
    from fertrack.cli.process import _stop_on_signals
    from fertrack.testing import SceneSource, SyntheticScene
    from tests.pipeline.test_pipeline import pipeline_for

    scene = SyntheticScene((), frame_count=3)
    pipeline = pipeline_for(scene)
    handler = signal.getsignal(signal.SIGINT)
    with _stop_on_signals(pipeline.stop) as stopped:
        assert stopped == []
        signal.raise_signal(signal.SIGINT)
        assert stopped == [130]
        assert pipeline.run(SceneSource(scene)).status == "complete"
        assert stopped == [130]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == handler


def test_json_is_for_machines(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(
            [
                "process",
                str(clip),
                "-o",
                str(tmp_path),
                "--rate",
                "5",
                "--no-video",
                "--set",
                "report.csv=true",
                "--json",
                "--set",
                "linking.method=off",
            ]
        )
        == 0
    )
    (result,) = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert result["status"] == "complete"
    assert result["frames"] == 8
    assert result["video"] is None
    assert {Path(path).name for path in result["csv"]} == {"two people.faces.csv", "two people.episodes.csv"}
    assert len(result["persons"]) == 2


def test_one_bad_file_does_not_stop_the_others(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("not a video")
    out = tmp_path / "out"
    assert run(["process", str(bad), str(clip), "-o", str(out), "--to", "0.4", "--set", "report.html=false"]) == 1
    printed = capsys.readouterr()
    assert "bad.mp4" in printed.err
    assert f"--db {out / 'fertrack.db'}" in printed.err  # what to ask next, of the right database
    assert (out / "two people.annotated.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nowhere.mp4"], 1, "nowhere.mp4"),
        (["."], 1, ""),
        (["{clip}", "--set", "detection.name=centreface"], 2, "did you mean 'centerface'"),
        (["{clip}", "--set", "detection.name=retinaface"], 1, "retinaface"),
        (["{clip}", "--set", "classification.bundle=/nowhere"], 1, "/nowhere"),
        (["{clip}", "--set", "tracking.nonsense=1"], 2, "unknown option"),
        (["{clip}", "--from", "2", "--to", "1"], 2, "from"),
        (["{clip}", "--from", "60"], 1, "60"),
        (["{clip}", "--set", "input.rotate=45"], 2, "input.rotate"),
        (["{clip}", "--rate", "-1"], 2, "--rate -1.0: "),
        (["{clip}", "--db", "{folder}/other.txt"], 1, "other.txt"),
        ([], 2, "Missing argument"),
        (["{clip}", "--no-such-option"], 2, "No such option"),
    ],
)
def test_bad_input_gets_one_sentence(
    arguments: list[str],
    code: int,
    sentence: str,
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no-cache"))
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path / "no-cache"))
    (tmp_path / "other.txt").write_text(
        "this is not a database, whatever its length is, and it is longer than a header"
    )
    given = [argument.format(clip=clip, folder=tmp_path) for argument in arguments]
    assert run(["process", *given, *(["-o", "out"] if given else [])]) == code
    complaint = capsys.readouterr().err
    assert sentence in complaint
    if code == 1:
        assert complaint.startswith("error: ")
        assert len(complaint.strip().splitlines()) == 1
        assert "Traceback" not in complaint
