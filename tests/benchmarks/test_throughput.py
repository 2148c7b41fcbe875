"""The benchmark measures what it says it measures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import fertrack
from fertrack.benchmarks.throughput import measure as benchmark
from fertrack.benchmarks.throughput.page import Gate
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


def test_a_program_of_another_tree_imports_from_there(tmp_path: Path) -> None:
    (tmp_path / "only_here.py").write_text("print('from the other tree')")
    assert benchmark.run_costed([sys.executable, "-m", "only_here"], tree=tmp_path).stdout == "from the other tree\n"


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


def test_the_whole_benchmark_writes_both_files_and_fails_where_a_target_is_missed(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = tmp_path / "peer"
    peer.write_text(f"#!{sys.executable}\n{SPIN}")
    peer.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    asked: list[tuple[int, tuple[str, ...], Path | None]] = []

    def program(clips: list[Path], folder: Path, *extra: str, tree: Path | None = None) -> benchmark.Cost:
        """Stands for a run of fertrack: 4 s in the earlier tree, 2 s in this one, 1 s with the fast preset."""
        asked.append((len(clips), extra, tree))
        seconds = (4.0 if tree else 1.0 if "fast" in extra else 2.0) * len(clips)
        told = [{"elapsed_s": seconds - 0.5, "fps": 50.0, "stages": [{"stage": "detect", "mean_ms": 9.0}]}]
        return benchmark.Cost(seconds, seconds, 400.0, json.dumps(told))

    monkeypatch.setattr(benchmark, "_fertrack", program)
    out, tree = tmp_path / "reports", Path(fertrack.__file__).parents[1]
    arguments = [str(clip), "--peer", str(peer), "--rounds", "1", "--out", str(out), "--against", str(tree)]
    assert benchmark.main([*arguments, "--folder", "2"]) == 1
    (written,) = out.glob("*-short.json")
    result = json.loads(written.read_text(encoding="utf-8"))
    assert result["loop_over_floor"] == pytest.approx(result["loop_s"] / result["floor_s"])
    assert set(result["peers"]) == {"deface, as it ships", "deface, x264 ultrafast"}
    assert result["peers"]["deface, as it ships"]["wall_s"] >= 0.3
    assert result["earlier"]["whole_times_faster"] == pytest.approx(2.0)
    assert result["earlier"]["loop_times_faster"] == pytest.approx(3.5 / 1.5)
    assert result["earlier"]["fast_times_faster"] == pytest.approx(3.5 / 0.5)
    assert result["folder"] == {"clips": 2, "single_s": 2.0, "together_s": 4.0, "times_faster": 1.0}
    assert [each for each in asked if each[2]] == [(1, (), tree)]
    assert set(result["runs"]) == {"own", "fast", "earlier", *result["peers"]}
    said = capsys.readouterr()
    assert written.with_suffix(".md").read_text(encoding="utf-8") == said.out
    assert "missed: short.mp4: " in said.err
    assert "clips in one call, against one by one" in said.err
    assert "whole program, against the earlier build" not in said.err
    assert "| **missed** |" in said.out


def test_a_gate_is_judged_as_it_is_written() -> None:
    assert Gate("x", 1.151, 1.15, at_most=True).is_reached
    assert not Gate("x", 1.156, 1.15, at_most=True).is_reached
    assert Gate("x", 1.596, 1.6, at_most=False).is_reached
    assert not Gate("x", 1.594, 1.6, at_most=False).is_reached


def test_a_tree_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.main(["a.mp4", "--against", str(tmp_path)])
    assert "there is no source tree of fertrack" in capsys.readouterr().err


def test_a_clip_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main([str(tmp_path / "none.mp4"), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
