"""The live benchmark: a real stream, watched, cut off and found again; and what it says about that."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fertrack.benchmarks.__main__ import main
from fertrack.benchmarks.live_page import LiveBenchmark, Part, targets_of, to_markdown
from fertrack.live.state import LiveSummary, Percentiles
from tests.support.video_factory import make_video


@pytest.mark.parametrize("protocol", ["mjpeg", "udp", "rtsp"])
def test_a_clip_is_sent_watched_cut_off_and_found_again(
    protocol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_video(tmp_path / "clip.mp4", 30, 15, (320, 240))
    arguments = ["live", str(clip), "--protocol", protocol, "--minutes", "0.05", "--disconnects", "1"]
    arguments += ["--set", "stream.stall_timeout_s=1.5"]
    options = ["--fps", "15", "--set", "linking.method=off", "--out", str(tmp_path / "out"), "--json"]
    assert main([*arguments, *options, "--strict"]) == 1  # 15 frames a second are sent, and 28 results are wanted
    said = capsys.readouterr()
    (found,) = json.loads(said.out)
    assert f"missed: {protocol}: " in said.err
    assert (found["disconnects"], found["reconnects"], found["left"]) == (1, 1, [])
    assert found["size"] == [320, 240]
    assert 0.5 <= found["back_s"][0] < 60.0
    assert found["steady"]["display_fps"] > 0.0
    assert found["sent_to_displayed_ms"]["p50"] > 0.0
    assert found["steady"]["rss_mb"] > 50.0
    assert found["targets"]["nothing left"]
    assert found["targets"]["memory ± 30 MB"] is None, "less than two minutes"
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert [name.partition("-live-")[2] for name in written] == ["clip.json", "clip.md"]
    assert "| seconds until displayed again" in (tmp_path / "out" / written[1]).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "said"), [(["--protocol", "smoke"], "invalid choice: 'smoke'"), (["--size", "big"], "no size")]
)
def test_wrong_usage(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["live", "clip.mp4", *options])
    assert said in capsys.readouterr().err


def test_a_clip_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["live", str(tmp_path / "none.mp4"), "--set", "linking.method=off"]) == 1
    assert "none.mp4" in capsys.readouterr().err


SOME = Percentiles(50.0, 90.0, 120.0)
PART = Part(30.0, 29.0, SOME, SOME, 400.0)


def measured(*minutes: Part, steady: Part = PART, disconnects: int = 20) -> LiveBenchmark:
    summary = LiveSummary("complete", 1, "x", 9, 9, 9, 0, 0, 0, 9, 1, 1, 9.0, 28.0, 14.0, SOME, SOME)
    size, back_s = (1280, 720), (1.0, 2.0) if disconnects else None
    return LiveBenchmark(
        "udp", "clip.mp4", size, 30.0, 10.0, steady, minutes, SOME, 3.0, "all", disconnects, 20, back_s, (), summary
    )


def test_targets_are_true_only_where_something_was_measured_that_says_so() -> None:
    long = targets_of(measured(PART, PART))
    assert set(long.values()) == {True}
    slower = replace(PART, latency_ms=Percentiles(80.0, 90.0, 120.0), rss_mb=450.0)
    assert [name for name, reached in targets_of(measured(PART, slower)).items() if reached is False] == [
        "latency of the last minute = the first's ± 10 %",
        "memory ± 30 MB",
    ]
    assert [name for name, reached in targets_of(measured(PART, disconnects=0)).items() if reached is None] == [
        "latency of the last minute = the first's ± 10 %",
        "memory ± 30 MB",
        "every disconnect survived",
    ]
    nothing = Part(0.0, 0.0, None, None, None)
    empty = targets_of(measured(nothing, nothing, steady=nothing))
    assert [name for name, reached in empty.items() if reached] == ["every disconnect survived", "nothing left"]
    assert empty["p95 age ≤ 110 ms"] is None
    page = to_markdown([replace(measured(nothing, nothing, steady=nothing, disconnects=0), targets=empty)])
    assert "| p95 age ≤ 110 ms | not measured |" in page
    assert "| age of a displayed result, p50 / p95 / p99 ms | not measured |" in page
    assert "| memory after the first and the last minute, MB | not measured, not measured |" in page
    assert "| seconds until displayed again, median, longest | not measured |" in page


def test_the_page_says_which_targets_are_met() -> None:
    result = measured(PART, PART)
    good = replace(result, targets={"display ≥ 25 fps": True, "nothing left": True})
    bad = replace(result, left=("thread x",), targets={"display ≥ 25 fps": True, "nothing left": False})
    page = to_markdown([good, bad])
    assert "| display ≥ 25 fps | yes | yes |" in page
    assert "| nothing left | yes | no |" in page
    assert "| left at the end | nothing | thread x |" in page
    assert "50 / 90 / 120" in page
    assert "| udp, minute |" in page
    assert "| 2 | 30.0 | 29.0 | 50 / 90 / 120 | 50 / 90 / 120 | 400 |" in page
