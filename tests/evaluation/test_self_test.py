"""``doctor --self-test``: the scripted scene gives the stored rows, and says where it does not."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from fertrack.cli.main import run
from fertrack.evaluation import self_test
from fertrack.testing import SyntheticScene


def test_the_scene_gives_the_stored_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where tracking or smoothing was changed on purpose: write ``rows_of_scene`` into ``self_test_rows.json``."""
    assert run(["doctor", "--self-test", "--db", str(tmp_path / "new.db"), "--json"]) == 0
    told = [each for each in json.loads(capsys.readouterr().out) if each["what"] == "self-test"]
    assert [each["state"] for each in told] == ["ok", "ok"], told
    rows = self_test.stored_rows()
    assert {row[2] for row in rows} >= {1, 2}
    assert {row[3] for row in rows} == {"happiness", "neutral", "surprise", "sadness", "anger"}


def test_a_row_that_differs_is_named() -> None:
    rows = self_test.stored_rows()
    wrong = copy.deepcopy(rows)
    wrong[7][3] = "fear"
    assert self_test.differences(rows, rows) == ""
    assert self_test.differences(wrong, rows).startswith(f"frame {rows[7][0]}, track {rows[7][2]}: label is fear, and")
    assert "were stored" in self_test.differences(rows[:-1], rows)
    wrong = copy.deepcopy(rows)
    wrong[3][4] += 0.04  # less than an encoder's rounding could be
    assert self_test.differences(wrong, rows) == ""


def test_what_cannot_be_processed_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "SCENE", SyntheticScene((), frame_count=0))
    (finding,) = self_test.self_test()
    assert finding.is_problem
    assert "the scene could not be processed" in finding.found
