"""Two persons of one run together: when both showed the same, and whether one's expression follows the other's.

Both timelines are resampled to one even rate (``storage.resample``); only intervals in which both faces were seen
count. Synchrony is the correlation of the smoothed probabilities at several lags, over the whole time or window by
window, as in Boker, Rotondo, Xu and King (2002), "Windowed cross-correlation and peak picking", Psychological Methods
7(3), 338-355. It is compared with surrogates, as in Moulder, Boker, Ramseyer and Tschacher (2018), "Determining
synchrony between behavioral time series", Psychological Methods 23(4), 757-773: the same two timelines, one of them
shifted round by every time that is longer than any lag tried. Shifting keeps what each person does, and how slowly it
changes, and takes away only that they do it at the same time. Agreement of the labels beyond chance is kappa: Cohen
(1960), "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20(1), 37-46.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fertrack.storage.queries.batches import categories, coverage
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.resample import bin_edges, binned, check_range, load_person_rows
from fertrack.storage.queries.timeline import label_index
from fertrack.storage.stored_run import StoredRun
from fertrack.types import EXPRESSIONS, Float64Array, IntArray

__all__ = ["chance_of", "lagged_correlation", "synchrony", "windowed_synchrony"]

_MIN_SECONDS = 1.0
"""A correlation over less time together than this is not given."""

MIN_SHOWN_S, MIN_SHOWN_SHARE = 1.0, 0.02
"""Each of both must show an expression for so long, and for that share of the time together, for it to be compared."""

MIN_SURROGATES = 39
"""With fewer, the smallest p value that can be is above 0.025: none is given."""


_BEST = ("time_s", "best_correlation", "best_lag_s", "at_limit")


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Two persons on one even time axis of T intervals.

    Attributes:
        names: what they are called.
        time_s: float64 (T,), when each interval begins.
        x: float64 (T, 7), probabilities of the first, NaN where the face was not seen.
        y: the same of the second.
        joint: float64 (8, 8), seconds by label of the first and of the second, while both were seen.
        coverage: of both persons' time.
    """

    names: tuple[str, str]
    time_s: Float64Array
    x: Float64Array
    y: Float64Array
    joint: Float64Array
    coverage: dict[str, float]

    @property
    def together_s(self) -> float:
        """Time for which both were seen, seconds."""
        return float(self.joint.sum())

    @property
    def hardly(self) -> list[str]:
        """Expressions that one of the two hardly shows while both are seen."""
        shown_s = np.minimum(self.joint.sum(axis=1), self.joint.sum(axis=0))[: len(EXPRESSIONS)]
        least_s = max(MIN_SHOWN_S, MIN_SHOWN_SHARE * self.together_s)
        return [name for name, seconds in zip(EXPRESSIONS, shown_s.tolist(), strict=True) if seconds < least_s]


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
    never near 0 by chance alone: ``p_value`` is the share of surrogates whose best correlation is as high, the observed
    one counted with them, and ``chance_low`` to ``chance_high`` is where the best of 95 % of the surrogates lies.
    An expression that one of them shows for less than 1 s, or less than 2 % of the time together, is not compared.

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
        (r(0)), best_correlation (the r(L) furthest above 0 within the lags), best_lag_s, at_limit (whether that is the
        longest lag tried, so that the real one may lie beyond), p_value, chance_low, chance_high (NaN where the time
        together is too short for surrogates), surrogates (their number). NaN where the expression is hardly shown, or
        they were seen together for under a second.
        ``.attrs``: a, b (what they are called); together_s; kappa (Cohen's, of the seven expressions and uncertain);
        hardly (the expressions not compared); notes (sentences on all this); and of both persons' time, ``coverage``:
        certain_s, uncertain_s, no_face_s.

    Raises:
        RunNotFoundError: there is nobody of that name.
        ValueError: twice the same person, an impossible rate or lag, or an empty range of time.
    """
    pair = _read_pair(run, a, b, rate_hz=rate_hz, max_lag_s=max_lag_s, from_s=from_s, to_s=to_s)
    joint, together_s, least = pair.joint, pair.together_s, max(3, round(_MIN_SECONDS * rate_hz))
    a_s, b_s = joint.sum(axis=1), joint.sum(axis=0)
    expected_s = np.outer(a_s, b_s) / together_s if together_s else np.zeros_like(joint)
    most = round(max_lag_s * rate_hz)
    lags, r = lagged_correlation(pair.x, pair.y, most, least=least)
    column = np.arange(len(EXPRESSIONS))
    r[:, np.isin(EXPRESSIONS, pair.hardly)] = np.nan
    best = np.where(np.isnan(r), -np.inf, r).argmax(axis=0)
    best_r = r[best, column]
    known = ~np.isnan(best_r)
    chance = np.array(
        [
            chance_of(pair.x[:, i], pair.y[:, i], most, least=least) if known[i] else (np.nan, np.nan, np.nan, 0.0)
            for i in column
        ]
    )
    table = pd.DataFrame(
        {
            "expression": categories(column, EXPRESSIONS),
            "a_s": a_s[: len(EXPRESSIONS)],
            "b_s": b_s[: len(EXPRESSIONS)],
            "both_s": joint.diagonal()[: len(EXPRESSIONS)],
            "expected_s": expected_s.diagonal()[: len(EXPRESSIONS)],
            "correlation": r[len(lags) // 2],
            "best_correlation": best_r,
            "best_lag_s": np.where(known, lags[best] / rate_hz, np.nan),
            "at_limit": known & (np.abs(lags[best]) == most) & (most > 0),
            "p_value": chance[:, 0],
            "chance_low": chance[:, 1],
            "chance_high": chance[:, 2],
            "surrogates": chance[:, 3].astype(np.int64),
        }
    )
    kappa = _kappa(joint, expected_s)
    table.attrs.update(
        run=run.number,
        a=pair.names[0],
        b=pair.names[1],
        rate_hz=rate_hz,
        together_s=together_s,
        kappa=kappa,
        hardly=pair.hardly,
        notes=_notes(pair, table, kappa, max_lag_s),
        units={
            **dict.fromkeys(("a_s", "b_s", "both_s", "expected_s", "best_lag_s"), "s"),
            **dict.fromkeys(("correlation", "best_correlation", "p_value", "chance_low", "chance_high"), "1"),
        },
        coverage=pair.coverage,
        corrected=run.corrected_faces,
    )
    return note_columns(table)


def windowed_synchrony(
    run: StoredRun,
    a: str | int,
    b: str | int,
    expression: str,
    *,
    window_s: float = 10.0,
    rate_hz: float = 10.0,
    max_lag_s: float = 2.0,
    from_s: float | None = None,
    to_s: float | None = None,
) -> pd.DataFrame:
    """Windowed cross-correlation, which shows how the lag changes: one row per window and lag.

    Windows overlap by half. A window counts where both were seen in at least half of it.

    Args:
        run: the run.
        a: one person; see ``Subjects.find``.
        b: the other.
        expression: of which the probabilities are compared.
        window_s: length of a window, seconds.
        rate_hz: intervals per second.
        max_lag_s: longest lag tried, to either side, seconds.
        from_s: only from here, seconds.
        to_s: only before here, seconds.

    Returns:
        Columns time_s (middle of the window), lag_s, correlation (NaN where it is not defined). ``.attrs``: as of
        ``synchrony``; and ``best``, a row for each window: time_s, best_correlation, best_lag_s, at_limit.

    Raises:
        RunNotFoundError: there is nobody of that name.
        ValueError: as ``synchrony``; no such expression; one of them hardly shows it; or windows are not longer than
            the longest lag, or longer than the time asked about.
    """
    column = label_index(expression)
    if not 0 <= column < len(EXPRESSIONS):
        raise ValueError(f"{expression} has no probability: name one of {', '.join(EXPRESSIONS)}")
    pair = _read_pair(run, a, b, rate_hz=rate_hz, max_lag_s=max_lag_s, from_s=from_s, to_s=to_s)
    size, most = round(window_s * rate_hz), round(max_lag_s * rate_hz)
    if not most < size <= len(pair.x):
        raise ValueError(
            f"windows of {window_s:g} s do not fit: they must be longer than the longest lag ({max_lag_s:g} s) and no "
            f"longer than the time asked about ({len(pair.x) / rate_hz:g} s)"
        )
    name = EXPRESSIONS[column]
    if name in pair.hardly:
        raise ValueError(_hardly_sentence(pair, [name]))
    parts, best = [], []
    for start in range(0, len(pair.x) - size + 1, max(1, size // 2)):
        part = slice(start, start + size)
        lags, r = lagged_correlation(
            pair.x[part, column : column + 1], pair.y[part, column : column + 1], most, least=max(3, size // 2 - most)
        )
        values, middle_s = r[:, 0], float(pair.time_s[start]) + 0.5 * window_s
        parts.append(pd.DataFrame({"time_s": middle_s, "lag_s": lags / rate_hz, "correlation": values}))
        if not np.isnan(values).all():
            place = int(np.nanargmax(values))
            best.append((middle_s, values[place], lags[place] / rate_hz, bool(abs(lags[place]) == most)))
    table = pd.concat(parts, ignore_index=True)
    limited = sum(at_limit for *_, at_limit in best)
    notes = [
        f"windows of {window_s:g} s of {name}; a positive lag: {pair.names[1]} follows {pair.names[0]}; {limited} of "
        f"{len(best)} windows have their best lag at the limit of {max_lag_s:g} s, where it means little"
    ]
    table.attrs.update(
        run=run.number,
        a=pair.names[0],
        b=pair.names[1],
        expression=name,
        best=[dict(zip(_BEST, each, strict=True)) for each in best],
        notes=notes,
        units={"time_s": "s", "lag_s": "s", "correlation": "1"},
        coverage=pair.coverage,
        corrected=run.corrected_faces,
    )
    return note_columns(table)


def chance_of(x: Float64Array, y: Float64Array, most: int, *, least: int) -> tuple[float, float, float, float]:
    """Comparison of the best lagged correlation with that of circular shifts of ``y``.

    Args:
        x: (T,), NaN where nothing is known.
        y: (T,).
        most: longest lag tried, intervals. Shifts are longer than twice that, to either side.
        least: fewest pairs for a correlation.

    Returns:
        The p value, (1 + surrogates at least as high) / (1 + surrogates); the 2.5th and the 97.5th percentile of the
        surrogates; and their number. The first three are NaN where there are too few.
    """
    r = _circular_correlation(x, y, least)
    if (count := len(r)) <= 4 * most + 1:
        return np.nan, np.nan, np.nan, 0.0
    around = np.concatenate([r[-most:], r, r[:most]]) if most else r
    best = np.lib.stride_tricks.sliding_window_view(np.where(np.isnan(around), -np.inf, around), 2 * most + 1).max(-1)
    observed, surrogates = best[0], best[2 * most + 1 : count - 2 * most]
    surrogates = surrogates[np.isfinite(surrogates)]
    if len(surrogates) < MIN_SURROGATES or not np.isfinite(observed):
        return np.nan, np.nan, np.nan, float(len(surrogates))
    p_value = (1 + np.count_nonzero(surrogates >= observed - 1e-12)) / (1 + len(surrogates))
    low, high = np.percentile(surrogates, [2.5, 97.5])
    return float(p_value), float(low), float(high), float(len(surrogates))


def _circular_correlation(x: Float64Array, y: Float64Array, least: int) -> Float64Array:
    """Pearson's correlation of x(t) with y(t + k), the end joined to the beginning, for all k from 0 to T - 1."""
    seen_x, seen_y = ~np.isnan(x), ~np.isnan(y)
    x, y = np.where(seen_x, x - np.nanmean(x), 0.0), np.where(seen_y, y - np.nanmean(y), 0.0)

    def summed(left: Float64Array, right: Float64Array) -> Float64Array:
        return np.fft.irfft(np.fft.rfft(left).conj() * np.fft.rfft(right), len(left))

    ones_x, ones_y = seen_x.astype(np.float64), seen_y.astype(np.float64)
    pairs = np.rint(summed(ones_x, ones_y))
    sum_x, sum_y = summed(x, ones_y), summed(ones_x, y)
    usable = pairs >= least
    pairs = np.where(usable, pairs, 1.0)
    covariance = summed(x, y) - sum_x * sum_y / pairs
    spread_x = summed(x**2, ones_y) - sum_x**2 / pairs
    spread_y = summed(ones_x, y**2) - sum_y**2 / pairs
    scale = np.sqrt(np.maximum(spread_x, 0.0) * np.maximum(spread_y, 0.0))
    usable &= scale > 1e-9 * pairs
    return np.where(usable, covariance / np.where(usable, scale, 1.0), np.nan)


def _read_pair(
    run: StoredRun,
    a: str | int,
    b: str | int,
    *,
    rate_hz: float,
    max_lag_s: float,
    from_s: float | None,
    to_s: float | None,
) -> _Pair:
    if not (np.isfinite(rate_hz) and rate_hz > 0.0) or not (np.isfinite(max_lag_s) and max_lag_s >= 0.0):
        raise ValueError(f"rate_hz must be above 0 and max_lag_s 0 or more, got {rate_hz} and {max_lag_s}")
    check_range(from_s, to_s)
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
    unseen = [np.maximum(1.0 / rate_hz - seen, 0.0) for seen in (seen_a, seen_b)]
    states = np.vstack([np.column_stack([label_a, unseen[0]]), np.column_stack([label_b, unseen[1]])])
    return _Pair(
        names=(str(subjects.label[pair[0]]), str(subjects.label[pair[1]])),
        time_s=edges[:-1],
        x=np.where((seen_a > 0.5 / rate_hz)[:, None], _shares(sums_a, seen_a), np.nan),
        y=np.where((seen_b > 0.5 / rate_hz)[:, None], _shares(sums_b, seen_b), np.nan),
        joint=share_a.T @ share_b / rate_hz,
        coverage=coverage(states),
    )


def _hardly_sentence(pair: _Pair, names: list[str]) -> str:
    return (
        f"{', '.join(names)}: not compared, since {pair.names[0]} or {pair.names[1]} hardly shows it: under "
        f"{MIN_SHOWN_S:g} s or {MIN_SHOWN_SHARE:.0%} of the {pair.together_s:.1f} s together"
    )


def _notes(pair: _Pair, table: pd.DataFrame, kappa: float, max_lag_s: float) -> list[str]:
    """Sentences that a reader of the table needs."""
    a, b = pair.names
    known = table[table["best_correlation"].notna()]
    notes = [f"{a} and {b} were seen together for {pair.together_s:.1f} s; a positive lag: {b} follows {a}"]
    if kappa == kappa:  # noqa: PLR0124  # NaN
        said = "no better than chance" if kappa <= 0.0 else "beyond chance"
        notes.append(f"their labels agree {said}: kappa {kappa:.3f} (1: always, 0: as by chance)")
    if len(pair.hardly):
        notes.append(_hardly_sentence(pair, pair.hardly))
    if known["p_value"].notna().any():
        notes.append(
            "p_value: how often timelines shifted against each other, which cannot follow each other, do as well; "
            f"it is of each expression alone, so of {len(known)} expressions one may fall below 0.05 by chance"
        )
    elif len(known):
        notes.append(f"no p value: the time together is too short for surrogates; at least {20 * max_lag_s:g} s help")
    said = f"the best lag is the longest tried ({max_lag_s:g} s), so it means little: try --lag"
    return notes + [f"{name}: {said}" for name in known.loc[known["at_limit"], "expression"].tolist()]


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
