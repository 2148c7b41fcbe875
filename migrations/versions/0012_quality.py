"""Quality of each face's picture, which was not judged before: NULL in the rows that are stored already.

Revision 0012.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

EXPRESSIONS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
BOX = ("x1_tenths", "y1_tenths", "x2_tenths", "y2_tenths")
PROBABILITIES = tuple(f"{kind}_{name}_e4" for kind in ("p", "raw") for name in EXPRESSIONS)
QUALITY = "quality_e4"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        rebuild((QUALITY,))
    else:
        op.add_column("faces", sa.Column(QUALITY, sa.SmallInteger(), nullable=True))


def downgrade() -> None:
    op.execute("UPDATE faces SET label = -1 WHERE label = -2")  # not readable: a label that 0011 does not know
    if op.get_bind().dialect.name == "sqlite":
        rebuild(())
    else:
        op.drop_column("faces", QUALITY)


def rebuild(added: tuple[str, ...]) -> None:
    """Make SQLite's table of faces anew. Batch mode would do it too, but writes constraints in any order."""
    vectors = ("xyxy", "landmarks", "logits", "probabilities", "smoothed")
    keys = ("run_id", "frame_index", "face_index", "track", "label", "probability", "score")
    kept = (*keys, *vectors, *BOX, *PROBABILITIES)
    op.create_table(
        "faces_anew",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("frame_index", sa.Integer(), nullable=False),
        sa.Column("face_index", sa.SmallInteger(), nullable=False),
        sa.Column("track", sa.Integer(), nullable=True),
        sa.Column("label", sa.SmallInteger(), nullable=False),
        sa.Column("probability", sa.REAL(), nullable=False),
        sa.Column("score", sa.REAL(), nullable=False),
        *(sa.Column(name, sa.LargeBinary(), nullable=False) for name in vectors),
        *(sa.Column(name, sa.Integer(), nullable=True) for name in BOX),
        *(sa.Column(name, sa.SmallInteger(), nullable=True) for name in (*PROBABILITIES, *added)),
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
    names = ", ".join(kept)
    op.execute(f"INSERT INTO faces_anew ({names}) SELECT {names} FROM faces")
    op.drop_table("faces")
    op.rename_table("faces_anew", "faces")
    op.create_index(
        op.f("ix_faces_run_id_track_label_probability"), "faces", ["run_id", "track", "label", "probability"]
    )
