"""Annotations of an ELAN file (``.eaf``): every annotation with times of its own, ``tier`` is its tier.

A tier's annotator is the ``author`` of its annotations, its participant their ``participant``.

Annotations that refer to others (translations, glosses) take the times of those. Format: ELAN's EAF schema 2.7 to 3.0.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from fertrack.errors import TableError
from fertrack.imports.event import Event, checked, damaged
from fertrack.tables import rows_sentence

__all__ = ["read"]


def read(path: Path) -> list[Event]:
    """The events of a file, in order of time; empty annotations are left out.

    Raises:
        TableError: the file cannot be read, or annotations of it are wrong; it names them.
    """
    try:
        root = ET.parse(path).getroot()
        if root.tag != "ANNOTATION_DOCUMENT":
            raise damaged(path, "an ELAN file", f"it begins with <{root.tag}>")
        slots = {slot.get("TIME_SLOT_ID"): _seconds(slot.get("TIME_VALUE")) for slot in root.iter("TIME_SLOT")}
    except (ET.ParseError, OSError, ValueError) as error:
        raise damaged(path, "an ELAN file", error) from error
    times: dict[str, tuple[float, float]] = {}
    found = []
    for tier in root.iter("TIER"):
        for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
            begin_s, end_s = slots.get(annotation.get("TIME_SLOT_REF1")), slots.get(annotation.get("TIME_SLOT_REF2"))
            if begin_s is not None and end_s is not None:
                times[annotation.get("ANNOTATION_ID", "")] = (begin_s, end_s)
                found.append((annotation, tier, begin_s, end_s))
    for tier in root.iter("TIER"):
        for annotation in tier.iter("REF_ANNOTATION"):
            span_s = times.get(annotation.get("ANNOTATION_REF", ""))
            if span_s is not None:
                found.append((annotation, tier, *span_s))
    events, mistakes = [], []
    for row, (annotation, tier, begin_s, end_s) in enumerate(found, start=1):
        label = " ".join((annotation.findtext("ANNOTATION_VALUE") or "").split())
        if not label:
            continue
        try:
            name, author, participant = (tier.get(key, "") for key in ("TIER_ID", "ANNOTATOR", "PARTICIPANT"))
            events.append(checked(Event(row, begin_s, end_s, label, "", name, author, participant)))
        except ValueError as error:
            mistakes.append((row, str(error)))
    if mistakes:
        raise TableError(f"{path}: nothing was imported: {rows_sentence(mistakes).replace('row', 'annotation')}")
    return sorted(events, key=lambda event: event.time_s)


def _seconds(milliseconds: str | None) -> float | None:
    return None if milliseconds is None else int(milliseconds) / 1000
