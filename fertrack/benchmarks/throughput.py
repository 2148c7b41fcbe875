"""Speed and memory, measured in one run on one clip: ``python -m fertrack.benchmarks throughput CLIP``.

- fertrack end to end, as a user starts it: decode, detect, align, classify, track, smooth, draw, encode, store, report.
- deface on the same clip at the same detector input size: the nearest peer that decodes, runs the same detector network
  and encodes, in a virtual environment of its own. As it ships, and once more with our encoder preset.
- The floor: the CPU time of the stages run one after the other on one thread each, divided by the cores. No schedule
  can be faster than that.
- Peak memory on the clip and on the clip played ten times.

Programs that are compared take turns, and the median of the rounds is reported. Results are ratios of one machine at
one time; the absolute figures say little about another.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import psutil

from fertrack.build import build_pipeline
from fertrack.config import Settings
from fertrack.errors import FertrackError
from fertrack.expression.fold import ExpressionFold
from fertrack.imaging.alignment import align_faces
from fertrack.pipeline.analyzer import crop_logits
from fertrack.pipeline.scheduler import available_cores
from fertrack.sinks.video import AnnotatedVideoSink
from fertrack.sources import open_source
from fertrack.tracking.tracker import SortTracker
from fertrack.types import Faces, Frame, FrameResult, RunSummary

__all__ = ["Cost", "main", "measure", "play_times", "run_costed", "stage_cpu", "to_markdown"]


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one program run."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    stdout: str


def run_costed(command: Sequence[str]) -> Cost:
    """Run a program and measure its wall time, CPU time (its children's included) and peak memory (its own).

    Raises:
        RuntimeError: it failed; the message has the end of what it printed.
    """
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complained:
        started = time.perf_counter()
        with psutil.Popen(command, stdout=printed, stderr=complained, stdin=subprocess.DEVNULL) as process:
            peak_bytes = 0
            # The kernel's own figure for a finished child begins with the memory of the parent it was forked from.
            while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                with contextlib.suppress(psutil.Error):
                    peak_bytes = max(peak_bytes, process.memory_info().rss)
                time.sleep(0.01)
            wall_s = time.perf_counter() - started
            code = os.waitstatus_to_exitcode(ended[1])
        for file in (printed, complained):
            file.seek(0)
        if code:
            raise RuntimeError(f"{command[0]} ended with {code}: {complained.read().decode()[-2000:]}")
        usage = ended[2]
        return Cost(wall_s, usage.ru_utime + usage.ru_stime, peak_bytes / 2**20, printed.read().decode())


def stage_cpu(clip: Path, settings: Settings) -> tuple[dict[str, float], int]:
    """CPU seconds of each stage over a clip, with nothing else running, and the number of frames.

    Three passes: decode alone; decode and look, where each stage runs in this thread and is charged by this thread's
    clock; decode and draw and encode, charged by the process's clock less what decoding alone took.
    """
    spent = {"decode": _cpu_of(lambda: sum(1 for _ in _frames(clip, settings)))}
    results: list[FrameResult] = []
    for stage, seconds in _analysis_costs(clip, settings, results).items():
        spent[stage] = seconds
    spent["draw, encode"] = _cpu_of(lambda: _write_video(clip, settings, results)) - spent["decode"]
    return spent, len(results)


def _frames(clip: Path, settings: Settings) -> Iterator[Frame]:
    with open_source(clip, settings.input) as source:
        yield from source


def _cpu_of(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _analysis_costs(clip: Path, settings: Settings, results: list[FrameResult]) -> dict[str, float]:
    """Thread CPU seconds of detect, align, classify and track; fills ``results``."""
    pipeline = build_pipeline(settings)
    detector, classifier = pipeline.analyzer.detector, pipeline.analyzer.classifier
    tracker, fold = SortTracker(settings.tracking), ExpressionFold(pipeline.calibrator, settings.smoothing)
    spent = dict.fromkeys(("detect", "align", "classify", "track"), 0.0)
    for frame in _frames(clip, settings):
        clock = [time.thread_time()]
        (found,) = detector.detect([frame.image])
        clock.append(time.thread_time())
        crops = align_faces(frame.image, found.landmarks, classifier.template, classifier.crop_size)
        clock.append(time.thread_time())
        logits = crop_logits(classifier, crops, found.landmarks)
        clock.append(time.thread_time())
        update = tracker.update(found, frame.index)
        folded = fold.update(frame.timestamp_s, update.track_ids, logits)
        results.append(
            FrameResult(
                frame_index=frame.index,
                timestamp_s=frame.timestamp_s,
                faces=Faces(found, logits),
                track_ids=update.track_ids,
                track_xyxy=update.xyxy,
                probabilities=folded.probabilities,
                smoothed=folded.smoothed,
                labels=folded.labels,
            )
        )
        clock.append(time.thread_time())
        for stage, start, end in zip(spent, clock, clock[1:], strict=False):
            spent[stage] += end - start
    return spent


def _write_video(clip: Path, settings: Settings, results: Sequence[FrameResult]) -> None:
    with tempfile.TemporaryDirectory() as folder, open_source(clip, settings.input) as source:
        path = Path(folder) / f"floor{settings.video.suffix}"
        with AnnotatedVideoSink(path, source.info, settings.video) as sink:
            for frame, result in zip(source, results, strict=True):
                sink.write(result, frame.image)
            sink.finish(RunSummary("complete", len(results), 0, 0, 0, 0, 0.0, 0.0))


def play_times(clip: Path, times: int, out: Path) -> None:
    """Write a clip that plays another ``times`` times in a row, by copying packets."""
    with av.open(clip) as first, av.open(out, "w") as container:
        template = first.streams.video[0]
        stream = container.add_stream_from_template(template)
        offset = 0
        for _ in range(times):
            end = offset
            with av.open(clip) as source:
                for packet in source.demux(source.streams.video[0]):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts += offset
                    packet.dts += offset
                    end = max(end, packet.pts + (packet.duration or 0))
                    packet.stream = stream
                    container.mux(packet)
            offset = end


def _fertrack(clip: Path, folder: Path, *extra: str) -> Cost:
    out = folder / "out"
    command = [sys.executable, "-m", "fertrack", "process", str(clip), "-o", str(out), "--overwrite", "--json", *extra]
    return run_costed(command)


def _deface(peer: Path, clip: Path, folder: Path, size: str, preset: str = "") -> Cost:
    encoder: dict[str, Any] = {"codec": "libx264"}
    if preset:
        encoder["output_params"] = ["-preset", preset]
    return run_costed(
        [
            str(peer),
            str(clip),
            "-o",
            str(folder / "deface.mp4"),
            "--scale",
            size,
            "--keep-audio",
            "--backend",
            "onnxrt",
            "--ffmpeg-config",
            json.dumps(encoder),
        ]
    )


def measure(clip: Path, peer: Path | None, rounds: int) -> dict[str, Any]:
    """Measure everything on one clip; see the module's docstring."""
    settings = Settings()
    with open_source(clip, settings.input) as source:
        info = source.info
    long_side = settings.detection.long_side or 640
    scale = long_side / max(info.width, info.height)
    size = f"{round(info.width * scale)}x{round(info.height * scale)}"
    stages, frames = stage_cpu(clip, settings)
    own: list[Cost] = []
    others: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(rounds):
            own.append(_fertrack(clip, folder))
            if peer:
                others.setdefault("deface, as it ships", []).append(_deface(peer, clip, folder, size))
                preset = str(settings.video.preset)
                others.setdefault(f"deface, x264 {preset}", []).append(_deface(peer, clip, folder, size, preset))
        long_clip = folder / f"ten{clip.suffix}"
        play_times(clip, 10, long_clip)
        ten_times = _fertrack(long_clip, folder)
    summaries = [json.loads(cost.stdout)[0] for cost in own]
    wall_s = statistics.median(cost.wall_s for cost in own)
    loop_s = statistics.median(summary["elapsed_s"] for summary in summaries)
    floor_s = sum(stages.values()) / available_cores()
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{available_cores()} cores, {platform.machine()}, Python {platform.python_version()}",
        "fertrack": version("fertrack"),
        "onnxruntime": version("onnxruntime"),
        "clip": clip.name,
        "picture": f"{info.width}x{info.height}, {frames} frames, {info.fps:.2f} fps",
        "detector_input": size,
        "rounds": rounds,
        "stage_cpu_ms": {stage: 1e3 * seconds / frames for stage, seconds in stages.items()},
        "floor_s": floor_s,
        "loop_s": loop_s,
        "loop_over_floor": loop_s / floor_s,
        "loop_fps": frames / loop_s,
        "whole_program_s": wall_s,
        "whole_program_fps": frames / wall_s,
        "stage_wall_ms": {stage["stage"]: stage["mean_ms"] for stage in summaries[-1]["stages"]},
        "peers": {
            name: {
                "wall_s": statistics.median(cost.wall_s for cost in costs),
                "fps": frames / statistics.median(cost.wall_s for cost in costs),
                "fertrack_times_faster": statistics.median(cost.wall_s for cost in costs) / wall_s,
            }
            for name, costs in others.items()
        },
        "peak_mb": statistics.median(cost.peak_mb for cost in own),
        "peak_mb_ten_times": ten_times.peak_mb,
        "fps_ten_times": json.loads(ten_times.stdout)[0]["fps"],
        "runs": [{key: value for key, value in asdict(cost).items() if key != "stdout"} for cost in own],
    }


