"""The installed package is whole: migrations, presets, templates and weights travel inside the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

PROBE = """
import sys
from pathlib import Path
import fertrack
from fertrack.config import load_settings, preset_folder
from fertrack.guide.pages import TOPICS, read_page
from fertrack.models.bundle import load_bundle
from fertrack.storage.schema import migrations_folder

installed = Path(sys.argv[1])
assert Path(fertrack.__file__).is_relative_to(installed), fertrack.__file__
assert preset_folder().is_relative_to(installed)
assert migrations_folder().is_relative_to(installed)
load_settings(["fast", "accurate", "rafdb"])
load_bundle("default")
with fertrack.open_database(installed / "new.db", create=True):
    pass
assert list((installed / "fertrack" / "reporting" / "templates").glob("*.j2"))
assert "# Ask" in read_page("ask")
assert len(list((installed / "fertrack" / "guide").glob("*.md"))) == len(TOPICS)
static = installed / "fertrack" / "web" / "static"
assert {"index.html", "page.css", "main.js", "icon.svg"} <= {file.name for file in static.iterdir()}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_everything_needed_at_run_time_is_inside(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", PROBE, str(installed)]
    probe = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert probe.returncode == 0, probe.stderr


def test_nothing_else_is_inside(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/", maxsplit=1)[0].split("-", maxsplit=1)[0] for name in names} == {"fertrack"}
    assert not [name for name in names if "__pycache__" in name or "fertrack-out" in name]
    assert wheel.stat().st_size < 12_000_000
