"""The time axis that the report's charts share, and marks on it.

Time axes are Plotly date axes, because only those write minutes and seconds as ``4:05``; the video begins at an
arbitrary midnight.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fertrack.reporting.html.wording import clock, duration
from fertrack.types import Float64Array

__all__ = ["MIDNIGHT_MS", "axis_label", "bars", "cut_marks", "moments", "plotly_text", "span_text", "time_axis"]

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
