"""Text that spreadsheets show instead of running it."""

from __future__ import annotations

__all__ = ["defused"]

_FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")


def defused(text: str) -> str:
    """Text as it may stand in a CSV field: what a spreadsheet would take for a formula gets an apostrophe in front.

    >>> defused("=HYPERLINK(1)"), defused("Ana = Bo")
    ("'=HYPERLINK(1)", 'Ana = Bo')
    """
    return f"'{text}" if text.startswith(_FORMULA_STARTS) or text.lstrip().startswith(_FORMULA_STARTS) else text
