"""Transitions between expressions for the report's heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fertrack.reporting.config import ReportConfig
from fertrack.storage.config import LONGEST_BREAK_S
from fertrack.storage.queries.statistics import transitions

if TYPE_CHECKING:
    import pandas as pd

    from fertrack.storage.stored_run import StoredRun

__all__ = ["TransitionRow", "TransitionTable", "read_transitions"]


@dataclass(frozen=True, slots=True)
class TransitionRow:
    """Expressions that followed one, with counts in ``EXPRESSIONS`` order."""

    name: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TransitionTable:
    """A square of counts.

    Attributes:
        rows: one per expression, in ``EXPRESSIONS`` order.
        most: the largest count, at least 1.
        total: all counts together.
        broken: pairs of episodes that were not counted, as too long a break lies between them.
        max_break_s: the longest break that counts, seconds.
    """

    rows: tuple[TransitionRow, ...]
    most: int
    total: int
    broken: int
    max_break_s: float


def read_transitions(
    run: StoredRun, tracks: Sequence[int], config: ReportConfig
) -> tuple[TransitionTable, dict[int, TransitionTable]]:
    """Transitions of everybody in a run, and of some persons, by the ID of a track.

    Persons without any transition are left out.
    """

    def read(who: str | None) -> TransitionTable:
        found = transitions(
            run,
            who=who,
            min_duration_s=config.min_episode_s,
            max_gap_s=config.max_gap_s,
        )
        return _table(found)

    each = {track: read(f"ID {track}") for track in tracks}
    return read(None), {track: table for track, table in each.items() if table.total}


def _table(found: pd.DataFrame) -> TransitionTable:
    counts = found.to_numpy().astype(int)
    rows = [
        TransitionRow(str(name), tuple(row)) for name, row in zip(found.index.tolist(), counts.tolist(), strict=True)
    ]
    return TransitionTable(
        tuple(rows), max(1, int(counts.max())), int(counts.sum()), int(found.attrs["broken"]), LONGEST_BREAK_S
    )
