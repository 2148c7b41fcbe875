"""Agreement in events: episodes of one rater that are found again by another, whose onsets are near enough."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fertrack.evaluation.agreement.answer_table import answer_table, subjects_asked
from fertrack.evaluation.agreement.timelines import ESTIMATES, Timeline, coders_of, timelines
from fertrack.imports.coding import CodedSegment
from fertrack.storage.config import LONGEST_GAP_S, SHORTEST_EPISODE_S
from fertrack.storage.queries.statistics import person_episodes
from fertrack.storage.stored_run import StoredRun
from fertrack.types import EXPRESSIONS, Float64Array

__all__ = ["event_agreement"]


def event_agreement(
    run: StoredRun,
    codings: Sequence[CodedSegment],
    *,
    who: str | int | None = None,
    tolerance_s: float = 0.5,
    min_duration_s: float = SHORTEST_EPISODE_S,
    max_gap_s: float = LONGEST_GAP_S,
) -> pd.DataFrame:
    """One row per person, pair of raters and expression: how many events of one are found again by the other.

    An event of the estimates is an episode, one of a coder a coded segment. Two match if they are of the same
    expression and begin no further apart than the tolerance; each matches once, and as many as possible do. Events
    that begin while the face is not seen are left out; *uncertain* is no event.

    Args:
        run: the run, of ``Database.estimates``.
        codings: the coders' segments.
        who: only this person.
        tolerance_s: furthest apart that two onsets may be, seconds.
        min_duration_s: shortest episode of the estimates, seconds.
        max_gap_s: longest gap within one, seconds.

    Returns:
        Columns person, rater_a, rater_b, expression, a_events, b_events, matched, a_matched, b_matched,
        positive_agreement, onset_bias_s, onset_spread_s.

    Raises:
        LabelsError: a coder is called like the estimates.
        RunNotFoundError: there is nobody of that name.
        ValueError: a tolerance below 0.
    """
    if not tolerance_s >= 0.0:
        raise ValueError(f"tolerance_s must be 0 or more, got {tolerance_s}")
    raters, subjects = [ESTIMATES, *coders_of(codings)], subjects_asked(run, who)
    episodes = person_episodes(run, min_duration_s=min_duration_s, max_gap_s=max_gap_s)
    of_row = run.subjects.of(run.number, episodes["track"].to_numpy(np.int64)) if len(episodes) else np.zeros(0)
    rows: list[dict[str, object]] = []
    for line in timelines(run, codings, subjects, block_s=1e9):
        onsets = _onsets(line, codings, episodes[of_row == line.subject])
        for a, b in itertools.combinations([each for each in raters if each in line.raters], 2):
            for word in EXPRESSIONS:
                first, second = onsets[a, word], onsets[b, word]
                if len(first) or len(second):
                    person = str(run.subjects.label[line.subject])
                    rows.append(
                        {
                            "person": person,
                            "rater_a": a,
                            "rater_b": b,
                            "expression": word,
                            **_matched(first, second, tolerance_s),
                        }
                    )
    columns = ["person", "rater_a", "rater_b", "expression", "a_events", "b_events", "matched", "a_matched"]
    columns += ["b_matched", "positive_agreement", "onset_bias_s", "onset_spread_s"]
    table = answer_table(rows, columns, run)
    table.attrs.update(raters=raters, tolerance_s=tolerance_s)
    return table


def _onsets(
    line: Timeline, codings: Sequence[CodedSegment], episodes: pd.DataFrame
) -> dict[tuple[str, str], Float64Array]:
    """Onsets of one person's events in order of time, seconds, by rater and expression."""
    seen = line.labels[0] >= 0
    shown = episodes["expression"].astype(str)
    onsets = {(ESTIMATES, word): episodes.loc[shown == word, "onset_s"].to_numpy(np.float64) for word in EXPRESSIONS}
    for coder, (index, word) in itertools.product(line.raters[1:], enumerate(EXPRESSIONS)):
        begun = [s.start_s for s in codings if (s.subject, s.coder, s.label) == (line.subject, coder, index)]
        onsets[coder, word] = _while_seen(np.array(sorted(begun), np.float64), line.start_s[seen], line.weight_s[seen])
    return onsets


def _while_seen(onsets_s: Float64Array, seen_s: Float64Array, lasts_s: Float64Array) -> Float64Array:
    if not len(seen_s):
        return onsets_s[:0]
    place = np.searchsorted(seen_s, onsets_s + 1e-6, side="right") - 1
    return onsets_s[(place >= 0) & (onsets_s < seen_s[place] + lasts_s[place])]


def _matched(first: Float64Array, second: Float64Array, tolerance_s: float) -> dict[str, object]:
    """Onsets in order, paired one to one; taking the earliest that fits pairs as many as possible."""
    at, by, apart = 0, 0, []
    while at < len(first) and by < len(second):
        difference = float(second[by] - first[at])
        if abs(difference) <= tolerance_s + 1e-9:
            apart.append(difference)
            at, by = at + 1, by + 1
        elif difference > 0:
            at += 1
        else:
            by += 1
    count = len(apart)
    return {
        "a_events": len(first),
        "b_events": len(second),
        "matched": count,
        "a_matched": count / len(first) if len(first) else float("nan"),
        "b_matched": count / len(second) if len(second) else float("nan"),
        "positive_agreement": 2 * count / (len(first) + len(second)),
        "onset_bias_s": float(np.mean(apart)) if count else float("nan"),
        "onset_spread_s": float(np.std(apart, ddof=1)) if count > 1 else float("nan"),
    }
