"""Speed of a run for the report: per stage, and over the time of the video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fertrack.reporting.html.wording import plural
from fertrack.storage.queries.timing import speed_over_time
from fertrack.storage.runs import stage_timings

if TYPE_CHECKING:
    import pandas as pd

    from fertrack.storage.stored_run import StoredRun

__all__ = ["Speed", "read_speed"]

_WAITING = ("latency", "age")
"""Rows of a live run's timings that are no work, and so have no share in it."""
_WINDOWS = 60
"""Windows the video is cut into, at most."""

_MIN_WINDOWS = 3
"""A line of fewer points says nothing over time."""


@dataclass(frozen=True, slots=True, eq=False)
class Speed:
    """The times of a run.

    Attributes:
        stages: time per stage, with its share of the sum of all stages.
        table: as from ``storage.timing.speed_over_time``.
        rows: the same as records; empty where the video is too short for a line.
        window_s: length of a window, seconds.
        first_s: time of the first frame, seconds; 0 without frames.
        sentence: speed, losses and queue of the whole run.
    """

    stages: list[dict[str, Any]]
    table: pd.DataFrame
    rows: list[dict[str, Any]]
    window_s: float
    first_s: float
    sentence: str


def read_speed(run: StoredRun) -> Speed:
    """The times of a run."""
    video_s = run.facts.summary.video_s
    window_s = float(max(1, -int(-video_s // _WINDOWS)))
    table = speed_over_time(run, window_s=window_s)
    rows = table.to_dict("records") if len(table) >= _MIN_WINDOWS else []
    return Speed(
        stages=_stages(stage_timings(run)),
        table=table,
        rows=[{str(name): value for name, value in row.items()} for row in rows],
        window_s=window_s,
        first_s=float(table["time_s"].iloc[0]) if len(table) else 0.0,
        sentence=_sentence(table.attrs),
    )


def _stages(timings: pd.DataFrame) -> list[dict[str, Any]]:
    total_s = float(timings["total_s"][~timings["stage"].isin(_WAITING)].sum())
    rows: list[dict[str, Any]] = [
        {str(name): value for name, value in row.items()} for row in timings.to_dict("records")
    ]
    return [
        row | {"share": row["total_s"] / total_s if total_s > 0 and row["stage"] not in _WAITING else 0.0}
        for row in rows
    ]


def _sentence(facts: dict[Any, Any]) -> str:
    """The whole run in a sentence; what is not known is left out."""
    speed, depth = facts["mean_fps"], facts["queue_depth"]
    parts = [f"{speed:.1f} frames a second over the whole run"] if speed == speed else []  # noqa: PLR0124  # NaN
    parts.append(f"{plural(facts['dropped'], 'frame')} dropped")
    if depth:
        parts.append(f"frames that were read and waited: {depth['p50']:g} at the median, {depth['max']:g} at most")
    return "; ".join(parts) + "."
