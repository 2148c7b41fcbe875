"""Human coding of a run's video: stretches of time for which somebody said what a person shows.

Read from ELAN, BORIS (projects and exported tables), Praat, or a table with a row a stretch:

=====================  ===============================================================================================
column                 meaning
=====================  ===============================================================================================
person, or track       who: as commands name them (a name, ``P2``, ``ID 5``), or the ID of a track
start_s, end_s         from when to when, seconds of the video; or ``frame_index``, for one frame
corrected              the expression, or ``uncertain``; rows without one are left out; where there is no such column,
                       ``expression`` or ``label``
author, or coder       who says so; the name of the file where nobody is named
intensity              how strong it is, where the coding says so
=====================  ===============================================================================================

The CSV files of ``fertrack export`` with ``corrected`` filled in are such tables. A tier (ELAN, Praat) or subject
(BORIS) is the person of that name, as exports write it; an ELAN tier's participant counts where its name is nobody's,
and its annotator is the coder. Tiers without a single expression, such as speech or markers, are passed over.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fertrack.errors import LabelsError, TableError
from fertrack.imports.event import Event
from fertrack.imports.recognise import read_events, recognise
from fertrack.storage.queries.timeline import label_index
from fertrack.storage.stored_run import StoredRun
from fertrack.tables import Row, Table, parse_rows, read_table, rows_sentence
from fertrack.types import UNCERTAIN, expression_index

__all__ = ["CodedSegment", "is_coding", "is_from_an_editor", "read_coding"]

_ROUNDING_S = 6e-4
"""Times are whole milliseconds in ELAN and BORIS: this close to a frame's begin or end, they mean it."""

_TIERS = ("eaf", "boris", "textgrid")
_OF_EXPORTS = {"corrected", "mean_probability"}
"""Columns of our own CSV files, whose expressions are estimates."""
_TRACK = re.compile(r"(?:.*\()?(ID \d+)(?:\)| .*)?", re.DOTALL)
"""``ID 2``, ``ID 2 Ana``, ``Ana (ID 2)``: names of persons in exports."""


@dataclass(frozen=True, slots=True)
class CodedSegment:
    """Stretch of time in which a person shows one expression, as one coder says.

    Attributes:
        row: where it stands in the file: row, event or annotation.
        coder: who says so.
        subject: index of the person in ``StoredRun.subjects``.
        start_s: begin, seconds of the video.
        end_s: end; after ``start_s``.
        label: index into ``EXPRESSIONS``; -1: no expression can be told.
        intensity: how strong, on the coder's own scale; None if not said.
    """

    row: int
    coder: str
    subject: int
    start_s: float
    end_s: float
    label: int
    intensity: float | None = None


def is_coding(path: Path) -> bool:
    """Whether a file is from ELAN, BORIS or Praat, or a table of stretches that is no export.

    Raises:
        TableError: it cannot be read.
    """
    if is_from_an_editor(path):
        return True
    columns = set(read_table(path).columns)
    return {"start_s", "end_s", "expression"} <= columns and not columns & _OF_EXPORTS


def is_from_an_editor(path: Path) -> bool:
    """Whether a file is of a format that exports have, and people edit: ELAN, BORIS or Praat.

    Raises:
        TableError: it cannot be read.
    """
    return recognise(path) in _TIERS


def read_coding(
    run: StoredRun,
    path: Path,
    *,
    tier: str = "",
    people: Mapping[str, str] | None = None,
    coder: str | None = None,
) -> list[CodedSegment]:
    """The coding of one file, in order of person, then time.

    Args:
        run: the run of the same video.
        path: the file.
        tier: only this tier or subject; of BORIS files with several observations, the one to read.
        people: tier or subject: whom of the run it means, where its name does not say it.
        coder: who coded, where the file does not say; the name of the file if None.

    Raises:
        LabelsError: a tier means nobody of the run, a person has two expressions at once, or nothing is in it.
        RunNotFoundError: ``people`` names somebody who is not in the run.
        TableError: the file cannot be read, or rows of it are wrong; it names them.
    """
    found, coder = recognise(path), path.stem if coder is None else coder
    if found in _TIERS:
        coded = [_of_event(event, coder) for event in read_events(path, file_format=found, tier=tier)]
    else:
        coded = [each for each in _of_table(run, read_table(path), coder) if tier in {"", each.tier}]
    segments = _resolved(run, coded, path, people or {})
    if not segments:
        raise LabelsError(f"{path} says of nobody in run {run.number} what they show: no tier names an expression")
    _refuse_overlaps(run, segments, path)
    return segments


@dataclass(frozen=True, slots=True)
class _Coded:
    """A row as it stands in the file, times snapped to nothing yet; ``end_s`` None: it lasts no time."""

    row: int
    coder: str
    tier: str
    participant: str
    start_s: float
    end_s: float | None
    word: str
    intensity: float | None = None


def _of_event(event: Event, coder: str) -> _Coded:
    return _Coded(
        event.row, event.author or coder, event.tier, event.participant, event.time_s, event.end_s, event.label
    )


