"""What the README shows works as shown."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import pytest

from fertrack.cli.main import run
from fertrack.demo import compose_demo, portrait
from tests.support.classifier_bundles import orthogonal, transformer
from tests.support.paths import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def labelled_faces(folder: Path) -> None:
    """Twelve sizes each of the two public-domain portraits, as a folder with a sub-folder per expression."""
    for expression, name in (("happiness", "astronaut"), ("neutral", "hopper")):
        (folder / expression).mkdir(parents=True)
        for number in range(12):
            scale = 0.5 + 0.04 * number
            picture = cv2.resize(portrait(name), None, fx=scale, fy=scale)
            assert cv2.imwrite(str(folder / expression / f"{number}.png"), picture)


def own_weights(folder: Path) -> None:
    """A feature head and a transformer, small, and trained on nothing."""
    torch = pytest.importorskip("torch")
    torch.save(orthogonal().state_dict(), folder / "orf.pth")
    torch.save(transformer(64, 49).state_dict(), folder / "qvit.pth")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_example_gives_a_timeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    compose_demo(tmp_path / "clip.mp4", frame_count=12)
    names: dict[str, object] = {}
    example = next(block for block in blocks("python") if "process_video" in block)
    exec(compile(example, "README.md", "exec"), names)  # the example itself is what is tested
    timeline = names["timeline"]
    assert list(timeline.columns) == ["time_s", "label", "probability"]  # type: ignore[attr-defined]  # a DataFrame
    assert len(timeline) == 12  # type: ignore[arg-type]  # a DataFrame


def test_the_commands_shown_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    compose_demo(tmp_path / "clip.mp4", frame_count=8)
    labelled_faces(tmp_path / "faces")
    own_weights(tmp_path)
    (tmp_path / "day1").mkdir()
    compose_demo(tmp_path / "day1" / "morning.mov", frame_count=8)
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("fertrack ")]
    assert len(commands) >= 4
    for command in commands:
        words = [word.strip("'") for word in command.split()[1:]]
        if words[0] == "live" and "--realtime" not in words:
            continue  # there is no camera here
        if "vp9" in command:
            words.append("--overwrite")
        assert run(words) == 0, f"{command}: {capsys.readouterr().err}"


def test_the_detector_recipe_is_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = next(block for block in blocks("python") if "DetectorOptions" in block)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "mine.py").write_text(recipe, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    from fertrack.detectors import build_detector
    from fertrack.detectors.config import DetectionConfig

    assert build_detector(DetectionConfig(name="my_package.mine")).fingerprint == "mine 1.0"
