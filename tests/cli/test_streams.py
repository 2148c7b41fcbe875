"""Closed and full standard streams: one sentence at most, no traceback, and nothing written into the wrong file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fertrack.storage.engine import open_database
from tests.support.storage_scenes import result, store


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("streams") / "f.db"
    with open_database(path, create=True) as database:
        store(database, [result(0, 0.0, [(1, "anger", 0.5)])])
    return path


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    ("arguments", "streams", "code", "said"),
    [
        ("runs list", ">&-", 0, ""),
        (
            "runs list --format csv",
            ">/dev/full",
            1,
            "error: the output could not be written: No space left on device\n",
        ),
        ("runs delete 1", "<&- >/dev/null", 1, ""),
        ("runs list", "<&- >&- 2>&-", 0, ""),
    ],
)
def test_streams_that_are_closed_or_full(arguments: str, streams: str, code: int, said: str, db: Path) -> None:
    before = db.read_bytes()
    shell = f'"$0" -m fertrack {arguments} --db "$1" {streams}'
    finished = subprocess.run(
        ["sh", "-c", shell, sys.executable, str(db)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": ""},
    )
    assert finished.returncode == code
    assert "Traceback" not in finished.stderr
    assert finished.stderr == said or not said
    assert db.read_bytes() == before
