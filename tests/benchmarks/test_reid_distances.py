"""The thresholds of linking, against real faces: what they rest on still holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from fertrack.benchmarks.reid_distances import compare, main
from fertrack.errors import EvaluationError
from fertrack.reid.config import LinkingConfig

# The two most alike of different people (d0, d13), the least alike of one person (d18), and one person in two clips.
CLIPS = [
    "liveportrait_d0.mp4",
    "liveportrait_d13.mp4",
    "liveportrait_d18.mp4",
    "pyfeat_single_face.mp4=pyfeat_face_noface.mov",
]


@pytest.mark.shared
def test_the_thresholds_lie_between_one_person_and_two(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("dlib", reason="face recognition is not installed: pip install 'fertrack[reid]'")
    found = compare(shared_data / "video", CLIPS)
    config = LinkingConfig()
    assert len(found.same) == 5
    assert min(found.same.values()) > config.accept_similarity + 0.03
    assert max(found.different.values()) < config.accept_similarity - 0.03
    assert sum(value > config.suggest_similarity for value in found.different.values()) <= 1
    assert 5 < found.ms_per_face < 1000

    assert main([str(shared_data / "video"), "pyfeat_single_face.mp4", "pyfeat_no_face.mp4"]) == 0
    assert "| one person | 1 |" in capsys.readouterr().out


def test_a_missing_clip_is_named(tmp_path: Path) -> None:
    pytest.importorskip("dlib", reason="face recognition is not installed: pip install 'fertrack[reid]'")
    with pytest.raises(EvaluationError, match=r"gone\.mp4 is not there"):
        compare(tmp_path, ["gone.mp4"])
