"""Persons get a number; links of tracks to persons, the log of changes to them, and (on request) face embeddings.

Revision 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("persons", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.add_column(sa.Column("number", sa.Integer(), nullable=True))
    op.execute("UPDATE persons SET number = id")
    with op.batch_alter_table("persons", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.alter_column("number", existing_type=sa.Integer(), nullable=False)
    op.create_table(
        "links",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("track", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("similarity", sa.Double(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("embedder", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('accepted', 'suggested', 'rejected', 'manual')", name=op.f("ck_links_state")),
        sa.ForeignKeyConstraint(
            ["run_id", "track"],
            ["tracks.run_id", "tracks.number"],
            name=op.f("fk_links_run_id_track_tracks"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["persons.id"], name=op.f("fk_links_person_id_persons"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_links")),
        sa.UniqueConstraint("run_id", "track", "person_id", name=op.f("uq_links_run_id_track_person_id")),
    )
    op.create_index(op.f("ix_links_person_id"), "links", ["person_id"])
    op.create_table(
        "person_actions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("undoes", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_person_actions_run_id_runs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["undoes"],
            ["person_actions.id"],
            name=op.f("fk_person_actions_undoes_person_actions"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person_actions")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_person_actions_run_id"), "person_actions", ["run_id"])
    op.create_table(
        "embeddings",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("track", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("embedder", sa.Text(), nullable=False),
        sa.Column("quality", sa.REAL(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "track"],
            ["tracks.run_id", "tracks.number"],
            name=op.f("fk_embeddings_run_id_track_tracks"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["persons.id"], name=op.f("fk_embeddings_person_id_persons"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "track", "position", name=op.f("pk_embeddings")),
    )
    op.create_index(op.f("ix_embeddings_expires_at"), "embeddings", ["expires_at"])
    op.create_index(op.f("ix_embeddings_person_id"), "embeddings", ["person_id"])


def downgrade() -> None:
    for table in ("embeddings", "person_actions", "links"):
        op.drop_table(table)
    # A schema without numbers shows names only: an unnamed person would show as nothing at all.
    op.execute("UPDATE persons SET display_name = 'P' || number WHERE display_name = ''")
    with op.batch_alter_table("persons", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.drop_column("number")
