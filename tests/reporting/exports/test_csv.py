"""The CSV files: their columns are a promise, their rows are the database's."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fertrack.cli.main import run as command
from fertrack.errors import OutputExistsError, ReportError, RunNotFoundError
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.exports.csv_export import write_csv
from fertrack.reporting.exports.csv_rows import write_rows
from fertrack.storage.engine import Database, open_database
from fertrack.types import EXPRESSIONS
from tests.support import queries
from tests.support.reporting_runs import ScriptedPerson, ScriptedRun, store_run

RUN = ScriptedRun(
    persons=(
        ScriptedPerson([(0, 0.8), (1.5, 2)], [(0, "neutral"), (0.52, "happiness"), (1.6, "uncertain")], 'Ana "Ö", 李'),
        ScriptedPerson([(0, 2)], [(0, "sadness"), (1.0, "uncertain")]),
        ScriptedPerson([(0, 0.04)], confirmed=False),
    )
)

FACES_HEADER = (
    "run,frame_index,face_index,time_s,track,person,x1,y1,x2,y2,score,label,corrected,probability,"
    "p_surprise,p_fear,p_disgust,p_happiness,p_sadness,p_anger,p_neutral,"
    "raw_surprise,raw_fear,raw_disgust,raw_happiness,raw_sadness,raw_anger,raw_neutral,quality"
)
EPISODES_HEADER = (
    "run,track,person,expression,start_s,end_s,duration_s,mean_probability,peak_probability,frames,corrected"
)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with open_database(tmp_path_factory.mktemp("csv") / "fertrack.db", create=True) as database:
        yield database


@pytest.fixture(scope="module")
def run(db: Database) -> int:
    return store_run(db, RUN)


def test_golden_files(db: Database, run: int, tmp_path: Path) -> None:
    paths = write_csv(db, run, tmp_path / "out", "clip")
    assert [path.name for path in paths] == ["clip.faces.csv", "clip.episodes.csv"]
    faces, episodes = (path.read_bytes().decode("utf-8") for path in paths)
    lines = faces.split("\r\n")
    assert lines[0] == FACES_HEADER
    assert lines[1] == (
        f"{run},0,2,0.000000,-1,,150.00,40.00,194.25,100.00,0.9876,uncertain,,0.7000,"
        "0.0500,0.0500,0.0500,0.0500,0.0500,0.0500,0.7000,0.0500,0.0500,0.0500,0.0500,0.0500,0.0500,0.7000,"
    )
    assert lines[2].startswith(f'{run},0,0,0.000000,1,"Ana ""Ö"", 李",50.00,40.00,94.25,100.00,0.9876,neutral,,0.7000,')
    assert episodes == (
        f"{EPISODES_HEADER}\r\n"
        f'{run},1,"Ana ""Ö"", 李",neutral,0.000000,0.520000,0.520000,0.7000,0.7000,13,\r\n'
        f'{run},1,"Ana ""Ö"", 李",happiness,0.520000,0.800000,0.280000,0.7000,0.7000,7,\r\n'
        f"{run},2,,sadness,0.000000,1.000000,1.000000,0.7000,0.7000,25,\r\n"
    )


def test_files_are_rfc_4180(db: Database, run: int, tmp_path: Path) -> None:
    for path in write_csv(db, run, tmp_path, "clip"):
        text = path.read_bytes().decode("utf-8")
        assert not text.startswith("\ufeff")
        assert text.endswith("\r\n")
        assert text.count("\n") == text.count("\r\n")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        assert {len(row) for row in rows} == {len(rows[0])}


def test_every_face_of_every_frame_is_there(db: Database, run: int, tmp_path: Path) -> None:
    read = pd.read_csv(write_csv(db, run, tmp_path, "clip")[0])
    stored = queries.timeline(db, run, include_unconfirmed=True)
    assert len(read) == len(stored) == 20 + 12 + 50 + 1
    assert read["track"].tolist() == stored["track"].tolist()
    assert (read["track"] == -1).sum() == 1
    for name in ("time_s", "probability", *(f"{kind}_{e}" for kind in ("p", "raw") for e in EXPRESSIONS)):
        assert (read[name] - stored[name]).abs().max() < 6e-5, name


def test_times_of_a_90_khz_clock_are_told_apart(db: Database, tmp_path: Path) -> None:
    run = store_run(db, ScriptedRun([ScriptedPerson([(0, 9e9)])], frames=3, fps=90_000.0, first_s=3600.0))
    read = pd.read_csv(write_csv(db, run, tmp_path, "clip")[0])
    assert read["time_s"].is_unique


def test_options_decide_what_is_an_episode(db: Database, run: int, tmp_path: Path) -> None:
    config = ReportConfig(min_episode_s=0.6)
    episodes = pd.read_csv(write_csv(db, run, tmp_path, "long", config)[1])
    assert episodes["expression"].tolist() == ["sadness"]
    config = ReportConfig(max_gap_s=0.9)
    episodes = pd.read_csv(write_csv(db, run, tmp_path, "joined", config)[1])
    ana_happy = episodes[(episodes["track"] == 1) & (episodes["expression"] == "happiness")]
    assert ana_happy["end_s"].tolist() == [1.6]  # bridged 0.7 s without a face


def test_a_run_without_faces_gives_headers(db: Database, tmp_path: Path) -> None:
    faces, episodes = write_csv(db, store_run(db, ScriptedRun()), tmp_path, "empty")
    assert faces.read_bytes().decode() == f"{FACES_HEADER}\r\n"
    assert episodes.read_bytes().decode() == f"{EPISODES_HEADER}\r\n"


def test_nothing_is_replaced_unless_asked(db: Database, run: int, tmp_path: Path) -> None:
    there = tmp_path / "clip.episodes.csv"
    there.write_text("precious")
    with pytest.raises(OutputExistsError, match=r"clip\.episodes\.csv is already there"):
        write_csv(db, run, tmp_path, "clip")
    assert there.read_text() == "precious"
    assert not (tmp_path / "clip.faces.csv").exists()
    write_csv(db, run, tmp_path, "clip", overwrite=True)
    assert there.read_text().startswith("run,track,")


def test_a_folder_that_cannot_be_made_is_one_sentence(db: Database, run: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match=r"clip\.faces\.csv could not be written"):
        write_csv(db, run, tmp_path / "file" / "folder", "clip")


def test_an_unknown_run_leaves_no_files(db: Database, tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError):
        write_csv(db, 7, tmp_path / "out", "clip")
    assert not (tmp_path / "out").exists()


def test_a_write_that_breaks_off_leaves_the_old_file_and_no_other(
    db: Database, run: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_csv(db, run, tmp_path / "out", "clip")
    before = paths[0].read_bytes()

    def disk_full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(ReportError, match="No space left on device"):
        write_csv(db, run, tmp_path / "out", "clip", overwrite=True)
    assert paths[0].read_bytes() == before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"clip.faces.csv", "clip.episodes.csv"}


def test_the_command_line_prints_what_the_files_hold(
    db: Database, run: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces, _ = write_csv(db, run, tmp_path, "clip")
    assert command(["timeline", str(run), "--db", db.url, "--format", "csv"]) == 0
    printed = capsys.readouterr().out
    assert "\r" not in printed, "other programs read lines"
    written = faces.read_bytes().decode("utf-8").replace("\r\n", "\n").splitlines()
    confirmed = [line for line in written if ",-1,," not in line]  # faces that nobody has claimed are in the file
    assert printed.splitlines() == confirmed


def test_decimals_go_by_the_unit_and_formulas_are_defused(capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.DataFrame(
        {"t": [1.0, np.nan], "p": [1 / 3, 1.0], "ms": [2.0, 0.5], "n": [1, 2], "who": ["=1+1", None], "odd": [0.1, 2.0]}
    )
    table.attrs["units"] = {"t": "s", "p": "1", "ms": "ms"}
    write_rows(table, sys.stdout, line_end="\n")
    assert capsys.readouterr().out == (
        "t,p,ms,n,who,odd\n1.000000,0.3333,2.000,1,'=1+1,0.100000\n,1.0000,0.500,2,,2.000000\n"
    )
