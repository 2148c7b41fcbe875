"""Re-identification as part of a run: the sink that compares faces, then the rows of persons and links.

One ``Reidentifier`` serves all files of a command, so that with ``linking.across`` a person of one file is recognised
in the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fertrack.embedders import build_embedder, can_recognise
from fertrack.errors import MissingExtraError, WrongUsageError
from fertrack.protocols import Embedder
from fertrack.reid.config import LinkingConfig
from fertrack.reid.linker import KnownPerson, LinkPlan
from fertrack.reid.tracklets import Tracklet
from fertrack.sinks.reid import ReidSink
from fertrack.storage.engine import Database
from fertrack.storage.people.links import delete_expired, load_known, store_embeddings, store_plan

__all__ = ["Reidentifier", "build_reidentifier"]


class Reidentifier:
    """Links the tracks of runs to persons, run after run.

    Args:
        embedder: what faces are compared by.
        config: thresholds; whether persons are linked across runs, and embeddings stored.
    """

    def __init__(self, embedder: Embedder, config: LinkingConfig | None = None) -> None:
        self.embedder = embedder
        self.config = config or LinkingConfig()
        self._known: dict[int, KnownPerson] = {}

    def sink(self, database: Database, *, live: bool = False) -> ReidSink:
        """A sink for the next run. Embeddings that have expired are deleted first.

        Args:
            database: where persons of earlier runs are stored.
            live: decide while the run goes on.

        Raises:
            StorageError: the database cannot be read or written.
        """
        delete_expired(database)
        known: Sequence[KnownPerson] = ()
        if self.config.across:
            stored = {person.id: person for person in load_known(database, self.embedder.fingerprint)}
            known = [*(stored | self._known).values()]
        return ReidSink(
            self.embedder,
            self.config,
            known=known,
            embed_all=self.config.store_embeddings or self.config.across,
            live=live,
        )

    def store(self, database: Database, run: int, sink: ReidSink, *, shown: Mapping[int, int] | None = None) -> None:
        """Store the result of a finished sink; nothing if its run failed.

        Args:
            database: where the run is stored.
            run: its number.
            sink: what it has found out.
            shown: the track of each person's number that was shown while the run went on.

        Raises:
            StorageError: it could not be stored; the run itself is.
        """
        if sink.plan is None or not sink.tracklets:
            return
        fingerprint = self.embedder.fingerprint
        persons = store_plan(database, run, sink.plan, embedder=fingerprint, known=sink.known, shown=shown)
        if self.config.store_embeddings:
            ttl_days = self.config.embeddings_ttl_days
            store_embeddings(database, run, sink.tracklets, embedder=fingerprint, ttl_days=ttl_days)
        if self.config.across:
            self._remember(sink.plan, persons, sink.known, sink.tracklets)

    def close(self) -> None:
        """End the embedder's process, if it has one of its own."""
        close = getattr(self.embedder, "close", None)
        if close is not None:
            close()

    def _remember(
        self,
        plan: LinkPlan,
        persons: Sequence[KnownPerson],
        known: Sequence[KnownPerson],
        tracklets: Sequence[Tracklet],
    ) -> None:
        before = {person.id: person.embeddings for person in known}
        faces = {each.track: each.embeddings for each in tracklets if len(each.embeddings)}
        for planned, person in zip(plan.persons, persons, strict=True):
            vectors = [faces[track] for track in planned.tracks if track in faces]
            vectors += [before[person.id]] if person.id in before else []
            if vectors:
                self._known[person.id] = KnownPerson(person.id, person.number, np.concatenate(vectors))


def build_reidentifier(config: LinkingConfig, *, live: bool = False) -> Reidentifier | None:
    """Builds the re-identification of a command's runs; None where it is off. Loads networks, before any video.

    Args:
        config: method and thresholds.
        live: recognise faces in a process of its own, so that the frame goes on meanwhile; close it in the end.

    Raises:
        MissingExtraError: what is asked for needs face recognition, and that is not installed.
        WrongUsageError: what is asked for needs ``linking.method = face``, and it is off.
        WeightsError: its weights are not the expected file.
    """
    if config.method == "off":
        wanted = _needs_recognition(config)
        if wanted:
            raise WrongUsageError(f"{wanted} needs linking.method = face, and it is off")
        return None
    recognise = config.method == "face" or (config.method == "auto" and can_recognise())
    wanted = _needs_recognition(config)
    if wanted and not recognise:
        raise MissingExtraError(f"{wanted} needs face recognition", "reid", advice=", and linking.method = auto")
    return Reidentifier(build_embedder(recognise=recognise, in_subprocess=live), config)


def _needs_recognition(config: LinkingConfig) -> str:
    """Option that only face recognition can fulfil, as people know it; empty if none is set."""
    return "linking.across" if config.across else "linking.store_embeddings" if config.store_embeddings else ""
