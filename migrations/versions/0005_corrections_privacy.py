"""Corrections: labels given by people; and what a run was made for: purpose, consent, how long it is kept.

Revision 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TEXTS = (("purpose", sa.Text()), ("consent", sa.Text()), ("privacy_override", sa.String(length=16)))
_STATUS = "status IN ('running', 'complete', 'failed', 'interrupted')"


def upgrade() -> None:
    op.create_table(
        "corrections",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("frame_index", sa.Integer(), nullable=False),
        sa.Column("face_index", sa.SmallInteger(), nullable=False),
        sa.Column("label", sa.SmallInteger(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "frame_index", "face_index"],
            ["faces.run_id", "faces.frame_index", "faces.face_index"],
            name=op.f("fk_corrections_run_id_frame_index_face_index_faces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "frame_index", "face_index", name=op.f("pk_corrections")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("runs", table_kwargs={"sqlite_autoincrement": True}) as batch:
        for name, kind in _TEXTS:
            batch.add_column(sa.Column(name, kind, nullable=True))
        batch.add_column(sa.Column("retention_days", sa.Integer(), nullable=True))
    op.execute("UPDATE runs SET purpose = '', consent = '', privacy_override = ''")
    with op.batch_alter_table("runs", table_kwargs={"sqlite_autoincrement": True}) as batch:
        for name, kind in _TEXTS:
            batch.alter_column(name, existing_type=kind, nullable=False)
        # A table that is rebuilt gets its constraints in any order; said again, this one always comes last.
        batch.drop_constraint(op.f("ck_runs_status"), type_="check")
        batch.create_check_constraint(op.f("ck_runs_status"), _STATUS)


def downgrade() -> None:
    with op.batch_alter_table("runs", table_kwargs={"sqlite_autoincrement": True}) as batch:
        for name in ("retention_days", *(name for name, _ in reversed(_TEXTS))):
            batch.drop_column(name)
    op.drop_table("corrections")
