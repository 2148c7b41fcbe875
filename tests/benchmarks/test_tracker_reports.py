"""The commands that measure the tracker: what they write is complete and adds up; what fails is one sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage

from fertrack.benchmarks import tracker_ablation as tracking_ablation
from fertrack.benchmarks import tracker_speed as tracking_speed
from fertrack.benchmarks.tracker_ablation import TUNED_ON, VARIANTS
from fertrack.tracking.tracker import PLAIN_SORT, TrackerConfig


class TestSpeed:
    def test_every_tracker_and_count_is_measured_and_written(self, tmp_path: Path) -> None:
        assert tracking_speed.main(["--rounds", "2", "--updates", "30", "--out", str(tmp_path)]) == 0
        (stored,) = tmp_path.glob("*-tracking.json")
        result = json.loads(stored.read_text())
        assert list(result["median_ms"]) == ["6", "100"]
        for count, figures in result["median_ms"].items():
            assert list(figures) == ["fertrack, default", "fertrack, plain SORT"]
            for name, ms in figures.items():
                assert 0 < result["fastest_round_ms"][count][name] <= ms < 100
        table = stored.with_suffix(".md").read_text()
        assert "without the peer" in table
        assert len([line for line in table.splitlines() if line.startswith("| ")]) == 5

    def test_the_peer_is_compared_by_ratio(self) -> None:
        figures = {"fertrack, default": 0.1, tracking_speed.PEER: 0.25}
        result = {"date": "d", "machine": "m", "numpy": "n", "peer": "2", "rounds": 1, "updates_per_round": 9}
        table = tracking_speed.to_markdown(result | {"median_ms": {"6": figures}, "fastest_round_ms": {"6": figures}})
        assert "| 6 | fertrack, default | 0.100 | 0.100 | 10,000 | 2.50 |" in table

    def test_a_peer_that_cannot_run_is_one_sentence(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["--rounds", "1", "--updates", "12", "--out", str(tmp_path), "--peer", sys.executable]
        assert tracking_speed.main(arguments) == 1, "supervision is not among what the tests install"
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert "could not run the peer" in error

    def test_scenes_are_the_same_each_time_and_miss_a_few(self) -> None:
        first, again = tracking_speed.scene(100, 50), tracking_speed.scene(100, 50)
        for a, b in zip(first, again, strict=True):
            np.testing.assert_array_equal(a, b)
        assert 0.9 < np.mean([len(boxes) for boxes in first]) / 100 < 0.99


class TestAblation:
    def test_each_variant_differs_from_the_default_and_says_how(self) -> None:
        assert VARIANTS[0].config == TrackerConfig()
        configs = [variant.config.model_dump_json() for variant in VARIANTS]
        assert len(set(configs)) == len(configs)
        assert [variant.config for variant in VARIANTS if variant.name == "plain SORT"] == [PLAIN_SORT]
        assert VARIANTS[1].overrides == "low_score=0.6"

    def test_the_report_has_every_section_and_variant(self, tmp_path: Path) -> None:
        pytest.importorskip("trackeval", reason="needs fertrack[eval]")
        for name in (TUNED_ON[0], "Other"):
            for kind, track in (("gt", 1), ("det", -1)):
                file = tmp_path / "mot" / name / kind / f"{kind}.txt"
                file.parent.mkdir(parents=True)
                file.write_text("".join(f"{f},{track},{10 + f},20,40,40,1,-1,-1,-1\n" for f in range(1, 11)))
        pictures = tmp_path / "clip"
        pictures.mkdir()
        portrait = cv2.imread(str(Path(skimage.__file__).parent / "data" / "astronaut.png"))
        for index in range(6):
            cv2.imwrite(str(pictures / f"{index:03}.png"), portrait)
        truth = tmp_path / "truth.txt"
        truth.write_text("".join(f"{frame},1,175,65,95,130,1\n" for frame in range(1, 7)))
        out = tmp_path / "report.md"
        arguments = [str(tmp_path / "mot"), "--known", str(pictures), str(truth), "--judged", str(pictures)]
        assert tracking_ablation.main([*arguments, "--judge", "centerface", "--out", str(out)]) == 0
        sections = out.read_text().split("\n## ")
        assert [section.splitlines()[0].split(":")[0] for section in sections[1:]] == [
            "Pedestrians, MOT15",
            "Faces with known identities",
            "Faces judged by centerface",
        ]
        for section in sections[1:]:
            assert section.count("\n| ") == len(VARIANTS) + 1
        assert "| default | `-` | 1.000 | 1.000 | 1.000 | 0 | 1.000 | 1.000 | 1.000 | 0 | 1.000 |" in sections[1]
        assert "| default | 1.000 | 1.000 | 0 | 0 | 0 |" in sections[2]
        assert "| default | 1 | 1 | 6 | 6 | 1 of 1 | 1 of 1 |" in sections[3]

    def test_a_missing_folder_is_one_sentence(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert tracking_ablation.main([str(tmp_path / "none"), "--out", str(tmp_path / "report.md")]) == 1
        assert capsys.readouterr().err.startswith("error: no ground truth at")
