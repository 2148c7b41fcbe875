"""Figures of an evaluation as SVG text: confusion matrix, reliability diagram, accuracy against coverage, curves.

Plain SVG needs no library, opens everywhere, and lies inside the HTML page or in a file of its own. Each image has
both themes: colours as attributes are the light one, which every viewer knows, and a style sheet inside puts the dark
one in their place for readers who prefer it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from fertrack.evaluation.expression.measures import ReliabilityBin
from fertrack.imaging.palette import PAGE_DARK, PAGE_LIGHT
from fertrack.types import EXPRESSIONS

__all__ = ["CURVES_NOTE", "confusion_svg", "coverage_svg", "curves_svg", "reliability_svg"]

CURVES_NOTE = (
    "Reliability: a dot is a bin of winners of about one probability, its area grows with the share of faces in it; on "
    "the dashed line they are right as often as they claim, below it less often. Faint dots hold less than 1 % of the "
    "faces each, too few to tell: the line leaves them out. Coverage: to the right the least probability asked for "
    "sinks, so that more faces are answered, and fewer of them rightly; the axis upwards begins where it says."
)
"""How ``reliability_svg`` and ``coverage_svg`` are read, for below them."""

_PAINTS = {
    "ground": (PAGE_LIGHT["surface"], PAGE_DARK["surface"]),
    "ink": (PAGE_LIGHT["text"], PAGE_DARK["text"]),
    "muted": (PAGE_LIGHT["muted"], PAGE_DARK["muted"]),
    "rule": (PAGE_LIGHT["rule"], PAGE_DARK["rule"]),
    "cell": ("#1d3a96", "#3f62d8"),
    "on-faint": ("#000000", "#ffffff"),
    "on-deep": ("#ffffff", "#ffffff"),
    "series-0": (PAGE_LIGHT["accent"], PAGE_DARK["accent"]),
    "series-1": ("#c68816", "#e0a93f"),
    "series-2": (PAGE_LIGHT["ok"], PAGE_DARK["ok"]),
    "series-3": (PAGE_LIGHT["bad"], PAGE_DARK["bad"]),
}
"""Each colour in the light theme and in the dark one."""

_SERIES = ("series-0", "series-1", "series-2", "series-3")
_DEEP_SHARE = 0.73
"""From here on a cell's digits are white: only about here have black and white ink both 4.5:1 on its shade."""

_MIN_SHARE = 0.01
_CELL_PX, _LABEL_PX = 62, 86
_PLOT_PX, _MARGIN_PX = 300, 52


def confusion_svg(counts: Sequence[Sequence[int]], title: str) -> str:
    """A confusion matrix: rows are the labels, columns the answers, shades and percentages are shares of the row.

    Args:
        counts: seven rows of eight counts, the last column uncertain; left out if it is empty.
        title: shown above.
    """
    names = [*EXPRESSIONS, "uncertain"]
    wide = len(names) if any(row[-1] for row in counts) else len(names) - 1
    width, height = _LABEL_PX + wide * _CELL_PX + 6, 62 + len(counts) * _CELL_PX + 8
    parts = [_text(8, 18, title, weight="bold"), _text(8, 40, "label ↓  answer →", paint="muted")]
    for column, name in enumerate(names[:wide]):
        parts.append(_text(_LABEL_PX + (column + 0.5) * _CELL_PX, 56, name, anchor="middle", size=12))
    for row, line in enumerate(counts):
        top, total = 62 + row * _CELL_PX, max(sum(line), 1)
        parts.append(_text(_LABEL_PX - 8, top + _CELL_PX / 2 - 2, names[row], anchor="end", size=13))
        parts.append(_text(_LABEL_PX - 8, top + _CELL_PX / 2 + 13, f"of {sum(line)}", "end", 12, paint="muted"))
        for column, count in enumerate(line[:wide]):
            share, left = count / total, _LABEL_PX + column * _CELL_PX
            digits = "on-deep" if share > _DEEP_SHARE else "on-faint"
            middle = left + _CELL_PX / 2
            parts += [
                f'<rect x="{left}" y="{top}" width="{_CELL_PX - 2}" height="{_CELL_PX - 2}" {_fill("cell")} '
                f'fill-opacity="{0.04 + 0.92 * share:.3f}"/>',
                _text(middle, top + 29, str(count), anchor="middle", paint=digits, size=17),
                _text(middle, top + 48, f"{share:.0%}", anchor="middle", paint=digits, size=13),
            ]
    return _svg(width, height, parts, title)


