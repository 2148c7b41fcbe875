"""``frames.pred_index`` goes: it never differed from ``frame_index``.

Revision 0009.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("frames", table_kwargs={"sqlite_with_rowid": False}) as batch:
        batch.drop_column("pred_index")


def downgrade() -> None:
    # PostgreSQL adds a column in place, at the end; SQLite's table is rebuilt, and gets it where it was.
    column = sa.Column("pred_index", sa.Integer(), nullable=True)
    if op.get_bind().dialect.name != "sqlite":
        op.add_column("frames", column)
        return
    with op.batch_alter_table("frames", table_kwargs={"sqlite_with_rowid": False}, recreate="always") as batch:
        batch.add_column(column, insert_after="time_s")
