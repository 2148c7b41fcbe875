"""The guide's page on footage: each of its rows names a test that exists."""

from __future__ import annotations

import re

from tests.support.paths import REPOSITORY

PAGE = REPOSITORY / "fertrack" / "guide" / "footage.md"


def test_every_row_names_a_test_that_exists() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py"))
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith("| footage")]
    assert len(rows) > 25
    for row in rows:
        names = re.findall(r"`(test_\w+)`", row)
        assert names, f"no test backs this row: {row}"
        for name in names:
            assert f"def {name}(" in tests, f"{name} is no test"
