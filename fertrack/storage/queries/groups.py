"""Statistics of groups of runs: those of the same participant, session or condition, as it was stated of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fertrack.storage.config import LONGEST_GAP_S, SHORTEST_EPISODE_S
from fertrack.storage.queries.batches import STATES
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.statistics import expression_stats
from fertrack.storage.recordings import STATED, Recording, stated_of
from fertrack.storage.stored_run import AllRuns, StoredRun

__all__ = ["stated_groups", "stats_by"]


def stated_groups(run: StoredRun | AllRuns, by: str) -> list[str]:
    """Names with commas between as those of ``stats_by``; empty where they are not, or nothing of that was stated."""
    names = [name.strip().lower() for name in by.split(",")]
    recordings = stated_of(run.connection, [run.number] if isinstance(run, StoredRun) else run.only)
    is_stated = all(name in STATED for name in names) and any(
        getattr(recording, name) for recording in recordings.values() for name in names
    )
    return names if is_stated else []


def stats_by(
    run: StoredRun | AllRuns,
    by: Sequence[str],
    *,
    who: str | int | None = None,
    min_duration_s: float = SHORTEST_EPISODE_S,
    max_gap_s: float = LONGEST_GAP_S,
) -> pd.DataFrame:
    """One row per group of runs and state: the time of all persons in them, added up.

    Somebody who was seen for longer counts for more; shares per person are those of ``expression_stats``.

    Args:
        run: one run, or several: see ``Database.runs``.
        by: one or more of "participant", "session", "condition".
        who: only this person; see ``Subjects.find``.
        min_duration_s: shorter episodes are not counted (their time is), seconds.
        max_gap_s: longest interruption of an episode, seconds.

    Returns:
        The columns of ``by``, run_count, person_count (somebody who is in two runs counts twice), state (categorical),
        then as in ``expression_stats``: seconds, share_of_face_time, share_of_run, episodes, mean_duration_s,
        longest_s, per_minute. A group of which nothing was stated is called "". ``.attrs["coverage"]`` likewise.

    Raises:
        RunNotFoundError: there is nobody of that name.
        ValueError: runs have no such groups, or a negative duration.
    """
    by = list(dict.fromkeys(name.strip().lower() for name in by))
    if unknown := [name for name in by if name not in STATED]:
        raise ValueError(f"runs are grouped by {', '.join(STATED)}, not by {unknown[0]!r}")
    table = expression_stats(run, who=who, min_duration_s=min_duration_s, max_gap_s=max_gap_s)
    attrs = dict(table.attrs)
    recordings = stated_of(run.connection)
    for name in by:
        table[name] = [getattr(recordings.get(number, Recording()), name) for number in table["run"].tolist()]
    table["lasted_s"] = (table["mean_duration_s"] * table["episodes"]).fillna(0.0)
    table["seen_s"] = table["seconds"].where(table["state"] != STATES[-1], 0.0)
    per_group = table.groupby(by, sort=True)
    sums = table.groupby([*by, "state"], sort=True, observed=False)
    result = sums.agg(
        seconds=("seconds", "sum"),
        episodes=("episodes", "sum"),
        lasted_s=("lasted_s", "sum"),
        longest_s=("longest_s", "max"),
    ).reset_index()
    whole = per_group.agg(
        run_count=("run", "nunique"), rows=("run", "size"), seen_s=("seen_s", "sum"), all_s=("seconds", "sum")
    ).reset_index()
    result = result.merge(whole, on=by, how="inner")
    with np.errstate(divide="ignore", invalid="ignore"):
        of_face = np.where(result["state"] == STATES[-1], np.nan, result["seconds"] / result["seen_s"])
        columns = {
            **{name: result[name].astype("str") for name in by},
            "run_count": result["run_count"].astype(np.int64),
            "person_count": (result["rows"] // len(STATES)).astype(np.int64),
            "state": result["state"],
            "seconds": result["seconds"],
            "share_of_face_time": of_face,
            "share_of_run": result["seconds"] / result["all_s"],
            "episodes": result["episodes"],
            "mean_duration_s": result["lasted_s"] / result["episodes"],
            "longest_s": result["longest_s"],
            "per_minute": 60.0 * result["episodes"] / result["seen_s"],
        }
    answer = pd.DataFrame(columns)
    answer.attrs.update({name: attrs[name] for name in ("run", "units", "coverage", "corrected")})
    return note_columns(answer)
