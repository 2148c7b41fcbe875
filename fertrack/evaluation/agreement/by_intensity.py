"""Agreement of intensities: intraclass correlation of windows of time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fertrack.errors import LabelsError
from fertrack.evaluation.agreement.answer_table import (
    ALL,
    answer_table,
    check_above_0,
    interval_columns,
    subjects_asked,
    without_empty,
)
from fertrack.evaluation.agreement.coefficients import icc, icc_sums, over_blocks
from fertrack.evaluation.agreement.timelines import ESTIMATES, coders_of
from fertrack.imports.coding import CodedSegment
from fertrack.storage.queries.resample import bin_edges, binned, load_person_rows
from fertrack.storage.stored_run import StoredRun
from fertrack.types import EXPRESSIONS, Float64Array, IntArray

__all__ = ["intensity_agreement"]


def intensity_agreement(
    run: StoredRun,
    codings: Sequence[CodedSegment],
    *,
    who: str | int | None = None,
    window_s: float = 1.0,
    scale: float | None = None,
    block_s: float = 10.0,
) -> pd.DataFrame:
    """One row per person, raters and expression: intraclass correlation of intensities, a window of time a target.

    A coder's intensity in a window is its mean over time, 0 where they coded something else or nothing, divided by the
    end of their scale. The estimates' is the mean smoothed probability: how likely an expression is, not how strong,
    which is why consistency says more there than absolute agreement.

    Args:
        run: the run, of ``Database.estimates``.
        codings: the coders' segments; those without an intensity count as full strength of a coder who gave none.
        who: only this person.
        window_s: length of a window, seconds.
        scale: the highest intensity of the coders' scale; the highest that was given if None.
        block_s: length of the blocks that intervals are drawn from, seconds.

    Returns:
        Columns person, rater_a, rater_b, expression, windows, icc_agreement and icc_consistency, each also with _low
        and _high; expressions that nobody coded are left out.

    Raises:
        LabelsError: the codings have no intensities, or a coder is called like the estimates.
        RunNotFoundError: there is nobody of that name.
        ValueError: a window, block or scale that is not above 0.
    """
    check_above_0(window_s=window_s, block_s=block_s, **({} if scale is None else {"scale": scale}))
    given = [each.intensity for each in codings if each.intensity is not None]
    if not given or max(given) <= 0.0:
        raise LabelsError("the codings say nothing of intensities: a table needs a column intensity with numbers in it")
    top = max(given) if scale is None else scale
    raters = [ESTIMATES, *coders_of([each for each in codings if each.intensity is not None])]
    rows: list[dict[str, object]] = []
    for subject in subjects_asked(run, who):
        theirs = [each for each in codings if each.subject == subject and each.intensity is not None]
        present = [rater for rater in raters if rater == ESTIMATES or any(each.coder == rater for each in theirs)]
        if len(present) < 2:
            continue
        seen = load_person_rows(run, np.array([subject]))
        edges = bin_edges(seen, 1.0 / window_s, None, None)
        sums, labels_s = binned(seen, edges)
        whole = labels_s.sum(axis=1) > 0.5 * window_s
        shares = np.divide(sums, labels_s.sum(axis=1)[:, None], out=np.zeros_like(sums), where=whole[:, None])
        block = np.floor((edges[:-1] - edges[0]) / block_s).astype(np.int64)
        values = {ESTIMATES: shares}
        for coder in present[1:]:
            values[coder] = _intensities([each for each in theirs if each.coder == coder], edges) / top
        groups = [*itertools.combinations(present, 2), *([tuple(present)] if len(present) > 2 else [])]
        for index, group in itertools.product(range(len(EXPRESSIONS)), groups):
            if not any(values[coder][:, index].any() for coder in present[1:]):
                continue
            ratings = np.column_stack([values[rater][whole, index] for rater in group])
            rows.append(
                {
                    "person": str(run.subjects.label[subject]),
                    "rater_a": group[0] if len(group) == 2 else ALL,
                    "rater_b": group[1] if len(group) == 2 else " + ".join(group),
                    "expression": EXPRESSIONS[index],
                    **_correlations(ratings, block[whole]),
                }
            )
    names = [f"icc_{kind}{end}" for kind in ("agreement", "consistency") for end in ("", "_low", "_high")]
    table = answer_table(rows, ["person", "rater_a", "rater_b", "expression", "windows", *names], run)
    table.attrs.update(raters=raters, scale=top, window_s=window_s)
    return table


def _correlations(ratings: Float64Array, block: IntArray) -> dict[str, object]:
    sums = without_empty(icc_sums(ratings, block), 0)
    return {
        "windows": len(ratings),
        **interval_columns("icc_agreement", over_blocks(lambda drawn: icc(drawn)[0], sums)),
        **interval_columns("icc_consistency", over_blocks(lambda drawn: icc(drawn)[1], sums)),
    }


def _intensities(segments: Sequence[CodedSegment], edges: Float64Array) -> Float64Array:
    """Mean intensity of each expression in each window, (W, 7)."""
    found = np.zeros((len(edges) - 1, len(EXPRESSIONS)))
    for each in segments:
        if each.label >= 0 and each.intensity is not None:
            inside = np.minimum(edges[1:], each.end_s) - np.maximum(edges[:-1], each.start_s)
            found[:, each.label] += each.intensity * np.maximum(inside, 0.0) / np.diff(edges)
    return found
