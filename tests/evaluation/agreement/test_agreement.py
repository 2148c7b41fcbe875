"""Agreement with people: coefficients as other packages and the papers have them, and answers that count by hand."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fertrack.cli.main import run as fertrack
from fertrack.errors import LabelsError
from fertrack.evaluation.agreement.by_events import event_agreement
from fertrack.evaluation.agreement.by_intensity import intensity_agreement
from fertrack.evaluation.agreement.by_time import time_agreement
from fertrack.evaluation.agreement.codings import read_codings
from fertrack.evaluation.agreement.coefficients import (
    cohen_kappa,
    fleiss_kappa,
    fleiss_sums,
    icc,
    icc_sums,
    over_blocks,
    time_tables,
)
from fertrack.reporting.exports.registry import export_run
from fertrack.storage.engine import Database, open_database
from tests.support.reporting_runs import ScriptedPerson, ScriptedRun, store_run

RNG = np.random.default_rng(7)
LABELS = RNG.integers(0, 4, (3, 200))
LABELS[1] = np.where(RNG.random(200) < 0.6, LABELS[0], LABELS[1])
WEIGHT = RNG.random(200) + 0.1
BLOCK = np.arange(200) // 20
# Shrout and Fleiss (1979), table 2: four judges, six targets
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)


def other(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is not installed: its coefficients are not compared")


# Coefficients -----------------------------------------------------------------------------------------------------


def test_cohens_kappa_is_that_of_scikit_learn() -> None:
    sklearn = other("sklearn.metrics")
    ours = cohen_kappa(time_tables(LABELS[0], LABELS[1], WEIGHT, BLOCK, 4).sum(axis=0))
    theirs = sklearn.cohen_kappa_score(LABELS[0], LABELS[1], sample_weight=WEIGHT)
    assert float(ours) == pytest.approx(theirs, abs=1e-12)


def test_fleiss_kappa_is_that_of_statsmodels() -> None:
    statsmodels = other("statsmodels.stats.inter_rater")
    votes = np.stack([(each == LABELS).sum(axis=0) for each in range(4)], axis=1)
    ours = fleiss_kappa(fleiss_sums(LABELS, np.ones(200), BLOCK, 4).sum(axis=0))
    assert float(ours) == pytest.approx(statsmodels.fleiss_kappa(votes), abs=1e-12)


def test_intraclass_correlations_are_those_of_pingouin() -> None:
    pingouin = other("pingouin")
    long = pd.DataFrame(JUDGES).reset_index().melt("index", var_name="judge", value_name="score")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = pingouin.intraclass_corr(long, targets="index", raters="judge", ratings="score")
    theirs = dict(zip(table["Type"].astype(str), table["ICC"], strict=True))
    ours = [float(each) for each in icc(icc_sums(JUDGES, np.zeros(6, np.int64)).sum(axis=0))]
    names = [name for name in theirs if name.replace(" ", "") in {"ICC2", "ICC(A,1)", "ICC(2,1)"}]
    names += [name for name in theirs if name.replace(" ", "") in {"ICC3", "ICC(C,1)", "ICC(3,1)"}]
    assert ours == pytest.approx([theirs[name] for name in names], abs=1e-9)


def test_intraclass_correlations_are_those_of_shrout_and_fleiss() -> None:
    ours = icc(icc_sums(JUDGES, np.zeros(6, np.int64)).sum(axis=0))
    assert [round(float(each), 2) for each in ours] == [0.29, 0.71]


def test_coefficients_that_are_not_defined_are_not_numbers() -> None:
    assert np.isnan(cohen_kappa(np.array([[5.0, 0.0], [0.0, 0.0]])))  # one label, by chance always the same
    assert np.isnan(cohen_kappa(np.zeros((2, 2))))
    assert np.isnan(icc(icc_sums(np.ones((9, 2)), np.zeros(9, np.int64)).sum(axis=0))[0])


def test_an_interval_needs_five_blocks_and_holds_the_value() -> None:
    tables = time_tables(LABELS[0], LABELS[1], WEIGHT, BLOCK, 4)
    found = over_blocks(cohen_kappa, tables)
    assert 0.0 < found.low < found.value < found.high < 1.0
    assert np.isnan(over_blocks(cohen_kappa, tables[:4]).low)
    always = over_blocks(cohen_kappa, np.tile(np.eye(4), (9, 1, 1)))
    assert always.value == 1.0
    assert np.isnan(always.low), "nothing was drawn that could differ, which is not to be known exactly"


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(1), 0
    for _ in range(100):
        a = rng.integers(0, 2, 600)
        b = np.where(rng.random(600) < 0.5, a, rng.integers(0, 2, 600))  # kappa 0.5
        tables = time_tables(a, b, np.ones(600), np.arange(600) // 20, 2)
        found = over_blocks(cohen_kappa, tables, resamples=200)
        hits += found.low <= 0.5 <= found.high
    assert 85 <= hits <= 100


# Answers ----------------------------------------------------------------------------------------------------------

RUN = ScriptedRun(
    persons=(
        ScriptedPerson([(0, 80)], [(0, "neutral"), (20, "happiness"), (40, "uncertain"), (60, "sadness")], "Ana"),
        ScriptedPerson([(0, 40)], [(0, "anger")]),
    ),
    frames=800,
    fps=10.0,
)
ANNA = "person,start_s,end_s,expression\nAna,0,25,neutral\nAna,25,40,happy\nAna,60,80,sad\nID 2,0,60,anger\n"


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Corrections that a test imports change nothing for the others: estimates are compared."""
    with open_database(tmp_path_factory.mktemp("agreement") / "fertrack.db", create=True) as database:
        store_run(database, RUN)
        yield database


