"""Coding of a BORIS project (``.boris``), or of a table that BORIS exported.

A state behaviour is a stretch between two of its events of one subject; one that is never stopped is refused. Subjects
are tiers. Tables, tab- or comma-separated: "tabular events" (Time, Behavior, Behavior type, Subject), those of BORIS
before 8 with Status in place of the type and a head about the observation, and "aggregated events" (Start (s), Stop
(s), Behavior, Subject). A project or table of several observations needs the name of one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fertrack.errors import TableError, reason_of
from fertrack.imports.event import Event, checked, damaged
from fertrack.tables import Row, Table, parse_rows, read_table, rows_sentence

__all__ = ["matches", "read", "read_table_of_events"]

_AGGREGATED = {"behavior", "start (s)", "stop (s)"}
_EARLIER = {"time", "behavior", "status"}


def matches(table: Table) -> bool:
    """Whether the table is one of BORIS's exports."""
    names = set(table.columns)
    has_head = "observation id" in names and any(row.text("observation id") == "Time" for row in table.rows)
    return has_head or any(names >= each for each in (_AGGREGATED, _EARLIER, {"time", "behavior", "behavior type"}))


def read(path: Path, observation: str = "") -> list[Event]:
    """The events of one observation of a project, in order of time.

    Raises:
        TableError: the file cannot be read, has several observations and none was named, or events do not pair.
    """
    try:
        project = json.loads(path.read_text(encoding="utf-8"))
        observations: dict[str, Any] = project["observations"]
        states = {
            str(each["code"]) for each in project["behaviors_conf"].values() if "state" in str(each["type"]).lower()
        }
    except OSError as error:
        raise damaged(path, "a BORIS project", reason_of(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, "a BORIS project", f"{type(error).__name__}: {error}") from error
    if not observation and len(observations) > 1:
        raise _several(path, list(observations))
    if observation and observation not in observations:
        named = ", ".join(repr(name) for name in list(observations)[:10])
        raise TableError(f"{path} has no observation {observation!r}: there are {named or 'none'}")
    chosen = observations[observation] if observation else next(iter(observations.values()), {"events": []})
    try:
        rows = [
            (number, float(event[0]), str(event[1]), str(event[2]), str(event[4]) if len(event) > 4 else "")
            for number, event in enumerate(chosen["events"], start=1)
        ]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise damaged(path, "a BORIS project", f"{type(error).__name__}: {error}") from error
    return _paired(path, rows, states)


def read_table_of_events(path: Path, tier: str = "") -> list[Event]:
    """The events of a table that BORIS exported, in order of time.

    Args:
        path: the file.
        tier: the observation to read, or the only subject.

    Raises:
        TableError: the file cannot be read, has several observations and none was named, nobody is called so, rows of
            it are wrong, or events do not pair; it names them.
    """
    table = read_table(path)
    if not set(table.columns) & {"behavior"}:
        table = read_table(path, _EARLIER)
    kind = "status" if "status" in table.columns else "behavior type"
    observations = list(dict.fromkeys(row.text("observation id") for row in table.rows))
    if tier in observations:
        table = replace(table, rows=tuple(row for row in table.rows if row.text("observation id") == tier))
    elif len(observations) > 1:
        raise _several(path, observations)
    elif tier and tier not in (subjects := {row.text("subject") for row in table.rows}):
        there = ", ".join(sorted(map(repr, subjects))[:20])
        raise TableError(f"{path} has no observation and no subject {tier!r}: there are {there or 'none'}")
    elif tier:
        table = replace(table, rows=tuple(row for row in table.rows if row.text("subject") == tier))
    if set(table.columns) >= _AGGREGATED:
        events = parse_rows(table, _aggregated)
        return sorted(events, key=lambda event: event.time_s)
    kinds = {row.text("behavior"): row.text(kind).upper() for row in table.rows}
    states = {behaviour for behaviour, kind in kinds.items() if kind in {"START", "STOP"}}

    def single(row: Row) -> tuple[int, float, str, str, str]:
        time_s = row.seconds("time")
        if time_s is None:
            raise ValueError("an event needs a time")
        return row.number, time_s, row.text("subject"), row.text("behavior"), row.text("comment")

    return _paired(path, parse_rows(table, single), states)


def _several(path: Path, observations: Sequence[str]) -> TableError:
    named = ", ".join(repr(name) for name in observations[:10])
    return TableError(f"{path} has {len(observations)} observations: name one with --tier; there are {named}")


def _aggregated(row: Row) -> Event:
    begin_s, end_s = row.seconds("start (s)"), row.seconds("stop (s)")
    if begin_s is None:
        raise ValueError("an event needs a start")
    lasting = end_s if end_s is not None and end_s > begin_s else None
    return checked(Event(row.number, begin_s, lasting, row.text("behavior"), tier=_subject(row.text("subject"))))


def _subject(name: str) -> str:
    return "" if name == "No focal subject" else name  # BORIS's name of nobody


def _paired(path: Path, rows: Iterable[tuple[int, float, str, str, str]], states: set[str]) -> list[Event]:
    """Events of state behaviours taken two by two."""
    begun: dict[tuple[str, str], tuple[int, float, str]] = {}
    events, mistakes = [], []
    for number, time_s, subject, behaviour, comment in sorted(rows, key=lambda row: row[1]):
        subject = _subject(subject)  # noqa: PLW2901
        try:
            if behaviour not in states:
                events.append(checked(Event(number, time_s, None, behaviour, comment, subject)))
            elif (subject, behaviour) in begun:
                first, begin_s, note = begun.pop((subject, behaviour))
                events.append(checked(Event(first, begin_s, time_s, behaviour, note or comment, subject)))
            else:
                begun[subject, behaviour] = (number, time_s, comment)
        except ValueError as error:
            mistakes.append((number, str(error)))
    mistakes += [
        (number, f"{behaviour!r} begins at {begin_s:g} s and is never stopped")
        for (_, behaviour), (number, begin_s, _) in begun.items()
    ]
    if mistakes:
        raise TableError(f"{path}: nothing was imported: {rows_sentence(sorted(mistakes)).replace('row', 'event')}")
    return sorted(events, key=lambda event: event.time_s)
