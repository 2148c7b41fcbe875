"""The contract of every export format of a run: ``fertrack.reporting.exports.registry``.

A new format is a module of ``fertrack/reporting/exports/tools`` with a function ``write``, named in ``MULTI_FILE``.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

from fertrack.errors import OutputExistsError, RunNotFoundError
from fertrack.reporting.exports import tools
from fertrack.reporting.exports.registry import FORMATS, MULTI_FILE, export_run
from fertrack.storage.engine import Database
from fertrack.storage.written_files import outputs
from tests.support.storage_scenes import result, store


@pytest.fixture
def run(db: Database) -> int:
    frames = [result(i, i / 25, [(1, "anger" if i < 30 else "fear", 0.6), (2, "neutral", 0.7)]) for i in range(60)]
    return store(db, frames)


@pytest.fixture(params=FORMATS)
def output_format(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name == "parquet":
        pytest.importorskip("pyarrow")
    if name in ("xlsx", "boris"):
        pytest.importorskip("xlsxwriter")
    return name


def test_every_format_of_several_files_is_here() -> None:
    modules = [module.name for module in pkgutil.iter_modules(tools.__path__)]
    writers = {name for name in modules if hasattr(importlib.import_module(f"{tools.__name__}.{name}"), "write")}
    assert writers == set(MULTI_FILE)


def test_it_writes_files_and_the_database_knows_them(
    db: Database, run: int, output_format: str, tmp_path: Path
) -> None:
    paths = export_run(db, run, output_format, tmp_path / "out", stem="mine")
    assert paths
    for path in paths:
        assert path.stat().st_size > 0
        assert (tmp_path / "out") in path.parents
    with db.reading() as connection:
        known = {each.path.resolve() for each in outputs(connection, [run])}
    assert {path.resolve() for path in paths} <= known, "so that an erased person is taken out of them"


def test_nothing_is_replaced_unasked(db: Database, run: int, output_format: str, tmp_path: Path) -> None:
    first = export_run(db, run, output_format, tmp_path, stem="mine")
    first[0].write_bytes(b"precious")
    with pytest.raises(OutputExistsError):
        export_run(db, run, output_format, tmp_path, stem="mine")
    assert first[0].read_bytes() == b"precious"
    assert export_run(db, run, output_format, tmp_path, stem="mine", overwrite=True) == first
    assert first[0].read_bytes() != b"precious"


def test_one_person_alone_can_be_exported(db: Database, run: int, output_format: str, tmp_path: Path) -> None:
    assert export_run(db, run, output_format, tmp_path, track=2)
    with pytest.raises(RunNotFoundError):
        export_run(db, run, output_format, tmp_path / "none", track=9)
    assert not list((tmp_path / "none").glob("*"))


def test_a_run_in_which_nobody_was_seen_is_exported(db: Database, output_format: str, tmp_path: Path) -> None:
    nobody = store(db, [result(i, i / 25) for i in range(5)])
    for path in export_run(db, nobody, output_format, tmp_path):
        assert path.is_file()
