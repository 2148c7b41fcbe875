"""The time axis that the report's charts share, and marks on it.

Time axes are Plotly date axes, because only those write minutes and seconds as ``4:05``; the video begins at an
arbitrary midnight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fertrack.reporting.html.wording import clock, duration
from fertrack.types import Float64Array

__all__ = [
    "MIDNIGHT_MS",
    "Mark",
    "axis_label",
    "bars",
    "cut_marks",
    "marker_marks",
    "moments",
    "plotly_text",
    "span_text",
    "time_axis",
]

MIDNIGHT_MS = 946_684_800_000
"""Where time 0 of the video lies on the date axes (2000-01-01 UTC): Plotly takes numbers near 0 for calendar years."""

LABEL_LENGTH = 18
"""Longest row label, characters: on a phone, the label shares 360 px with the chart."""


def moments(time_s: npt.ArrayLike) -> Float64Array:
    """Times of the video on a date axis, whole milliseconds."""
    return np.rint(np.asarray(time_s, np.float64) * 1000) + MIDNIGHT_MS


def time_axis(start_s: float, end_s: float) -> dict[str, Any]:
    """A date axis that shows times of the video, seconds."""
    form = "%-H:%M:%S" if end_s >= 3600 else "%-M:%S"
    first, last = moments([start_s, end_s]).tolist()
    return {
        "type": "date",
        "range": [first, max(first + 1, last)],
        "tickformat": form,
        "tickformatstops": [
            {"dtickrange": [None, 99], "value": f"{form}.%2f"},
            {"dtickrange": [100, 999], "value": f"{form}.%1f"},
            {"dtickrange": [1000, None], "value": form},
        ],
        "hoverformat": f"{form}.%2f",
        "zeroline": False,
        "title": {"text": "time in the video (min:s)" if end_s < 3600 else "time in the video (h:min:s)"},
    }


def bars(starts_s: npt.ArrayLike, ends_s: npt.ArrayLike, rows: npt.NDArray[Any], width: float) -> dict[str, Any]:
    """Horizontal bars from one moment to another, each in its row; at least a millisecond long."""
    base = moments(starts_s)
    length_ms = np.maximum(moments(ends_s) - base, 1).astype(np.float32)
    return {"type": "bar", "orientation": "h", "base": base, "x": length_ms, "y": rows, "width": width}


def cut_marks(cuts_s: npt.ArrayLike, low: float, high: float) -> list[dict[str, Any]]:
    """Upright lines where new shots begin, as one trace however many they are; none: no trace."""
    at = moments(cuts_s)
    if not len(at):
        return []
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "cut",
            "meta": {"kind": "cut"},
            "x": np.repeat(at, 3),
            "y": np.tile(np.array([low, high, np.nan], np.float32), len(at)),
            "connectgaps": False,
            "hoverinfo": "skip",
        }
    ]


class Mark(NamedTuple):
    """A marker: its name, and when it begins and ends, s; both the same for a moment."""

    label: str
    start_s: float
    end_s: float


def marker_marks(
    markers: Sequence[Mark],
    low: float,
    high: float,
    *,
    band: tuple[float, float] | None = None,
    names_at: float | None = None,
) -> list[dict[str, Any]]:
    """Markers as upright lines, those that last as bands, however many they are; none: no trace.

    Args:
        markers: in order of time.
        low: where the lines begin on the other axis.
        high: where they end.
        band: from where to where on it the bands reach, which lie over bars; as the lines if None.
        names_at: where on it their names stand; None: they have none.
    """
    if not markers:
        return []
    start, end = moments([each.start_s for each in markers]), moments([each.end_s for each in markers])
    names = [plotly_text(each.label) for each in markers]
    lasting = end > start
    common = {"type": "scatter", "name": "marker", "hoverinfo": "skip", "connectgaps": False}
    upright = np.tile(np.array([low, high, np.nan], np.float32), len(markers))
    traces: list[dict[str, Any]] = []
    if lasting.any():
        first, last = start[lasting], end[lasting]
        corners = np.stack([first, last, last, first, first, np.full(len(first), np.nan)], axis=1).ravel()
        edge, other = band or (low, high)
        edges = np.tile(np.array([edge, edge, other, other, edge, np.nan], np.float32), len(first))
        traces.append(
            {**common, "mode": "lines", "fill": "toself", "meta": {"kind": "marker-band"}, "x": corners, "y": edges}
        )
    traces.append({**common, "mode": "lines", "meta": {"kind": "marker"}, "x": np.repeat(start, 3), "y": upright})
    if names_at is not None:
        at = np.full(len(markers), names_at, np.float32)
        named = {"mode": "text", "text": names, "textposition": "middle right", "meta": {"kind": "marker-name"}}
        traces.append({**common, **named, "x": start, "y": at, "hoverinfo": "text", "cliponaxis": False})
    return traces


def plotly_text(text: str) -> str:
    """Text that Plotly shows as it is: it reads a little HTML in every string, so markup is taken out of names.

    >>> plotly_text("<b>A & B</b>")
    '&lt;b&gt;A &amp; B&lt;/b&gt;'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def axis_label(text: str) -> str:
    """A row's name, short enough for an axis, as Plotly text."""
    return plotly_text(text if len(text) <= LABEL_LENGTH else text[: LABEL_LENGTH - 1] + "…")


def span_text(start_s: float, end_s: float) -> str:
    """From when to when, and how long, for people."""
    return f"{clock(start_s)} to {clock(end_s)} ({duration(end_s - start_s)})"
