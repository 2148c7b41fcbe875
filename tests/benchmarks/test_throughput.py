"""The benchmark measures what it says it measures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from fertrack.benchmarks import throughput as benchmark
from fertrack.config import Settings
from fertrack.demo import compose_demo
from fertrack.sources import open_source

SPIN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compose_demo(tmp_path_factory.mktemp("clip") / "short.mp4", frame_count=12)


def test_a_programs_time_and_memory_are_its_own() -> None:
    idle = benchmark.run_costed([sys.executable, "-c", "import time; time.sleep(0.3); print('done')"])
    busy = benchmark.run_costed([sys.executable, "-c", SPIN])
    large = benchmark.run_costed([sys.executable, "-c", "import time; b = bytes([1]) * 200_000_000; time.sleep(0.3)"])
    assert idle.stdout == "done\n"
    assert idle.wall_s >= 0.3
    assert busy.cpu_s >= 0.3 > idle.cpu_s
    assert large.peak_mb > 190 > idle.peak_mb


def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        benchmark.run_costed([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_a_clip_played_three_times_is_three_times_as_long(clip: Path, tmp_path: Path) -> None:
    benchmark.play_times(clip, 3, tmp_path / "long.mp4")
    with open_source(tmp_path / "long.mp4") as source:
        times = [frame.timestamp_s for frame in source]
    assert len(times) == 36
    assert times == pytest.approx([index / 25 for index in range(36)], abs=1e-3)


def test_every_stage_is_charged(clip: Path) -> None:
    spent, frames = benchmark.stage_cpu(clip, Settings())
    assert frames == 12
    assert list(spent) == ["decode", "detect", "align", "classify", "track", "draw, encode"]
    assert all(seconds > 0 for seconds in spent.values())
    assert max(spent, key=lambda stage: spent[stage]) == "detect"


def test_the_whole_benchmark_writes_both_files(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = tmp_path / "peer"
    peer.write_text(f"#!{sys.executable}\n{SPIN}")
    peer.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert benchmark.main([str(clip), "--peer", str(peer), "--rounds", "1", "--out", str(tmp_path / "reports")]) == 0
    (written,) = (tmp_path / "reports").glob("*-short.json")
    result = json.loads(written.read_text(encoding="utf-8"))
    assert result["loop_over_floor"] == pytest.approx(result["loop_s"] / result["floor_s"])
    assert set(result["peers"]) == {"deface, as it ships", "deface, x264 ultrafast"}
    assert result["peers"]["deface, as it ships"]["wall_s"] >= 0.3
    assert written.with_suffix(".md").read_text(encoding="utf-8") == capsys.readouterr().out


def test_a_clip_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main([str(tmp_path / "none.mp4"), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
