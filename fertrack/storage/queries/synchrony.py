"""Two persons of one run together: when both showed the same, and whether one's expression follows the other's.

Both timelines are resampled to one even rate (``storage.resample``); only intervals in which both faces were seen
count. Synchrony is the correlation of the smoothed probabilities at several lags, as in Boker, Rotondo, Xu and King
(2002), "Windowed cross-correlation and peak picking", Psychological Methods 7(3), 338-355, with the whole run as one
window; agreement of the labels beyond chance is kappa: Cohen (1960), "A coefficient of agreement for nominal scales",
Educational and Psychological Measurement 20(1), 37-46.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from fertrack.storage.queries.batches import categories, coverage
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.resample import bin_edges, binned, load_person_rows
from fertrack.storage.stored_run import StoredRun
from fertrack.types import EXPRESSIONS, Float64Array, IntArray

__all__ = ["lagged_correlation", "synchrony"]

_MIN_SECONDS = 1.0
"""A correlation over less time together than this is not given."""


def synchrony(
    run: StoredRun,
    a: str | int,
    b: str | int,
    *,
    rate_hz: float = 10.0,
    max_lag_s: float = 2.0,
    from_s: float | None = None,
    to_s: float | None = None,
) -> pd.DataFrame:
    """One row per expression: for how long both showed it, and how closely their probabilities went together.

    With x and y the probabilities of A and B in even intervals, and lag L: ``r(L)`` is Pearson's correlation of x(t)
    with y(t + L), over all t at which both were seen. A positive lag means that B follows A. The best of many lags is
    never near 0 by chance alone, and neighbouring intervals are not independent: compare it with that of people who
    did not meet, and take no p-value from it.

    Args:
        run: the run.
        a: one person; see ``Subjects.find``.
        b: the other.
        rate_hz: intervals per second.
        max_lag_s: longest lag tried, to either side, seconds.
        from_s: only from here, seconds.
        to_s: only to before here, seconds.

    Returns:
        Columns expression, a_s, b_s, both_s (time with that label: A, B, both at once; s, while both were seen),
        expected_s (both at once if they had nothing to do with each other: a_s b_s / seen together), correlation
        (r(0)), best_correlation (the r(L) furthest above 0 within the lags), best_lag_s. NaN where one's
        probability never changes or they were seen together for under a second.
        ``.attrs``: a, b (what they are called); together_s; kappa (Cohen's, of the seven expressions and uncertain);
        and of both persons' time, ``coverage``: certain_s, uncertain_s, no_face_s.

    Raises:
        RunNotFoundError: there is nobody of that name.
        ValueError: twice the same person, an impossible rate or lag, or an empty range of time.
    """
    if not (np.isfinite(rate_hz) and rate_hz > 0.0) or not (np.isfinite(max_lag_s) and max_lag_s >= 0.0):
        raise ValueError(f"rate_hz must be above 0 and max_lag_s 0 or more, got {rate_hz} and {max_lag_s}")
    if from_s is not None and to_s is not None and from_s >= to_s:
        raise ValueError(f"nothing lies between {from_s} s and {to_s} s: the range must end after it begins")
    subjects = run.subjects
    pair = [int(subjects.find(who)[0]) for who in (a, b)]
    if pair[0] == pair[1]:
        raise ValueError(f"{a} and {b} are the same person: synchrony needs two")
    rows = load_person_rows(run, np.array(sorted(pair)), from_s=from_s, to_s=to_s)
    edges = bin_edges(rows, rate_hz, from_s, to_s)
    (sums_a, label_a), (sums_b, label_b) = (binned(rows.of(subject), edges) for subject in pair)
    seen_a, seen_b = label_a.sum(axis=1), label_b.sum(axis=1)
    both = (seen_a > 0.5 / rate_hz) & (seen_b > 0.5 / rate_hz)
    share_a, share_b = _shares(label_a, seen_a)[both], _shares(label_b, seen_b)[both]
    together_s = float(both.sum() / rate_hz)
    joint = share_a.T @ share_b / rate_hz  # (8, 8), seconds
    a_s, b_s = joint.sum(axis=1), joint.sum(axis=0)
    expected_s = np.outer(a_s, b_s) / together_s if together_s else np.zeros_like(joint)
    x = np.where((seen_a > 0.5 / rate_hz)[:, None], _shares(sums_a, seen_a), np.nan)
    y = np.where((seen_b > 0.5 / rate_hz)[:, None], _shares(sums_b, seen_b), np.nan)
    lags, r = lagged_correlation(x, y, round(max_lag_s * rate_hz), least=max(3, round(_MIN_SECONDS * rate_hz)))
    best = np.where(np.isnan(r), -np.inf, r).argmax(axis=0)
    column = np.arange(len(EXPRESSIONS))
    best_r = r[best, column]
    table = pd.DataFrame(
        {
            "expression": categories(column, EXPRESSIONS),
            "a_s": a_s[: len(EXPRESSIONS)],
            "b_s": b_s[: len(EXPRESSIONS)],
            "both_s": joint.diagonal()[: len(EXPRESSIONS)],
            "expected_s": expected_s.diagonal()[: len(EXPRESSIONS)],
            "correlation": r[len(lags) // 2],
            "best_correlation": best_r,
            "best_lag_s": np.where(np.isnan(best_r), np.nan, lags[best] / rate_hz),
        }
    )
    unseen = [np.maximum(1.0 / rate_hz - seen, 0.0) for seen in (seen_a, seen_b)]
    states = np.vstack([np.column_stack([label_a, unseen[0]]), np.column_stack([label_b, unseen[1]])])
    table.attrs.update(
        run=run.number,
        a=str(subjects.label[pair[0]]),
        b=str(subjects.label[pair[1]]),
        rate_hz=rate_hz,
        together_s=together_s,
        kappa=_kappa(joint, expected_s),
        units={
            **dict.fromkeys(("a_s", "b_s", "both_s", "expected_s", "best_lag_s"), "s"),
            **dict.fromkeys(("correlation", "best_correlation"), "1"),
        },
        coverage=coverage(states),
        corrected=run.corrected_faces,
    )
    return note_columns(table)


def lagged_correlation(x: Float64Array, y: Float64Array, most: int, *, least: int) -> tuple[IntArray, Float64Array]:
    """Pearson's correlation of x(t) with y(t + lag), column by column; NaN in either leaves t out.

    Args:
        x: (T, C).
        y: (T, C).
        most: longest lag, intervals.
        least: fewest pairs for a correlation.

    Returns:
        int64 (2 most + 1,), the lags from -most to most; and r, (2 most + 1, C), NaN where it is not defined.
    """
    lags = np.arange(-most, most + 1)
    r = np.full((len(lags), x.shape[1]), np.nan)
    for row, lag in enumerate(lags.tolist()):
        if abs(lag) >= len(x):  # no two intervals are that far apart
            continue
        left, right = (x[: len(x) - lag], y[lag:]) if lag >= 0 else (x[-lag:], y[:lag])
        seen = ~(np.isnan(left).any(axis=1) | np.isnan(right).any(axis=1))
        if np.count_nonzero(seen) < least:
            continue
        left, right = left[seen] - left[seen].mean(axis=0), right[seen] - right[seen].mean(axis=0)
        scale = np.sqrt((left**2).sum(axis=0) * (right**2).sum(axis=0))
        np.divide((left * right).sum(axis=0), scale, out=r[row], where=scale > 1e-9 * len(left))
    return lags, r


def _shares(seconds: Float64Array, seen_s: Float64Array) -> Float64Array:
    shares: Float64Array = np.divide(seconds, seen_s[:, None], out=np.zeros_like(seconds), where=seen_s[:, None] > 0.0)
    return shares


def _kappa(joint: Float64Array, expected: Float64Array) -> float:
    """Cohen's kappa from seconds per pair of labels; NaN where both always showed the same one label."""
    total = joint.sum()
    if not total:
        return float("nan")
    observed, chance = joint.trace() / total, expected.trace() / total
    return float((observed - chance) / (1.0 - chance)) if chance < 1.0 - 1e-12 else float("nan")
