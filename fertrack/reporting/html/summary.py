"""First words of the report: a sentence per person, and the moments worth seeing first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fertrack.reporting.html.wording import clock, duration, percent

if TYPE_CHECKING:
    import pandas as pd

    from fertrack.reporting.html.persons import ReportedPerson

__all__ = ["KeyMoment", "key_moments", "sentence_of"]

_REST = "neutral"
_MAX_MOMENTS = 8
_MOMENTS_OF_ONE = 3


@dataclass(frozen=True, slots=True, eq=False)
class KeyMoment:
    """The episode in which a person showed an expression most clearly.

    Attributes:
        person: who.
        expression: expression estimate.
        start_s: when it begins, s.
        end_s: when it ends, s.
        peak: highest smoothed probability.
    """

    person: ReportedPerson
    expression: str
    start_s: float
    end_s: float
    peak: float


def sentence_of(person: ReportedPerson) -> str:
    """The person's result in words, without the name: ``was seen for 18 s, mostly neutral (61%); ...``."""
    text = f"was seen for {duration(person.visible_s)}"
    name, share = max(person.shares.items(), key=lambda item: item[1])
    if share > person.uncertain:
        text += f", {'mostly ' if share > 0.5 else 'most often '}{name} ({percent(share)})"
    else:
        text += f", mostly uncertain ({percent(person.uncertain)})"
    others = person.episodes[person.episodes["expression"] != _REST]
    if others.empty:
        return f"{text}; no other expression held" if name == _REST else f"{text}; no expression held"
    longest = _record(others, "duration_s")
    return f"{text}; {longest.expression} longest, from {clock(longest.start_s)} to {clock(longest.end_s)}"


def key_moments(persons: Sequence[ReportedPerson]) -> list[KeyMoment]:
    """Episodes of other expressions than neutral with the highest probability: one an expression, few a person.

    Returns:
        At most eight, in order of time.
    """
    found: list[KeyMoment] = []
    for person in persons:
        others = person.episodes[person.episodes["expression"] != _REST]
        best = [_record(mine, "peak_probability") for _, mine in others.groupby("expression", observed=True)]
        best.sort(key=lambda each: -each.peak_probability)
        found += [
            KeyMoment(person, str(row.expression), float(row.start_s), float(row.end_s), float(row.peak_probability))
            for row in best[:_MOMENTS_OF_ONE]
        ]
    found.sort(key=lambda moment: -moment.peak)
    return sorted(found[:_MAX_MOMENTS], key=lambda moment: moment.start_s)


def _record(episodes: pd.DataFrame, most: str) -> Any:
    """Row of the first of the episodes that have most of it."""
    return episodes.iloc[int(episodes[most].to_numpy(np.float64).argmax())]
