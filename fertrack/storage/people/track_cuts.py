"""Cuts a track in two at a time, where it went on with another person, and joins the parts again."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import sqlalchemy as sa

from fertrack.errors import StorageError
from fertrack.storage.answer_models import EpisodeRow, EpisodeSet
from fertrack.storage.models import Embedding, Face, FrameRow, Run, TrackRow
from fertrack.storage.queries.episode_store import store_track_episodes
from fertrack.storage.rights_models import Thumbnail

__all__ = ["cut_track", "join_tracks", "next_track"]

_TIME_TOLERANCE_S = 1e-6
"""Tables round times to this."""


@dataclass(frozen=True, slots=True)
class _Span:
    first_frame: int
    last_frame: int
    first_s: float
    last_s: float
    faces: int


def next_track(connection: sa.Connection, run: int) -> int:
    """The number of a run's next track."""
    return 1 + int(connection.scalar(sa.select(sa.func.max(TrackRow.number)).where(TrackRow.run_id == run)) or 0)


def cut_track(connection: sa.Connection, run: int, track: int, new: int, at_s: float) -> None:
    """Make the faces of a track from a time on a new track, of the same person.

    Estimates and corrections stay with their faces, the thumbnail with the part that it shows. Stored embeddings of the
    track are deleted, as each may be of either person.

    Args:
        connection: in a writing transaction.
        run: number of the run.
        track: number of the track.
        new: number of the new one.
        at_s: seconds of the video; the first face at or after it begins the new track.

    Raises:
        StorageError: the track has no face before that time, or none from then on.
    """
    faces = connection.execute(
        sa.select(Face.frame_index, FrameRow.time_s)
        .join(FrameRow, sa.and_(FrameRow.run_id == Face.run_id, FrameRow.frame_index == Face.frame_index))
        .where(Face.run_id == run, Face.track == track)
        .order_by(Face.frame_index)
    ).all()
    earlier = [row for row in faces if row.time_s < at_s - _TIME_TOLERANCE_S]
    later = faces[len(earlier) :]
    if not earlier or not later:
        raise StorageError(
            f"ID {track} is seen from {faces[0].time_s:.2f} s to {faces[-1].time_s:.2f} s and cannot be cut at "
            f"{at_s:.2f} s: give a time after its first face and not after its last"
        )
    row = connection.execute(sa.select(TrackRow).where(_is(run, track))).one()
    first, last = (
        _Span(part[0].frame_index, part[-1].frame_index, part[0].time_s, part[-1].time_s, len(part))
        for part in (earlier, later)
    )
    values = {"run_id": run, "number": new, "person_id": row.person_id}
    connection.execute(sa.insert(TrackRow).values(**values, **asdict(last)))
    connection.execute(sa.update(TrackRow).where(_is(run, track)).values(**asdict(first)))
    from_then_on = Face.frame_index >= last.first_frame
    connection.execute(sa.update(Face).where(Face.run_id == run, Face.track == track, from_then_on).values(track=new))
    connection.execute(sa.delete(Embedding).where(Embedding.run_id == run, Embedding.track == track))
    connection.execute(
        sa.update(Thumbnail)
        .where(Thumbnail.run_id == run, Thumbnail.track == track, Thumbnail.frame_index >= last.first_frame)
        .values(track=new)
    )
    _recount(connection, run, [track, new])


def join_tracks(connection: sa.Connection, run: int, track: int, later: int) -> None:
    """Take a cut back: the faces of ``later`` are ``track``'s again, and ``later`` is gone.

    Args:
        connection: in a writing transaction; the row of ``track`` has its whole length again.
        run: number of the run.
        track: number of the track that was cut.
        later: the track that was made of its later part.
    """
    connection.execute(sa.update(Face).where(Face.run_id == run, Face.track == later).values(track=track))
    pictured = connection.scalar(sa.select(Thumbnail.track).where(Thumbnail.run_id == run, Thumbnail.track == track))
    if pictured is None:
        moved = sa.update(Thumbnail).where(Thumbnail.run_id == run, Thumbnail.track == later)
        connection.execute(moved.values(track=track))
    connection.execute(sa.delete(EpisodeRow).where(EpisodeRow.run_id == run, EpisodeRow.track == later))
    connection.execute(sa.delete(TrackRow).where(_is(run, later)))
    _recount(connection, run, [track])


def _is(run: int, track: int) -> sa.ColumnElement[bool]:
    return sa.and_(TrackRow.run_id == run, TrackRow.number == track)


def _recount(connection: sa.Connection, run: int, tracks: list[int]) -> None:
    """The run's number of tracks, and the stored episodes of those that changed."""
    counted = sa.select(sa.func.count()).select_from(TrackRow).where(TrackRow.run_id == run).scalar_subquery()
    connection.execute(sa.update(Run).where(Run.id == run).values(tracks=counted))
    if connection.scalar(sa.select(EpisodeSet.run_id).where(EpisodeSet.run_id == run)) is not None:
        store_track_episodes(connection, run, tracks)
