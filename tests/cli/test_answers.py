"""The commands that answer questions, and those that look after the database."""

from __future__ import annotations

import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from fertrack.cli.main import run
from fertrack.reporting.html.run_page import write_html
from fertrack.storage.engine import downgrade, open_database
from fertrack.types import EXPRESSIONS
from tests.support.answer_scenes import name_person, stored

SCRIPT = [
    (0.0, 2.0, 1, "happiness", 0.9),
    (2.0, 2.5, 1, "uncertain", 0.9),
    (2.5, 4.0, 1, "sadness", 0.6),
    (1.0, 3.0, 2, "happiness", 0.8),
    (3.0, 4.6, 2, "surprise", 0.75),
]


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = str(tmp_path / "a.db")
    with open_database(url, create=True) as database:
        stored(database, SCRIPT, until_s=5.0)
        name_person(database, 1, key=1, number=1, name="Zoë", tracks=[1])
    monkeypatch.setenv("FERTRACK_DB", url)
    return url


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> pd.DataFrame:
    assert run([*words, "--format", "csv"]) == 0
    printed = capsys.readouterr()
    return pd.read_csv(io.StringIO(printed.out))


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run([*words]) == 2
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.usefixtures("db")
def test_stats(capsys: pytest.CaptureFixture[str]) -> None:
    table = asked(capsys, "stats", "last")
    assert len(table) == 18
    happy = table[(table["person"] == "Zoë") & (table["state"] == "happiness")].iloc[0]
    assert (happy["seconds"], happy["episodes"]) == (2.0, 1)
    assert len(asked(capsys, "stats", "all", "--person", "zoë")) == 9
    assert run(["stats", "1"]) == 0
    printed = capsys.readouterr()
    assert "fear" not in printed.out, "what never was is left out of the table for people"
    assert "no face" in printed.out
    assert "of 10.0 person-seconds, 5.0 % were uncertain" in " ".join(printed.err.split())


@pytest.mark.usefixtures("db")
def test_a_timeline_at_an_even_rate(capsys: pytest.CaptureFixture[str]) -> None:
    table = asked(capsys, "timeline", "1", "--rate", "2", "--person", "Zoë", "--from", "1.5", "--to", "4.5")
    assert table["time_s"].tolist() == [1.5, 2.0, 2.5, 3.0, 3.5, 4.0]
    assert table["label"].tolist() == ["happiness", "uncertain", "sadness", "sadness", "sadness", "no face"]
    assert len(asked(capsys, "timeline", "1", "--rate", "2", "--expression", "sadness")) == 3
    assert run(["timeline", "1", "--rate", "10"]) == 0
    assert "40 of 100 rows shown" in capsys.readouterr().err