def reliability_svg(series: Mapping[str, Sequence[ReliabilityBin]], title: str) -> str:
    """A reliability diagram: how often winners of each probability are right; the diagonal is perfect calibration.

    Args:
        series: bins by name; a dot's area grows with the share of faces in its bin. Bins with less than 1 % of them
            are faint dots beside the line, which would otherwise jump with every single face.
        title: shown above.
    """
    parts = [
        _axes(title, "probability of the winner", "share right"),
        _line([(0.0, 0.0), (1.0, 1.0)], "muted", dashed=True),
    ]
    for paint, bins in zip(_SERIES, series.values(), strict=False):
        filled = [each for each in bins if each.share > 0.0]
        parts.append(_line([(each.confidence, each.accuracy) for each in filled if _tells(each)], paint))
        parts += [
            f'<circle cx="{_x(each.confidence):.1f}" cy="{_y(each.accuracy):.1f}" '
            f'r="{2.0 + 10.0 * math.sqrt(each.share):.1f}" {_fill(paint)} '
            f'fill-opacity="{0.55 if _tells(each) else 0.3}"/>'
            for each in filled
        ]
    return _plot(parts, list(series), title)


def coverage_svg(series: Mapping[str, Sequence[tuple[float, float, float]]], title: str) -> str:
    """Accuracy of the faces whose winner is probable enough, against the share of faces that are.

    The axis upwards begins at a tenth a bit under the lowest accuracy: from 0 on, all curves would lie at the top.

    Args:
        series: rows of level, coverage, accuracy by name.
        title: shown above.
    """
    curves = [[(covered, right) for _, covered, right in rows if not math.isnan(right)] for rows in series.values()]
    tenths = _tenths_under(min((right for points in curves for _, right in points), default=0.0))
    low, span = tenths / 10, (10 - tenths) / 10
    up = f"share right of those, from {low:g} up" if tenths else "share right of those"
    steps = 10 - tenths if tenths <= 6 else 2 * (10 - tenths)
    parts = [_axes(title, "share of faces answered", up, upwards=(low, 1.0), steps=steps)]
    for paint, points in zip(_SERIES, curves, strict=False):
        parts.append(_line([(covered, (right - low) / span) for covered, right in points], paint))
    return _plot(parts, list(series), title)


