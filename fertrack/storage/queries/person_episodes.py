"""Episodes of persons: onset, apex and offset of every expression kept for a while, in one run or in all."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fertrack.storage.config import LONGEST_GAP_S, SHORTEST_EPISODE_S
from fertrack.storage.people.subjects import subject_columns
from fertrack.storage.queries.batches import SubjectStretches, categories, check_durations, joined_answer
from fertrack.storage.queries.segments import join_episodes
from fertrack.storage.queries.timeline import label_index
from fertrack.storage.stored_run import AllRuns, StoredRun
from fertrack.types import EXPRESSIONS, UNCERTAIN, IntArray

__all__ = ["person_episodes"]

_SECONDS = ("onset_s", "apex_s", "offset_s", "duration_s", "uncertain_s", "no_face_s")
_UNITS = {**dict.fromkeys(_SECONDS, "s"), "mean_probability": "1", "peak_probability": "1"}


def person_episodes(
    run: StoredRun | AllRuns,
    *,
    who: str | int | None = None,
    expression: str | None = None,
    min_duration_s: float = SHORTEST_EPISODE_S,
    max_gap_s: float = LONGEST_GAP_S,
) -> pd.DataFrame:
    """One row per segment of time in which a person kept one expression; by run, by person, by time.

    An episode may be interrupted for up to ``max_gap_s`` by time in which the person is *uncertain* or not seen;
    another expression ends it at once. *Uncertain* itself makes no episodes. It lasts until its last frame stops
    being shown.

    Args:
        run: one run, or all: see ``Database.runs``.
        who: only this person: a name, "P3", "ID 5" or a number; see ``Subjects.find``.
        expression: only this one of ``EXPRESSIONS``.
        min_duration_s: leave out shorter ones (after joining), seconds.
        max_gap_s: longest interruption, seconds.

    Returns:
        Columns run, person, track (the person's first), expression (categorical), onset_s, apex_s (when the highest
        probability is reached), offset_s, duration_s, uncertain_s and no_face_s (interruptions within the episode;
        s), mean_probability and peak_probability (smoothed, over the frames with the expression), frames.
        ``.attrs["coverage"]``: certain_s, uncertain_s, no_face_s of all the time asked about.

    Raises:
        RunNotFoundError: there is nobody of that name.
        ValueError: a negative duration or gap, or no such expression.
    """
    check_durations(min_duration_s=min_duration_s, max_gap_s=max_gap_s)
    label = None if expression is None else label_index(expression)
    if label == UNCERTAIN:
        raise ValueError(f"uncertain makes no episodes: expression must be one of {', '.join(EXPRESSIONS)}")

    def part(batch: SubjectStretches, asked: IntArray) -> pd.DataFrame:
        mine = np.isin(batch.subject, asked)
        found = join_episodes(
            batch.rows.select(mine), batch.subject[mine], max_gap_s=max_gap_s, min_duration_s=min_duration_s
        )
        if label is not None:
            found = found.select(found.label == label)
        duration_s = found.offset_s - found.onset_s
        return pd.DataFrame(
            {
                **subject_columns(batch.subjects, found.subject),
                "expression": categories(found.label, EXPRESSIONS),
                "onset_s": found.onset_s,
                "apex_s": found.apex_s,
                "offset_s": found.offset_s,
                "duration_s": duration_s,
                "uncertain_s": found.uncertain_s,
                "no_face_s": np.maximum(duration_s - found.certain_s - found.uncertain_s, 0.0),
                "mean_probability": found.mean,
                "peak_probability": found.peak,
                "frames": found.frames,
            }
        )

    return joined_answer(run, who, part, units=dict(_UNITS))
