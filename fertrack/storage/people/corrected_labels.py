"""Labels that people gave, put in place of the estimates: the one place where corrections enter the answers.

A face that somebody corrected has the given label, and probability 1 unless no expression can be told. The smoothed and
the single frame's probabilities stay the network's, and so do the stored labels: a snapshot that is asked for estimates
(``open_database(..., corrected=False)``) shows those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from fertrack.storage.models import Correction, Face
from fertrack.storage.packing import fetch_columns
from fertrack.types import UNCERTAIN, UNCONFIRMED, IntArray

__all__ = ["CorrectedLabels", "corrected_runs", "corrections_sentence", "count_corrected", "load_corrected"]


@dataclass(frozen=True, slots=True, eq=False)
class CorrectedLabels:
    """Corrected faces of one run, by frame, then by face. N of them.

    Attributes:
        frame_index: int64 (N,).
        face_index: int64 (N,), which of the frame's faces.
        track: int64 (N,); -1: no confirmed one.
        label: int64 (N,), as given; -1: no expression can be told.
    """

    frame_index: IntArray
    face_index: IntArray
    track: IntArray
    label: IntArray

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def none(cls) -> CorrectedLabels:
        """No corrections."""
        return cls(*(np.empty(0, np.int64) for _ in range(4)))

    def by_face(
        self, frame_index: IntArray, face_index: IntArray, label: IntArray, probability: npt.NDArray[Any] | None = None
    ) -> None:
        """Overwrite labels and probabilities of the corrected among some faces, named by frame and position in it."""
        self._overwrite(frame_index, face_index, self.face_index, label, probability)

    def by_track(
        self, frame_index: IntArray, track: IntArray, label: IntArray, probability: npt.NDArray[Any] | None = None
    ) -> None:
        """Overwrite labels and probabilities of the corrected among some confirmed faces, named by frame and track."""
        self._overwrite(frame_index, track, self.track, label, probability)

    def _overwrite(
        self,
        frame_index: IntArray,
        which: IntArray,
        mine: IntArray,
        label: IntArray,
        probability: npt.NDArray[Any] | None,
    ) -> None:
        if not len(self) or not len(label):
            return
        wide = 2 + int(max(which.max(), mine.max()))
        keys = self.frame_index * wide + mine + 1
        order = np.argsort(keys)
        keys = keys[order]
        asked = frame_index * wide + which + 1
        place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        found = (keys[place] == asked) & (which >= 0)
        given = self.label[order][place[found]]
        label[found] = given
        if probability is not None:
            probability[np.flatnonzero(found)[given != UNCERTAIN]] = 1.0


def load_corrected(connection: sa.Connection, run: int) -> CorrectedLabels:
    """The corrected faces of a run, given by its number."""
    of_face = sa.and_(
        Face.run_id == Correction.run_id,
        Face.frame_index == Correction.frame_index,
        Face.face_index == Correction.face_index,
    )
    statement = (
        sa.select(
            Correction.frame_index, Correction.face_index, sa.func.coalesce(Face.track, UNCONFIRMED), Correction.label
        )
        .join(Face, of_face)
        .where(Correction.run_id == run)
        .order_by(Correction.frame_index, Correction.face_index)
    )
    return CorrectedLabels(*fetch_columns(connection, statement, (np.int64,) * 4))


def corrected_runs(connection: sa.Connection, runs: Sequence[int]) -> set[int]:
    """Those of some runs, ascending, that have corrections."""
    statement = sa.select(Correction.run_id).where(Correction.run_id.between(runs[0], runs[-1])).distinct()
    return set(connection.scalars(statement)) & set(runs)


def count_corrected(connection: sa.Connection, run: int | Sequence[int] | None = None) -> int:
    """Number of corrected faces of a run or several; of all runs if None."""
    counted = sa.select(sa.func.count()).select_from(Correction)
    if run is not None:
        counted = counted.where(Correction.run_id.in_([run] if isinstance(run, int) else list(run)))
    return int(connection.scalar(counted) or 0)


def corrections_sentence(faces: int, run: int | str) -> str:
    """Sentence about corrected faces that an answer counts as people labelled them.

    >>> corrections_sentence(1, 3)
    '1 face of run 3 counts with the label that somebody gave it; --uncorrected shows the estimates'
    """
    of = "all runs" if run == "all" else f"run {run}"
    who = f"1 face of {of} counts" if faces == 1 else f"{faces} faces of {of} count"
    return (
        f"{who} with the label that somebody gave {'it' if faces == 1 else 'them'}; --uncorrected shows the estimates"
    )
