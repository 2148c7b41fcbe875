"""Recordings: what each run's source is about and holds, by which a batch knows what is done; inputs that failed.

Revision 0013. Runs that are stored already get none: nothing was stated about them, and their sources may have changed.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "recordings",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("participant", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("condition", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("made_with", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_recordings_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_recordings")),
    )
    op.create_index(op.f("ix_recordings_content"), "recordings", ["content"])
    op.create_table(
        "failed_inputs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("made_with", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_failed_inputs")),
        sa.UniqueConstraint("path", "made_with", name=op.f("uq_failed_inputs_path_made_with")),
    )


def downgrade() -> None:
    op.drop_table("failed_inputs")
    op.drop_index(op.f("ix_recordings_content"), table_name="recordings")
    op.drop_table("recordings")
