"""Pictures of an evaluation as SVG text: confusion matrix, reliability diagram, accuracy against coverage, curves.

Plain SVG needs no library, opens everywhere, and lies inside the HTML page or in a file of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from fertrack.evaluation.expression import ReliabilityBin
from fertrack.types import EXPRESSIONS

__all__ = ["confusion_svg", "coverage_svg", "curves_svg", "reliability_svg"]

_INK, _MUTED, _RULE = "#1b1f26", "#586173", "#dfe3e8"
_SERIES = ("#2948ad", "#c68816", "#1d6b3a", "#a31d33")
_CELL_PX, _LABEL_PX = 62, 92
_PLOT_PX, _MARGIN_PX = 300, 46


def confusion_svg(counts: Sequence[Sequence[int]], title: str) -> str:
    """A confusion matrix: rows are the labels, columns the answers, shades and percentages are shares of the row.

    Args:
        counts: seven rows of eight counts, the last column uncertain; left out if it is empty.
        title: shown above.
    """
    names = [*EXPRESSIONS, "uncertain"]
    wide = len(names) if any(row[-1] for row in counts) else len(names) - 1
    width, height = _LABEL_PX + wide * _CELL_PX + 8, 62 + len(counts) * _CELL_PX + 8
    parts = [_text(8, 18, title, weight="bold"), _text(8, 40, "label ↓  answer →", colour=_MUTED)]
    for column, name in enumerate(names[:wide]):
        parts.append(_text(_LABEL_PX + (column + 0.5) * _CELL_PX, 56, name, anchor="middle", size=11))
    for row, line in enumerate(counts):
        top, total = 62 + row * _CELL_PX, max(sum(line), 1)
        parts.append(_text(_LABEL_PX - 8, top + _CELL_PX / 2 - 2, names[row], anchor="end", size=12))
        parts.append(_text(_LABEL_PX - 8, top + _CELL_PX / 2 + 13, f"of {sum(line)}", "end", 11, colour=_MUTED))
        for column, count in enumerate(line[:wide]):
            share, left = count / total, _LABEL_PX + column * _CELL_PX
            colour = "#ffffff" if share > 0.55 else _INK
            middle = left + _CELL_PX / 2
            parts += [
                f'<rect x="{left}" y="{top}" width="{_CELL_PX - 2}" height="{_CELL_PX - 2}" fill="{_SERIES[0]}" '
                f'fill-opacity="{0.04 + 0.92 * share:.3f}"/>',
                _text(middle, top + 28, str(count), anchor="middle", colour=colour, size=14),
                _text(middle, top + 45, f"{share:.0%}", anchor="middle", colour=colour, size=11),
            ]
    return _svg(width, height, parts, title)


def reliability_svg(series: Mapping[str, Sequence[ReliabilityBin]], title: str) -> str:
    """A reliability diagram: how often winners of each probability are right; the diagonal is perfect calibration.

    Args:
        series: bins by name; a dot's area grows with the share of faces in its bin.
        title: shown above.
    """
    parts = [
        _axes(title, "probability of the winner", "share right"),
        _line([(0.0, 0.0), (1.0, 1.0)], _MUTED, dashed=True),
    ]
    for colour, bins in zip(_SERIES, series.values(), strict=False):
        filled = [each for each in bins if each.share > 0.0]
        parts.append(_line([(each.confidence, each.accuracy) for each in filled], colour))
        parts += [
            f'<circle cx="{_x(each.confidence):.1f}" cy="{_y(each.accuracy):.1f}" '
            f'r="{2.0 + 10.0 * math.sqrt(each.share):.1f}" fill="{colour}" fill-opacity="0.55"/>'
            for each in filled
        ]
    return _plot(parts, list(series), title)


def coverage_svg(series: Mapping[str, Sequence[tuple[float, float, float]]], title: str) -> str:
    """Accuracy of the faces whose winner is probable enough, against the share of faces that are.

    Args:
        series: rows of level, coverage, accuracy by name.
        title: shown above.
    """
    parts = [_axes(title, "share of faces answered", "share right of those")]
    for colour, rows in zip(_SERIES, series.values(), strict=False):
        parts.append(_line([(covered, right) for _, covered, right in rows if not math.isnan(right)], colour))
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
    for colour, values in zip(_SERIES, series.values(), strict=False):
        points = [(at / last, (value - low) / span) for at, value in enumerate(values, 1) if not math.isnan(value)]
        parts.append(_line(points, colour))
    return _plot(parts, list(series), title)


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
) -> str:
    parts = [_text(8, 18, title, weight="bold")]
    for tenth in range(0, 11, 2):
        at = tenth / 10
        parts += [
            f'<path d="M{_x(0):.1f} {_y(at):.1f}H{_x(1):.1f}M{_x(at):.1f} {_y(0):.1f}V{_y(1):.1f}" stroke="{_RULE}"/>',
            _text(_x(at), _y(0) + 16, _tick(at, across), anchor="middle", size=11, colour=_MUTED),
            _text(_x(0) - 6, _y(at) + 4, _tick(at, upwards), anchor="end", size=11, colour=_MUTED),
        ]
    parts.append(_text(_x(0.5), _y(0) + 34, along, anchor="middle", size=12, colour=_MUTED))
    parts.append(
        f'<text transform="translate(12 {_y(0.5):.1f}) rotate(-90)" text-anchor="middle" font-size="12" '
        f'fill="{_MUTED}">{escape(up)}</text>'
    )
    return "".join(parts)


def _tick(share: float, ends: tuple[float, float]) -> str:
    return f"{ends[0] + share * (ends[1] - ends[0]):.3g}"


def _plot(parts: list[str], names: list[str], title: str) -> str:
    for place, (name, colour) in enumerate(zip(names, _SERIES, strict=False)):
        top = _y(0) + 52 + 18 * place
        parts.append(f'<rect x="{_x(0)}" y="{top - 9}" width="14" height="9" fill="{colour}"/>')
        parts.append(_text(_x(0) + 20, top, name, size=12))
    return _svg(_MARGIN_PX + _PLOT_PX + 24, round(_y(0)) + 50 + 18 * len(names), parts, title)


def _line(points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> str:
    if not points:
        return ""
    path = "L".join(f"{_x(across):.1f} {_y(up):.1f}" for across, up in points)
    style = 'stroke-width="1" stroke-dasharray="5 4"' if dashed else 'stroke-width="2"'
    return f'<path d="M{path}" fill="none" stroke="{colour}" {style}/>'


def _text(
    x: float, y: float, text: str, anchor: str = "start", size: int = 13, *, weight: str = "normal", colour: str = _INK
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}">{escape(text)}</text>'
    )


def _svg(width: float, height: float, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}" '
        f'font-family="system-ui, sans-serif"><rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>'
    )
