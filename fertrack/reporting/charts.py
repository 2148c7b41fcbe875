"""The report's charts as plain Plotly figures (``{"data": [...], "layout": {...}}``), without colours.

Every trace names its expression in ``meta.expression``; the page paints it from the palette, in the light or the dark
theme. Time axes are Plotly date axes, because only those write minutes and seconds as ``4:05``; the video begins at an
arbitrary midnight. Arrays are NumPy arrays; ``to_json`` packs them the way Plotly reads them, as base64 of
little-endian numbers.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fertrack.reporting.palette import UNCERTAIN_NAME
from fertrack.reporting.persons import Person
from fertrack.reporting.thinning import ThinLines
from fertrack.reporting.wording import clock, duration
from fertrack.types import EXPRESSIONS

__all__ = ["overview", "person_chart", "plotly_text", "to_json"]

ROW_PX = 30
"""Height of one person's row in the overview, px."""

DENSE_ROW_PX = 18
"""The same where there are many persons."""

LABEL_LENGTH = 18
"""Longest row label of the overview, characters: on a phone, the label shares 360 px with the chart."""

MIDNIGHT_MS = 946_684_800_000
"""Where time 0 of the video lies on the date axes (2000-01-01 UTC): Plotly takes numbers near 0 for calendar years."""

FEW_POINTS = 60
"""Up to this many points are marked one by one, so that a single one can be seen too."""

DRAWING_ORDER = ("neutral", *(name for name in EXPRESSIONS if name != "neutral"))
"""Neutral first, under the others: it is the most frequent estimate and the least telling."""

_PACKED = {"float64": "f8", "float32": "f4", "int32": "i4", "uint16": "u2", "uint8": "u1"}


def overview(persons: Sequence[Person], start_s: float, end_s: float, cuts_s: npt.ArrayLike = ()) -> dict[str, Any]:
    """All persons' episodes on one time axis, one row per person, first row on top.

    Args:
        persons: who is drawn, in the order of the rows.
        start_s: start of the time axis, seconds.
        end_s: its end.
        cuts_s: when new shots begin, seconds.
    """
    rows = np.arange(len(persons), dtype=np.uint16)
    seen = pd.concat([person.seen for person in persons])
    seen_text = [f"seen {_span(start, end)}" for start, end in zip(seen["start_s"], seen["end_s"], strict=True)]
    traces = [_seen(seen, np.repeat(rows, [len(person.seen) for person in persons]), 0.7) | _hover(seen_text)]
    episodes = pd.concat([person.episodes for person in persons])
    row_of_episode = np.repeat(rows, [len(person.episodes) for person in persons])
    for expression in EXPRESSIONS:
        chosen = (episodes["expression"] == expression).to_numpy()
        mine = episodes[chosen]
        text = [
            f"{expression}, {_span(start, end)}<br>probability {mean:.0%} on average, {peak:.0%} at its peak"
            for start, end, mean, peak in zip(
                mine["start_s"], mine["end_s"], mine["mean_probability"], mine["peak_probability"], strict=True
            )
        ]
        if text:
            traces.append(_band(expression, mine, row_of_episode[chosen], 0.7) | _hover(text))
    traces += _cut_marks(cuts_s, -0.5, len(persons) - 0.5)
    layout = {
        "height": 56 + len(persons) * (ROW_PX if len(persons) <= 20 else DENSE_ROW_PX),
        "barmode": "overlay",
        "hovermode": "closest",
        "showlegend": False,
        "margin": {"l": 8, "r": 12, "t": 8, "b": 44},
        "xaxis": _time_axis(start_s, end_s),
        "yaxis": {
            "tickvals": list(range(len(persons))),
            "ticktext": [plotly_text(_shortened(person.label)) for person in persons],
            "range": [len(persons) - 0.5, -0.5],
            "fixedrange": True,
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
        },
    }
    return {"data": traces, "layout": layout}


def person_chart(
    lines: ThinLines, person: Person, start_s: float, end_s: float, cuts_s: npt.ArrayLike = ()
) -> dict[str, Any]:
    """Smoothed probabilities of one person as lines, and below them the episodes as a coloured band.

    Args:
        lines: one column per expression.
        person: whose lines they are.
        start_s: start of the time axis, seconds; the same for all persons, so that charts can be compared by eye.
        end_s: its end.
        cuts_s: when new shots begin, seconds.
    """
    moments = _moments(lines.time_s)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines" if len(moments) > FEW_POINTS else "lines+markers",
            "name": expression,
            "meta": {"expression": expression, "kind": "line"},
            "x": moments,
            "y": lines.values[:, EXPRESSIONS.index(expression)],
            "connectgaps": False,
            "hovertemplate": "%{y:.0%}",
        }
        for expression in DRAWING_ORDER
    ]
    below = {"yaxis": "y2", "hoverinfo": "skip"}
    traces.append(_seen(person.seen, np.zeros(len(person.seen), np.uint8), 1.0) | below)
    for expression in EXPRESSIONS:
        mine = person.episodes[person.episodes["expression"] == expression]
        if not mine.empty:
            traces.append(_band(expression, mine, np.zeros(len(mine), np.uint8), 1.0) | below)
    traces += _cut_marks(cuts_s, 0.0, 1.02)
    layout = {
        "height": 300,
        "barmode": "overlay",
        "hovermode": "x unified",
        "showlegend": False,
        "margin": {"l": 44, "r": 12, "t": 8, "b": 44},
        "xaxis": _time_axis(start_s, end_s) | {"anchor": "y2"},
        "yaxis": {
            "range": [0, 1.02],
            "domain": [0.15, 1],
            "tickformat": ".0%",
            "tickvals": [0, 0.25, 0.5, 0.75, 1],
            "fixedrange": True,
            "zeroline": False,
        },
        "yaxis2": {
            "domain": [0, 0.09],
            "range": [-0.5, 0.5],
            "showticklabels": False,
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        },
    }
    return {"data": traces, "layout": layout}