@pytest.mark.usefixtures("db")
def test_transitions_and_synchrony(capsys: pytest.CaptureFixture[str]) -> None:
    table = asked(capsys, "stats", "transitions", "1").set_index("from")
    assert table.loc["happiness", "sadness"] == 1
    assert table[list(EXPRESSIONS)].to_numpy().sum() == 2
    asked(capsys, "stats", "transitions", "1", "--person", "Zoë", "--min-duration", "1.8")
    table = asked(capsys, "stats", "synchrony", "1", "Zoë", "ID 2").set_index("expression")
    assert table.loc["happiness", "both_s"] == pytest.approx(1.0)
    assert run(["stats", "synchrony", "1", "Zoë", "ID 2", "--lag", "0.5", "--rate", "5"]) == 0
    assert "Zoë and ID 2 were seen together for 3.0 s" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "uncertain", "no_face"),
    [
        (["moments", "--who", "ID 2", "--expression", "surprise"], 0.0, 0.28),
        (["episodes", "1", "--person", "Zoë"], 0.1, 0.2),
        (["stats", "transitions", "1", "--person", "Zoë"], 0.1, 0.2),
        (["stats", "synchrony", "1", "Zoë", "ID 2"], 0.05, 0.24),
        (["timeline", "1"], 0.05, 0.24),
    ],
)
@pytest.mark.usefixtures("db")
def test_answers_for_machines_say_how_much_is_not_known(
    capsys: pytest.CaptureFixture[str], words: list[str], uncertain: float, no_face: float
) -> None:
    assert run([*words, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows
    for row in rows:
        assert row["asked_uncertain"] == pytest.approx(uncertain)
        assert row["asked_no_face"] == pytest.approx(no_face)
    if words[0] != "timeline":  # its columns are those of the export
        table = asked(capsys, *words)
        assert table["asked_no_face"].tolist() == pytest.approx([no_face] * len(table))


@pytest.mark.usefixtures("db")
def test_markers_outside_the_video_are_refused_or_left_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("time_s,label\n1.0,cue\n500,cue\n", encoding="utf-8")
    assert run(["markers", "import", "1", str(path)]) == 1
    assert "row 3: 500 s is outside the run; run 1 has frames of 0.00 s to 5.00 s" in capsys.readouterr().err
    assert run(["markers", "import", "1", str(path), "--skip-outside"]) == 0
    printed = capsys.readouterr()
    assert "1 markers added" in printed.out
    assert "note: 1 of 2 markers lies outside run 1, whose frames are of 0.00 s to 5.00 s: left out" in printed.err


@pytest.mark.usefixtures("db")
def test_broken_transitions_are_told(capsys: pytest.CaptureFixture[str], db: str) -> None:
    with open_database(db) as database:
        stored(database, [(0, 1, 1, "fear", 0.9), (3, 4, 1, "anger", 0.9)], until_s=4.0)
    assert run(["stats", "transitions", "2"]) == 0
    assert "1 pairs of episodes with a longer break between them are not counted" in capsys.readouterr().err


@pytest.mark.usefixtures("db")
def test_timing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stats", "timing", "1", "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert [row["stage"] for row in json.loads(printed.out)] == ["detect"]
    assert "0 frames dropped, 2 could not be decoded" in " ".join(printed.err.split())
    assert run(["stats", "timing", "1", "--window", "2", "--format", "json"]) == 0
    assert [row["frames"] for row in json.loads(capsys.readouterr().out)] == [20, 20, 10]


@pytest.mark.usefixtures("db")
def test_episodes(capsys: pytest.CaptureFixture[str]) -> None:
    table = asked(capsys, "episodes", "all", "--expression", "happiness", "--gap", "0.2", "--min-duration", "1")
    assert table[["person", "onset_s", "offset_s"]].values.tolist() == [["Zoë", 0.0, 2.0], ["ID 2", 1.0, 3.0]]
    assert "did you mean 'happiness'" in refused(capsys, "episodes", "1", "--expression", "happines")
    assert "0 or more" in refused(capsys, "episodes", "1", "--gap", "-1")


@pytest.mark.usefixtures("db")
def test_moments(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["moments", "last", "--who", "2", "--expression", "surprise", "--above", "0.7", "--for", "1.0"]
    assert asked(capsys, *words)[["persons", "start_s", "end_s"]].values.tolist() == [["ID 2", 3.0, 4.6]]
    together = asked(capsys, "moments", "all", "--together", "happiness", "--people", "2", "--for", "0.5")
    assert together[["persons", "start_s", "end_s"]].values.tolist() == [["Zoë, ID 2", 1.0, 2.0]]
    both = asked(capsys, "moments", "--who", "Zoë", "--who", "ID 2", "--expression", "happiness")
    assert both[["start_s", "end_s"]].values.tolist() == [[1.0, 2.0]]
    during = asked(capsys, "moments", "--who", "Zoë", "--expression", "sadness", "--while", "ID 2:surprise:0.7")
    assert during[["start_s", "end_s"]].values.tolist() == [[3.0, 4.0]]
    anybody = asked(capsys, "moments", "--together", "happiness", "--while", ":happiness")
    assert len(anybody) == 1


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["moments"], "say what is shown"),
        (["moments", "--expression", "fear", "--together", "fear"], "say what is shown"),
        (["moments", "--together", "fear", "--who", "2"], "leave out --who"),
        (["moments", "--together", "fear", "--people", "1"], "--people"),
        (["moments", "--expression", "fear", "--above", "1.5"], "above must be a probability"),
        (["moments", "--expression", "fear", "--while", "2"], "--while must be WHO:EXPRESSION"),
        (["moments", "--expression", "fear", "--while", "2:fear:much"], "'much' is no probability"),
        (["stats", "timings", "1"], "No such command 'timings'"),
        (["stats", "--since", "1"], "No such option: --since"),
        (["timeline", "1", "--rate", "0"], "rate_hz must be above 0"),
        (["timeline", "1", "--rate", "5", "--track", "1"], "name one with --person"),
        (["stats", "1", "--window", "5"], "No such option: --window"),
        (["process", "a.mp4", "--fps", "12.5"], "No such option: --fps. Write --set input.fps=VALUE."),
        (["process", "a.ts", "--stream=2"], "No such option: --stream. Write --set input.stream=VALUE."),
        (["rescore", "1", "--half-life-s", "0"], "Write --set smoothing.half_life_s=VALUE."),
        (["stats", "synchrony", "1", "Zoë", "Zoë"], "are the same person"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str], complaint: str) -> None:
    assert complaint in refused(capsys, *words)


@pytest.mark.usefixtures("db")
def test_long_answers_are_cut_for_people_only(capsys: pytest.CaptureFixture[str], db: str) -> None:
    with open_database(db) as database:
        stored(database, [(i, i + 0.5, 1, "fear", 0.9) for i in range(120)], until_s=121.0)
    assert run(["episodes", "2", "--gap", "0.1"]) == 0
    assert "100 of 120 rows shown" in capsys.readouterr().err
    assert len(asked(capsys, "episodes", "2", "--gap", "0.1")) == 120


@pytest.mark.usefixtures("db")
def test_markers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("time_s,label\n1.0,cue\n1.5,end\n", encoding="utf-8")
    assert run(["markers", "import", "last", str(path)]) == 0
    assert capsys.readouterr().out == "run 1: 2 markers added\n"
    assert run(["markers", "import", "last", str(path)]) == 0
    assert capsys.readouterr().out == "run 1: 0 markers added, 2 known already\n"
    assert run(["markers", "list", "1", "--format", "json"]) == 0
    assert [row["label"] for row in json.loads(capsys.readouterr().out)] == ["cue", "end"]
    table = asked(capsys, "stats", "latency", "1", "cue", "--within", "3")
    assert table[["person", "after", "latency_s"]].values.tolist() == [
        ["Zoë", "sadness", 1.5],
        ["ID 2", "surprise", 2.0],
    ]
    assert run(["markers", "delete", "1", "cue"]) == 0
    assert run(["markers", "delete", "1"]) == 0
    assert capsys.readouterr().out == "1 markers deleted\n1 markers deleted\n"
    assert run(["stats", "latency", "1", "cue"]) == 1
    assert "there is no marker 'cue' in run 1: `fertrack markers import` adds some" in capsys.readouterr().err


def test_db_check_vacuum_and_backup(capsys: pytest.CaptureFixture[str], db: str, tmp_path: Path) -> None:
    assert run(["db", "check"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        *("runs: 1", "frames: 50", "faces: 76", "tracks: 2", "persons: 1"),
        f"{db} is whole",
    ]
    assert run(["db", "vacuum"]) == 0
    assert "MB before" in capsys.readouterr().out
    copy = tmp_path / "copy.db"
    assert run(["db", "backup", str(copy)]) == 0
    assert run(["db", "backup", str(copy)]) == 1
    assert "is there already: give another name, or --overwrite" in capsys.readouterr().err
    assert run(["db", "backup", str(copy), "--overwrite"]) == 0
    with closing(sqlite3.connect(db)) as raw:
        raw.execute("UPDATE runs SET faces = 3")
        raw.commit()
    capsys.readouterr()
    assert run(["db", "check"]) == 1
    printed = capsys.readouterr()
    assert "run 1 says it has 3 faces, and has 76" in printed.out
    assert "is not whole (1 problems)" in printed.err
    assert run(["db", "check", "--db", str(copy)]) == 0, "the copy is"


def test_db_upgrade_stores_the_episodes_of_earlier_runs(capsys: pytest.CaptureFixture[str], db: str) -> None:
    downgrade(db, "0003")
    assert run(["db", "upgrade"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "stored the episodes of 1 runs"
    assert run(["db", "upgrade"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    with closing(sqlite3.connect(db)) as raw:
        raw.execute("DELETE FROM episode_sets")
        raw.commit()
    assert run(["db", "check"]) == 0
    assert "the episodes of 1 runs are not stored" in capsys.readouterr().out


@pytest.mark.usefixtures("db")
def test_expressions_and_times_are_understood_as_people_write_them(capsys: pytest.CaptureFixture[str]) -> None:
    expected = asked(capsys, "timeline", "1", "--expression", "happiness", "--from", "1.5", "--to", "4.5")
    assert len(expected) == 20
    for word in ("happy", "Smile", "joy"):
        for start, end in (("0:01.5", "0:04.5"), ("1.5s", "0m4.5s")):
            same = asked(capsys, "timeline", "1", "--expression", word, "--from", start, "--to", end)
            pd.testing.assert_frame_equal(same, expected)
    assert len(asked(capsys, "timeline", "1", "--rate", "2", "--expression", "sad")) == 3
    assert len(asked(capsys, "episodes", "1", "--expression", "happy", "--min-duration", "0:01")) == 2
    assert len(asked(capsys, "moments", "1", "--together", "smile", "--for", "0.5s")) == 1
    assert "no expression 'happyness': did you mean 'happiness'?" in refused(
        capsys, "episodes", "1", "--expression", "happyness"
    )
    assert "'soon' is no time: write seconds such as 12.5" in refused(capsys, "timeline", "1", "--from", "soon")


@pytest.mark.usefixtures("db")
def test_an_empty_answer_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["episodes", "1", "--expression", "disgust"]) == 0
    printed = capsys.readouterr()
    assert not printed.out
    assert "nothing found: no rows answer this" in printed.err


def test_answers_by_condition(db: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = tmp_path / "events.tsv"
    events.write_text("onset\tduration\ttrial_type\n0\t2\tfunny\n2.5\t0\tsad\n", encoding="utf-8")
    assert run(["markers", "import", "last", str(events), "--db", db]) == 0
    capsys.readouterr()
    table = asked(capsys, "stats", "last", "--by", "trial_type")
    assert set(table["condition"]) == {"funny"}
    table = asked(capsys, "stats", "all", "--by", "trial_type", "--lasting", "1")
    assert table.loc[(table["person"] == "Zoë") & (table["state"] == "sadness"), "seconds"].tolist() == [0.0, 1.0]
    counted = asked(capsys, "stats", "transitions", "last", "--by", "trial_type", "--lasting", "1")
    assert counted.set_index(["condition", "from"]).loc[("sad", "happiness"), "sadness"] == 1
    begun = asked(capsys, "episodes", "last", "--by", "trial_type", "--lasting", "1")
    assert begun["condition"].iloc[0] == "funny"
    held = asked(capsys, "moments", "last", "--expression", "sadness", "--by", "trial_type", "--lasting", "1")
    assert held["condition"].tolist() == [
        "sad" if 2.5 <= start_s < 3.5 else "funny" if start_s < 2.0 else "" for start_s in held["start_s"]
    ]
    late = asked(capsys, "stats", "latency", "last", "sad", "--by", "trial_type")
    assert set(late["condition"]) == {"sad"}
    assert run(["stats", "last", "--by", "trial_type"]) == 0
    assert "1 marker has no end and is left out: --lasting" in " ".join(capsys.readouterr().err.split())
    assert run(["stats", "last", "--by", "valence"]) == 1
    assert "no marker in run 1 has a column 'valence': they have trial_type; or" in capsys.readouterr().err


@pytest.mark.usefixtures("db")
def test_the_longest_and_the_order_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    every = asked(capsys, "episodes", "1")
    assert (
        asked(capsys, "episodes", "1", "--longest", "2")["duration_s"].tolist() == sorted(every["duration_s"])[:-3:-1]
    )
    falling = asked(capsys, "episodes", "1", "--sort", "-peak_probability")["peak_probability"]
    assert falling.is_monotonic_decreasing
    assert run(["episodes", "1", "--sort", "lenght"]) == 2
    assert "no column 'lenght': there are" in " ".join(capsys.readouterr().err.split())


@pytest.mark.usefixtures("db")
def test_a_misspelt_expression_is_asked_about(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["episodes", "1", "--expression", "suprise"]) == 2
    assert "did you mean 'surprise'?" in " ".join(capsys.readouterr().err.split())


def test_renaming_names_the_files_written_before(db: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_database(db) as database:
        path = write_html(database, 1, tmp_path / "first.html")
    assert run(["person", "rename", "1", "Zoë", "Zoe"]) == 0
    assert f"written before this, and as it was then: {path}" in capsys.readouterr().err
    assert run(["person", "undo", "1"]) == 0
