"""Many recordings: lists are read row by row, done files are skipped, and whatever ends one file leaves the others."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

import fertrack
from fertrack.batch.inputs import batch_inputs
from fertrack.batch.one_file import BatchOptions, Outcome
from fertrack.batch.workers import Job, run_batch
from fertrack.cli.main import run
from fertrack.config import Settings, load_settings
from fertrack.demo import compose_demo
from fertrack.errors import ConfigError, TableError
from fertrack.outputs.plan import name_outputs
from fertrack.storage.engine import open_database
from fertrack.storage.runs import fail_run_of, runs
from fertrack.storage.writer import RunWriter
from tests.support import queries
from tests.support.storage_scenes import INFO, RECORD

BARE = ["video.enabled=false", "report.html=false"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compose_demo(tmp_path_factory.mktemp("clip") / "a.mp4", frame_count=6)


def listed(folder: Path, text: str) -> Path:
    path = folder / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_list_gives_each_file_its_own_options(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    for name in ("x.mp4", "y.mov"):
        (tmp_path / "day" / name).touch()
    path = listed(
        tmp_path,
        "Video;Participant;Session;condition;retention;from;to;rate;detection.long_side\n"
        "day/x.mp4;007;2;high load;30;0:01;1,5;5;480\n"
        "day;P8;;;;;;;\n"
        "gone.mp4;;;;;;;;\n",
    )
    base = load_settings([], ["privacy.purpose=study", "storage.url=postgresql://me:word@host/db"])
    first, x, y, gone = batch_inputs([str(path)], base)
    own = first.settings
    assert own.recording.model_dump() == {"participant": "007", "session": "2", "condition": "high load"}
    assert (own.privacy.retention_days, own.input.from_s, own.input.to_s, own.input.rate_hz) == (30, 1.0, 1.5, 5.0)
    assert own.detection.long_side == 480
    assert own.privacy.purpose == "study"
    assert own.storage == base.storage
    assert [Path(each.location).name for each in (x, y)] == ["x.mp4", "y.mov"]
    assert {each.settings.recording.participant for each in (x, y)} == {"P8"}
    assert gone.settings == base
    assert not first.named_alone


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("participant\nP1\n", "no column 'video'"),
        ("video,conditon\na.mp4,rest\n", "did you mean 'condition'?"),
        ("video,age\na.mp4,30\n", "nothing called 'age' to set"),
        ("video,from\na.mp4,soon\nb.mp4,\n", "row 2: from must be seconds"),
        ("video,purpose\na.mp4,employee monitoring\n", "row 2: .*inferring emotions of people at work"),
        ("video,tracking.max_agee\na.mp4,3\n", "did you mean 'max_age"),
        ("video,to\n,3\n", "row 2: no video is named"),
        ("video\n", "names no video"),
    ],
)
def test_a_wrong_list_is_refused_before_anything_begins(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=said.replace("?", r"\?")):
        batch_inputs([str(listed(tmp_path, text))], Settings())


def test_files_end_one_by_one_and_done_ones_are_skipped(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(clip, tmp_path / "copy.mp4")
    shutil.copy(clip, tmp_path / "part.mp4")
    (tmp_path / "bad.mp4").write_text("no video")
    text = f"video,condition,to\n{clip},rest,\nbad.mp4,,\ncopy.mp4,rest,\npart.mp4,stress,0.13\n"
    out = tmp_path / "out"
    command = ["process", str(listed(tmp_path, text)), "-o", str(out), "--workers", "2", "--json"]
    command += [part for each in BARE for part in ("--set", each)]
    assert run(command) == 1
    first, bad, copy, part = json.loads(capsys.readouterr().out)
    assert [first["run"], part["run"]] == [1, 2]  # as one process would number them
    assert (first["status"], part["frames"]) == ("complete", 4)
    assert (bad["status"], copy["status"], copy["run"]) == ("failed", "skipped", 1)
    alone = fertrack.process_video(clip, tmp_path / "alone", settings=load_settings([], BARE))
    with open_database(out / "fertrack.db") as database, open_database(alone.database_url) as other:
        together = queries.timeline(database, 1, include_unconfirmed=True)
        assert together.equals(queries.timeline(other, 1, include_unconfirmed=True))
        assert runs(database)["condition"].tolist() == ["rest", "stress"]

    listed(tmp_path, text.replace("stress", "load"))
    assert run(command) == 1
    printed = capsys.readouterr()
    assert [each["status"] for each in json.loads(printed.out)] == ["skipped", "failed", "skipped", "skipped"]
    assert "failed before" in printed.err
    assert "--retry-failed tries it again" in printed.err
    with open_database(out / "fertrack.db") as database:
        assert runs(database)["condition"].tolist() == ["rest", "load"]  # mended in the list, mended in the run


class Deadly:
    """Ends the process that unpickles it, as a decoder does that crashes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return signal.raise_signal, (signal.SIGKILL,)


@pytest.mark.skipif(os.name == "nt", reason="signals end processes elsewhere")
def test_a_process_that_crashes_costs_one_file(clip: Path, tmp_path: Path) -> None:
    settings = load_settings([], BARE)
    crash, good = name_outputs([str(tmp_path / "crash.mp4"), str(clip)], tmp_path, [settings] * 2)
    deadly: Any = Deadly()
    ended: list[Outcome] = []
    with open_database(tmp_path / "f.db", create=True) as database:
        outcomes = run_batch(
            [Job(crash, deadly), Job(good, settings)],
            database,
            settings,
            BatchOptions(),
            workers=1,
            on_end=ended.append,
            on_progress=lambda place, progress: None,
            stopped=lambda: False,
        )
    assert [outcome.state for outcome in outcomes] == ["failed", "done"]
    assert outcomes == ended
    assert "ended (SIGKILL, as when memory has run out)" in outcomes[0].why


def test_the_run_of_a_process_that_ended_is_failed(tmp_path: Path) -> None:
    with open_database(tmp_path / "f.db", create=True) as database:
        RunWriter(database, INFO, RECORD)
        assert fail_run_of(database, os.getpid(), "it ended") == 1
        assert fail_run_of(database, os.getpid(), "it ended") == 0
        assert runs(database)[["status", "error"]].values.tolist() == [["failed", "it ended"]]


def test_persons_across_files_need_one_process(tmp_path: Path) -> None:
    settings = load_settings([], ["linking.across=true"])
    (plan,) = name_outputs(["a.mp4"], tmp_path, [settings])
    with (
        open_database(tmp_path / "f.db", create=True) as database,
        pytest.raises(ConfigError, match="leave out"),
    ):
        run_batch(
            [Job(plan, settings)],
            database,
            settings,
            BatchOptions(),
            workers=2,
            on_end=lambda outcome: None,
            on_progress=lambda place, progress: None,
            stopped=lambda: False,
        )
