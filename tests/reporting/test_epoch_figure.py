"""Figures of epochs, as files and as a user asks for them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from fertrack.cli.main import run
from fertrack.errors import OutputExistsError, ReportError
from fertrack.reporting.epoch_figure import write_epoch_figure
from fertrack.rights.erase import erase_person
from fertrack.storage.engine import open_database
from fertrack.storage.queries.epochs import EpochRule, epochs
from tests.support.answer_scenes import name_person, stored
from tests.support.queries import outputs

pytest.importorskip("matplotlib", reason="figures need the extra [figures]")

SCRIPT = [(0.0, 2.0, 1, "happiness", 0.3), (2.0, 6.0, 1, "happiness", 0.9), (0.0, 6.0, 2, "neutral", 0.9)]


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    url = str(tmp_path / "a.db")
    with open_database(url, create=True) as database:
        stored(database, SCRIPT, until_s=6.0)
        name_person(database, 1, key=1, number=1, name="Zoë <$x$>", tracks=[1])
        name_person(database, 1, key=2, number=2, name="Bo", tracks=[2])
    Path("m.csv").write_text("time_s,label,note\n2,stim,kind=a\n3,stim,kind=b\n4,stim,kind=b\n", encoding="utf-8")
    monkeypatch.setenv("FERTRACK_DB", url)
    assert run(["markers", "import", "last", "m.csv"]) == 0
    return url


def table_of(db: str, **options: str) -> pd.DataFrame:
    with open_database(db) as database, database.run(1) as stored_run:
        return epochs(stored_run, "stim", EpochRule(-1.0, 1.0, 10.0, (-1.0, 0.0)), by="kind", **options)


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf", ".html"])
def test_each_kind_is_written_and_the_same_every_time(suffix: str, db: str, tmp_path: Path) -> None:
    table = table_of(db, expression="happiness")
    starts = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF", ".html": b"<!DOCTYPE html>"}
    path = tmp_path / f"e{suffix}"
    write_epoch_figure(table, path, title="stim")
    first = path.read_bytes()
    assert first.startswith(starts[suffix])
    write_epoch_figure(table, path, title="stim", overwrite=True)
    assert path.read_bytes() == first
    with pytest.raises(OutputExistsError):
        write_epoch_figure(table, path)


def test_the_picture_names_persons_conditions_and_trials(db: str, tmp_path: Path) -> None:
    path = tmp_path / "e.html"
    write_epoch_figure(table_of(db), path, title="<stim>")
    text = path.read_text(encoding="utf-8")
    for said in (
        "Zoë &lt;$x$&gt;",
        "Bo",
        "a (1 trial)",
        "b (2 trials)",
        "happiness",
        "95 % t interval",
        "&lt;stim&gt;",
    ):
        assert said in text
    assert "<script" not in text
    assert "http://" not in text.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )


def test_what_does_not_fit_is_said(db: str, tmp_path: Path) -> None:
    table = table_of(db)
    with pytest.raises(ReportError, match=r"must end in \.svg"):
        write_epoch_figure(table, tmp_path / "e.gif")
    many = pd.concat([table.assign(person=f"P{i}") for i in range(9)])
    many.attrs = table.attrs
    with pytest.raises(ReportError, match="room for 8 persons, not 9"):
        write_epoch_figure(many, tmp_path / "e.svg")


@pytest.mark.usefixtures("db")
def test_the_command_tells_and_draws(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["stats", "epochs", "last", "--marker", "stim", "--from", "-1", "--to", "1", "--baseline", "-1", "0"]
    assert run([*words, "--by", "kind", "--expression", "happiness", "--smoothed", "--figure", "e.svg"]) == 0
    printed = capsys.readouterr()
    assert "3 markers; 0.0 % of the values are missing" in printed.err
    assert printed.out.splitlines()[0].split() == [
        *("run", "person", "condition", "expression", "trials", "mean", "low", "high")
    ]
    assert Path("e.svg").exists()
    assert run([*words, "--figure", "e.svg"]) == 1
    assert "e.svg is already there: use --overwrite" in capsys.readouterr().err
    assert run([*words, "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 2 * 3 * 20 * 7
    assert run(["stats", "epochs", "all", "--figure", "e.png"]) == 2
    assert "draws one run" in capsys.readouterr().err
    assert run(["stats", "epochs", "last", "--marker", "nothing"]) == 1
    assert "there is no marker 'nothing' to take epochs around: there are stim" in capsys.readouterr().err


def test_an_erased_person_leaves_the_figures(db: str) -> None:
    words = ["stats", "epochs", "last", "--marker", "stim", "--from", "-1", "--to", "1"]
    assert run([*words, "--figure", "both.svg"]) == 0
    assert run([*words, "--person", "P1", "--figure", "alone.svg"]) == 0
    assert "Zoë" in Path("both.svg").read_text(encoding="utf-8")
    with open_database(db) as database:
        erase_person(database, "P1")
        assert [file.path.name for file in outputs(database) if file.kind == "figure"] == ["both.svg"]
    assert "Zoë" not in Path("both.svg").read_text(encoding="utf-8")
    assert "Bo" in Path("both.svg").read_text(encoding="utf-8")
    assert not Path("alone.svg").exists()
