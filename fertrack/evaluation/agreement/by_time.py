"""Agreement in time: for how long raters say the same, and kappa.

Two raters at a time, the estimates (``fertrack``) among them; where there are three or more, also all together. Only
time in which the face was seen is compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from fertrack.evaluation.agreement.answer_table import (
    ALL,
    EVERYBODY,
    answer_table,
    check_above_0,
    interval_columns,
    subjects_asked,
    without_empty,
)
from fertrack.evaluation.agreement.coefficients import cohen_kappa, fleiss_kappa, fleiss_sums, over_blocks, time_tables
from fertrack.evaluation.agreement.timelines import CLASSES, ESTIMATES, LABELS, Timeline, coders_of, timelines
from fertrack.imports.coding import CodedSegment
from fertrack.storage.queries.timeline import label_index
from fertrack.storage.stored_run import StoredRun
from fertrack.types import BoolArray, Float64Array, IntArray

__all__ = ["time_agreement"]


def time_agreement(
    run: StoredRun,
    codings: Sequence[CodedSegment],
    *,
    who: str | int | None = None,
    uncoded: str | None = None,
    block_s: float = 10.0,
) -> pd.DataFrame:
    """One row per person, pair of raters and label: for how long they agree, and kappa.

    Args:
        run: the run, of ``Database.estimates``.
        codings: the coders' segments.
        who: only this person; see ``Subjects.find``.
        uncoded: label of time that a coder left empty, such as "neutral"; None: it is not compared.
        block_s: length of the blocks of time that intervals are drawn from, seconds.

    Returns:
        Columns person, rater_a, rater_b, expression, compared_s, a_said_s, b_said_s, agreed_s (s), agreement,
        positive_agreement, kappa, kappa_low, kappa_high. Of three or more raters together only compared_s and kappa.
        ``.attrs``: raters; seen_s (with a face, of the persons coded), blocks.

    Raises:
        LabelsError: a coder is called like the estimates.
        RunNotFoundError: there is nobody of that name.
        ValueError: a block that is not above 0, or no such label.
    """
    check_above_0(block_s=block_s)
    empty = None if uncoded is None else label_index(uncoded)
    if empty is not None and empty < 0:
        empty = CLASSES - 1
    lines = list(timelines(run, codings, subjects_asked(run, who), block_s=block_s, uncoded=empty))
    raters = [ESTIMATES, *coders_of(codings)]
    rows: list[dict[str, object]] = []
    groups: list[tuple[str, list[Timeline]]] = [(str(run.subjects.label[line.subject]), [line]) for line in lines]
    if len(lines) > 1:
        groups.append((EVERYBODY, lines))
    for person, theirs in groups:
        for pair in itertools.combinations(raters, 2):
            tables = _tables(theirs, pair, block_s)
            if len(tables):
                rows += [{"person": person, "rater_a": pair[0], "rater_b": pair[1], **row} for row in _of_pair(tables)]
        rows += [{"person": person, **row} for row in _of_several(theirs, raters, block_s)]
    columns = ["person", "rater_a", "rater_b", "expression", "compared_s", "a_said_s", "b_said_s", "agreed_s"]
    columns += ["agreement", "positive_agreement", "kappa", "kappa_low", "kappa_high"]
    table = answer_table(rows, columns, run)
    seen_s = sum(float(line.weight_s[line.labels[0] >= 0].sum()) for line in lines)
    table.attrs.update(raters=raters, seen_s=seen_s, block_s=block_s)
    return table


def _of_several(lines: Sequence[Timeline], raters: Sequence[str], block_s: float) -> Iterator[dict[str, object]]:
    """Rows of three or more raters together: the coders, then they and the estimates."""
    present = [rater for rater in raters if any(rater in line.raters for line in lines)]
    for together in (present[1:], present):
        if len(together) > 2 and len(sums := _fleiss(lines, together, block_s)):
            total = float(sums[:, 1:].sum())
            yield {
                "rater_a": ALL,
                "rater_b": " + ".join(together),
                "expression": ALL,
                "compared_s": total,
                "agreement": float(sums[:, 0].sum()) / total,
                **interval_columns("kappa", over_blocks(fleiss_kappa, sums)),
            }


def _compared(
    lines: Sequence[Timeline], raters: Sequence[str], block_s: float
) -> Iterator[tuple[IntArray, Float64Array, IntArray]]:
    """Labels (R, n), seconds (n,) and blocks (n,) of what some raters all labelled, person by person."""
    for line in lines:
        if all(rater in line.raters for rater in raters):
            keep: BoolArray = line.compared(raters)
            picked = np.stack([line.labels[line.raters.index(rater)][keep] for rater in raters])
            middle_s = line.start_s[keep] + line.weight_s[keep] / 2
            yield picked, line.weight_s[keep], np.floor(middle_s / block_s).astype(np.int64)


def _joined(parts: Iterator[tuple[IntArray, Float64Array, IntArray]]) -> tuple[IntArray, Float64Array, IntArray] | None:
    found = list(parts)
    if not found:
        return None
    labels, weight, block = (np.concatenate(each, axis=-1) for each in zip(*found, strict=True))
    if not len(block):
        return None
    return labels, weight, block - block.min()


def _tables(lines: Sequence[Timeline], pair: Sequence[str], block_s: float) -> Float64Array:
    """Time by both raters' labels, of the blocks in which anything is compared: (B, K, K)."""
    joined = _joined(_compared(lines, pair, block_s))
    if joined is None:
        return np.empty((0, CLASSES, CLASSES))
    (a, b), weight, block = joined
    return without_empty(time_tables(a, b, weight, block, CLASSES), (1, 2))


def _fleiss(lines: Sequence[Timeline], raters: Sequence[str], block_s: float) -> Float64Array:
    joined = _joined(_compared(lines, raters, block_s))
    if joined is None:
        return np.empty((0, CLASSES + 1))
    return without_empty(fleiss_sums(*joined, CLASSES), 1)


def _of_pair(tables: Float64Array) -> Iterator[dict[str, object]]:
    """Rows of one pair of raters: all labels together, then each that either of them gave."""
    summed = tables.sum(axis=0)
    total = float(summed.sum())
    for index in (None, *range(CLASSES)):
        a_s = total if index is None else float(summed[index].sum())
        b_s = total if index is None else float(summed[:, index].sum())
        if not a_s and not b_s:
            continue
        both_s = float(np.trace(summed) if index is None else summed[index, index])
        agreed = both_s if index is None else total - a_s - b_s + 2 * both_s
        found = over_blocks(cohen_kappa, tables if index is None else _against_the_rest(tables, index))
        yield {
            "expression": ALL if index is None else LABELS[index],
            "compared_s": total,
            "a_said_s": a_s,
            "b_said_s": b_s,
            "agreed_s": both_s,
            "agreement": agreed / total,
            "positive_agreement": 2 * both_s / (a_s + b_s),
            **interval_columns("kappa", found),
        }


def _against_the_rest(tables: Float64Array, index: int) -> Float64Array:
    both = tables[:, index, index]
    a, b, total = tables[:, index].sum(axis=1), tables[:, :, index].sum(axis=1), tables.sum(axis=(1, 2))
    return np.stack([np.stack([both, a - both], -1), np.stack([b - both, total - a - b + both], -1)], -2)
