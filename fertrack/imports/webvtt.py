"""Cues of a WebVTT file (``.vtt``): each a segment of time, its text the label.

Tags are taken out, a voice (``<v Ana>``) is the tier; notes, styles and regions are left out. Format: W3C WebVTT.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from fertrack.errors import TableError, reason_of
from fertrack.imports.event import Event, checked, damaged
from fertrack.tables import rows_sentence

__all__ = ["read"]

_TIMES = re.compile(r"((?:\d+:)?\d{1,2}:\d{2}\.\d{3})[ \t]+-->[ \t]+((?:\d+:)?\d{1,2}:\d{2}\.\d{3})(?:[ \t].*)?")
_VOICE = re.compile(r"<v(?:\.[^ \t>]*)?[ \t]+([^>]*)>")


def read(path: Path) -> list[Event]:
    """The events of a file, in order of time; cues without a text are left out.

    Raises:
        TableError: the file cannot be read, or cues of it are wrong; it names their lines.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise damaged(path, "WebVTT", reason_of(error)) from error
    if not text.startswith("WEBVTT"):
        raise damaged(path, "WebVTT", "its first line is not WEBVTT")
    events, mistakes = [], []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        times = _TIMES.fullmatch(line.strip())
        if times is None:
            continue
        body = []
        for following in lines[number + 1 :]:
            if not following.strip():
                break
            body.append(following.strip())
        joined = " ".join(body)
        voice = _VOICE.search(joined)
        label = html.unescape(re.sub(r"<[^>]*>", "", joined)).strip()
        if not label:
            continue
        begin_s, end_s = _seconds(times[1]), _seconds(times[2])
        try:
            events.append(checked(Event(number + 1, begin_s, end_s, label, tier=voice[1].strip() if voice else "")))
        except ValueError as error:
            mistakes.append((number + 1, str(error)))
    if mistakes:
        raise TableError(f"{path}: nothing was imported: {rows_sentence(mistakes).replace('row', 'line')}")
    return sorted(events, key=lambda event: event.time_s)


def _seconds(clock: str) -> float:
    *rest, seconds = clock.split(":")
    minutes = int(rest[-1]) + 60 * (int(rest[0]) if len(rest) > 1 else 0)
    return minutes * 60 + float(seconds)
