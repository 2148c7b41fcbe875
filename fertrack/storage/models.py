"""The schema. Facts are stored once; what is derived from them can be recomputed without the video.

::

    sources 1─n runs 1─n frames 1─n faces n─1 tracks n─1 persons
                 ├─n events (of a frame)   │              │
                 ├─n looks (of a frame)    │              │
                 ├─n stage_timings         ├─n links n─1 ─┤
                 ├─n rescores              └─n embeddings ┘
                 ├─n person_actions
                 └─n corrections (of a face)

Keys are natural: a frame is ``(run_id, frame_index)``, a face ``(run_id, frame_index, face_index)``, a track
``(run_id, number)``. So all rows of a run lie together in frame order, one range scan reads them, and no key is
stored twice. The two big tables are clustered on those keys (SQLite's WITHOUT ROWID), which together with packed
vectors (``storage.packing``) keeps a face under 300 bytes, its index included.

A face's facts are ``score``, ``xyxy``, ``landmarks`` and ``logits``; its ``track``, ``probabilities``, ``smoothed``,
``label`` and ``probability`` are derived. Times are seconds of the video (``_s``) or microseconds of work (``_us``);
moments are UTC.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fertrack.storage.readable import BOX_COLUMNS, READABLE_COLUMNS

__all__ = [
    "CUT",
    "NAMING_CONVENTION",
    "AnalysisRow",
    "Base",
    "Correction",
    "Embedding",
    "EventRow",
    "Face",
    "FrameRow",
    "Link",
    "PackedFloats",
    "Person",
    "PersonAction",
    "Rescore",
    "Run",
    "Source",
    "StageTiming",
    "TrackRow",
    "UtcDateTime",
]

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Every constraint and index has a predictable name, so that a later migration can change it on any database."""

CUT = "cut"
"""Kind of the event that a new shot begins with a frame (``events.kind``)."""


class UtcDateTime(sa.TypeDecorator[dt.datetime]):
    """A moment: aware in Python, always UTC; SQLite, which knows no time zones, keeps it as naive UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        """To UTC; without the zone for SQLite."""
        if value is None:
            return None
        utc = value.astimezone(dt.UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        """To aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class PackedFloats(sa.LargeBinary):
    """Bytes handed to the driver as they are; wrapping each one first would take a third of a batch's time."""

    def bind_processor(self, dialect: sa.Dialect) -> None:
        """None: every supported driver takes bytes."""
        return

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> None:
        """None: every supported driver returns bytes."""
        return


class Base(DeclarativeBase):
    """Root of all tables."""

    metadata = sa.MetaData(naming_convention=NAMING_CONVENTION)


