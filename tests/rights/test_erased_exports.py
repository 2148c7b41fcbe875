"""Erasing somebody from exports: every file of every format is as if it had been written without them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from fertrack.reporting.exports.registry import FORMATS, export_run
from fertrack.rights.erase import erase_person
from fertrack.storage.engine import Database, open_database
from fertrack.storage.people.actions import rename
from tests.support.queries import outputs
from tests.support.reporting_runs import ScriptedPerson, ScriptedRun, store_run

RUN = ScriptedRun(
    persons=(
        ScriptedPerson([(0, 2)], [(0, "fear"), (1, "neutral")], "Annabel"),
        ScriptedPerson([(0, 2)], [(0, "sadness")], "Bob"),
    )
)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "fertrack.db", create=True) as database:
        store_run(database, RUN)
        yield database


def plain(path: Path) -> bytes:
    """What a file says, without the time of its making."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path).to_csv().encode()
    if path.suffix == ".feather":
        return pd.read_feather(path).to_csv().encode()
    if path.suffix == ".xlsx":
        with zipfile.ZipFile(path) as book:
            return b"".join(book.read(name) for name in sorted(book.namelist()) if "docProps" not in name)
    if path.suffix == ".duckdb":  # its checksums differ from file to file
        with duckdb.connect(str(path), read_only=True) as opened:
            tables = sorted(name for (name,) in opened.execute("SHOW TABLES").fetchall())
            return repr([(name, opened.execute(f'SELECT * FROM "{name}"').fetchall()) for name in tables]).encode()
    return path.read_bytes()


@pytest.mark.parametrize("output_format", FORMATS)
def test_every_file_is_as_if_it_had_been_written_without_them(db: Database, tmp_path: Path, output_format: str) -> None:
    folder, fresh = tmp_path / "out", tmp_path / "fresh"
    folder.mkdir()
    fresh.mkdir()
    before = export_run(db, 1, output_format, folder)
    assert any(b"Annabel" in plain(path) or "Annabel" in path.name for path in before) or output_format in {
        "mot",
        "openface",
        "wide",
    }
    report = erase_person(db, "Annabel")
    assert sorted([*report.rewritten, *report.deleted]) == sorted(before)
    assert all(path.exists() for path in report.rewritten)
    gone = [path for path in report.deleted if any(path.name in sentence for sentence in report.left)]
    assert gone == [], "nobody needs to see to a file that is gone"
    expected = {path.name: plain(path) for path in export_run(db, 1, output_format, fresh)}
    left = {path.name: plain(path) for path in folder.iterdir()}
    assert left.keys() == expected.keys()
    for name, text in left.items():
        assert text.replace(str(folder).encode(), b"") == expected[name].replace(str(fresh).encode(), b""), name
        assert b"Annabel" not in text
        assert b"Annabel" not in (folder / name).read_bytes()


@pytest.mark.parametrize("output_format", ["csv", "eaf", "facereader", "boris"])
def test_files_about_nobody_else_go(db: Database, tmp_path: Path, output_format: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    paths = export_run(db, 1, output_format, folder, track=1)
    assert paths
    assert sorted(erase_person(db, "Annabel").deleted) == sorted(paths)
    assert list(folder.iterdir()) == []


def test_a_log_of_somebody_who_was_renamed_since_is_written_again_and_not_deleted(db: Database, tmp_path: Path) -> None:
    export_run(db, 1, "facereader", tmp_path / "out")
    rename(db, 1, "Bob", "Robert")
    erase_person(db, "Annabel")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["run1.clip.Bob-id2_detailed.txt", "run1.clip.Bob-id2_state.txt"]
    assert "Robert" in (tmp_path / "out" / names[0]).read_text(encoding="utf-8")
    assert {file.path.name for file in outputs(db)} == set(names)
