"""HTML page of facts, tables and SVG figures: one small file, no script, opens without a network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from fertrack.evaluation.intervals import Interval
from fertrack.files import replacing

__all__ = ["facts_html", "page_html", "table_html", "wide_html", "write_text"]

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
div.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #8884; text-align: left; vertical-align: top; }
th { font-weight: 600; } th.number, td.number { text-align: right; } td.number { white-space: nowrap; }
table.rows th:first-child, table.rows td:first-child { position: sticky; left: 0; background: Canvas; }
table.facts th { white-space: nowrap; } table.facts td { overflow-wrap: anywhere; }
@media (max-width: 40rem) { table.rows th:first-child, table.rows td:first-child { max-width: 9rem; } }
@media (max-width: 40rem) { table.facts th, table.facts td { display: block; border-bottom: 0; padding: .1rem 0; } }
svg { max-width: 100%; height: auto; margin: .5rem 1rem .5rem 0; border-radius: 6px; }
p.note { max-width: 46rem; opacity: .85; }
"""


def page_html(title: str, body: Sequence[str]) -> str:
    """The page, from parts that are HTML already."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def facts_html(facts: Mapping[str, Any]) -> str:
    """A table of names and values."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(_cell(value))}</td></tr>" for name, value in facts.items())
    return wide_html(f'<table class="facts">{rows}</table>')


def wide_html(content: str) -> str:
    """Something that may be wider than the window: it is scrolled by itself, not the page."""
    return f'<div class="wide">{content}</div>'


def table_html(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table with a header; numbers to the right, and the heads of columns of numbers with them.

    Where it is scrolled, its first column stays: it says what the rows are.
    """
    numeric = [bool(rows) and all(_is_number(row[place]) for row in rows) for place in range(len(columns))]
    head = "".join(
        f"<th{' class=number' if right else ''}>{escape(column)}</th>"
        for column, right in zip(columns, numeric, strict=True)
    )
    lines = []
    for row in rows:
        cells = [f"<td{' class=number' if _is_number(value) else ''}>{escape(_cell(value))}</td>" for value in row]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return wide_html(f'<table class="rows"><tr>{head}</tr>{"".join(lines)}</table>')


def write_text(path: Path, text: str, *, overwrite: bool) -> Path:
    """Write a file that is complete or not there.

    Raises:
        OutputExistsError: something is already there and ``overwrite`` is False.
        ReportError: it cannot be written.
    """
    with replacing(path, overwrite=overwrite) as file:
        file.write(text)
    return path


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Interval)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.3f}"
    if isinstance(value, Interval):
        return "–" if math.isnan(value.value) else str(value)
    return str(value)
