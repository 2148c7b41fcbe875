"""What the README and the guide show works as shown: every page's commands and Python, in order, after one run."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import sqlite3
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import partial
from hashlib import sha256
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

import fertrack
from fertrack import demo
from fertrack.cli.main import run
from fertrack.models.bundle import load_bundle
from tests.support.guide_pages import HAND_WRITTEN, page
from tests.support.labelled_faces import labelled_faces
from tests.support.paths import REPOSITORY

PAGES = {
    "README": (REPOSITORY / "README.md").read_text(encoding="utf-8"),
    **{name: page(name) for name in HAND_WRITTEN},
}
FRAMES = 8
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHOWN = {name: found for name, text in PAGES.items() if (found := BLOCK.findall(text))}
NEEDS_TORCH = ("weights",)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user has it after a first run: videos, labelled faces, a stored run, its corrected export."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        demo.compose_demo(folder / "clip.mp4", frame_count=FRAMES)
        shutil.copy("clip.mp4", "earlier.mp4")
        Path("day1").mkdir()
        demo.compose_demo(folder / "day1" / "morning.mov", frame_count=4)
        Path("stimuli.csv").write_text("time_s,label,end_s,note\n0.1,stimulus,0.3,trial_type=funny\n", encoding="utf-8")
        labelled_faces(folder / "faces")
        assert run(["process", "earlier.mp4"]) == 0
        assert run(["export", "last", "--format", "csv", "-o", "."]) == 0
        assert run(["export", "last", "--format", "mot", "-o", "."]) == 0
        Path("run1.earlier.mot.txt").rename("truth.txt")
        faces = pd.read_csv("run1.earlier.faces.csv")
        faces.assign(corrected="happiness").to_csv("corrected.csv", index=False)
        for path in folder.glob("run1.*"):
            path.unlink()
    return folder


@pytest.fixture
def here(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(workspace, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("FERTRACK_DB", raising=False)
    monkeypatch.setattr(demo, "compose_demo", partial(demo.compose_demo, frame_count=FRAMES))
    return folder


def lines(block: str) -> Iterator[str]:
    for line in block.splitlines():
        command = line.partition("  #")[0].strip()
        if not command.startswith("fertrack "):
            continue  # make and pip, which set up what runs here
        if command.startswith("fertrack live") and "--realtime" not in command:
            continue  # there is no camera here
        if command.startswith("fertrack gui"):
            continue  # tests/gui/desktop runs it, without a screen
        yield command


def do(command: str) -> int:
    words, _, file = command.partition(" > ")
    if not file:
        return run(shlex.split(words)[1:])
    with StringIO() as out, redirect_stdout(out):
        code = run(shlex.split(words)[1:])
        Path(file).write_text(out.getvalue(), encoding="utf-8")
    return code


@pytest.mark.parametrize("name", SHOWN)
def test_what_a_page_shows_works(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if name in NEEDS_TORCH:
        own_weights(here)
    names: dict[str, object] = {}
    for language, block in SHOWN[name]:
        if language == "python":
            if "open_live(0)" not in block:  # tests/live runs it without a camera
                exec(compile(block, f"{name}.md", "exec"), names)  # the example itself is what is tested
            continue
        for command in lines(block):
            assert do(command) == 0, f"{command}: {capsys.readouterr().err}"
    if name == "recipes":
        assert names["sink"].notes == ["0 faces, run complete"]  # type: ignore[attr-defined]  # the page's own class
    if name in {"README", "python"}:
        timeline = names["timeline"]
        assert isinstance(timeline, pd.DataFrame)
        assert list(timeline.columns) == ["time_s", "label", "probability"]
        assert len(timeline) == FRAMES


def own_weights(folder: Path) -> None:
    """A feature head and a transformer, small, and trained on nothing."""
    torch = pytest.importorskip("torch")
    from tests.support.classifier_bundles import orthogonal, transformer

    torch.save(orthogonal().state_dict(), folder / "orf.pth")
    torch.save(transformer(64, 49).state_dict(), folder / "qvit.pth")


def test_the_detector_recipe_is_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = next(block for language, block in SHOWN["recipes"] if "DetectorOptions" in block)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "mine.py").write_text(recipe, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    from fertrack.detectors import build_detector
    from fertrack.detectors.config import DetectionConfig

    assert build_detector(DetectionConfig(name="my_package.mine")).fingerprint == "mine 1.0"


def test_the_embedder_recipe_is_an_embedder() -> None:
    from fertrack.protocols import Embedder

    names: dict[str, object] = {}
    exec(next(block for _, block in SHOWN["recipes"] if "MyEmbedder" in block), names)
    assert isinstance(names["MyEmbedder"](), Embedder)  # type: ignore[operator]  # the page's own class


def test_the_card_shown_is_read(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```", PAGES["weights"], re.DOTALL | re.MULTILINE)
    card = block.replace('"..."', f'"{sha256(b"").hexdigest()}"')
    assert tomllib.loads(card)["input"]["size_px"] == 224
    (tmp_path / "orf.pth").write_bytes(b"")
    (tmp_path / "head.pth").write_bytes(b"")
    (tmp_path / "bundle.toml").write_text(card, encoding="utf-8")
    assert load_bundle(tmp_path).card.name == "orf"


def test_the_public_names_shown_are_public() -> None:
    for name, text in PAGES.items():
        for public in re.findall(r"\bfertrack\.([a-z_]+|[A-Z]\w+)\(", text):
            assert public in fertrack.__all__, f"{name} shows fertrack.{public}"


def test_the_questions_in_sql_are_answered(here: Path) -> None:
    (block,) = re.findall(r"^```sql\n(.*?)^```", PAGES["sql"], re.DOTALL | re.MULTILINE)
    (here / "many.csv").write_text("time_s,label\n0.0,stimulus\n", encoding="utf-8")
    assert run(["markers", "import", "last", "many.csv"]) == 0
    assert run(["import-labels", "last", "corrected.csv"]) == 0
    with contextlib.closing(sqlite3.connect("file:fertrack-out/fertrack.db?mode=ro", uri=True)) as database:
        questions = block.split(";\n")[:-1]
        assert len(questions) == 10
        counts = [len(database.execute(question).fetchall()) for question in questions]
    assert [count > 0 for count in counts] == [
        number not in {4, 9} or count > 0 for number, count in enumerate(counts, 1)
    ]


@pytest.mark.parametrize("package", ["mne", "nwb"])
def test_the_recipe_for_another_package_works(package: str, here: Path) -> None:
    library = {"mne": "mne", "nwb": "pynwb"}[package]
    pytest.importorskip(library, reason=f"{library} is not installed: the guide's recipe for it is not run")
    (block,) = re.findall(rf"^```python {package}\n(.*?)^```", PAGES["python"], re.DOTALL | re.MULTILINE)
    assert run(["export", "last", "--format", "csv", "--set", "report.min_episode_s=0"]) == 0
    for kind in ("faces", "episodes"):
        Path(f"fertrack-out/run1.earlier.{kind}.csv").rename(f"fertrack-out/run1.clip.{kind}.csv")
    names: dict[str, object] = {}
    exec(compile(block, "python.md", "exec"), names)
    episodes = pd.read_csv("fertrack-out/run1.clip.episodes.csv")
    assert len(episodes) > 0
    if package == "mne":
        from mne import read_annotations

        assert read_annotations("clip-annot.csv").duration.tolist() == pytest.approx(episodes["duration_s"].tolist())
        return
    from pynwb import NWBHDF5IO

    with NWBHDF5IO("clip.nwb", "r") as file:
        read = file.read()
        assert read.intervals["episodes"].to_dataframe()["expression"].tolist() == episodes["expression"].tolist()
        assert read.acquisition["ID 1"].data.shape[1] == 7


def test_the_question_in_duckdb_is_answered(here: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    (block,) = re.findall(r"^```duckdb\n(.*?)^```", PAGES["sql"], re.DOTALL | re.MULTILINE)
    assert run(["export", "last", "--format", "parquet"]) == 0
    assert len(duckdb.sql(block).fetchall()) >= 2
