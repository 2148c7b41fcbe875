"""``fertrack bench live``: a real stream, watched, cut off and found again; and what it says about that."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from video_factory import make_video

from fertrack.cli.main import run
from fertrack.evaluation.live_benchmark import LiveBenchmark, Part, to_markdown
from fertrack.live.state import LiveSummary, Percentiles


@pytest.mark.parametrize("protocol", ["mjpeg", "udp", "rtsp"])
def test_a_clip_is_sent_watched_cut_off_and_found_again(
    protocol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_video(tmp_path / "clip.mp4", 30, 15, (320, 240))
    arguments = ["bench", "live", str(clip), "--protocol", protocol, "--minutes", "0.05", "--disconnects", "1"]
    arguments += ["--set", "stream.stall_timeout_s=1.5"]
    options = ["--fps", "15", "--set", "linking.method=off", "-o", str(tmp_path / "out"), "--json"]
    assert run([*arguments, *options]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["disconnects"], found["reconnects"], found["left"]) == (1, 1, [])
    assert found["size"] == [320, 240]
    assert 0.5 <= found["back_s"][0] < 60.0
    assert found["steady"]["display_fps"] > 0.0
    assert found["sent_to_displayed_ms"]["p50"] > 0.0
    assert found["steady"]["rss_mb"] > 50.0
    assert found["targets"]["nothing left"]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert [name.partition("-live-")[2] for name in written] == ["clip.json", "clip.md"]
    assert "| seconds until displayed again" in (tmp_path / "out" / written[1]).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "said"), [(["--protocol", "smoke"], "none of mjpeg"), (["--size", "big"], "no size")]
)
def test_wrong_usage(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "live", "clip.mp4", *options]) == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_clip_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "live", str(tmp_path / "none.mp4"), "--set", "linking.method=off"]) == 1
    assert "none.mp4" in capsys.readouterr().err


def test_the_page_says_which_targets_are_met() -> None:
    some = Percentiles(50.0, 90.0, 120.0)
    part = Part(28.0, 14.0, some, some, 400.0)
    summary = LiveSummary("complete", 1, "x", 9, 9, 9, 0, 0, 0, 9, 1, 1, 9.0, 28.0, 14.0, some, some)
    size, minutes, back_s = (1280, 720), (part, part), (1.0, 2.0)
    result = LiveBenchmark(
        "udp", "clip.mp4", size, 30.0, 10.0, part, minutes, some, 3.0, "all", 20, 20, back_s, (), summary
    )
    good = replace(result, targets={"display ≥ 25 fps": True, "nothing left": True})
    bad = replace(result, left=("thread x",), targets={"display ≥ 25 fps": True, "nothing left": False})
    page = to_markdown([good, bad])
    assert "| display ≥ 25 fps | yes | yes |" in page
    assert "| nothing left | yes | no |" in page
    assert "| left at the end | nothing | thread x |" in page
    assert "50 / 90 / 120" in page
    assert "| udp, minute |" in page
    assert "| 2 | 28.0 | 14.0 | 50 / 90 / 120 | 50 / 90 / 120 | 400 |" in page