def curves_svg(series: Mapping[str, Sequence[float]], title: str, along: str, up: str) -> str:
    """Curves over 1, 2, 3 ..., the axis upwards from the least value to the greatest.

    Args:
        series: values by name, all equally many; NaN is a gap.
        title: shown above, with ``up``.
        along: what is counted.
        up: what the values are.
    """
    count = max((len(values) for values in series.values()), default=0)
    known = [value for values in series.values() for value in values if not math.isnan(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    span, last = (high - low) or 1.0, max(count, 1)
    parts = [_axes(f"{title}: {up}", along, "", (0, last), (low, low + span))]
    for paint, values in zip(_SERIES, series.values(), strict=False):
        points = [(at / last, (value - low) / span) for at, value in enumerate(values, 1) if not math.isnan(value)]
        parts.append(_line(points, paint))
    return _plot(parts, list(series), title)


def _tells(each: ReliabilityBin) -> bool:
    return each.share >= _MIN_SHARE


def _tenths_under(value: float) -> int:
    """The greatest whole number of tenths that is at least 0.01 under a share; 0 if none is."""
    return max(0, math.floor(10 * (value - 0.01) + 1e-9))


def _x(value: float) -> float:
    return _MARGIN_PX + value * _PLOT_PX


def _y(value: float) -> float:
    return 30 + (1.0 - value) * _PLOT_PX


def _axes(
    title: str,
    along: str,
    up: str,
    across: tuple[float, float] = (0.0, 1.0),
    upwards: tuple[float, float] = (0.0, 1.0),
    *,
    steps: int = 5,
) -> str:
    parts = [_text(8, 18, title, weight="bold")]
    for at in (step / 5 for step in range(6)):
        parts += [
            f'<path d="M{_x(at):.1f} {_y(0):.1f}V{_y(1):.1f}" {_stroke("rule")}/>',
            _text(_x(at), _y(0) + 16, _tick(at, across), anchor="middle", size=11, paint="muted"),
        ]
    for at in (step / steps for step in range(steps + 1)):
        parts += [
            f'<path d="M{_x(0):.1f} {_y(at):.1f}H{_x(1):.1f}" {_stroke("rule")}/>',
            _text(_x(0) - 6, _y(at) + 4, _tick(at, upwards), anchor="end", size=11, paint="muted"),
        ]
    parts.append(_text(_x(0.5), _y(0) + 34, along, anchor="middle", size=12, paint="muted"))
    parts.append(
        f'<text transform="translate(12 {_y(0.5):.1f}) rotate(-90)" text-anchor="middle" font-size="12" '
        f"{_fill('muted')}>{escape(up)}</text>"
    )
    return "".join(parts)


def _tick(share: float, ends: tuple[float, float]) -> str:
    return f"{ends[0] + share * (ends[1] - ends[0]):.3g}"


def _plot(parts: list[str], names: list[str], title: str) -> str:
    for place, (name, paint) in enumerate(zip(names, _SERIES, strict=False)):
        top = _y(0) + 52 + 18 * place
        parts.append(f'<rect x="{_x(0)}" y="{top - 9}" width="14" height="9" {_fill(paint)}/>')
        parts.append(_text(_x(0) + 20, top, name, size=12))
    return _svg(_MARGIN_PX + _PLOT_PX + 24, round(_y(0)) + 50 + 18 * len(names), parts, title)


def _line(points: Sequence[tuple[float, float]], paint: str, *, dashed: bool = False) -> str:
    if not points:
        return ""
    path = "L".join(f"{_x(across):.1f} {_y(up):.1f}" for across, up in points)
    style = 'stroke-width="1" stroke-dasharray="5 4"' if dashed else 'stroke-width="2"'
    return f'<path d="M{path}" fill="none" {_stroke(paint)} {style}/>'


def _text(
    x: float, y: float, text: str, anchor: str = "start", size: int = 13, *, weight: str = "normal", paint: str = "ink"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f"{_fill(paint)}>{escape(text)}</text>"
    )


def _fill(paint: str) -> str:
    return f'class="fill-{paint}" fill="{_PAINTS[paint][0]}"'


def _stroke(paint: str) -> str:
    return f'class="stroke-{paint}" stroke="{_PAINTS[paint][0]}"'


def _dark_style() -> str:
    """On screens only: paper is white."""
    rules = "".join(
        f"svg.figure .fill-{name}{{fill:{dark}}}svg.figure .stroke-{name}{{stroke:{dark}}}"
        for name, (_, dark) in _PAINTS.items()
    )
    return f"<style>@media screen and (prefers-color-scheme:dark){{{rules}}}</style>"


def _svg(width: float, height: float, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg class="figure" xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}" '
        f'font-family="system-ui, sans-serif">{_dark_style()}<rect width="100%" height="100%" {_fill("ground")}/>'
        f"{''.join(parts)}</svg>"
    )