class Source(Base):
    """A video file, image folder, camera or stream that runs have read."""

    __tablename__ = "sources"
    __table_args__ = (sa.UniqueConstraint("path", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.Text)
    path: Mapped[str] = mapped_column(sa.Text)


class Run(Base):
    """One pass over a source: settings, times, end and summary.

    The counts are kept up to date with every batch, so a run that was killed still says what it holds.
    ``host``, ``pid`` and ``heartbeat_at`` tell a run in progress from one whose process died: its ``status`` stays
    "running" (see ``queries.runs``). ``purpose``, ``consent`` and ``privacy_override`` are what was stated when it was
    made; ``retention_days`` is NULL where it is kept for good.
    """

    __tablename__ = "runs"
    __table_args__ = (
        sa.CheckConstraint("status IN ('running', 'complete', 'failed', 'interrupted')", name="status"),
        {"sqlite_autoincrement": True},  # the number of an erased run is never given to another
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(sa.ForeignKey("sources.id"), index=True)
    status: Mapped[str] = mapped_column(sa.String(16))
    error: Mapped[str] = mapped_column(sa.Text)
    notes: Mapped[list[str]] = mapped_column(sa.JSON)
    started_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    heartbeat_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    host: Mapped[str] = mapped_column(sa.Text)
    pid: Mapped[int]

    fertrack_version: Mapped[str] = mapped_column(sa.Text)
    config_toml: Mapped[str] = mapped_column(sa.Text)
    config_digest: Mapped[str] = mapped_column(sa.Text)
    detector: Mapped[str] = mapped_column(sa.Text)
    classifier: Mapped[str] = mapped_column(sa.Text)
    calibration: Mapped[dict[str, Any]] = mapped_column(sa.JSON)

    width: Mapped[int]
    height: Mapped[int]
    fps: Mapped[float] = mapped_column(sa.Double)
    frame_count: Mapped[int] = mapped_column(sa.BigInteger)
    duration_s: Mapped[float] = mapped_column(sa.Double)
    time_base: Mapped[str] = mapped_column(sa.String(48))
    rotation: Mapped[int] = mapped_column(sa.SmallInteger)
    has_audio: Mapped[bool]
    codec: Mapped[str] = mapped_column(sa.Text)

    frames: Mapped[int]
    faces: Mapped[int]
    tracks: Mapped[int]
    dropped: Mapped[int]
    decode_failures: Mapped[int]
    video_s: Mapped[float] = mapped_column(sa.Double)
    elapsed_s: Mapped[float] = mapped_column(sa.Double)

    purpose: Mapped[str] = mapped_column(sa.Text, default="")
    consent: Mapped[str] = mapped_column(sa.Text, default="")
    privacy_override: Mapped[str] = mapped_column(sa.String(16), default="")
    retention_days: Mapped[int | None]


class FrameRow(Base):
    """One analysed frame, with or without faces.

    ``queue_depth`` is how many frames were read and waited when it was taken, NULL where nothing read ahead.
    """

    __tablename__ = "frames"
    __table_args__ = ({"sqlite_with_rowid": False},)

    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    frame_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    time_s: Mapped[float] = mapped_column(sa.Double)
    read_us: Mapped[int]
    detect_us: Mapped[int]
    align_us: Mapped[int]
    classify_us: Mapped[int]
    track_us: Mapped[int]
    queue_depth: Mapped[int | None] = mapped_column(sa.SmallInteger)


class AnalysisRow(Base):
    """Schedule of a live run for a frame: whether estimates, one frame in how many, input size.

    ``long_side`` in px, 0: the detector's own; ``classify_hz`` 0: with every look.
    """

    __tablename__ = "looks"
    __table_args__ = (
        sa.ForeignKeyConstraint(["run_id", "frame_index"], ["frames.run_id", "frames.frame_index"], ondelete="CASCADE"),
        {"sqlite_with_rowid": False},
    )

    run_id: Mapped[int] = mapped_column(primary_key=True)
    frame_index: Mapped[int] = mapped_column(primary_key=True)
    classified: Mapped[bool]
    detect_every: Mapped[int] = mapped_column(sa.SmallInteger)
    long_side: Mapped[int] = mapped_column(sa.SmallInteger)
    classify_hz: Mapped[float] = mapped_column(sa.REAL)


class Person(Base):
    """Person to whom tracks of one or more runs were linked.

    ``display_name`` is empty until somebody gives one; till then the person is shown as ``P`` and ``number``, which
    counts from 1 within the run (or the runs processed together) in which the person was first seen.
    """

    __tablename__ = "persons"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    display_name: Mapped[str] = mapped_column(sa.Text)
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    number: Mapped[int] = mapped_column(default=0)


class TrackRow(Base):
    """One person followed through one run; ``number`` is the ID the user sees, 1 and up within the run."""

    __tablename__ = "tracks"

    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    person_id: Mapped[int | None] = mapped_column(sa.ForeignKey("persons.id", ondelete="SET NULL"), index=True)
    first_frame: Mapped[int]
    last_frame: Mapped[int]
    first_s: Mapped[float] = mapped_column(sa.Double)
    last_s: Mapped[float] = mapped_column(sa.Double)
    faces: Mapped[int]


class Face(Base):
    """One face in one frame. Vectors are packed little-endian float32.

    ``track`` is NULL while no confirmed track has claimed the face; ``label`` is an index into ``EXPRESSIONS`` or -1
    for uncertain, -2 for not readable; ``probability`` is the smoothed probability of the label (of the most likely
    expression where the label is below 0). The columns from ``x1_tenths`` on repeat these: ``storage.readable``.
    """

    __tablename__ = "faces"
    __table_args__ = (
        sa.ForeignKeyConstraint(["run_id", "frame_index"], ["frames.run_id", "frames.frame_index"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["run_id", "track"], ["tracks.run_id", "tracks.number"]),
        sa.Index(None, "run_id", "track", "label", "probability"),
        {"sqlite_with_rowid": False},
    )

    run_id: Mapped[int] = mapped_column(primary_key=True)
    frame_index: Mapped[int] = mapped_column(primary_key=True)
    face_index: Mapped[int] = mapped_column(sa.SmallInteger, primary_key=True)
    track: Mapped[int | None]
    label: Mapped[int] = mapped_column(sa.SmallInteger)
    probability: Mapped[float] = mapped_column(sa.REAL)
    score: Mapped[float] = mapped_column(sa.REAL)
    xyxy: Mapped[bytes] = mapped_column(PackedFloats)
    landmarks: Mapped[bytes] = mapped_column(PackedFloats)
    logits: Mapped[bytes] = mapped_column(PackedFloats)
    probabilities: Mapped[bytes] = mapped_column(PackedFloats)
    smoothed: Mapped[bytes] = mapped_column(PackedFloats)
    quality_e4: Mapped[int | None] = mapped_column(sa.SmallInteger)


for _name in READABLE_COLUMNS:
    _kind = sa.Integer() if _name in BOX_COLUMNS else sa.SmallInteger()
    setattr(Face, _name, mapped_column(_kind, nullable=True))


class Correction(Base):
    """Label given to a face by a person, imported from a file; ``label`` as in ``faces``. Estimates stay."""

    __tablename__ = "corrections"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["run_id", "frame_index", "face_index"],
            ["faces.run_id", "faces.frame_index", "faces.face_index"],
            ondelete="CASCADE",
        ),
        {"sqlite_with_rowid": False},
    )

    run_id: Mapped[int] = mapped_column(primary_key=True)
    frame_index: Mapped[int] = mapped_column(primary_key=True)
    face_index: Mapped[int] = mapped_column(sa.SmallInteger, primary_key=True)
    label: Mapped[int] = mapped_column(sa.SmallInteger)
    author: Mapped[str] = mapped_column(sa.Text)
    imported_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)