def coding(folder: Path, name: str, text: str = ANNA) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def row(table: pd.DataFrame, **wanted: str) -> pd.Series:
    found = table
    for name, value in wanted.items():
        found = found[found[name] == value]
    assert len(found) == 1, found
    return found.iloc[0]


def test_time_agreement_counts_seconds(db: Database, tmp_path: Path) -> None:
    with db.estimates().run(1) as run:
        table = time_agreement(run, read_codings(run, [coding(tmp_path, "anna.csv")]))
    every = row(table, person="Ana", expression="all")
    assert (every["rater_a"], every["rater_b"]) == ("fertrack", "anna")
    assert (every["compared_s"], every["agreed_s"]) == (pytest.approx(60.0), pytest.approx(55.0))
    happy = row(table, person="Ana", expression="happiness")
    assert happy[["a_said_s", "b_said_s", "agreed_s"]].tolist() == pytest.approx([20.0, 15.0, 15.0])
    assert happy["positive_agreement"] == pytest.approx(30 / 35)
    assert every["kappa_low"] <= every["kappa"] <= every["kappa_high"]
    anger = row(table, person="ID 2", expression="all")
    assert anger["compared_s"] == pytest.approx(40.0), "the face was seen for 40 s only"
    assert np.isnan(anger["kappa"])
    assert row(table, person="everybody", expression="all")["compared_s"] == pytest.approx(100.0)
    assert table.attrs["seen_s"] == pytest.approx(120.0)


def test_time_that_a_coder_left_empty_counts_where_asked(db: Database, tmp_path: Path) -> None:
    with db.estimates().run(1) as run:
        codings = read_codings(run, [coding(tmp_path, "anna.csv")])
        table = time_agreement(run, codings, who="Ana", uncoded="neutral")
    every = row(table, expression="all")
    assert (every["compared_s"], every["agreed_s"]) == (pytest.approx(80.0), pytest.approx(55.0))
    assert row(table, expression="uncertain")["a_said_s"] == pytest.approx(20.0)


def test_several_coders_have_fleiss_kappa_with_and_without_the_estimates(db: Database, tmp_path: Path) -> None:
    paths = [coding(tmp_path, f"{name}.csv") for name in ("anna", "ben")]
    paths.append(coding(tmp_path, "cleo.csv", ANNA.replace("0,25,neutral", "0,25,fear")))
    with db.estimates().run(1) as run:
        table = time_agreement(run, read_codings(run, paths), who="Ana")
    several = table[table["rater_a"] == "all"]
    assert several["rater_b"].tolist() == ["anna + ben + cleo", "fertrack + anna + ben + cleo"]
    assert row(table, rater_a="anna", rater_b="ben", expression="all")["kappa"] == 1.0
    (tmp_path / "b").mkdir()
    twice = [paths[0], coding(tmp_path / "b", "anna.csv")]
    with db.estimates().run(1) as run, pytest.raises(LabelsError, match="says two things of Ana"):
        read_codings(run, twice)


