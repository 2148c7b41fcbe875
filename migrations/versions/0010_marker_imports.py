"""Markers know the import that they came with, its file, and how its clock was brought to the video's.

Revision 0010.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "marker_imports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("file_format", sa.Text(), nullable=False),
        sa.Column("offset_s", sa.Double(), nullable=False),
        sa.Column("stretch", sa.Double(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_marker_imports_run_id"), "marker_imports", ["run_id"])
    with op.batch_alter_table("markers") as batch:
        batch.add_column(sa.Column("import_id", sa.Integer(), nullable=True))
        batch.create_foreign_key(
            op.f("fk_markers_import_id_marker_imports"), "marker_imports", ["import_id"], ["id"], ondelete="CASCADE"
        )
        batch.create_index(op.f("ix_markers_import_id"), ["import_id"])


def downgrade() -> None:
    with op.batch_alter_table("markers") as batch:
        batch.drop_index(op.f("ix_markers_import_id"))
        batch.drop_constraint(op.f("fk_markers_import_id_marker_imports"), type_="foreignkey")
        batch.drop_column("import_id")
    op.drop_index(op.f("ix_marker_imports_run_id"), table_name="marker_imports")
    op.drop_table("marker_imports")
