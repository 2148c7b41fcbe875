"""The report's charts besides the persons' timelines: presence, reliability of the classifier, speed of the run.

As in ``charts``: plain Plotly figures without colours, which the page paints by ``meta.kind``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fertrack.reporting.html.axes import bars, cut_marks, moments, span_text, time_axis
from fertrack.reporting.html.charts import rows_axis, rows_height
from fertrack.reporting.html.persons import Presence
from fertrack.storage.queries.segments import Segments

if TYPE_CHECKING:
    from fertrack.expression.reliability import Reliability

__all__ = ["presence_chart", "reliability_chart", "speed_chart"]

_SLIM = {"fixedrange": True, "zeroline": False}


def presence_chart(
    anybody: Presence, persons: Sequence[Presence], start_s: float, end_s: float, cuts_s: npt.ArrayLike = ()
) -> dict[str, Any]:
    """Chart of anybody's and each person's presence; thin lines bridge the gaps of a person.

    Args:
        anybody: all together, drawn in the first row.
        persons: in the order of the rows.
        start_s: start of the time axis, seconds.
        end_s: its end.
        cuts_s: when new shots begin, seconds.
    """
    rows = [anybody, *persons]
    traces = [
        _spans([row.seen for row in rows], 0.62, "presence", "seen"),
        _spans([anybody.gaps.select(slice(0, 0)), *(row.gaps for row in persons)], 0.1, "gap", "not seen"),
        *cut_marks(cuts_s, -0.5, len(rows) - 0.5),
    ]
    layout = {
        "height": rows_height(len(rows)),
        "barmode": "overlay",
        "hovermode": "closest",
        "showlegend": False,
        "margin": {"l": 8, "r": 12, "t": 8, "b": 44},
        "xaxis": time_axis(start_s, end_s),
        "yaxis": rows_axis([row.label for row in rows]),
    }
    return {"data": traces, "layout": layout}


def reliability_chart(measured: Reliability) -> dict[str, Any]:
    """A reliability diagram: share right per confidence bin beside the diagonal, and below it the faces per bin."""
    low = np.array([each.low for each in measured.bins])
    high = np.array([each.high for each in measured.bins])
    right = np.array([each.right for each in measured.bins], np.float32)
    counts = np.array([each.faces for each in measured.bins], np.int32)
    middle, width = ((low + high) / 2).astype(np.float64), (0.92 * (high - low)).astype(np.float64)
    text = [
        f"said {each.low:.0%} to {each.high:.0%} ({each.confidence:.1%} on average)<br>"
        f"right {each.right:.1%} of {each.faces} faces"
        for each in measured.bins
    ]
    hover = {"hovertext": text, "hovertemplate": "%{hovertext}<extra></extra>"}
    edge = np.array([0.0, 1.0], np.float32)
    traces = [
        {"type": "bar", "name": "right", "meta": {"kind": "right"}, "x": middle, "y": right, "width": width} | hover,
        {
            "type": "scatter",
            "mode": "markers",
            "name": "said",
            "meta": {"kind": "said"},
            "x": middle,
            "y": np.array([each.confidence for each in measured.bins], np.float32),
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "perfect",
            "meta": {"kind": "diagonal"},
            "x": edge,
            "y": edge,
            "hoverinfo": "skip",
        },
        {
            "type": "bar",
            "name": "faces",
            "meta": {"kind": "count"},
            "x": middle,
            "y": counts,
            "width": width,
            "yaxis": "y2",
        }
        | hover,
    ]
    share = {"range": [0, 1.02], "tickformat": ".0%", "tickvals": [0, 0.25, 0.5, 0.75, 1], **_SLIM}
    layout = {
        "height": 340,
        "hovermode": "closest",
        "showlegend": False,
        "margin": {"l": 56, "r": 12, "t": 8, "b": 48},
        "xaxis": share | {"range": [0, 1], "anchor": "y2", "title": {"text": "probability that was given"}},
        "yaxis": share | {"domain": [0.3, 1], "title": {"text": "share right"}},
        "yaxis2": {"domain": [0, 0.2], "nticks": 3, "rangemode": "tozero", "title": {"text": "faces"}, **_SLIM},
    }
    return {"data": traces, "layout": layout}


def speed_chart(speed: pd.DataFrame, start_s: float, end_s: float) -> dict[str, Any]:
    """Frames per second over the time of the video, above; below, what a frame took: half of them, and 95 %.

    Args:
        speed: as from ``storage.timing.speed_over_time``.
        start_s: start of the time axis, seconds.
        end_s: its end.
    """
    time_s = speed["time_s"].to_numpy(np.float64)
    until_s = min(float(time_s[-1]) + float(speed.attrs["window_s"]), max(end_s, float(time_s[-1])))
    at = moments(np.append(time_s, until_s))  # a value holds for its whole window, the last one too
    lines = (
        ("the work allows", "possible", "work_fps", "y", "%{y:.1f} frames a second"),
        ("analysed", "rate", "fps", "y", "%{y:.1f} frames a second of video"),
        ("half of the frames", "median", "p50_ms", "y2", "%{y:.1f} ms"),
        ("95 % of them", "p95", "p95_ms", "y2", "%{y:.1f} ms"),
    )
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "line": {"shape": "hv"},
            "name": name,
            "meta": {"kind": kind},
            "x": at,
            "y": np.append(values := speed[column].to_numpy(np.float32), values[-1]),
            "yaxis": axis,
            "hovertemplate": hover,
        }
        for name, kind, column, axis, hover in lines
    ]
    from_zero = {"rangemode": "tozero", "nticks": 5, **_SLIM}
    layout = {
        "height": 340,
        "hovermode": "x unified",
        "showlegend": False,
        "margin": {"l": 56, "r": 12, "t": 8, "b": 44},
        "xaxis": time_axis(start_s, end_s) | {"anchor": "y2"},
        "yaxis": from_zero | {"domain": [0.56, 1], "title": {"text": "frames per second"}},
        "yaxis2": from_zero | {"domain": [0, 0.46], "title": {"text": "ms per frame"}},
    }
    return {"data": traces, "layout": layout}


def _spans(spans: Sequence[Segments], width: float, kind: str, word: str) -> dict[str, Any]:
    rows = np.repeat(np.arange(len(spans), dtype=np.uint16), [len(row) for row in spans])
    every = Segments.concatenated(spans)
    return {
        **bars(every.start_s, every.end_s, rows, width),
        "name": word,
        "meta": {"kind": kind},
        "hovertext": [f"{word} {span_text(*times)}" for times in zip(every.start_s, every.end_s, strict=True)],
        "hovertemplate": "%{y}: %{hovertext}<extra></extra>",
    }
