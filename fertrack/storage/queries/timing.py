"""Speed of a run, over its time and per stage, from the time that every stored frame took."""

from __future__ import annotations

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.storage.models import FrameRow, Run
from fertrack.storage.packing import fetch_tuples
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.stored_run import StoredRun
from fertrack.types import Float64Array

__all__ = ["speed_over_time", "stage_timings"]

_STAGES = ("read", "detect", "align", "classify", "track")
_TIMING_UNITS = {"total_s": "s", "mean_ms": "ms", "p50_ms": "ms", "p95_ms": "ms", "p99_ms": "ms", "max_ms": "ms"}


def speed_over_time(run: StoredRun, *, window_s: float = 10.0) -> pd.DataFrame:
    """One row per window of the video that shows a frame: how many frames were analysed, and what they took.

    Args:
        run: the run.
        window_s: length of a window, seconds of the video.

    Returns:
        Columns time_s (start of the window), frames (analysed), fps (analysed frames per second of the video; of the
        last window, of the part that the video reaches), skipped (frames of the source between two analysed ones that
        were not: dropped, thinned out or undecodable), work_ms (mean time per frame, all stages added up), work_fps
        (1000 / work_ms: the speed if the stages ran one after another; they overlap, so a run can be faster),
        p50_ms, p95_ms, max_ms (of the time per frame), queue_depth (mean number of frames that were read and waited:
        near the size of the buffer, analysing is the slower; near 0, reading; NaN where it is not known), and
        <stage>_ms for read, detect, align, classify, track (mean). ``.attrs``: dropped and decode_failures of the
        whole run; mean_fps (frames per second of wall time); queue_depth (p50, p95 and max over the whole run; empty
        where it is not known).

    Raises:
        ValueError: an impossible window.
    """
    if not (np.isfinite(window_s) and window_s > 0.0):
        raise ValueError(f"window_s must be above 0, got {window_s}")
    stages = [getattr(FrameRow, f"{stage}_us") for stage in _STAGES]
    columns = [FrameRow.frame_index, FrameRow.time_s, *stages, FrameRow.queue_depth]
    statement = sa.select(*columns).where(FrameRow.run_id == run.number).order_by(FrameRow.frame_index)
    table = np.array(fetch_tuples(run.connection, statement), np.float64).reshape(-1, len(columns))
    counted = sa.select(Run.dropped, Run.decode_failures, Run.frames, Run.elapsed_s).where(Run.id == run.number)
    facts = run.connection.execute(counted).one()  # the run's facts would sum up its stages, which takes longer
    frame_index, time_s, stages_ms, waiting = table[:, 0], table[:, 1], table[:, 2:-1] / 1e3, table[:, -1]
    start_s = float(time_s.min()) if len(time_s) else 0.0
    window = np.floor((time_s - start_s) / window_s + 1e-9).astype(np.int64)
    work_ms = stages_ms.sum(axis=1)
    frames = pd.DataFrame(
        {
            "window": window,
            "skipped": np.diff(frame_index, prepend=frame_index[:1] - 1) - 1,
            "work_ms": work_ms,
            "queue_depth": waiting,
            **{f"{stage}_ms": stages_ms[:, i] for i, stage in enumerate(_STAGES)},
        }
    )
    grouped = frames.groupby("window")
    numbers = np.unique(window)
    counts = grouped.size().to_numpy(np.int64)
    typical_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 0.0
    end_s = (float(time_s.max()) if len(time_s) else 0.0) + typical_s
    lasts_s = np.minimum(window_s, np.maximum(end_s - (start_s + numbers * window_s), 0.0))
    means = grouped.mean()
    result = pd.DataFrame(
        {
            "time_s": start_s + numbers * window_s,
            "frames": counts,
            "fps": np.divide(counts, lasts_s, out=np.full(len(counts), np.nan), where=lasts_s > 0.0),
            "skipped": grouped["skipped"].sum().to_numpy(np.int64),
            "work_ms": means["work_ms"].to_numpy(),
            "work_fps": _per_second(means["work_ms"].to_numpy()),
            "p50_ms": grouped["work_ms"].quantile(0.5).to_numpy(),
            "p95_ms": grouped["work_ms"].quantile(0.95).to_numpy(),
            "max_ms": grouped["work_ms"].max().to_numpy(),
            "queue_depth": means["queue_depth"].to_numpy(),
            **{f"{stage}_ms": means[f"{stage}_ms"].to_numpy() for stage in _STAGES},
        }
    )
    units = {"time_s": "s", "fps": "1/s", "work_fps": "1/s"}
    units |= {name: "ms" for name in result.columns if name.endswith("_ms")}
    result.attrs.update(
        run=run.number,
        window_s=window_s,
        units=units,
        dropped=int(facts.dropped),
        decode_failures=int(facts.decode_failures),
        queue_depth=_summed_up(waiting[~np.isnan(waiting)]),
        mean_fps=float(facts.frames / facts.elapsed_s) if facts.elapsed_s > 0.0 else float("nan"),
    )
    return note_columns(result)


def _summed_up(depth: Float64Array) -> dict[str, float]:
    if not len(depth):
        return {}
    p50, p95 = np.percentile(depth, [50, 95])
    return {"p50": float(p50), "p95": float(p95), "max": float(depth.max())}


def _per_second(ms: Float64Array) -> Float64Array:
    rate: Float64Array = np.divide(1e3, ms, out=np.full(len(ms), np.nan), where=ms > 0.0)
    return rate


def stage_timings(run: StoredRun) -> pd.DataFrame:
    """Time per stage of one run.

    Returns:
        Columns stage, frames, total_s, mean_ms, p50_ms, p95_ms, p99_ms (NaN in older runs), max_ms. Of a run that was
        not finished, what its stored frames say: without the stages that write. Of a live run, "latency" and "age" are
        no work but waiting: see ``StageTiming``.
    """
    stages = run.facts.summary.stages
    table = pd.DataFrame(
        {
            "stage": pd.Series([stage.stage for stage in stages], dtype="str"),
            "frames": np.array([stage.frames for stage in stages], np.int64),
            **{name: np.array([getattr(stage, name) for stage in stages], np.float64) for name in _TIMING_UNITS},
        }
    )
    table.attrs.update(run=run.number, units=dict(_TIMING_UNITS))
    return note_columns(table)
