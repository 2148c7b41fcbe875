"""How many frames waited when each was taken: shows whether reading or analysing was the slower.

Revision 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # PostgreSQL adds a column in place; SQLite's table is rebuilt, as on the way down, so that its
    # statement is the same whichever way a database has come.
    rebuild = "always" if op.get_bind().dialect.name == "sqlite" else "auto"
    with op.batch_alter_table("frames", table_kwargs={"sqlite_with_rowid": False}, recreate=rebuild) as batch:
        batch.add_column(sa.Column("queue_depth", sa.SmallInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("frames", table_kwargs={"sqlite_with_rowid": False}) as batch:
        batch.drop_column("queue_depth")