def _of_table(run: StoredRun, table: Table, coder: str) -> list[_Coded]:
    names = set(table.columns)
    word = next((name for name in ("corrected", "expression", "label") if name in names), "")
    if not word or not names & {"person", "track"} or not (names >= {"start_s", "end_s"} or "frame_index" in names):
        raise TableError(
            f"{table.path} cannot be read as a coding: a table needs the columns person (or track), start_s, end_s and "
            "expression (or corrected)"
        )
    start_of = dict(zip(*(column.tolist() for column in run.frames[:2]), strict=True))
    end_of = dict(zip(*(column.tolist() for column in run.frames[::2]), strict=True))

    def coded(row: Row) -> _Coded | None:
        if not row.text(word):
            return None
        track, frame = row.whole("track"), row.whole("frame_index")
        if track is not None and track < 0:
            return None  # a face that nobody has been found to be
        start_s, end_s = row.seconds("start_s"), row.seconds("end_s")
        if frame is not None and start_s is None:
            if frame not in start_of:
                raise ValueError(f"frame {frame} is not in run {run.number}")
            start_s, end_s = start_of[frame], end_of[frame]
        who = row.text("person") if track is None else f"ID {track}"
        if start_s is None or end_s is None or not who:
            raise ValueError("it does not say who is meant, or when")
        says = row.text("author") or row.text("coder") or coder
        return _Coded(row.number, says, who, "", start_s, end_s, row.text(word), row.number_in("intensity"))

    return parse_rows(table, coded)


def _resolved(run: StoredRun, coded: Sequence[_Coded], path: Path, people: Mapping[str, str]) -> list[CodedSegment]:
    tiers: dict[tuple[str, str], list[_Coded]] = {}
    for each in coded:
        tiers.setdefault((each.tier, each.participant), []).append(each)
    if unknown := set(people) - {name for name, _ in tiers}:
        there = ", ".join(sorted(repr(name) for name, _ in tiers)) or "none"
        raise LabelsError(f"{path} has no tier or subject {sorted(unknown)[0]!r}: there are {there}")
    found: list[CodedSegment] = []
    mistakes: list[tuple[int, str]] = []
    for (name, participant), rows in tiers.items():
        if not any(_is_label(each.word) for each in rows):
            continue
        subject = _subject(run, name, participant, path, people)
        for each in rows:
            try:
                found.append(_segment(run, each, subject))
            except ValueError as error:
                mistakes.append((each.row, str(error)))
    if mistakes:
        hint = "; --tier NAME reads only one tier or subject" if len(tiers) > 1 else ""
        raise TableError(f"{path}: nothing was imported: {rows_sentence(mistakes)}{hint}")
    return _joined(sorted(found, key=lambda each: (each.subject, each.coder, each.start_s)))


def _is_label(word: str) -> bool:
    return expression_index(word) >= 0 or word.strip().lower() in {"uncertain", "not readable"}


def _segment(run: StoredRun, coded: _Coded, subject: int) -> CodedSegment:
    label = expression_index(coded.word)
    if label < 0:  # label_index also knows "uncertain", and what was probably meant
        label = max(label_index(coded.word), UNCERTAIN)
    if coded.end_s is None or coded.end_s <= coded.start_s:
        raise ValueError(f"{coded.word!r} at {coded.start_s:g} s lasts no time: code expressions as states")
    start_s, end_s = (_snapped(run, time_s) for time_s in (coded.start_s, coded.end_s))
    if end_s <= start_s:
        raise ValueError(f"{coded.word!r} at {coded.start_s:g} s is shorter than a frame")
    return CodedSegment(coded.row, coded.coder, subject, start_s, end_s, label, coded.intensity)


def _snapped(run: StoredRun, time_s: float) -> float:
    """The begin or end of a frame that is meant, else the time itself."""
    for times_s in (run.frames.start_s, run.frames.end_s):
        if not len(times_s):
            continue
        place = int(np.searchsorted(times_s, time_s))
        near = times_s[max(0, place - 1) : place + 1]
        closest = float(near[np.abs(near - time_s).argmin()])
        if abs(closest - time_s) <= _ROUNDING_S:
            return closest
    return time_s


def _subject(run: StoredRun, name: str, participant: str, path: Path, people: Mapping[str, str]) -> int:
    """Index of the person that a tier means."""
    subjects = run.subjects
    if name in people:
        return int(subjects.find(people[name])[0])
    track = _TRACK.fullmatch(name)
    for who in (name, track[1] if track else "", participant):
        if who and subjects.knows(who):
            return int(subjects.find(who)[0])
    if not name and len(subjects) == 1:
        return 0
    there = ", ".join(map(str, subjects.label[:12])) or "nobody"
    called = f"the tier or subject {name!r}" if name else "what names no subject"
    raise LabelsError(
        f"{path}: {called} means nobody of run {run.number}, in which there are {there}: say who it is with "
        f"--map '{name}=P1'"
    )


def _joined(segments: Sequence[CodedSegment]) -> list[CodedSegment]:
    """Segments of one person, coder and label that touch, such as those of single frames, as one."""
    joined: list[CodedSegment] = []
    for each in segments:
        last = joined[-1] if joined else None
        if (
            last is not None
            and (last.subject, last.coder, last.label, last.intensity)
            == (each.subject, each.coder, each.label, each.intensity)
            and abs(each.start_s - last.end_s) <= 1e-6
        ):
            joined[-1] = replace(last, end_s=each.end_s)
        else:
            joined.append(each)
    return joined


def _refuse_overlaps(run: StoredRun, segments: Sequence[CodedSegment], path: Path) -> None:
    for first, second in itertools.pairwise(segments):
        same = (first.subject, first.coder) == (second.subject, second.coder)
        if same and second.start_s < first.end_s - _ROUNDING_S:
            who = run.subjects.label[first.subject]
            raise LabelsError(
                f"{path}: {who} has two expressions at once at {second.start_s:.2f} s (rows {first.row} and "
                f"{second.row}): a coding gives one at a time"
            )
