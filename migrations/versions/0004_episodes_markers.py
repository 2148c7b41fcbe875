"""Stored episodes, from which statistics over many runs are answered, and markers.

Revision 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "episodes",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("track", sa.Integer(), nullable=False),
        sa.Column("first_frame", sa.Integer(), nullable=False),
        sa.Column("label", sa.SmallInteger(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("start_s", sa.Double(), nullable=False),
        sa.Column("apex_s", sa.Double(), nullable=False),
        sa.Column("end_s", sa.Double(), nullable=False),
        sa.Column("mean_probability", sa.Double(), nullable=False),
        sa.Column("peak_probability", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "track"],
            ["tracks.run_id", "tracks.number"],
            name=op.f("fk_episodes_run_id_track_tracks"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "track", "first_frame", name=op.f("pk_episodes")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "episode_sets",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("shown_s", sa.Double(), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_episode_sets_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_episode_sets")),
    )
    op.create_table(
        "markers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("time_s", sa.Double(), nullable=False),
        sa.Column("end_s", sa.Double(), nullable=True),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_markers_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_markers")),
    )
    op.create_index(op.f("ix_markers_run_id_time_s"), "markers", ["run_id", "time_s"])


def downgrade() -> None:
    for table in ("markers", "episode_sets", "episodes"):
        op.drop_table(table)
