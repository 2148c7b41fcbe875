"""Tiers of a Praat TextGrid, long or short text format: intervals with a text, and points.

Both formats are the same sequence of texts in quotation marks and of numbers; what else the long one says is left out.
Format: "TextGrid file formats" in Praat's manual.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from fertrack.errors import reason_of
from fertrack.imports.event import Event, checked, damaged

__all__ = ["read"]

_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<![\w\[<])([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\w\]])|(<exists>|<absent>)')


def read(path: Path) -> list[Event]:
    """The events of a file, in order of time; ``tier`` is the tier's name. Intervals without a text are left out.

    Raises:
        TableError: the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise damaged(path, "a TextGrid", reason_of(error)) from error
    encoding = "utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    tokens = (_value(match) for match in _TOKEN.finditer(content.decode(encoding, errors="replace")))
    try:
        return sorted(_events(tokens), key=lambda event: event.time_s)
    except (StopIteration, RuntimeError, ValueError, TypeError) as error:
        raise damaged(path, "a TextGrid", f"it ends too early or is not one ({error or 'no more values'})") from error


def _events(tokens: Iterator[str | float]) -> list[Event]:
    if (next(tokens), next(tokens)) != ("ooTextFile", "TextGrid"):
        raise ValueError("it does not begin with ooTextFile and TextGrid")
    next(tokens), next(tokens)  # from when to when
    events: list[Event] = []
    if next(tokens) != "<exists>":
        return events
    for _ in range(_count(next(tokens))):
        kind, name = next(tokens), str(next(tokens))
        next(tokens), next(tokens)
        for _ in range(_count(next(tokens))):
            begin_s = float(next(tokens))
            end_s = float(next(tokens)) if kind == "IntervalTier" else None
            label = " ".join(str(next(tokens)).split())
            if label:
                events.append(checked(Event(len(events) + 1, begin_s, end_s, label, tier=name)))
    return events


def _value(match: re.Match[str]) -> str | float:
    text, number, flag = match.groups()
    if text is not None:
        return str(text.replace('""', '"'))
    return str(flag) if number is None else float(number)


def _count(token: str | float) -> int:
    if isinstance(token, str):
        raise ValueError(f"{token!r} stands where a number should")
    return int(token)