def test_an_export_agrees_with_the_run_that_it_is_of(db: Database, tmp_path: Path) -> None:
    path = export_run(db, 1, "eaf", tmp_path)[0]
    with db.estimates().run(1) as run:
        codings = read_codings(run, [path])
        assert row(time_agreement(run, codings), person="everybody", expression="all")["kappa"] == 1.0
        events = event_agreement(run, codings, tolerance_s=0.0)
    assert (events["a_matched"] == 1.0).all()
    assert (events["b_matched"] == 1.0).all()


def test_events_match_within_the_tolerance_only_and_once(db: Database, tmp_path: Path) -> None:
    text = "person,start_s,end_s,expression\nAna,0.4,10,neutral\nAna,20.9,30,happy\nAna,30.1,40,happy\nAna,85,90,sad\n"
    with db.estimates().run(1) as run:
        codings = read_codings(run, [coding(tmp_path, "anna.csv", text)])
        near, wide = (event_agreement(run, codings, tolerance_s=each) for each in (0.5, 1.0))
    assert row(near, expression="neutral")[["a_events", "b_events", "matched"]].tolist() == [1, 1, 1]
    assert row(near, expression="neutral")["onset_bias_s"] == pytest.approx(0.4)
    assert row(near, expression="happiness")["matched"] == 0
    happy = row(wide, expression="happiness")
    assert (happy["a_matched"], happy["b_matched"]) == (1.0, 0.5)
    assert row(wide, expression="sadness")["b_events"] == 0, "it begins when nobody is seen"


def test_intensities_are_compared_in_windows(db: Database, tmp_path: Path) -> None:
    text = "person,start_s,end_s,expression,intensity\nAna,0,20,neutral,5\nAna,20,40,happy,5\nAna,60,80,sad,{}\n"
    paths = [coding(tmp_path, f"{name}.csv", text.format(last)) for name, last in (("anna", 5), ("ben", 1))]
    with db.estimates().run(1) as run:
        table = intensity_agreement(run, read_codings(run, paths), who="Ana")
        with pytest.raises(LabelsError, match="column intensity"):
            intensity_agreement(run, read_codings(run, [coding(tmp_path, "none.csv")]))
    assert row(table, rater_a="anna", expression="happiness")["icc_agreement"] == pytest.approx(1.0)
    assert row(table, rater_a="anna", expression="sadness")["icc_agreement"] < 0.5
    assert row(table, rater_a="fertrack", rater_b="anna", expression="happiness")["icc_consistency"] > 0.85
    assert row(table, rater_a="all", expression="happiness")["windows"] == 80


def test_corrections_do_not_make_the_estimates_agree(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "anna.csv"
    coding(tmp_path, "anna.csv", "track,start_s,end_s,corrected\n1,0,20,fear\n1,20,40,happy\n")
    assert fertrack(["import-labels", "1", str(path), "--db", db.url]) == 0
    capsys.readouterr()
    assert fertrack(["stats", "agreement", "1", str(path), "--db", db.url, "--format", "csv"]) == 0
    printed = capsys.readouterr()
    assert "Ana,fertrack,anna,fear,40" in printed.out.replace(".000000", "")
    assert "40.0 s of the 80.0 s" in printed.err


@pytest.mark.parametrize("measure", [["--events", "--tolerance", "0.5"], ["--intensity"], []])
def test_the_command_prints_each_measure(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], measure: list[str]
) -> None:
    text = "person,start_s,end_s,expression,intensity\nAna,0,20,neutral,5\nAna,20,40,happy,5\n"
    path = coding(tmp_path, "anna.csv", text)
    assert fertrack(["stats", "agreement", "1", str(path), "--db", db.url, *measure]) == 0
    assert "happiness" in capsys.readouterr().out
    assert fertrack(["stats", "agreement", "1", str(path), "--db", db.url, "--events", "--intensity"]) == 2
