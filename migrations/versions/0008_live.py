"""What a live schedule asked of each frame, and the 99th percentile of every stage.

Revision 0008.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "looks",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("frame_index", sa.Integer(), nullable=False),
        sa.Column("classified", sa.Boolean(), nullable=False),
        sa.Column("detect_every", sa.SmallInteger(), nullable=False),
        sa.Column("long_side", sa.SmallInteger(), nullable=False),
        sa.Column("classify_hz", sa.REAL(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "frame_index"],
            ["frames.run_id", "frames.frame_index"],
            name=op.f("fk_looks_run_id_frame_index_frames"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "frame_index", name=op.f("pk_looks")),
        sqlite_with_rowid=False,
    )
    rebuild = "always" if op.get_bind().dialect.name == "sqlite" else "auto"
    with op.batch_alter_table("stage_timings", recreate=rebuild) as batch:
        batch.add_column(sa.Column("p99_ms", sa.Double(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("stage_timings") as batch:
        batch.drop_column("p99_ms")
    op.drop_table("looks")
