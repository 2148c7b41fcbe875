"""Parts that all answers share: the runs asked about, their subjects' segments, and the coverage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fertrack.errors import RunNotFoundError
from fertrack.storage.people.subjects import Subjects, load_subjects
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.episode_store import RunStretches, load_stretches, runs_in_batches
from fertrack.storage.queries.segments import Stretches
from fertrack.storage.stored_run import AllRuns, StoredRun
from fertrack.types import EXPRESSIONS, UNCERTAIN, Float64Array, IntArray

__all__ = [
    "LABELS",
    "STATES",
    "SubjectStretches",
    "categories",
    "check_durations",
    "coverage",
    "coverage_sentence",
    "each_batch",
    "joined_answer",
]

LABELS = (*EXPRESSIONS, "uncertain")
STATES = (*LABELS, "no face")
"""Everything a person's time can be spent on, as the answers call it."""


@dataclass(frozen=True, slots=True, eq=False)
class SubjectStretches:
    """Segments of some runs, and their subjects.

    Attributes:
        runs: their numbers, ascending.
        subjects: S people.
        rows: E stretches.
        subject: int64 (E,), index of each one's subject.
        shown_s: (S,), how long the frames of each subject's run were shown, seconds.
    """

    runs: tuple[int, ...]
    subjects: Subjects
    rows: Stretches
    subject: IntArray
    shown_s: Float64Array

    def seconds(self) -> Float64Array:
        """Time per subject and state, (S, 9): the seven expressions, uncertain, no face."""
        column = np.where(self.rows.label == UNCERTAIN, len(EXPRESSIONS), self.rows.label)
        wide = len(LABELS)
        summed = np.bincount(
            self.subject * wide + column,
            weights=self.rows.end_s - self.rows.start_s,
            minlength=len(self.subjects) * wide,
        ).reshape(-1, wide)
        unseen = np.maximum(self.shown_s - summed.sum(axis=1), 0.0)
        return np.column_stack([summed, unseen])


def each_batch(stored: StoredRun | AllRuns) -> Iterator[SubjectStretches]:
    """Segments of one run, or of all, some runs at a time."""
    if isinstance(stored, StoredRun):
        yield _of_subjects([stored.number], stored.stretches, stored.subjects)
        return
    for runs in runs_in_batches(stored.connection):
        yield _of_subjects(runs, load_stretches(stored.connection, runs), load_subjects(stored.connection, runs))


def _of_subjects(runs: Sequence[int], loaded: RunStretches, subjects: Subjects) -> SubjectStretches:
    return SubjectStretches(
        runs=tuple(runs),
        subjects=subjects,
        rows=loaded.rows,
        subject=subjects.of(loaded.run, loaded.rows.track) if len(loaded.rows) else np.empty(0, np.int64),
        shown_s=np.array([loaded.shown_s[int(number)] for number in subjects.run], np.float64),
    )


def joined_answer(
    stored: StoredRun | AllRuns,
    who: str | int | None,
    part: Callable[[SubjectStretches, IntArray], pd.DataFrame],
    *,
    units: dict[str, str],
) -> pd.DataFrame:
    """Put the parts of an answer together, batch by batch; units and coverage go into ``.attrs``.

    Args:
        stored: one run, or all.
        who: whom it is about, as ``Subjects.find`` takes it; everybody if None.
        part: makes the rows of one batch, for the subjects of the given indexes.
        units: unit of each column that has one.

    Raises:
        RunNotFoundError: there is nobody of that name.
    """
    everywhere = isinstance(stored, AllRuns)
    parts, sums, anybody = [], [], False
    for batch in each_batch(stored):
        if who is None:
            asked = np.arange(len(batch.subjects), dtype=np.int64)
        elif everywhere and not batch.subjects.knows(who):  # who is in one run need not be in another
            asked = np.empty(0, np.int64)
        else:
            asked = batch.subjects.find(who)
        anybody |= len(asked) > 0
        parts.append(part(batch, asked))
        sums.append(coverage(batch.seconds()[asked]))
    if who is not None and not anybody:
        raise RunNotFoundError(f"there is nobody called {str(who)!r} in any run")
    table = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    table.attrs.update(run=stored.number, units=units, coverage={key: sum(s[key] for s in sums) for key in sums[0]})
    return note_columns(table)


def coverage(seconds: Float64Array) -> dict[str, float]:
    """Coverage of the time asked about: known, uncertain, or without a face; person-seconds.

    Args:
        seconds: (..., 9), as from ``SubjectStretches.seconds``.
    """
    summed = seconds.reshape(-1, len(STATES)).sum(axis=0)
    return {
        "certain_s": float(summed[: len(EXPRESSIONS)].sum()),
        "uncertain_s": float(summed[-2]),
        "no_face_s": float(summed[-1]),
    }


def coverage_sentence(coverage: dict[str, float]) -> str:
    """Sentence about the share of the time asked about that is unknown, all persons together.

    >>> coverage_sentence({"certain_s": 6.0, "uncertain_s": 1.0, "no_face_s": 3.0})
    'of 10.0 person-seconds, 10.0 % were uncertain and 30.0 % without a face'
    """
    total = sum(coverage.values())
    shares = [100.0 * coverage[key] / total if total else 0.0 for key in ("uncertain_s", "no_face_s")]
    return f"of {total:.1f} person-seconds, {shares[0]:.1f} % were uncertain and {shares[1]:.1f} % without a face"


def categories(codes: npt.NDArray[Any], names: Sequence[str]) -> pd.Categorical[Any]:
    """Codes as a categorical column."""
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(list(names)))


def check_durations(**durations_s: float | None) -> None:
    """Refuse durations that cannot be.

    Raises:
        ValueError: one is negative or not a finite number.
    """
    for name, value in durations_s.items():
        if value is not None and not (np.isfinite(value) and value >= 0.0):
            raise ValueError(f"{name} must be a number of seconds, 0 or more, got {value}")
