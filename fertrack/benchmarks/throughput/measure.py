"""Speed and memory, measured in one run: ``python -m fertrack.benchmarks throughput CLIP [CLIP ...]``.

- fertrack end to end, as a user starts it: decode, detect, align, classify, track, smooth, draw, encode, store, report;
  once more with the preset ``fast``.
- With ``--against``, an earlier build on the same clip: its source tree, run by the same Python.
- With ``--peer``, deface on the same clip at the same detector input size: the nearest peer that decodes, runs the same
  detector network and encodes, in a virtual environment of its own. As it ships, and once more with our encoder preset.
- The floor: the CPU time of the stages run one after the other on one thread each, divided by the cores. No schedule
  can be faster than that.
- Peak memory on the clip and on the clip played ten times.
- With ``--folder N``, N copies of ten seconds in one call, against one by one.

Programs that are compared take turns, and the median of the rounds is reported. Results are ratios of one machine at
one time; the absolute figures say little about another. Where a target is missed, the command ends with 1.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import psutil

from fertrack.benchmarks.throughput.page import gates_of, to_markdown
from fertrack.build import build_pipeline
from fertrack.config import Settings
from fertrack.detectors.precision import processor_name
from fertrack.errors import FertrackError
from fertrack.expression.fold import ExpressionFold
from fertrack.imaging.alignment import align_faces
from fertrack.pipeline.analyzer import crop_logits
from fertrack.pipeline.scheduler import available_cores
from fertrack.sinks.video import AnnotatedVideoSink
from fertrack.sources import open_source
from fertrack.tracking.tracker import SortTracker
from fertrack.types import Faces, Frame, FrameResult, RunSummary, VideoInfo

__all__ = ["Cost", "main", "measure", "play_times", "run_costed", "stage_cpu"]


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one program run."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    stdout: str


def run_costed(command: Sequence[str], *, tree: Path | None = None) -> Cost:
    """Run a program and measure its wall time, CPU time (its children's included) and peak memory (its own).

    Args:
        command: the program and its arguments.
        tree: source tree that Python programs import from; None = as this one does.

    Raises:
        RuntimeError: it failed; the message has the end of what it printed.
    """
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complained:
        started = time.perf_counter()
        environment = {**os.environ, "PYTHONPATH": str(tree)} if tree else None
        with psutil.Popen(
            command, stdout=printed, stderr=complained, stdin=subprocess.DEVNULL, env=environment, cwd=tree
        ) as process:
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
    next(_frames(clip, settings))  # libraries are loaded before the clock is read
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


def _fertrack(clips: Sequence[Path], folder: Path, *extra: str, tree: Path | None = None) -> Cost:
    out = folder / ("out" if tree is None else "out-earlier")
    videos = [str(clip.resolve()) for clip in clips]
    command = [sys.executable, "-m", "fertrack", "process", *videos, "-o", str(out), "--overwrite", "--json", *extra]
    return run_costed(command, tree=tree)


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


def measure(clip: Path, peer: Path | None, rounds: int, earlier: Path | None = None, copies: int = 0) -> dict[str, Any]:
    """Measure everything on one clip; see the module's docstring.

    Args:
        clip: a video.
        peer: deface's executable.
        rounds: how often each program is run.
        earlier: source tree of an earlier build.
        copies: how many clips of ten seconds are processed in one call and one by one; 0 = none.
    """
    settings = Settings()
    with open_source(clip, settings.input) as source:
        info = source.info
    long_side = settings.detection.long_side or 640
    scale = long_side / max(info.width, info.height)
    size = f"{round(info.width * scale)}x{round(info.height * scale)}"
    preset = str(settings.video.preset)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        programs: dict[str, Callable[[], Cost]] = {
            "own": lambda: _fertrack([clip], folder),
            "fast": lambda: _fertrack([clip], folder, "--config", "fast"),
        }
        if earlier:
            programs["earlier"] = lambda: _fertrack([clip], folder, tree=earlier)
        if peer:
            programs["deface, as it ships"] = lambda: _deface(peer, clip, folder, size)
            programs[f"deface, x264 {preset}"] = lambda: _deface(peer, clip, folder, size, preset)
        costs = _taken_in_turn(programs, rounds)
        stages, frames = stage_cpu(clip, settings)
        long_clip = folder / f"ten{clip.suffix}"
        play_times(clip, 10, long_clip)
        ten_times = _fertrack([long_clip], folder)
        together = _folder(clip, info, copies, folder) if copies else None
    own = costs["own"]
    wall_s = _median(cost.wall_s for cost in own)
    loop_s = _median(_loop_s(cost) for cost in own)
    floor_s = sum(stages.values()) / available_cores()
    result = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{processor_name()}, {available_cores()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}",
        "fertrack": version("fertrack"),
        "onnxruntime": version("onnxruntime"),
        "detector": str(build_pipeline(settings).analyzer.detector.fingerprint),
        "clip": clip.name,
        "picture": f"{info.width}x{info.height}, {frames} frames, {info.fps:.2f} fps",
        "detector_input": size,
        "rounds": rounds,
        "stage_cpu_ms": {stage: 1e3 * seconds / frames for stage, seconds in stages.items()},
        "floor_s": floor_s,
        "loop_s": loop_s,
        "loop_over_floor": loop_s / floor_s,
        "loop_fps": frames / loop_s,
        "fast_loop_fps": frames / _median(_loop_s(cost) for cost in costs["fast"]),
        "whole_program_s": wall_s,
        "whole_program_fps": frames / wall_s,
        "stage_wall_ms": {stage["stage"]: stage["mean_ms"] for stage in json.loads(own[-1].stdout)[0]["stages"]},
        "peers": {
            name: {
                "wall_s": _median(cost.wall_s for cost in theirs),
                "fps": frames / _median(cost.wall_s for cost in theirs),
                "fertrack_times_faster": _median(cost.wall_s for cost in theirs) / wall_s,
            }
            for name, theirs in costs.items()
            if name.startswith("deface")
        },
        "peak_mb": _median(cost.peak_mb for cost in own),
        "peak_mb_ten_times": ten_times.peak_mb,
        "fps_ten_times": json.loads(ten_times.stdout)[0]["fps"],
        "runs": {
            name: [{key: value for key, value in asdict(cost).items() if key != "stdout"} for cost in each]
            for name, each in costs.items()
        },
    }
    if together:
        result["folder"] = together
    if "earlier" in costs:
        result["earlier"] = {"commit": _commit(earlier), **_beside_earlier(costs, frames)}
    return result


def _taken_in_turn(programs: dict[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Costs of each program; they take turns, so that a machine that slows down does so for all."""
    costs: dict[str, list[Cost]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, run in programs.items():
            costs[name].append(run())
    return costs


def _beside_earlier(costs: dict[str, list[Cost]], frames: int) -> dict[str, Any]:
    """Figures of the earlier build, and how many times faster this one is."""
    before, own = costs["earlier"], costs["own"]
    theirs_s, whole_s = _median(_loop_s(cost) for cost in before), _median(cost.wall_s for cost in before)
    return {
        "loop_fps": frames / theirs_s,
        "whole_program_s": whole_s,
        "peak_mb": _median(cost.peak_mb for cost in before),
        "loop_times_faster": theirs_s / _median(_loop_s(cost) for cost in own),
        "fast_times_faster": theirs_s / _median(_loop_s(cost) for cost in costs["fast"]),
        "whole_times_faster": whole_s / _median(cost.wall_s for cost in own),
    }


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _loop_s(cost: Cost) -> float:
    """Seconds of the frame loop, as the program itself reports them."""
    return float(json.loads(cost.stdout)[0]["elapsed_s"])


def _folder(clip: Path, info: VideoInfo, copies: int, folder: Path) -> dict[str, float]:
    """Time of several clips of ten seconds in one call, and of one of them, which stands for each, by itself."""
    clips = [folder / f"clip{number}{clip.suffix}" for number in range(copies)]
    for each in clips:
        play_times(clip, 1, each)
    ten_seconds = ("--set", "input.to_s=10")
    single_s = _median(_fertrack(clips[:1], folder, *ten_seconds).wall_s for _ in range(3))
    together_s = _fertrack(clips, folder, *ten_seconds).wall_s
    return {
        "clips": copies,
        "single_s": single_s,
        "together_s": together_s,
        "times_faster": copies * single_s / together_s,
    }


def _commit(tree: Path | None) -> str:
    """Commit of a source tree, short; empty if it is no checkout."""
    if tree is None:
        return ""
    asked = subprocess.run(
        ["git", "-C", str(tree), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each clip, and write ``<date>-<clip>.json`` and ``.md``; 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m fertrack.benchmarks throughput", description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--peer", type=Path, help="deface's executable in a virtual environment of its own")
    parser.add_argument("--against", type=Path, help="source tree of an earlier build")
    parser.add_argument("--folder", type=int, default=0, metavar="N", help="clips in one call; 0: not measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks"))
    options = parser.parse_args(arguments)
    if options.against and not (options.against / "fertrack" / "__main__.py").is_file():
        parser.error(f"--against {options.against}: there is no source tree of fertrack")
    missed: list[str] = []
    for clip in options.clips:
        try:
            earlier = options.against.resolve() if options.against else None
            result = measure(clip, options.peer, options.rounds, earlier, options.folder)
        except (FertrackError, RuntimeError) as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        options.out.mkdir(parents=True, exist_ok=True)
        stem = options.out / f"{result['date']}-{clip.stem}"
        stem.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        stem.with_suffix(".md").write_text(to_markdown(result), encoding="utf-8")
        sys.stdout.write(to_markdown(result))
        missed += [f"{clip.name}: {gate.what}" for gate in gates_of(result) if not gate.is_reached]
    if missed:
        sys.stderr.write(f"missed: {'; '.join(missed)}\n")
    return 1 if missed else 0
