"""Sources, runs, frames, faces, tracks, persons, stage timings, rescores.

Revision 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sources",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sources")),
        sa.UniqueConstraint("path", "name", name=op.f("uq_sources_path_name")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("fertrack_version", sa.Text(), nullable=False),
        sa.Column("config_toml", sa.Text(), nullable=False),
        sa.Column("config_digest", sa.Text(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("classifier", sa.Text(), nullable=False),
        sa.Column("calibration", sa.JSON(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("fps", sa.Double(), nullable=False),
        sa.Column("frame_count", sa.BigInteger(), nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=False),
        sa.Column("time_base", sa.String(length=48), nullable=False),
        sa.Column("rotation", sa.SmallInteger(), nullable=False),
        sa.Column("has_audio", sa.Boolean(), nullable=False),
        sa.Column("codec", sa.Text(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("faces", sa.Integer(), nullable=False),
        sa.Column("tracks", sa.Integer(), nullable=False),
        sa.Column("dropped", sa.Integer(), nullable=False),
        sa.Column("decode_failures", sa.Integer(), nullable=False),
        sa.Column("video_s", sa.Double(), nullable=False),
        sa.Column("elapsed_s", sa.Double(), nullable=False),
        sa.CheckConstraint("status IN ('running', 'complete', 'failed', 'interrupted')", name=op.f("ck_runs_status")),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name=op.f("fk_runs_source_id_sources")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_runs_source_id"), "runs", ["source_id"])
    op.create_table(
        "frames",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("frame_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("time_s", sa.Double(), nullable=False),
        sa.Column("pred_index", sa.Integer(), nullable=True),
        sa.Column("read_us", sa.Integer(), nullable=False),
        sa.Column("detect_us", sa.Integer(), nullable=False),
        sa.Column("align_us", sa.Integer(), nullable=False),
        sa.Column("classify_us", sa.Integer(), nullable=False),
        sa.Column("track_us", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_frames_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "frame_index", name=op.f("pk_frames")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "persons",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_persons")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tracks",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=True),
        sa.Column("first_frame", sa.Integer(), nullable=False),
        sa.Column("last_frame", sa.Integer(), nullable=False),
        sa.Column("first_s", sa.Double(), nullable=False),
        sa.Column("last_s", sa.Double(), nullable=False),
        sa.Column("faces", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_tracks_run_id_runs"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["person_id"], ["persons.id"], name=op.f("fk_tracks_person_id_persons"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_tracks")),
    )
    op.create_index(op.f("ix_tracks_person_id"), "tracks", ["person_id"])
    op.create_table(
        "faces",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("frame_index", sa.Integer(), nullable=False),
        sa.Column("face_index", sa.SmallInteger(), nullable=False),
        sa.Column("track", sa.Integer(), nullable=True),
        sa.Column("label", sa.SmallInteger(), nullable=False),
        sa.Column("probability", sa.REAL(), nullable=False),
        sa.Column("score", sa.REAL(), nullable=False),
        sa.Column("xyxy", sa.LargeBinary(), nullable=False),
        sa.Column("landmarks", sa.LargeBinary(), nullable=False),
        sa.Column("logits", sa.LargeBinary(), nullable=False),
        sa.Column("probabilities", sa.LargeBinary(), nullable=False),
        sa.Column("smoothed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "frame_index"],
            ["frames.run_id", "frames.frame_index"],
            name=op.f("fk_faces_run_id_frame_index_frames"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "track"], ["tracks.run_id", "tracks.number"], name=op.f("fk_faces_run_id_track_tracks")
        ),
        sa.PrimaryKeyConstraint("run_id", "frame_index", "face_index", name=op.f("pk_faces")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_faces_run_id_track_label_probability"), "faces", ["run_id", "track", "label", "probability"]
    )
    op.create_table(
        "stage_timings",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("stage", sa.String(length=32), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("total_s", sa.Double(), nullable=False),
        sa.Column("mean_ms", sa.Double(), nullable=False),
        sa.Column("p50_ms", sa.Double(), nullable=False),
        sa.Column("p95_ms", sa.Double(), nullable=False),
        sa.Column("max_ms", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_stage_timings_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "position", name=op.f("pk_stage_timings")),
    )
    op.create_table(
        "rescores",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("rescored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("config_toml", sa.Text(), nullable=False),
        sa.Column("config_digest", sa.Text(), nullable=False),
        sa.Column("calibration", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_rescores_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rescores")),
    )
    op.create_index(op.f("ix_rescores_run_id"), "rescores", ["run_id"])


def downgrade() -> None:
    for table in ("rescores", "stage_timings", "faces", "tracks", "persons", "frames", "runs", "sources"):
        op.drop_table(table)
