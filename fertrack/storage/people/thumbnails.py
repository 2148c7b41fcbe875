"""Thumbnail of each person's face, kept only where it was asked for (``privacy.thumbnails``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from fertrack.storage.engine import Database
from fertrack.storage.people.subjects import load_subjects
from fertrack.storage.rights_models import Thumbnail
from fertrack.storage.stored_run import StoredRun

__all__ = ["BestFace", "store_thumbnails", "thumbnails"]


@dataclass(frozen=True, slots=True)
class BestFace:
    """Best image of a track's face.

    Attributes:
        frame_index: frame it was cut from.
        quality: 0 to 1.
        jpeg: the upright image, a JPEG file without metadata.
    """

    frame_index: int
    quality: float
    jpeg: bytes


def store_thumbnails(db: Database, run: int, best: Mapping[int, BestFace]) -> int:
    """Store the best image of each person of a run, once it is known who its tracks are.

    A person's other tracks get none; a track that is nobody's counts as a person. The run's earlier ones are replaced.

    Args:
        db: the open database.
        run: number of the run.
        best: each track's best face.

    Returns:
        How many were stored.

    Raises:
        StorageError: none was stored.
    """
    with db.writing() as connection:
        owner = load_subjects(connection, [run]).first_tracks()
        chosen: dict[int, int] = {}
        for track, face in best.items():
            person = owner.get(track)
            if person is not None and (person not in chosen or face.quality > best[chosen[person]].quality):
                chosen[person] = track
        connection.execute(sa.delete(Thumbnail).where(Thumbnail.run_id == run))
        rows = [
            {
                "run_id": run,
                "track": track,
                "frame_index": best[track].frame_index,
                "quality": best[track].quality,
                "picture": best[track].jpeg,
            }
            for track in sorted(chosen.values())
        ]
        if rows:
            connection.execute(sa.insert(Thumbnail), rows)
    return len(rows)


def thumbnails(run: StoredRun) -> dict[int, bytes]:
    """Stored image of each person of a run; empty unless the run keeps them.

    Args:
        run: the run.

    Returns:
        JPEG files, upright and square, by the person's first track: the column ``track`` of ``persons``.
        Persons of whom none is stored are missing. Of persons who were merged, the better one.
    """
    owner = run.subjects.first_tracks()
    rows = run.connection.execute(
        sa.select(Thumbnail.track, Thumbnail.picture)
        .where(Thumbnail.run_id == run.number)
        .order_by(Thumbnail.quality, Thumbnail.track)
    ).all()
    found = {owner[row.track]: bytes(row.picture) for row in rows}  # the best of a person comes last
    return dict(sorted(found.items()))
