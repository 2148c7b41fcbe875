"""Page of a speed measurement: its numbers, its targets, and whether they are reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Gate", "gates_of", "to_markdown"]


@dataclass(frozen=True, slots=True)
class Gate:
    """One target.

    Attributes:
        what: the measure.
        measured: its value.
        target: what it is to be.
        at_most: whether the target is an upper limit; else it is a lower one.
        unit: written after the numbers.
    """

    what: str
    measured: float
    target: float
    at_most: bool
    unit: str = ""

    @property
    def is_reached(self) -> bool:
        """Whether the measure, rounded as it is written, is on the right side of its target."""
        rounded = round(self.measured, 2)
        return rounded <= self.target if self.at_most else rounded >= self.target


def gates_of(result: Mapping[str, Any]) -> list[Gate]:
    """Targets of one clip's measurement; those of an earlier build and of the peer only where they took part.

    Args:
        result: as ``throughput.measure`` gives it.
    """
    return list(_gates(result))


def _gates(result: Mapping[str, Any]) -> Iterator[Gate]:
    yield Gate("frame loop over its floor", result["loop_over_floor"], 1.15, at_most=True, unit=" x")
    yield Gate(
        "whole program less the frame loop", result["whole_program_s"] - result["loop_s"], 1.2, at_most=True, unit=" s"
    )
    grown = result["peak_mb_ten_times"] - result["peak_mb"]
    yield Gate("memory more on the clip played ten times", grown, 20, at_most=True, unit=" MB")
    if folder := result.get("folder"):
        yield Gate("clips in one call, against one by one", folder["times_faster"], 1.5, at_most=False, unit=" x")
    if earlier := result.get("earlier"):
        yield Gate("frame loop, against the earlier build", earlier["loop_times_faster"], 1.6, at_most=False, unit=" x")
        yield Gate(
            "fast preset, against the earlier build", earlier["fast_times_faster"], 2.6, at_most=False, unit=" x"
        )
        yield Gate(
            "whole program, against the earlier build", earlier["whole_times_faster"], 1.8, at_most=False, unit=" x"
        )
        yield Gate("peak memory", result["peak_mb"], round(earlier["peak_mb"]), at_most=True, unit=" MB")
    if as_it_ships := result["peers"].get("deface, as it ships"):
        yield Gate("whole program, against deface", as_it_ships["fertrack_times_faster"], 4.0, at_most=False, unit=" x")


def _gates_text(gates: list[Gate]) -> str:
    """A table of the targets, those that are missed in bold."""
    rows = ["| target | | measured | |", "|---|--:|--:|---|"]
    for gate in gates:
        limit = f"{'at most' if gate.at_most else 'at least'} {gate.target:g}{gate.unit}"
        verdict = "reached" if gate.is_reached else "**missed**"
        rows.append(f"| {gate.what} | {limit} | {gate.measured:.2f}{gate.unit} | {verdict} |")
    return "\n".join(rows)


def to_markdown(result: dict[str, Any]) -> str:
    """The result as a page for people."""
    rows = [
        "| | seconds | frames per second | |",
        "|---|--:|--:|---|",
        f"| fertrack, frame loop | {result['loop_s']:.2f} | {result['loop_fps']:.1f} | "
        f"{result['loop_over_floor']:.2f} x the floor |",
        f"| fertrack, frame loop, preset fast | | {result['fast_loop_fps']:.1f} | faces detected in every 3rd |",
        f"| fertrack, whole program | {result['whole_program_s']:.2f} | {result['whole_program_fps']:.1f} | "
        "start-up, report and closing included |",
    ]
    if earlier := result.get("earlier"):
        rows += [
            f"| fertrack at {earlier['commit']}, frame loop | | {earlier['loop_fps']:.1f} | "
            f"now {earlier['loop_times_faster']:.2f} x as fast, preset fast {earlier['fast_times_faster']:.2f} x |",
            f"| the same, whole program | {earlier['whole_program_s']:.2f} | | "
            f"now {earlier['whole_times_faster']:.2f} x as fast; its peak memory {earlier['peak_mb']:.0f} MB |",
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
ONNX Runtime {result["onnxruntime"]}, {result["detector"]}; median of {result["rounds"]} rounds in which the programs
took turns. Made by `python -m fertrack.benchmarks throughput`.

{chr(10).join(rows)}

{_gates_text(gates_of(result))}

CPU time per frame of each stage, measured alone:

| stage | ms |
|---|--:|
{stages}

Peak memory: {result["peak_mb"]:.0f} MB; on the clip played ten times {result["peak_mb_ten_times"]:.0f} MB
({result["peak_mb_ten_times"] - result["peak_mb"]:+.0f} MB), at {result["fps_ten_times"]:.1f} frames per second.
"""
