"""Keeps what each stage took, frame by frame, and sums it up."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import numpy as np

from fertrack.types import StageStats

__all__ = ["StageClock"]


class StageClock:
    """Milliseconds per stage, four bytes a frame and stage: an hour at 30 fps is under half a megabyte a stage."""

    def __init__(self, order: Iterable[str] = ()) -> None:
        self._ms: dict[str, array[float]] = {stage: array("f") for stage in order}

    def add(self, stage: str, ms: float) -> None:
        """Record what ``stage`` took for one frame."""
        self._ms.setdefault(stage, array("f")).append(ms)

    def replace(self, stage: str, ms: Iterable[float]) -> None:
        """Record what ``stage`` took for every frame, in place of what was recorded before."""
        self._ms[stage] = array("f", ms)

    def stats(self) -> tuple[StageStats, ...]:
        """One row per stage that ran: those named at the start in their order, then as they were first seen."""
        rows = []
        for stage, recorded in self._ms.items():
            ms = np.frombuffer(recorded, np.float32).astype(np.float64)
            if not len(ms):
                continue
            p50, p95, p99 = np.percentile(ms, [50, 95, 99])
            rows.append(
                StageStats(
                    stage=stage,
                    frames=len(ms),
                    total_s=float(ms.sum() / 1e3),
                    mean_ms=float(ms.mean()),
                    p50_ms=float(p50),
                    p95_ms=float(p95),
                    max_ms=float(ms.max()),
                    p99_ms=float(p99),
                )
            )
        return tuple(rows)
