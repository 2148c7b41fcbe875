"""Labels of real clips against what is shown in them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from fertrack.benchmarks import passages
from fertrack.benchmarks.passages import PASSAGES, Passage, Shares, measure_passages, passages_table
from fertrack.config import Settings, load_settings
from fertrack.types import EXPRESSIONS

SHOWN = (
    Passage("a.mp4", 0.0, 1.0, ("happiness",)),
    Passage("a.mp4", 1.0, 2.0, ("anger", "sadness")),
    Passage("b.mp4", 5.0, 6.0, ("neutral",)),
)


def test_frames_of_a_passage_are_right_uncertain_or_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    first = ["happiness", "uncertain", "happiness", "neutral"]
    second = ["sadness", "anger", "sadness", "fear"]

    def process(video: Path, out: Path, *, settings: Settings) -> SimpleNamespace:
        asked.append(video.name)
        times = [index / 4 for index in range(8)] if video.name == "a.mp4" else []
        rows = pd.DataFrame({"time_s": times, "label": [*first, *second][: len(times)]})
        return SimpleNamespace(timeline=lambda: rows)

    monkeypatch.setattr(passages, "process_video", process)
    found = measure_passages(Path("clips"), Settings(), SHOWN)
    assert asked == ["a.mp4", "b.mp4"], "each clip once"
    assert found == [Shares(0.5, 0.25), Shares(0.75, 0.0), Shares(0.0, 0.0)]
    assert [each.wrong for each in found] == [0.25, 0.25, 1.0], "a face that was not found is no right answer"


def test_the_table_names_what_is_shown_and_has_an_interval() -> None:
    table = passages_table(SHOWN, {"mine 1": [Shares(0.5, 0.25), Shares(0.75, 0.0), Shares(1.0, 0.0)]})
    assert "| a.mp4 | 1-2 | anger or sadness | 75 / 0 / 25 |" in table
    assert "| **mean of the passages** | | | 75 / 8 / 17 |" in table
    assert "| right, 95 % interval | | | 0.750 (0.500-1.000) |" in table


def test_passages_are_what_they_say() -> None:
    assert {name for passage in PASSAGES for name in passage.shows} <= set(EXPRESSIONS)
    assert all(passage.start_s < passage.end_s for passage in PASSAGES)


@pytest.mark.shared
def test_a_smile_is_found_on_another_camera(shared_data: Path) -> None:
    settings = load_settings([], ["report.html=false", "video.enabled=false", "linking.method=off"])
    clip = [each for each in PASSAGES if each.video == "pyfeat_single_face.mp4"]
    neutral, smile = measure_passages(shared_data / "video", settings, clip)
    assert neutral.right == 1.0
    assert smile.right > 0.9