def plotly_text(text: str) -> str:
    """Text that Plotly shows as it is: it reads a little HTML in every string, so markup is taken out of names.

    >>> plotly_text("<b>A & B</b>")
    '&lt;b&gt;A &amp; B&lt;/b&gt;'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def to_json(value: Any) -> str:
    """JSON that may stand inside an HTML ``<script>`` element, whatever the strings in it say.

    NumPy arrays become Plotly's ``{"dtype": ..., "bdata": base64}``; NaN is allowed in them only.

    Raises:
        ValueError: a plain number is NaN or infinite.
        TypeError: a value has no JSON form, or an array has a dtype that Plotly cannot read.
    """
    text = json.dumps(value, default=_packed, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    # None of these characters means anything to JSON outside strings, where the escapes are equivalent.
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _packed(value: Any) -> dict[str, str]:
    if not isinstance(value, np.ndarray) or value.dtype.name not in _PACKED or value.ndim != 1:
        raise TypeError(f"cannot put {type(value).__name__} {getattr(value, 'dtype', '')} into the report's JSON")
    code = _PACKED[value.dtype.name]
    raw = np.ascontiguousarray(value, np.dtype(f"<{code}")).tobytes()
    return {"dtype": code, "bdata": base64.b64encode(raw).decode("ascii")}


def _seen(seen: pd.DataFrame, rows: npt.NDArray[Any], width: float) -> dict[str, Any]:
    """Bars under the episodes: what shows between them is time in which no expression estimate held."""
    return _bars(seen, rows, width) | {"name": UNCERTAIN_NAME, "meta": {"expression": UNCERTAIN_NAME, "kind": "seen"}}


def _band(expression: str, episodes: pd.DataFrame, rows: npt.NDArray[Any], width: float) -> dict[str, Any]:
    return _bars(episodes, rows, width) | {"name": expression, "meta": {"expression": expression, "kind": "band"}}


def _bars(spans: pd.DataFrame, rows: npt.NDArray[Any], width: float) -> dict[str, Any]:
    base = _moments(spans["start_s"])
    length_ms = np.maximum(_moments(spans["end_s"]) - base, 1).astype(np.float32)
    return {"type": "bar", "orientation": "h", "base": base, "x": length_ms, "y": rows, "width": width}


def _cut_marks(cuts_s: npt.ArrayLike, low: float, high: float) -> list[dict[str, Any]]:
    """Upright lines where new shots begin, as one trace however many they are; none: no trace."""
    moments = _moments(cuts_s)
    if not len(moments):
        return []
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "cut",
            "meta": {"kind": "cut"},
            "x": np.repeat(moments, 3),
            "y": np.tile(np.array([low, high, np.nan], np.float32), len(moments)),
            "connectgaps": False,
            "hoverinfo": "skip",
        }
    ]


def _hover(text: list[str]) -> dict[str, Any]:
    return {"hovertext": text, "hovertemplate": "%{y}: %{hovertext}<extra></extra>"}


def _shortened(label: str) -> str:
    return label if len(label) <= LABEL_LENGTH else label[: LABEL_LENGTH - 1] + "…"


def _moments(time_s: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Times of the video on a date axis, whole milliseconds."""
    return np.rint(np.asarray(time_s, np.float64) * 1000) + MIDNIGHT_MS


def _time_axis(start_s: float, end_s: float) -> dict[str, Any]:
    clock = "%-H:%M:%S" if end_s >= 3600 else "%-M:%S"
    first, last = _moments([start_s, end_s]).tolist()
    return {
        "type": "date",
        "range": [first, max(first + 1, last)],
        "tickformat": clock,
        "tickformatstops": [
            {"dtickrange": [None, 99], "value": f"{clock}.%2f"},
            {"dtickrange": [100, 999], "value": f"{clock}.%1f"},
            {"dtickrange": [1000, None], "value": clock},
        ],
        "hoverformat": f"{clock}.%2f",
        "zeroline": False,
        "title": {"text": "time in the video (min:s)" if end_s < 3600 else "time in the video (h:min:s)"},
    }


def _span(start_s: float, end_s: float) -> str:
    return f"{clock(start_s)} to {clock(end_s)} ({duration(end_s - start_s)})"
