"""The words and tables of ``fertrack.benchmarks.generalisation``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from fertrack.evaluation.intervals import Interval
from fertrack.types import EXPRESSIONS

__all__ = ["report", "summary"]

_JUDGED, _APART = "judged only", "other persons learned from"
_PRIORS = ("as shipped", "uniform", "natural")


class _Outcome(Protocol):
    @property
    def faces(self) -> int: ...

    @property
    def accuracy(self) -> Interval: ...

    @property
    def recall(self) -> Interval: ...

    @property
    def macro_f1(self) -> Interval: ...

    @property
    def ece(self) -> Interval: ...

    @property
    def neutral(self) -> Interval: ...

    @property
    def uncertain(self) -> Interval: ...

    @property
    def recalls(self) -> tuple[float, ...]: ...


Outcomes = Mapping[tuple[str, str, str], _Outcome]
"""By bundle, set and prior."""


def summary(bundles: Sequence[str], sets: Sequence[tuple[str, bool]], outcomes: Outcomes) -> str:
    """Markdown: a row a bundle, accuracy at equal class shares in a column a set, and the means over sets.

    Args:
        bundles: their names.
        sets: their names, and whether others of the set may have been learned from.
        outcomes: what was measured.
    """
    judged = [name for name, apart in sets if not apart]
    heads = [f"{name}{'*' if apart else ''}" for name, apart in sets]
    lines = [
        f"| classifier | {' | '.join(heads)} | mean of sets judged only | mean of all sets | called neutral | ECE |",
        "|---|" + "---:|" * (len(sets) + 4),
    ]
    for bundle in bundles:
        rows = {name: outcomes[bundle, name, "uniform"] for name, _ in sets}
        cells = [f"{rows[name].accuracy.value:.3f}" for name, _ in sets]
        cells.append(f"{np.mean([rows[name].accuracy.value for name in judged]):.3f}" if judged else "–")
        cells.append(f"{np.mean([each.accuracy.value for each in rows.values()]):.3f}")
        neutral = [each.neutral.value for each in rows.values() if not math.isnan(each.neutral.value)]
        cells.append(f"{100 * float(np.mean(neutral)):.0f} %" if neutral else "–")
        cells.append(f"{np.mean([each.ece.value for each in rows.values()]):.3f}")
        lines.append(f"| {bundle} | {' | '.join(cells)} |")
    return "\n".join(lines)


def report(bundles: Sequence[tuple[str, str]], sets: Sequence[tuple[str, bool]], outcomes: Outcomes) -> str:
    """The whole report as Markdown.

    Args:
        bundles: name and fingerprint of each.
        sets: name of each, and whether others of the set may have been learned from.
        outcomes: what was measured.
    """
    names = [name for name, _ in bundles]
    parts = [
        _TEXT.format(
            bundles="\n".join(f"- {fingerprint}" for _, fingerprint in bundles), summary=summary(names, sets, outcomes)
        )
    ]
    for name, apart in sets:
        faces = outcomes[names[0], name, _PRIORS[0]].faces
        parts.append(f"## {name}: {faces} faces, {_APART if apart else _JUDGED}\n\n{_of_set(name, names, outcomes)}\n")
    return "\n".join(parts)


def _of_set(name: str, bundles: Sequence[str], outcomes: Outcomes) -> str:
    heads = " | ".join(EXPRESSIONS)
    lines = [
        "| classifier | class shares assumed | accuracy | mean-class recall | macro-F1 | ECE | called neutral, of the "
        f"others | uncertain | recall of {heads} |",
        "|---|---|" + "---|" * 6 + "---:|" * len(EXPRESSIONS),
    ]
    for bundle in bundles:
        for prior in _PRIORS:
            found = outcomes[bundle, name, prior]
            cells = [
                *map(str, (found.accuracy, found.recall, found.macro_f1, found.ece)),
                "–" if math.isnan(found.neutral.value) else str(found.neutral),
                str(found.uncertain) if prior == _PRIORS[0] else "–",
                *("–" if math.isnan(value) else f"{value:.2f}" for value in found.recalls),
            ]
            lines.append(f"| {bundle} | {prior} | {' | '.join(cells)} |")
    return "\n".join(lines)


_TEXT = """\
# How far labels carry

Classifiers on faces from other cameras than those of FER2013. Detector and alignment are in the loop; where no face is
found, the mean landmarks of the set stand in; one forward pass a picture; temperature and biases are the bundle's own.
Written by `python -m fertrack.benchmarks generalisation`.

Class shares assumed: *as shipped*, the bundle's own setting; *uniform*, equal ones; *natural*, the set's own, known
because it is labelled. All seven answers are allowed everywhere, also where a set lacks one. Brackets: 95 %, Wilson
score intervals of shares, bootstrap within classes of all else.

A set marked * may have been learned from, by teachers or by a network for research; only persons kept apart from
learning count (pictures kept apart, where nobody is named). The other sets are judged only, except that PublicTest is
what the temperature and biases of earlier classifiers were fitted on.

{bundles}

## Accuracy at equal class shares

*Called neutral*: the share of faces labelled otherwise; it and ECE are means over sets.

{summary}
"""
