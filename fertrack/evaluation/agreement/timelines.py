"""Labels of all raters side by side in time: the estimates, and each coder's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fertrack.errors import LabelsError
from fertrack.imports.coding import CodedSegment
from fertrack.storage.stored_run import StoredRun
from fertrack.types import EXPRESSIONS, UNCERTAIN, BoolArray, Float64Array, IntArray

__all__ = ["ABSENT", "CLASSES", "ESTIMATES", "LABELS", "Timeline", "coders_of", "timelines"]

ESTIMATES = "fertrack"
"""Name of the rater whose labels are the estimates."""

LABELS = (*EXPRESSIONS, "uncertain")
CLASSES = len(LABELS)
ABSENT = -1
"""In a timeline: no face, or nothing coded."""


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """One person's labels by each rater. R raters, N stretches in which nobody's label changes.

    Attributes:
        subject: index of the person.
        raters: names, the estimates first.
        labels: int64 (R, N), index into ``LABELS``; -1: no face, or nothing coded.
        start_s: (N,), begin of each stretch, seconds.
        weight_s: (N,), its length.
    """

    subject: int
    raters: tuple[str, ...]
    labels: IntArray
    start_s: Float64Array
    weight_s: Float64Array

    def row(self, rater: str) -> IntArray | None:
        """Labels of one rater, int64 (N,); None where they said nothing of the person."""
        return self.labels[self.raters.index(rater)] if rater in self.raters else None

    def compared(self, raters: Sequence[str]) -> BoolArray:
        """Stretches to which each of some raters gave a label while the face was seen, (N,)."""
        rows = [self.labels[0], *(self.labels[self.raters.index(each)] for each in raters)]
        present: BoolArray = np.all(np.stack(rows) != ABSENT, axis=0)
        return present


def coders_of(codings: Sequence[CodedSegment]) -> list[str]:
    """Names of the coders, in order of the first of each.

    Raises:
        LabelsError: somebody is called like the estimates.
    """
    names = list(dict.fromkeys(each.coder for each in codings))
    if ESTIMATES in names:
        raise LabelsError(f"a coder is called {ESTIMATES!r}, as the estimates are: rename the file, or name the author")
    return names


def timelines(
    run: StoredRun,
    codings: Sequence[CodedSegment],
    subjects: Sequence[int],
    *,
    block_s: float,
    uncoded: int | None = None,
) -> Iterator[Timeline]:
    """The timeline of each person of whom somebody said something.

    Args:
        run: the run; its estimates are the first rater: ask for them with ``Database.estimates``.
        codings: the coders' segments.
        subjects: indexes of the persons.
        block_s: no stretch crosses a multiple of it, seconds.
        uncoded: label of time that a coder of the person left empty; None: it is not compared.
    """
    coders, rows = coders_of(codings), run.segments.rows
    of_track = run.subjects.of(run.number, rows.group) if len(rows) else rows.group
    for subject in subjects:
        theirs = [each for each in codings if each.subject == subject]
        if not theirs:
            continue
        seen = rows.select(of_track == subject)
        estimates = np.where(seen.label < 0, CLASSES - 1, seen.label)
        spans = [_apart(seen.start_s, seen.end_s, estimates)]
        present = [coder for coder in coders if any(each.coder == coder for each in theirs)]
        for coder in present:
            own = [each for each in theirs if each.coder == coder]
            label = [CLASSES - 1 if each.label == UNCERTAIN else each.label for each in own]
            spans.append(
                _apart(
                    np.array([each.start_s for each in own]),
                    np.array([each.end_s for each in own]),
                    np.array(label, np.int64),
                )
            )
        begin_s, end_s = run.frames.span_s()
        edges = [np.arange(np.floor(begin_s / block_s), np.ceil(end_s / block_s) + 1) * block_s]
        times = np.unique(np.concatenate([*edges, *(each for span in spans for each in span[:2])]))
        start_s, weight_s = times[:-1], np.diff(times)
        labels = np.stack([_at(*span, start_s + weight_s / 2) for span in spans])
        if uncoded is not None:
            labels[1:][labels[1:] == ABSENT] = uncoded
        yield Timeline(subject, (ESTIMATES, *present), labels, start_s, weight_s)


def _apart(start_s: Float64Array, end_s: Float64Array, label: IntArray) -> tuple[Float64Array, Float64Array, IntArray]:
    """Spans in order, none reaching into the next: two tracks of one person may overlap for a moment."""
    order = np.argsort(start_s, kind="stable")
    start_s, end_s, label = start_s[order], end_s[order], label[order]
    return start_s, np.minimum(end_s, np.append(start_s[1:], np.inf)[: len(end_s)]), label


def _at(start_s: Float64Array, end_s: Float64Array, label: IntArray, time_s: Float64Array) -> IntArray:
    """Label at each time; -1 where no span holds."""
    if not len(start_s):
        return np.full(len(time_s), ABSENT, np.int64)
    place = np.searchsorted(start_s, time_s, side="right") - 1
    inside = (place >= 0) & (time_s < end_s[place])
    return np.where(inside, label[place], ABSENT).astype(np.int64)
