"""The report's charts as plain Plotly figures (``{"data": [...], "layout": {...}}``), without colours.

Every trace names its expression in ``meta.expression``; the page paints it from the palette, in the light or the dark
theme. Arrays are NumPy arrays; ``to_json`` packs them the way Plotly reads them, as base64 of little-endian numbers.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import pandas as pd

from fertrack.imaging.palette import UNCERTAIN_NAME
from fertrack.reporting.html.axes import Mark, axis_label, bars, cut_marks, marker_marks, moments, span_text, time_axis
from fertrack.reporting.html.lines import SpreadBands, ThinLines
from fertrack.reporting.html.persons import ReportedPerson
from fertrack.storage.queries.segments import Segments
from fertrack.types import EXPRESSIONS

__all__ = ["overview", "person_chart", "rows_axis", "rows_height", "share_arrays", "to_json"]

ROW_PX = 30
"""Height of one person's row in the overview, px."""

MAX_NAMES = 12
"""Markers up to this number are named above the overview; more would lie over each other."""

DENSE_ROW_PX = 18
"""The same where there are many persons."""

FEW_POINTS = 60
"""Up to this many points are marked one by one, so that a single one can be seen too."""

DRAWING_ORDER = ("neutral", *(name for name in EXPRESSIONS if name != "neutral"))
"""Neutral first, under the others: it is the most frequent estimate and the least telling."""

_SHARED_BYTES = 64
"""Arrays up to this size are written as often as they are used."""

_PACKED = {"float64": "f8", "float32": "f4", "int32": "i4", "uint16": "u2", "uint8": "u1"}


def overview(
    persons: Sequence[ReportedPerson],
    start_s: float,
    end_s: float,
    cuts_s: npt.ArrayLike = (),
    *,
    markers: Sequence[Mark] = (),
) -> dict[str, Any]:
    """All persons' episodes on one time axis, one row per person, first row on top.

    Args:
        persons: who is drawn, in the order of the rows.
        start_s: start of the time axis, seconds.
        end_s: its end.
        cuts_s: when new shots begin, seconds.
        markers: drawn behind the rows; a few of them with their names above.
    """
    rows = np.arange(len(persons), dtype=np.uint16)
    seen = Segments.concatenated([person.seen for person in persons])
    seen_text = [f"seen {span_text(start, end)}" for start, end in zip(seen.start_s, seen.end_s, strict=True)]
    named = 0 < len(markers) <= MAX_NAMES
    above = -1.15 if named else -0.6
    traces = marker_marks(markers, above, len(persons) - 0.5, band=(above, -0.5), names_at=-0.85 if named else None)
    traces.append(_seen(seen, np.repeat(rows, [len(person.seen) for person in persons]), 0.7) | _hover(seen_text))
    episodes = pd.concat([person.episodes for person in persons])
    row_of_episode = np.repeat(rows, [len(person.episodes) for person in persons])
    for expression in EXPRESSIONS:
        chosen = (episodes["expression"] == expression).to_numpy()
        mine = episodes[chosen]
        text = [
            f"{expression}, {span_text(start, end)}<br>probability {mean:.0%} on average, {peak:.0%} at its peak"
            for start, end, mean, peak in zip(
                mine["start_s"], mine["end_s"], mine["mean_probability"], mine["peak_probability"], strict=True
            )
        ]
        if text:
            traces.append(_band(expression, mine, row_of_episode[chosen], 0.7) | _hover(text))
    traces += _corrected([person.corrected for person in persons], 0.14)
    traces += cut_marks(cuts_s, -0.5, len(persons) - 0.5)
    layout = {
        "height": rows_height(len(persons) + named),
        "barmode": "overlay",
        "hovermode": "closest",
        "showlegend": False,
        "margin": {"l": 8, "r": 12, "t": 8, "b": 44},
        "xaxis": time_axis(start_s, end_s),
        "yaxis": rows_axis([person.label for person in persons], [person.colour for person in persons])
        | {"range": [len(persons) - 0.5, above - 0.05 if markers else -0.5]},
    }
    return {"data": traces, "layout": layout}


def rows_height(rows: int) -> int:
    """Height of a chart with that many rows, px."""
    return 56 + rows * (ROW_PX if rows <= 20 else DENSE_ROW_PX)


def rows_axis(labels: Sequence[str], colours: Sequence[str] = ()) -> dict[str, Any]:
    """An axis with one named row per label, the first on top; each with a square of its colour, if there are any."""
    texts = [axis_label(label) for label in labels]
    squares = [f'<span style="color:{colour}">■</span> ' if colour else "" for colour in colours] or [""] * len(texts)
    return {
        "tickvals": list(range(len(labels))),
        "ticktext": [square + text for square, text in zip(squares, texts, strict=True)],
        "range": [len(labels) - 0.5, -0.5],
        "fixedrange": True,
        "automargin": True,
        "showgrid": False,
        "zeroline": False,
    }


