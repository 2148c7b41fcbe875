"""Recordings: what was stated of a run is stored with it, chooses runs, and groups answers; what is done is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fertrack.cli.main import run as cli
from fertrack.errors import RunNotFoundError
from fertrack.files import content_digest
from fertrack.storage.engine import Database, open_database
from fertrack.storage.queries.groups import stated_groups, stats_by
from fertrack.storage.queries.moments import Condition, moments
from fertrack.storage.queries.statistics import expression_stats
from fertrack.storage.recordings import Recording, earlier_attempt, forget_failure, note_failure, runs_stated, state
from fertrack.storage.rights.data_subject import scrub_names
from fertrack.storage.runs import runs
from tests.support.answer_scenes import played
from tests.support.storage_scenes import RECORD, store

STATED = [
    Recording(participant="P07", session="1", condition="rest", content="c1", made_with="m"),
    Recording(participant="P07", session="2", condition="Stress", content="c2", made_with="m"),
    Recording(participant="P08", session="1", condition="stress", content="c3", made_with="m"),
    Recording(),
]
SHOWN = [(2.0, "neutral"), (3.0, "happiness"), (1.0, "happiness"), (1.0, "anger")]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "f.db", create=True) as database:
        for recording, (until_s, label) in zip(STATED, SHOWN, strict=True):
            frames = played([(0.0, until_s, 1, label, 0.9)], until_s=4.0)
            store(database, frames, record=replace(RECORD, recording=recording))
        yield database


def test_runs_are_chosen_by_what_was_stated(db: Database) -> None:
    with db.reading() as connection:
        assert runs_stated(connection, db.name, "condition=stress") == [2, 3]
        assert runs_stated(connection, db.name, "Participant=p07, session=2") == [2]
        assert runs_stated(connection, db.name, "condition=") == [4]
        with pytest.raises(RunNotFoundError, match=r"condition: Stress, rest, stress"):
            runs_stated(connection, db.name, "condition=calm")
        with pytest.raises(RunNotFoundError, match="write participant="):
            runs_stated(connection, db.name, "mood=calm")
    assert runs(db, "condition=stress")["run"].tolist() == [2, 3]
    assert runs(db)["participant"].tolist() == ["P07", "P07", "P08", ""]
    with db.runs("condition=stress") as chosen:
        table = expression_stats(chosen)
        found = moments(chosen, Condition("happiness"))
    assert sorted(set(table["run"])) == [2, 3]
    assert found[["run", "participant", "condition"]].values.tolist() == [[2, "P07", "Stress"], [3, "P08", "stress"]]


def test_statistics_are_added_up_by_group(db: Database) -> None:
    with db.runs("all") as every:
        by = stats_by(every, ["participant"])
        two = stats_by(every, ["participant", "session"])
        assert stated_groups(every, "Participant, session") == ["participant", "session"]
        assert stated_groups(every, "trial_type") == []
        with pytest.raises(ValueError, match="not by 'mood'"):
            stats_by(every, ["mood"])
    happy = by[by["state"] == "happiness"].set_index("participant")
    assert happy.loc["P07", ["run_count", "person_count", "seconds"]].tolist() == [2, 2, pytest.approx(3.0)]
    assert happy.loc["P07", "share_of_face_time"] == pytest.approx(3.0 / 5.0)
    assert happy.loc["P07", "share_of_run"] == pytest.approx(3.0 / 8.0)
    assert happy.loc["P08", "episodes"] == 1
    assert happy.loc["", "seconds"] == 0.0
    assert len(two) == 4 * 9


def test_commands_take_what_was_stated(db: Database, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli(["runs", "condition=stress", "--db", db.name]) == 0
    listed = capsys.readouterr().out
    assert "P08" in listed
    assert "rest" not in listed
    assert cli(["stats", "all", "--by", "condition", "--db", db.name, "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("condition,run_count,person_count,state,")
    assert cli(["report", "participant=P07", "--db", db.name, "-o", str(tmp_path)]) == 0
    page = (tmp_path / "runs1-2.comparison.html").read_text(encoding="utf-8")
    assert "Condition" in page
    assert "Stress" in page
    assert cli(["stats", "4", "--by", "condition", "--db", db.name]) != 0  # nothing stated there: markers, and none


def test_earlier_attempts_are_known_by_content_and_analysis(db: Database) -> None:
    with db.writing() as connection:
        note_failure(connection, "/v/bad.mp4", Recording(content="c9", made_with="m"), "no video in it")
        note_failure(connection, "/v/bad.mp4", Recording(content="c9", made_with="m"), "cut off")
    with db.reading() as connection:
        known = {
            (content, made_with): earlier_attempt(connection, path, Recording(content=content, made_with=made_with))
            for path, content, made_with in (
                ("/elsewhere/copy.mp4", "c2", "m"),
                ("/v/a.mp4", "c2", "other"),
                ("/v/bad.mp4", "c9", "m"),
                ("/v/bad.mp4", "mended", "m"),
            )
        }
    assert [None if each is None else (each.state, each.run, each.error) for each in known.values()] == [
        ("done", 2, ""),
        None,
        ("failed", 0, "cut off"),
        None,
    ]
    with db.writing() as connection:
        forget_failure(connection, "/v/bad.mp4", "m")
        assert earlier_attempt(connection, "/v/bad.mp4", Recording(content="c9", made_with="m")) is None


def test_what_is_stated_can_be_mended_and_is_erased_with_a_name(db: Database) -> None:
    with db.writing() as connection:
        assert state(connection, 4, Recording(participant="Ann Lee"))
        assert not state(connection, 4, Recording(participant="Ann Lee"))
        assert not state(connection, 1, Recording())  # what a list leaves open stays
    assert runs(db)["participant"].tolist() == ["P07", "P07", "P08", "Ann Lee"]
    with db.writing() as connection:
        assert scrub_names(connection, ["Ann Lee"], [4]) == 1
    assert "Ann Lee" not in runs(db)["participant"].tolist()


def test_content_is_known_by_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"0123456789" * 100)
    (tmp_path / "b").write_bytes(b"0123456789" * 100)
    (tmp_path / "c").write_bytes(b"0123456789" * 99 + b"012345678X")
    assert content_digest(tmp_path / "a") == content_digest(tmp_path / "b") != content_digest(tmp_path / "c")
    assert content_digest(tmp_path / "none") == ""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "1.png").write_bytes(b"1")
    before = content_digest(tmp_path / "folder")
    (tmp_path / "folder" / "1.png").rename(tmp_path / "folder" / "2.png")
    assert content_digest(tmp_path / "folder") != before
    monkeypatch.setattr("fertrack.files._BLOCK_BYTES", 4)  # a large file: by size and blocks, the last one included
    assert content_digest(tmp_path / "a") == content_digest(tmp_path / "b") != content_digest(tmp_path / "c")
