"""Segments as a Praat TextGrid (long text format): an interval tier a person, a point tier for cuts, one for markers.

Praat wants interval tiers without gaps: where a person shows no expression for long enough, or is not seen, the
interval's text is empty. A file with gaps opens without a word there, and a time in a gap then answers with the text of
the next interval. Format: "TextGrid file formats" in Praat's manual. UTF-8, quotation marks doubled.

Opens in: Praat, ELAN, BORIS, and R and Python packages such as rPraat, praatio and textgrid.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fertrack.reporting.exports.tools.content import MarkerContent, PersonContent, RunContent, run_content
from fertrack.reporting.exports.tools.text_files import write_texts

if TYPE_CHECKING:
    from fertrack.reporting.exports.selection import Selection

__all__ = ["to_textgrid", "write"]

_Interval = tuple[float, float, str]


def write(chosen: Selection, folder: Path, stem: str, *, overwrite: bool) -> list[Path]:
    """Write the chosen run.

    Raises:
        OutputExistsError: a file is already there and ``overwrite`` is False; none is written.
        RunNotFoundError: there is no such track in the run.
        ReportError: a file could not be written.
    """
    text = to_textgrid(run_content(chosen))
    return write_texts(folder, {f"{stem}.TextGrid": text}, overwrite=overwrite, only=chosen.only)


def to_textgrid(content: RunContent) -> str:
    """The run as the text of a TextGrid file.

    Args:
        content: the run; a marker of some length becomes an interval if markers do not overlap, else all are points.
    """
    end_s = max(content.end_s, 1e-3)
    tiers = [_interval_tier(person.name, _filled(_of(person), end_s), end_s) for person in content.persons]
    if content.markers:
        tiers.append(_marker_tier(content.markers, end_s))
    if content.cuts_s:
        tiers.append(_point_tier("cuts", [(time_s, "cut") for time_s in content.cuts_s], end_s))
    head = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {_number(end_s)}",
        "tiers? <exists>" if tiers else "tiers? <absent>",
    ]
    if tiers:
        head += [f"size = {len(tiers)}", "item []:"]
    body = [line for number, tier in enumerate(tiers, start=1) for line in (f"    item [{number}]:", *tier)]
    return "\n".join([*head, *body]) + "\n"


def _of(person: PersonContent) -> list[_Interval]:
    return [(segment.start_s, segment.end_s, segment.label) for segment in person.segments]


def _filled(intervals: Sequence[_Interval], end_s: float) -> list[_Interval]:
    """The intervals with empty ones between them, from 0 to the end; those without length are left out."""
    filled: list[_Interval] = []
    at_s = 0.0
    for start_s, stop_s, text in intervals:
        start_s = max(start_s, at_s)  # noqa: PLW2901  # a tier's intervals may touch, never overlap
        if stop_s <= start_s:
            continue
        if start_s > at_s:
            filled.append((at_s, start_s, ""))
        filled.append((start_s, stop_s, text))
        at_s = stop_s
    if at_s < end_s or not filled:
        filled.append((at_s, end_s, ""))
    return filled


def _marker_tier(markers: Sequence[MarkerContent], end_s: float) -> list[str]:
    lasting = [(m.time_s, m.end_s, m.label) for m in markers if m.end_s is not None]
    apart = all(first[1] <= second[0] for first, second in itertools.pairwise(lasting))
    if len(lasting) == len(markers) and apart:
        return _interval_tier("markers", _filled(lasting, end_s), end_s)
    return _point_tier("markers", [(marker.time_s, marker.label) for marker in markers], end_s)


def _interval_tier(name: str, intervals: Sequence[_Interval], end_s: float) -> list[str]:
    lines = [*_tier_head("IntervalTier", name, end_s), f"        intervals: size = {len(intervals)}"]
    for number, (start_s, stop_s, text) in enumerate(intervals, start=1):
        lines += [
            f"        intervals [{number}]:",
            f"            xmin = {_number(start_s)}",
            f"            xmax = {_number(stop_s)}",
            f"            text = {_quoted(text)}",
        ]
    return lines


def _point_tier(name: str, points: Sequence[tuple[float, str]], end_s: float) -> list[str]:
    distinct: dict[float, str] = {}
    for time_s, text in points:  # two points of a tier may not share a time
        distinct[time_s] = f"{distinct[time_s]}; {text}" if time_s in distinct else text
    lines = [*_tier_head("TextTier", name, end_s), f"        points: size = {len(distinct)}"]
    for number, (time_s, text) in enumerate(distinct.items(), start=1):
        lines += [
            f"        points [{number}]:",
            f"            number = {_number(time_s)}",
            f"            mark = {_quoted(text)}",
        ]
    return lines


def _tier_head(kind: str, name: str, end_s: float) -> list[str]:
    return [
        f'        class = "{kind}"',
        f"        name = {_quoted(name)}",
        "        xmin = 0",
        f"        xmax = {_number(end_s)}",
    ]


def _number(seconds: float) -> str:
    return f"{max(0.0, seconds):.6f}".rstrip("0").rstrip(".") or "0"


def _quoted(text: str) -> str:
    return '"' + " ".join(text.split()).replace('"', '""') + '"'