def person_chart(
    lines: ThinLines,
    person: ReportedPerson,
    start_s: float,
    end_s: float,
    cuts_s: npt.ArrayLike = (),
    *,
    bands: SpreadBands | None = None,
    markers: Sequence[Mark] = (),
) -> dict[str, Any]:
    """Smoothed probabilities of one person as lines with their bands, and below them the episodes as a coloured strip.

    Args:
        lines: one column per expression.
        person: whose lines they are.
        start_s: start of the time axis, seconds; the same for all persons, so that charts can be compared by eye.
        end_s: its end.
        cuts_s: when new shots begin, seconds.
        bands: one column per expression; None draws the lines alone.
        markers: drawn behind the lines.
    """
    at = moments(lines.time_s)
    traces = marker_marks(markers, 0.0, 1.02)
    traces += _band_outlines(bands) if bands else []
    traces += [
        {
            "type": "scatter",
            "mode": "lines" if len(at) > FEW_POINTS else "lines+markers",
            "name": expression,
            "meta": {"expression": expression, "kind": "line"},
            "x": at,
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
    traces += [each | below for each in _corrected([person.corrected], 0.35)]
    traces += cut_marks(cuts_s, 0.0, 1.02)
    layout = {
        "height": 300,
        "barmode": "overlay",
        "hovermode": "x unified",
        "showlegend": False,
        "margin": {"l": 44, "r": 12, "t": 30, "b": 44},
        "xaxis": time_axis(start_s, end_s) | {"anchor": "y2"},
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


def share_arrays(figures: dict[str, Any]) -> tuple[dict[str, Any], list[npt.NDArray[Any]]]:
    """Figures in which an array that several traces have is named ``{"array": number}``, and those arrays by number.

    A person's seven lines have one time axis; written seven times, it would be half of the page's numbers.
    """

    def mark(array: npt.NDArray[Any]) -> tuple[str, bytes]:
        return array.dtype.str, array.tobytes()

    def is_array(value: object) -> TypeGuard[npt.NDArray[Any]]:
        return isinstance(value, np.ndarray) and value.nbytes > _SHARED_BYTES

    counts = Counter(
        mark(value)
        for figure in figures.values()
        for trace in figure["data"]
        for value in trace.values()
        if is_array(value)
    )
    numbers: dict[tuple[str, bytes], int] = {}
    arrays: list[npt.NDArray[Any]] = []

    def named(value: object) -> object:
        if not is_array(value) or counts[mark(value)] == 1:
            return value
        number = numbers.setdefault(mark(value), len(arrays))
        if number == len(arrays):
            arrays.append(value)
        return {"array": number}

    shared = {
        name: {**figure, "data": [{key: named(value) for key, value in trace.items()} for trace in figure["data"]]}
        for name, figure in figures.items()
    }
    return shared, arrays


def _packed(value: Any) -> dict[str, str]:
    if not isinstance(value, np.ndarray) or value.dtype.name not in _PACKED or value.ndim != 1:
        raise TypeError(f"cannot put {type(value).__name__} {getattr(value, 'dtype', '')} into the report's JSON")
    code = _PACKED[value.dtype.name]
    raw = np.ascontiguousarray(value, np.dtype(f"<{code}")).tobytes()
    return {"dtype": code, "bdata": base64.b64encode(raw).decode("ascii")}


def _seen(seen: Segments, rows: npt.NDArray[Any], width: float) -> dict[str, Any]:
    """Bars under the episodes: what shows between them is time in which no expression estimate held."""
    return bars(seen.start_s, seen.end_s, rows, width) | {
        "name": UNCERTAIN_NAME,
        "meta": {"expression": UNCERTAIN_NAME, "kind": "seen"},
    }


def _corrected(spans: Sequence[Segments], width: float) -> list[dict[str, Any]]:
    """Thin bars over the episodes where people gave the labels; none: no trace."""
    every = Segments.concatenated(spans)
    if not len(every):
        return []
    rows = np.repeat(np.arange(len(spans), dtype=np.uint16), [len(each) for each in spans])
    text = [f"corrected {span_text(start, end)}" for start, end in zip(every.start_s, every.end_s, strict=True)]
    marks = bars(every.start_s, every.end_s, rows, width) | {"name": "corrected", "meta": {"kind": "corrected"}}
    return [marks | _hover(text)]


def _band(expression: str, episodes: pd.DataFrame, rows: npt.NDArray[Any], width: float) -> dict[str, Any]:
    band = bars(episodes["start_s"], episodes["end_s"], rows, width)
    return band | {"name": expression, "meta": {"expression": expression, "kind": "band"}}


def _band_outlines(bands: SpreadBands) -> list[dict[str, Any]]:
    """Filled areas under the lines, one per expression."""
    at = moments(bands.time_s)
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "fill": "toself",
            "name": f"{expression}, spread of single frames",
            "meta": {"expression": expression, "kind": "spread"},
            "x": at,
            "y": bands.values[:, EXPRESSIONS.index(expression)],
            "connectgaps": False,
            "hoverinfo": "skip",
        }
        for expression in DRAWING_ORDER
    ]


def _hover(text: list[str]) -> dict[str, Any]:
    return {"hovertext": text, "hovertemplate": "%{y}: %{hovertext}<extra></extra>"}
