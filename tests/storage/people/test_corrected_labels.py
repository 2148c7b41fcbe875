"""Corrections count: every answer, export, report and drawn frame has the label that somebody gave."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from fertrack.cli.main import run as fertrack
from fertrack.reporting.exports.registry import export_run
from fertrack.reporting.html.run_page import write_html
from fertrack.storage.engine import Database, open_database
from fertrack.storage.people.corrections import GivenLabel, store_corrections
from fertrack.storage.queries.moments import Condition
from fertrack.storage.written_files import outputs
from fertrack.types import EXPRESSIONS
from tests.support import queries
from tests.support.answer_scenes import stored

SCRIPT = [(0.0, 2.0, 1, "happiness", 0.9), (2.0, 4.0, 1, "sadness", 0.6), (0.0, 4.0, 2, "neutral", 0.8)]
FEAR = EXPRESSIONS.index("fear")


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Two runs of the same scene. In the first, somebody says that person 1 showed fear from 1 s to 2 s."""
    url = str(tmp_path / "a.db")
    monkeypatch.setenv("FERTRACK_DB", url)
    with open_database(url, create=True) as database:
        stored(database, SCRIPT, until_s=4.0)
        stored(database, SCRIPT, until_s=4.0)
        store_corrections(database, 1, [GivenLabel(row=2, label=FEAR, track=1, from_s=1.0, to_s=2.0)])
        yield database


def seconds(table: pd.DataFrame, run: int, state: str) -> float:
    mine = table[(table["run"] == run) & (table["state"] == state)]
    return float(mine["seconds"].sum())


ANSWERS: dict[str, Callable[[Database], float]] = {
    "timeline": lambda db: len(queries.timeline(db, 1, expression="fear")) / 10,
    "episodes": lambda db: queries.episodes(db, 1).query("expression == 'fear'")["duration_s"].sum(),
    "tracks": lambda db: 4 * queries.tracks(db, 1)["share_fear"][0],
    "persons": lambda db: 4 * queries.persons(db, 1)["share_fear"][0],
    "stats": lambda db: seconds(queries.expression_stats(db, 1), 1, "fear"),
    "stats of all runs": lambda db: seconds(queries.expression_stats(db, "all"), 1, "fear"),
    "episodes of persons": lambda db: queries.episodes_of_persons(db, "all", expression="fear")["duration_s"].sum(),
    "moments": lambda db: queries.moments(db, 1, Condition("fear"))["duration_s"].sum(),
    "moments above": lambda db: queries.moments(db, "all", Condition("fear", above=0.7))["duration_s"].sum(),
    "even rate": lambda db: (queries.resampled_timeline(db, 1, 1.0)["label"] == "fear").sum(),
    "drawn": lambda db: sum((frame.labels == FEAR).sum() for frame in queries.stored_results(db, 1)) / 10,
}


@pytest.mark.parametrize("question", ANSWERS)
def test_an_answer_counts_the_corrected_second_and_the_estimates_do_not(db: Database, question: str) -> None:
    assert ANSWERS[question](db) == pytest.approx(1.0, abs=0.05)
    assert ANSWERS[question](db.estimates()) == 0.0


def test_what_was_corrected_is_taken_from_the_estimate(db: Database) -> None:
    table = queries.expression_stats(db, "all")
    assert seconds(table, 1, "happiness") == pytest.approx(1.0, abs=0.05)
    assert seconds(table, 2, "happiness") == pytest.approx(2.0, abs=0.05), "the other run stays as it is"
    assert seconds(queries.expression_stats(db.estimates(), 1), 1, "happiness") == pytest.approx(2.0, abs=0.05)
    assert len(queries.timeline(db, 1, expression="happiness")) == 10


def test_a_given_label_is_certain_and_the_networks_probabilities_stay(db: Database) -> None:
    corrected = queries.timeline(db, 1, track=1, from_s=1.0, to_s=2.0)
    estimates = queries.timeline(db.estimates(), 1, track=1, from_s=1.0, to_s=2.0)
    assert set(corrected["probability"]) == {1.0}
    assert corrected["p_happiness"].equals(estimates["p_happiness"])
    drawn = [frame.smoothed[0, FEAR] for frame in queries.stored_results(db, 1) if 1.0 <= frame.timestamp_s < 2.0]
    assert set(drawn) == {1.0}


def test_nobody_can_tell_makes_time_uncertain(db: Database) -> None:
    store_corrections(db, 1, [GivenLabel(row=2, label=-1, track=2, from_s=0.0, to_s=3.0)])
    table = queries.expression_stats(db, 1)
    assert seconds(table, 1, "uncertain") == pytest.approx(3.0, abs=0.05)
    kept = queries.timeline(db, 1, track=2)
    assert kept["probability"].max() == pytest.approx(0.8), "as estimated: nobody is certain of anything"


def test_answers_say_how_many_faces_were_corrected(db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert queries.timeline(db, 1).attrs["corrected"] == 10
    assert queries.expression_stats(db, "all").attrs["corrected"] == 10
    assert queries.expression_stats(db, 2).attrs["corrected"] == 0
    for words in (["stats", "1"], ["timeline", "1"], ["timeline", "1", "--rate", "1"], ["episodes", "1"]):
        assert fertrack(words) == 0
        assert "10 faces of run 1 count with the label" in capsys.readouterr().err
        assert fertrack([*words, "--uncorrected"]) == 0
        printed = capsys.readouterr()
        assert re.search(r"\bfear\b", printed.out) is None
        assert "count with the label" not in printed.err
    assert fertrack(["stats", "all"]) == 0
    assert "10 faces of all runs count" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["csv", "jsonl", "srt", "elan", "eaf", "textgrid", "boris", "bids"])
def test_an_export_has_the_corrected_label(db: Database, tmp_path: Path, form: str) -> None:
    def text(database: Database, folder: Path) -> str:
        paths = export_run(database, 1, form, folder)
        return "".join(path.read_text(encoding="utf-8", errors="replace") for path in paths if path.suffix != ".xlsx")

    corrected, estimates = text(db, tmp_path / "a"), text(db.estimates(), tmp_path / "b")
    assert corrected.count("fear") > estimates.count("fear")


def test_the_report_marks_corrected_stretches_and_says_how_many(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fertrack(["report", "1", "-o", str(tmp_path)]) == 0
    assert "10 faces of run 1 count" in capsys.readouterr().err
    page = next(tmp_path.glob("*.report.html")).read_text(encoding="utf-8")
    assert "10 faces labelled by people" in page
    assert "labels corrected in 0:01.0 – 0:02.0" in " ".join(page.split())
    assert marks(page) == 2, "in the overview and in the person's timeline"
    assert fertrack(["report", "1", "-o", str(tmp_path), "--overwrite", "--uncorrected"]) == 0
    page = next(tmp_path.glob("*.report.html")).read_text(encoding="utf-8")
    assert "leaves their labels out" in page
    assert marks(page) == 0
    other = write_html(db, 2, tmp_path / "other.html").read_text(encoding="utf-8")
    assert "labelled by people" not in other
    assert marks(other) == 0


def marks(page: str) -> int:
    return page.count('"meta":{"kind":"corrected"}')


def test_a_file_of_estimates_is_known_as_one(db: Database, tmp_path: Path) -> None:
    write_html(db.estimates(), 1, tmp_path / "estimates.html")
    write_html(db, 1, tmp_path / "corrected.html")
    with db.reading() as connection:
        found = {file.path.name: file.uncorrected for file in outputs(connection)}
    assert found == {"estimates.html": True, "corrected.html": False}
