"""Tables for people's rights over their data: thumbnails, files that were written, and erasures.

::

    runs 1─n outputs          tracks 1─1 thumbnails          erasures
     └─1 run_erasures

``erasures`` and ``run_erasures`` say that somebody was erased, and when, but nothing about whom.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from fertrack.storage.models import Base, PackedFloats, UtcDateTime

__all__ = ["Erasure", "Output", "RunErasure", "Thumbnail"]


class Thumbnail(Base):
    """Small upright image of a person's face, JPEG, kept only where ``privacy.thumbnails`` asked for it.

    At most one per person when it is stored: from the person's best face, under the track that showed it. Deleted with
    its track or its run. ``quality`` is that face's, 0 to 1.
    """

    __tablename__ = "thumbnails"
    __table_args__ = (
        sa.ForeignKeyConstraint(["run_id", "track"], ["tracks.run_id", "tracks.number"], ondelete="CASCADE"),
    )

    run_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    track: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    frame_index: Mapped[int]
    quality: Mapped[float] = mapped_column(sa.REAL)
    picture: Mapped[bytes] = mapped_column(PackedFloats)


class Output(Base):
    """A file that was written from a run, so that it can be written again without a person who is erased.

    ``run_id`` is NULL for a copy of the whole database. ``options`` is what the file was made with; ``digest`` the
    SHA-256 of the file as it was written, by which one that was changed or replaced since is known; empty for folders.
    ``stale`` marks files that show somebody who has been erased, until they have been written again.
    """

    __tablename__ = "outputs"
    __table_args__ = (sa.UniqueConstraint("run_id", "path"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int | None] = mapped_column(sa.ForeignKey("runs.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(sa.String(16))
    path: Mapped[str] = mapped_column(sa.Text)
    options: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    digest: Mapped[str] = mapped_column(sa.Text)
    written_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    stale: Mapped[bool]


class Erasure(Base):
    """Erasure of a person: when, and how many rows and files; ``finished_at`` is NULL until all of it is done."""

    __tablename__ = "erasures"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    erased_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    counts: Mapped[dict[str, int]] = mapped_column(sa.JSON)


class RunErasure(Base):
    """Number of persons erased from a run; its source video, if it is still there, shows them as before."""

    __tablename__ = "run_erasures"

    run_id: Mapped[int] = mapped_column(
        sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    persons: Mapped[int]
