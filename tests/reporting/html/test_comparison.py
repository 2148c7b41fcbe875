"""Several runs side by side: who stands with whom, and what is said not to be comparable."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from fertrack.cli.main import run as command
from fertrack.errors import OutputExistsError, RunNotFoundError
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.html.comparison import write_comparison
from fertrack.reporting.html.comparison_facts import RunSide, different_settings, warnings
from fertrack.storage.engine import Database
from fertrack.storage.models import Run, TrackRow
from tests.reporting.html.test_run_page import HOSTILE, Page
from tests.support.queries import read_side
from tests.support.reporting_runs import CALIBRATED, ScriptedPerson, ScriptedRun, store_run

CONFIG = "[input]\nfrom_s = 0.0\n\n[smoothing]\nhalf_life_s = 0.25\n\n[storage]\nbatch_rows = 100\n"
CALM = ScriptedRun(
    [ScriptedPerson([(0, 12)], [(0, "neutral"), (6, "happiness")], "Ana"), ScriptedPerson([(0, 12)], [(0, "anger")])],
    frames=300,
    config_toml=CONFIG,
)


def compared(db: Database, runs: list[int], folder: Path) -> Page:
    return Page(write_comparison(db, runs, folder / "c.html", overwrite=True).read_text(encoding="utf-8"))


def titles(sides: list[RunSide], matched: int = 1) -> list[str]:
    return [notice.title for notice in warnings(sides, matched=matched)]


def test_shares_stand_side_by_side(db: Database, tmp_path: Path) -> None:
    other = replace(CALM, persons=(replace(CALM.persons[0], script=[(0, "neutral"), (3, "uncertain")]),))
    page = compared(db, [store_run(db, CALM), store_run(db, other)], tmp_path)
    text = page.text
    assert "Ana: share of time per expression estimate, run by run Run In that run Visible for" in text
    assert "Run 1 Ana 12 s happiness 50% neutral 50% 0%" in text
    assert "Run 2 Ana 12 s neutral 25% 75%" in text
    assert "Run 1 2 persons 24 s anger 50% happiness 25% neutral 25% 0%" in text
    assert "Run 2 1 person 12 s neutral 25% 75%" in text
    assert "ID 2 12 s anger 100% 0%" in text[text.index("Persons in one run only") :]


def test_consent_stands_beside_purpose(db: Database, tmp_path: Path) -> None:
    runs = [store_run(db, CALM), store_run(db, CALM)]
    with db.writing() as connection:
        connection.execute(sa.update(Run).where(Run.id == runs[0]).values(consent="forms 12-19"))
    text = compared(db, runs, tmp_path).text
    assert re.search(r"Consent.{0,20} forms 12-19 not stated", text)


def test_who_is_one_person_in_the_database_stands_together(db: Database, tmp_path: Path) -> None:
    nameless = replace(CALM, persons=(ScriptedPerson([(0, 12)]), ScriptedPerson([(0, 12)])))
    runs = [store_run(db, CALM), store_run(db, nameless)]
    assert "Persons in several runs" not in compared(db, runs, tmp_path).text
    with db.writing() as connection:  # Ana was recognised in run 2, as track 2
        ana = connection.scalar(sa.select(TrackRow.person_id).where(TrackRow.run_id == 1, TrackRow.number == 1))
        connection.execute(sa.update(TrackRow).where(TrackRow.run_id == 2, TrackRow.number == 2).values(person_id=ana))
    text = compared(db, runs, tmp_path).text
    together = text[text.index("Recognised, merged") : text.index("Persons in one run only")]
    assert "Run 1 Ana" in together
    assert "Run 2 Ana" in together


def test_numbers_alone_match_nobody(db: Database, tmp_path: Path) -> None:
    nameless = ScriptedRun([ScriptedPerson([(0, 12)])], frames=300)
    page = compared(db, [store_run(db, nameless), store_run(db, nameless)], tmp_path)
    assert "Persons in several runs" not in page.text
    assert "No person is matched. No name and no link says" in page.text


@pytest.mark.parametrize(
    ("change", "title"),
    [
        ({"status": "interrupted"}, "Not all runs are complete"),
        ({"dropped": 3}, "Frames are missing"),
        ({"source_name": "other.mp4"}, "Different videos"),
        ({"frames": 120, "fps": 10.0}, "Different frame rates"),
        ({"config_toml": CONFIG.replace("0.25", "0.6")}, "Not comparable: different smoothing"),
        (
            {"calibration": Calibrator(CalibrationConfig(temperature=2.0), CALIBRATED).record},
            "Not comparable: different calibration",
        ),
        (
            {"calibration": Calibrator(CalibrationConfig(), ClassifierCalibration.uncalibrated("x")).record},
            "Not comparable: not all runs are calibrated",
        ),
    ],
)
def test_what_cannot_be_compared_is_said(db: Database, change: dict, title: str) -> None:
    sides = [read_side(db, store_run(db, run), ReportConfig()) for run in (CALM, replace(CALM, **change))]
    assert titles(sides) == [title] or titles(sides) == ["Made alike", title]


def test_other_networks_and_versions_and_short_videos_are_said(db: Database) -> None:
    side = read_side(db, store_run(db, CALM), ReportConfig())
    brief = read_side(db, store_run(db, replace(CALM, frames=25)), ReportConfig())

    def differing(**facts: str) -> list[RunSide]:
        return [side, replace(side, facts=replace(side.facts, **facts))]

    assert titles(differing(classifier="b")) == ["Not comparable: different classifiers"]
    assert titles(differing(detector="b")) == ["Different face detection"]
    assert titles(differing(fertrack_version="9")) == ["Made alike", "Different versions of fertrack"]
    assert titles([side, brief]) == ["Little to go by"]
    (short,) = warnings([side, brief], matched=1)
    assert short.text.startswith("Run 2 shows faces for less than 10\u00a0s altogether")


def test_runs_made_alike_are_told_so_without_promising_too_much(db: Database, tmp_path: Path) -> None:
    page = compared(db, [store_run(db, CALM), store_run(db, CALM)], tmp_path)
    assert "Made alike." in page.text
    assert "ignore differences of a few points" in page.text
    assert "notice serious" not in page.attributes("class")
    assert "differs" not in page.attributes("class") or "Started, UTC" in page.text
    assert "None of those that decide who is seen" in page.text


def test_settings_that_decide_are_listed_and_others_are_not(db: Database) -> None:
    changed = CONFIG.replace("0.25", "0.6").replace("100", "200") + "\n[calibration]\ntemperature = 2.0\n"
    sides = [
        read_side(db, store_run(db, replace(CALM, config_toml=text)), ReportConfig()) for text in (CONFIG, changed)
    ]
    rows = {row.name: row.values for row in different_settings(sides)}
    assert rows == {"smoothing.half_life_s": ("0.25", "0.6"), "calibration.temperature": ("not set", "2.0")}
    unreadable = read_side(db, store_run(db, replace(CALM, config_toml="not toml [")), ReportConfig())
    assert unreadable.settings == {}


def test_the_page_is_complete_walkable_and_safe(db: Database, tmp_path: Path) -> None:
    hostile = replace(CALM, persons=(replace(CALM.persons[0], name=HOSTILE),), source_name=HOSTILE)
    runs = [store_run(db, hostile), store_run(db, CALM), store_run(db, ScriptedRun())]
    page = compared(db, runs, tmp_path)
    assert page.scripts == []
    assert page.all("img") == []
    assert "script-src 'none'" in (page.all("meta")[1]["content"] or "")
    tags = [tag for tag, _ in page.tags]
    assert all(tags.count(landmark) == 1 for landmark in ("header", "nav", "main", "footer", "h1", "title"))
    assert tags.count("caption") == tags.count("table") >= 5
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in page.attributes("href")} <= set(ids)
    assert "nobody was seen" in page.text
    again = write_comparison(db, runs, tmp_path / "again.html").read_bytes()
    assert again == (tmp_path / "c.html").read_bytes()


def test_misuse_and_missing_runs(db: Database, tmp_path: Path) -> None:
    run = store_run(db, CALM)
    with pytest.raises(ValueError, match="at least two different runs"):
        write_comparison(db, [run, run], tmp_path / "c.html")
    with pytest.raises(RunNotFoundError):
        write_comparison(db, [run, 99], tmp_path / "c.html")
    (tmp_path / "c.html").write_text("mine")
    with pytest.raises(OutputExistsError):
        write_comparison(db, [run, 99], tmp_path / "c.html")


def test_the_command_compares(db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        store_run(db, CALM)
    options = ["--db", db.url, "-o", str(tmp_path / "out")]
    assert command(["report", "1", "3", "last", *options]) == 0
    assert Path(capsys.readouterr().out.strip()).name == "runs1-3.comparison.html"
    assert command(["report", "1", "1", *options]) == 2
    assert "at least two different runs" in " ".join(capsys.readouterr().err.split())
    assert command(["report", "1", "2", "--thumbnails", *options]) == 2
    assert command(["report", "1", "7", *options]) == 1
    assert "no run 7" in capsys.readouterr().err
