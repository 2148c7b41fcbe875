"""One read snapshot: a stored run, or all of them, as they are at one moment; what every question is asked of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Self

import sqlalchemy as sa

from fertrack.errors import RunNotFoundError
from fertrack.storage.facts import RunFacts, find_run, load_facts
from fertrack.storage.models import Run
from fertrack.storage.people.corrected_labels import CorrectedLabels, count_corrected, load_corrected
from fertrack.storage.people.subjects import Subjects, load_subjects
from fertrack.storage.queries.episode_store import RunSegments, load_segments
from fertrack.storage.queries.faces import Cuts, FrameTimes, frame_times, load_cuts
from fertrack.storage.rights_models import RunErasure

__all__ = ["ALL", "AllRuns", "StoredRun"]

ALL = "all"
"""Given as the run: every run of the database."""


class StoredRun:
    """A stored run within one read transaction: all that is read through it is of the same moment.

    Made by ``Database.run``. What several questions need is read once, when it is first asked for.

    Args:
        connection: open, in a transaction that sees one moment of the database.
        database: the database's name, as people may see it.
        number: of the run, which is stored.
        corrected: whether labels that people gave stand in place of the estimates.

    Attributes:
        between: the part of the run that answers are about, s; None: all of it.
    """

    def __init__(self, connection: sa.Connection, database: str, number: int, *, corrected: bool = True) -> None:
        self.connection = connection
        self.database = database
        self.number = number
        self.corrected = corrected
        self.between: tuple[float, float] | None = None

    @classmethod
    def find(cls, connection: sa.Connection, database: str, run: int | str, *, corrected: bool = True) -> Self:
        """The run of a number, as int or text, or the newest one for "last".

        Raises:
            RunNotFoundError: no such run is stored.
        """
        return cls(connection, database, find_run(connection, database, run), corrected=corrected)

    def __repr__(self) -> str:
        return f"StoredRun({self.number}, {self.database!r})"

    @cached_property
    def facts(self) -> RunFacts:
        """Facts about the run: source, networks, end and summary."""
        return load_facts(self.connection, self.number)

    @cached_property
    def subjects(self) -> Subjects:
        """The people of the run."""
        return load_subjects(self.connection, [self.number])

    @cached_property
    def frames(self) -> FrameTimes:
        """Frames of the run, with the times at which they are shown."""
        return frame_times(self.connection, self.number)

    @cached_property
    def cuts(self) -> Cuts:
        """Beginnings of new shots."""
        return load_cuts(self.connection, self.number)

    @cached_property
    def segments(self) -> RunSegments:
        """Segments of one label, by track."""
        return load_segments(self.connection, [self.number], corrected=self.corrected)

    @cached_property
    def corrections(self) -> CorrectedLabels:
        """Labels that people gave; none where the estimates are asked for."""
        return load_corrected(self.connection, self.number) if self.corrected else CorrectedLabels.none()

    def corrections_of(self, run: int) -> CorrectedLabels:
        """Labels that people gave in a run, which is this one."""
        return self.corrections if run == self.number else CorrectedLabels.none()

    @property
    def corrected_faces(self) -> int:
        """Number of faces that count as people labelled them."""
        return len(self.corrections)

    @cached_property
    def erased_persons(self) -> int:
        """Number of persons erased from the run."""
        counted = sa.select(RunErasure.persons).where(RunErasure.run_id == self.number)
        return int(self.connection.scalar(counted) or 0)


class AllRuns:
    """All stored runs, or several, within one read transaction. Made by ``Database.runs``; their ``number`` is "all".

    Args:
        connection: open, in a transaction that sees one moment of the database.
        database: the database's name, as people may see it.
        corrected: whether labels that people gave stand in place of the estimates.
        only: the runs, oldest first; None: all.

    Attributes:
        between: the part of each run that answers are about, s; None: all of it.

    Raises:
        RunNotFoundError: no run is stored.
    """

    number = ALL

    def __init__(
        self, connection: sa.Connection, database: str, *, corrected: bool = True, only: Sequence[int] | None = None
    ) -> None:
        if connection.scalar(sa.select(Run.id).limit(1)) is None:
            raise RunNotFoundError(f"there are no runs in {database} yet: `fertrack process` makes one")
        self.connection = connection
        self.database = database
        self.corrected = corrected
        self.only = only
        self.between: tuple[float, float] | None = None

    def corrections_of(self, run: int) -> CorrectedLabels:
        """Labels that people gave in one of the runs; none where the estimates are asked for."""
        return load_corrected(self.connection, run) if self.corrected else CorrectedLabels.none()

    @cached_property
    def corrected_faces(self) -> int:
        """Number of faces that count as people labelled them."""
        return count_corrected(self.connection, self.only) if self.corrected else 0

    def __repr__(self) -> str:
        return f"AllRuns({self.database!r})"
