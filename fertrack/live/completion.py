"""Completion of a stored live run, however it ends: re-identification, given names, and recordings."""

from __future__ import annotations

from fertrack.errors import FertrackError
from fertrack.live.people import PeopleSink
from fertrack.live.recordings import Recordings
from fertrack.reid.linker import LinkPlan
from fertrack.sinks.database import DatabaseSink
from fertrack.sinks.reid import LinkingSink
from fertrack.sinks.relinker import Relinker
from fertrack.storage.engine import Database
from fertrack.storage.people import actions as person_actions

__all__ = ["Ending"]

_MAX_TOLD = 20


class Ending:
    """Enters in the database what it has to know of a live run besides the rows.

    Args:
        database: where the run is stored.
        store: the sink that stores its rows.
        people: who was seen, and who was given a name.
        recordings: of what was displayed.
        origin_s: when the first frame was captured, ``time.monotonic``.
        relinker: stores who is who.
        linking: what found it out; None where linking is off.

    Attributes:
        persons: how many are stored; None while that is not known, or where linking is off.
        notes: sentences that the user must see.
    """

    def __init__(
        self,
        database: Database,
        store: DatabaseSink,
        people: PeopleSink,
        recordings: Recordings,
        *,
        origin_s: float,
        relinker: Relinker | None,
        linking: LinkingSink | None,
    ) -> None:
        self.persons: int | None = None
        self.notes: list[str] = []
        self._database = database
        self._store = store
        self._people = people
        self._recordings = recordings
        self._origin_s = origin_s
        self._relinker = relinker
        self._linking = linking

    def remember_recordings(self, *, ended: bool = False) -> None:
        """Enter which recordings there are; also while the run goes on, since a program can be killed.

        Args:
            ended: they are complete now.
        """
        if self._store.is_open:
            alike = self._people.shown_alike()
            self._recordings.remember(
                self._database, self._store.run_id, self._origin_s, shown_alike=alike, ended=ended
            )

    def complete(self) -> None:
        """Enter who is who, names and recordings, which are completed; each whatever becomes of the others.

        Raises:
            StorageError: who is who could not be stored.
        """
        try:
            if self._relinker is not None and self._linking is not None and self._linking.plan is not None:
                self._store_persons(self._relinker, self._linking, self._linking.plan)
        finally:
            if self._store.is_open:
                self._store_names()
            self.remember_recordings()
            self._recordings.complete()
            self.remember_recordings(ended=True)

    def _store_persons(self, relinker: Relinker, linking: LinkingSink, plan: LinkPlan) -> None:
        """Store who is who, and say which numbers of the live view are not those that are stored."""
        run, shown = self._store.run_id, self._people.shown_numbers()
        relinker.store(self._database, run, linking, shown=shown)
        self.persons = sum(bool(person.tracks) for person in plan.persons)
        with self._database.run(run) as of_run:
            stored = of_run.subjects.numbers()
        moved = [f"P{n} is {stored[track]}" for n, track in shown.items() if stored.get(track, f"P{n}") != f"P{n}"]
        if moved:
            more = f" and {len(moved) - _MAX_TOLD} more" if len(moved) > _MAX_TOLD else ""
            self.notes.append(
                "persons were linked once more at the end, so some numbers of the live view are others in the "
                f"database: {', '.join(moved[:_MAX_TOLD])}{more}"
            )

    def _store_names(self) -> None:
        for track, name in self._people.given_names():
            try:
                person_actions.rename(self._database, self._store.run_id, f"ID {track}", name)
            except FertrackError as error:
                self.notes.append(f"ID {track} could not be called {name}: {error}")
