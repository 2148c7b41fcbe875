"""Parts that the answers about agreement share: whom they are about, and their tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fertrack.evaluation.intervals import Interval
from fertrack.storage.stored_run import StoredRun
from fertrack.types import Float64Array

__all__ = ["ALL", "EVERYBODY", "answer_table", "check_above_0", "interval_columns", "subjects_asked", "without_empty"]

EVERYBODY = "everybody"
ALL = "all"

_NOTES = {
    "person": "what the person is called; everybody: all of them together",
    "expression": "the expression, against all other labels; all: every label",
    "rater_a": "fertrack (the estimates) or a coder; all: the raters named in rater_b together",
    "rater_b": "the other one",
    "compared_s": "time in which the face was seen and both gave a label",
    "a_said_s": "part of it in which rater_a said the expression",
    "b_said_s": "the same of rater_b",
    "agreed_s": "part of it in which both did; of all labels: in which they said the same",
    "agreement": "share of the compared time in which they agree",
    "positive_agreement": "2 agreed_s / (a_said_s + b_said_s)",
    "kappa": "agreement beyond chance: Cohen's of two raters, Fleiss' of more",
    "kappa_low": "lower end of its 95 % interval, over blocks of time",
    "kappa_high": "upper end",
    "a_events": "events of rater_a while the face was seen",
    "b_events": "the same of rater_b",
    "matched": "pairs of one expression whose onsets are no further apart than the tolerance",
    "a_matched": "share of rater_a's events that are matched",
    "b_matched": "the same of rater_b",
    "onset_bias_s": "mean of rater_b's onset minus rater_a's, of matched pairs",
    "onset_spread_s": "its standard deviation",
    "windows": "windows of time compared",
    "icc_agreement": "ICC(2,1): absolute agreement",
    "icc_consistency": "ICC(3,1): agreement but for a constant difference",
}


def subjects_asked(run: StoredRun, who: str | int | None) -> list[int]:
    """Indexes of the persons that are meant; all if None.

    Raises:
        RunNotFoundError: there is nobody of that name.
    """
    return list(range(len(run.subjects))) if who is None else [int(each) for each in run.subjects.find(who)]


def check_above_0(**lengths: float) -> None:
    """Refuse lengths that are none.

    Raises:
        ValueError: one is not above 0; it is named.
    """
    for name, value in lengths.items():
        if not (np.isfinite(value) and value > 0.0):
            raise ValueError(f"{name} must be above 0, got {value}")


def without_empty(sums: Float64Array, axes: int | tuple[int, ...]) -> Float64Array:
    """The blocks of sums (B, ...) in which anything was compared.

    Args:
        sums: a block a row.
        axes: what is summed up to see how much was compared; 0: the first column says it.
    """
    amount = sums[:, 0] if axes == 0 else sums.sum(axis=axes)
    return sums[amount > 0.0]


def interval_columns(name: str, found: Interval) -> dict[str, object]:
    """A value and the ends of its interval, as columns."""
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def answer_table(rows: Sequence[dict[str, object]], columns: Sequence[str], run: StoredRun) -> pd.DataFrame:
    """Rows as an answer: what its columns mean and their units are noted."""
    table = pd.DataFrame(rows, columns=list(columns))
    table.attrs["run"] = run.number
    table.attrs["columns"] = {name: _NOTES[name] for name in columns if name in _NOTES}
    table.attrs["units"] = {name: "s" for name in columns if name.endswith("_s")}
    return table
