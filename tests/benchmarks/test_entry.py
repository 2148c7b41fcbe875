"""The laboratory's one entry: it lists what can be measured, and runs it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from fertrack import benchmarks
from fertrack.benchmarks.__main__ import BENCHMARKS, main
from fertrack.errors import install_hint

FOLDER = Path(benchmarks.__file__).parent


def test_every_measurement_is_listed_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    programs = set()
    for path in FOLDER.rglob("*.py"):
        functions = [node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if hasattr(node, "name")]
        if "main" in functions and path.stem not in ("__main__", "tracker_peer"):
            programs.add(".".join(path.relative_to(FOLDER).with_suffix("").parts).removesuffix(".measure"))
    assert set(BENCHMARKS) == programs
    assert main([]) == 0
    listed = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in listed] == list(BENCHMARKS)


def test_a_name_that_is_none_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trhoughput", "clip.mp4"]) == 2
    assert "did you mean throughput?" in capsys.readouterr().err


def test_a_failure_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classifier_speed", str(tmp_path / "none")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert str(tmp_path / "none") in told
    assert told.count("\n") == 1


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    for module in ("fertrack.benchmarks.throughput", "fertrack.benchmarks.throughput.measure"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    assert main(["throughput", "clip.mp4"]) == 1
    assert capsys.readouterr().err == f"error: throughput needs psutil: {install_hint('bench', 'dev')}\n"


def test_it_is_a_program() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "fertrack.benchmarks", "queries", "--help"], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0
    assert finished.stdout.startswith("usage: python -m fertrack.benchmarks queries")
