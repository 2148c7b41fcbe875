"""Labels that a human coding gives to a run's faces: all of it, or what differs from the estimates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fertrack.imports.coding import CodedSegment, is_from_an_editor, read_coding
from fertrack.storage.config import LONGEST_GAP_S
from fertrack.storage.people.corrections import GivenLabel
from fertrack.storage.queries.statistics import person_episodes
from fertrack.storage.written_files import Export, outputs
from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    from fertrack.storage.engine import Database
    from fertrack.storage.stored_run import StoredRun

__all__ = ["labels_of_coding"]

_ROUNDING_S = 1e-6

_Span = tuple[float, float]


def labels_of_coding(
    db: Database,
    run: int | str,
    path: Path,
    *,
    tier: str = "",
    people: Mapping[str, str] | None = None,
    everything: bool = False,
    author: str = "",
) -> list[GivenLabel]:
    """The labels that the coding in a file gives to faces of a run.

    Exports hold the estimates, so that in a file that was exported and corrected most annotations are not a person's.
    So a label is given only where the estimates' episodes do not already say the same; a file that was exported and
    not changed gives none.

    Args:
        db: the open database.
        run: number of the run, or "last".
        path: an ELAN, BORIS or Praat file, or a table; see ``imports.coding``.
        tier: only this tier, subject or observation; see ``imports.coding``.
        people: tier or subject: whom of the run it means.
        everything: a person coded all of it: also what agrees with the estimates is given; so it is of a table.
        author: who coded, where the file does not say.

    Raises:
        LabelsError: a tier means nobody of the run, or a person has two expressions at once.
        RunNotFoundError: no such run, or nobody called so in it.
        TableError: the file cannot be read, or rows of it are wrong; it names them.
    """
    with db.estimates().run(run) as stored:
        coded = read_coding(stored, path, tier=tier, people=people, coder=author)
        known: dict[tuple[int, int], list[_Span]] = {}
        if is_from_an_editor(path) and not everything:
            known = _said(stored, path)

        given: list[GivenLabel] = []
        for segment in coded:
            spans = _without((segment.start_s, segment.end_s), known.get((segment.subject, segment.label), ()))
            given += _of_tracks(stored, segment, spans)
        return given


def _said(run: StoredRun, path: Path) -> dict[tuple[int, int], list[_Span]]:
    """When each person shows each expression by the estimates, as the export of this file joined them to episodes."""
    files = [file for file in outputs(run.connection, [run.number]) if file.path.name == path.name]
    gaps_s = [file.made.config.max_gap_s for file in files if isinstance(file.made, Export)]
    gap_s = gaps_s[-1] if gaps_s else LONGEST_GAP_S
    table = person_episodes(run, min_duration_s=0.0, max_gap_s=gap_s)
    subjects = run.subjects.of(run.number, table["track"].to_numpy(np.int64)).tolist() if len(table) else []
    said: dict[tuple[int, int], list[_Span]] = {}
    columns = (subjects, table["expression"].astype(str), table["onset_s"], table["offset_s"])
    for subject, expression, onset_s, offset_s in zip(*columns, strict=True):
        said.setdefault((subject, EXPRESSIONS.index(expression)), []).append((float(onset_s), float(offset_s)))
    return said


def _without(span: _Span, known: Sequence[_Span]) -> list[_Span]:
    """Parts of a span outside of some others, which are in order of time and do not overlap."""
    at_s, end_s = span
    parts = []
    for begin_s, stop_s in known:
        if stop_s <= at_s + _ROUNDING_S:
            continue
        if begin_s >= end_s - _ROUNDING_S:
            break
        if begin_s > at_s + _ROUNDING_S:
            parts.append((at_s, begin_s))
        at_s = stop_s
    if at_s < end_s - _ROUNDING_S:
        parts.append((at_s, end_s))
    return parts


def _of_tracks(run: StoredRun, segment: CodedSegment, spans: Sequence[_Span]) -> Iterator[GivenLabel]:
    """A label for each track of the person that has a face then; one that will match none if no track has."""
    tracks = run.subjects.people[segment.subject].tracks
    found = [(track, span) for span in spans for track in tracks if _has_face(run, track, span)]
    if not found and spans == [(segment.start_s, segment.end_s)]:
        found = [(tracks[0], spans[0])]
    for track, (from_s, to_s) in found:
        yield GivenLabel(
            row=segment.row, label=segment.label, track=track, from_s=from_s, to_s=to_s, author=segment.coder
        )


def _has_face(run: StoredRun, track: int, span: _Span) -> bool:
    rows, starts_s = run.segments.rows, run.frames.start_s
    theirs = rows.select((rows.group == track) & (rows.end_s > span[0]) & (rows.start_s < span[1]))
    first = np.searchsorted(starts_s, np.maximum(theirs.start_s, span[0]) - _ROUNDING_S)
    last = np.searchsorted(starts_s, np.minimum(theirs.end_s, span[1]) - _ROUNDING_S)
    return bool((last > first).any())