def to_markdown(result: dict[str, Any]) -> str:
    """The result as a page for people."""
    rows = [
        "| | seconds | frames per second | |",
        "|---|--:|--:|---|",
        f"| fertrack, frame loop | {result['loop_s']:.2f} | {result['loop_fps']:.1f} | "
        f"{result['loop_over_floor']:.2f} x the floor |",
        f"| fertrack, whole program | {result['whole_program_s']:.2f} | {result['whole_program_fps']:.1f} | "
        "start-up, report and closing included |",
    ]
    for name, peer in result["peers"].items():
        rows.append(
            f"| {name}, whole program | {peer['wall_s']:.2f} | {peer['fps']:.1f} | "
            f"fertrack is {peer['fertrack_times_faster']:.2f} x as fast |"
        )
    rows.append(f"| floor: stages' CPU time / cores | {result['floor_s']:.2f} | | no schedule can be faster |")
    stages = "\n".join(f"| {stage} | {cpu_ms:.1f} |" for stage, cpu_ms in result["stage_cpu_ms"].items())
    return f"""# Benchmark {result["date"]}: {result["clip"]}

{result["picture"]}; detector input {result["detector_input"]}; {result["machine"]}; fertrack {result["fertrack"]},
ONNX Runtime {result["onnxruntime"]}; median of {result["rounds"]} rounds in which the programs took turns.
Made by `python -m fertrack.benchmarks throughput`.

{chr(10).join(rows)}

CPU time per frame of each stage, measured alone:

| stage | ms |
|---|--:|
{stages}

Peak memory: {result["peak_mb"]:.0f} MB; on the clip played ten times {result["peak_mb_ten_times"]:.0f} MB
({result["peak_mb_ten_times"] - result["peak_mb"]:+.0f} MB), at {result["fps_ten_times"]:.1f} frames per second.
"""


def main(arguments: Sequence[str]) -> int:
    """Measure, and write ``<date>-<clip>.json`` and ``.md``."""
    parser = argparse.ArgumentParser(prog="python -m fertrack.benchmarks throughput", description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--peer", type=Path, help="deface's executable in a virtual environment of its own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks"))
    options = parser.parse_args(arguments)
    try:
        result = measure(options.clip, options.peer, options.rounds)
    except (FertrackError, RuntimeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / f"{result['date']}-{options.clip.stem}"
    stem.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    stem.with_suffix(".md").write_text(to_markdown(result), encoding="utf-8")
    sys.stdout.write(to_markdown(result))
    return 0