class EventRow(Base):
    """Something that happened at a frame: ``kind`` "cut", a new shot begins with it."""

    __tablename__ = "events"
    __table_args__ = (
        sa.ForeignKeyConstraint(["run_id", "frame_index"], ["frames.run_id", "frames.frame_index"], ondelete="CASCADE"),
        {"sqlite_with_rowid": False},
    )

    run_id: Mapped[int] = mapped_column(primary_key=True)
    frame_index: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    time_s: Mapped[float] = mapped_column(sa.Double)
    details: Mapped[dict[str, Any]] = mapped_column(sa.JSON)


class StageTiming(Base):
    """Time one stage of a finished run took, milliseconds per frame unless said otherwise.

    Of a live run also "latency" (from a frame's capture until its result was drawn) and "age" (of the result on each
    displayed image), which are no work but waiting.
    """

    __tablename__ = "stage_timings"

    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(sa.SmallInteger, primary_key=True, autoincrement=False)
    stage: Mapped[str] = mapped_column(sa.String(32))
    frames: Mapped[int]
    total_s: Mapped[float] = mapped_column(sa.Double)
    mean_ms: Mapped[float] = mapped_column(sa.Double)
    p50_ms: Mapped[float] = mapped_column(sa.Double)
    p95_ms: Mapped[float] = mapped_column(sa.Double)
    max_ms: Mapped[float] = mapped_column(sa.Double)
    p99_ms: Mapped[float | None] = mapped_column(sa.Double)


class Rescore(Base):
    """Settings of a run's labels before they were recomputed; the run itself holds those in force."""

    __tablename__ = "rescores"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id", ondelete="CASCADE"), index=True)
    rescored_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    config_toml: Mapped[str] = mapped_column(sa.Text)
    config_digest: Mapped[str] = mapped_column(sa.Text)
    calibration: Mapped[dict[str, Any]] = mapped_column(sa.JSON)


class Link(Base):
    """Link between a track and a person: accepted, suggested, manual or rejected.

    ``state`` is "accepted" or "suggested" by the program, "rejected" or "manual" by people.
    """

    __tablename__ = "links"
    __table_args__ = (
        sa.CheckConstraint("state IN ('accepted', 'suggested', 'rejected', 'manual')", name="state"),
        sa.ForeignKeyConstraint(["run_id", "track"], ["tracks.run_id", "tracks.number"], ondelete="CASCADE"),
        sa.UniqueConstraint("run_id", "track", "person_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int]
    track: Mapped[int]
    person_id: Mapped[int] = mapped_column(sa.ForeignKey("persons.id", ondelete="CASCADE"), index=True)
    similarity: Mapped[float | None] = mapped_column(sa.Double)
    state: Mapped[str] = mapped_column(sa.String(16))
    embedder: Mapped[str] = mapped_column(sa.Text)
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)


class PersonAction(Base):
    """One change of who is who: the audit log, and what undo needs.

    ``before`` and ``after`` hold the rows of persons, tracks and links that differ, as they were and as they became.
    An undo is an action too; ``undoes`` says which one it took back.
    """

    __tablename__ = "person_actions"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(sa.String(16))
    sentence: Mapped[str] = mapped_column(sa.Text)
    done_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    before: Mapped[list[Any]] = mapped_column(sa.JSON)
    after: Mapped[list[Any]] = mapped_column(sa.JSON)
    undoes: Mapped[int | None] = mapped_column(sa.ForeignKey("person_actions.id", ondelete="SET NULL"))


class Embedding(Base):
    """A vector by which a person's face is recognised in later runs.

    Only with ``linking.store_embeddings``, only for a time.

    Deleted with its person, its track or its run, and when it expires. ``vector`` is packed little-endian float32.
    """

    __tablename__ = "embeddings"
    __table_args__ = (
        sa.ForeignKeyConstraint(["run_id", "track"], ["tracks.run_id", "tracks.number"], ondelete="CASCADE"),
    )

    run_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    track: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(sa.SmallInteger, primary_key=True, autoincrement=False)
    person_id: Mapped[int] = mapped_column(sa.ForeignKey("persons.id", ondelete="CASCADE"), index=True)
    embedder: Mapped[str] = mapped_column(sa.Text)
    quality: Mapped[float] = mapped_column(sa.REAL)
    vector: Mapped[bytes] = mapped_column(PackedFloats)
    expires_at: Mapped[dt.datetime] = mapped_column(UtcDateTime, index=True)
