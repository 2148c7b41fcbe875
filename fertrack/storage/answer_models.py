"""Tables that only questions are asked of: stored episodes, and markers. The others are in ``storage.models``.

::

    runs 1─n markers
     │ └─1 episode_sets
     └─n tracks 1─n episodes
"""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from fertrack.storage.models import Base, UtcDateTime

__all__ = ["EpisodeRow", "EpisodeSet", "Marker", "MarkerImport"]


class EpisodeRow(Base):
    """Segment of frames without a gap in which a track kept one label, -1 for uncertain included.

    Derived from ``faces``, so that statistics over many runs need not read every face. Kept per track, whoever that
    is, and without gaps: episodes of persons, over gaps of any length, are joined from these when asked for.
    ``apex_s`` is when the frame of the highest probability is shown.
    """

    __tablename__ = "episodes"
    __table_args__ = (
        sa.ForeignKeyConstraint(["run_id", "track"], ["tracks.run_id", "tracks.number"], ondelete="CASCADE"),
        {"sqlite_with_rowid": False},
    )

    run_id: Mapped[int] = mapped_column(primary_key=True)
    track: Mapped[int] = mapped_column(primary_key=True)
    first_frame: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[int] = mapped_column(sa.SmallInteger)
    frames: Mapped[int]
    start_s: Mapped[float] = mapped_column(sa.Double)
    apex_s: Mapped[float] = mapped_column(sa.Double)
    end_s: Mapped[float] = mapped_column(sa.Double)
    mean_probability: Mapped[float] = mapped_column(sa.Double)
    peak_probability: Mapped[float] = mapped_column(sa.Double)


class EpisodeSet(Base):
    """Record that a run's episodes are stored and fit its faces; with the time its frames were shown, seconds."""

    __tablename__ = "episode_sets"

    run_id: Mapped[int] = mapped_column(
        sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    shown_s: Mapped[float] = mapped_column(sa.Double)
    stored_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)


class MarkerImport(Base):
    """An import of markers: from which file, and how its times became times of the video."""

    __tablename__ = "marker_imports"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id", ondelete="CASCADE"), index=True)
    file_name: Mapped[str] = mapped_column(sa.Text)
    file_format: Mapped[str] = mapped_column(sa.Text)
    offset_s: Mapped[float] = mapped_column(sa.Double)
    stretch: Mapped[float] = mapped_column(sa.Double)
    imported_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)


class Marker(Base):
    """Named moment or segment of a run, such as the onset of a stimulus; a reference time."""

    __tablename__ = "markers"
    __table_args__ = (sa.Index(None, "run_id", "time_s"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id", ondelete="CASCADE"))
    time_s: Mapped[float] = mapped_column(sa.Double)
    end_s: Mapped[float | None] = mapped_column(sa.Double)
    label: Mapped[str] = mapped_column(sa.Text)
    note: Mapped[str] = mapped_column(sa.Text)
    import_id: Mapped[int | None] = mapped_column(sa.ForeignKey("marker_imports.id", ondelete="CASCADE"), index=True)
