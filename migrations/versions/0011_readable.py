"""Boxes and probabilities of faces as plain columns, which views name for SQL.

Revision 0011. Vectors that are stored already are unpacked once, ten thousand faces at a time.
"""

import numpy as np
import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

EXPRESSIONS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
BOX = ("x1_tenths", "y1_tenths", "x2_tenths", "y2_tenths")
PROBABILITIES = tuple(f"{kind}_{name}_e4" for kind in ("p", "raw") for name in EXPRESSIONS)
AT_ONCE = 10_000


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        rebuild((*BOX, *PROBABILITIES))
    else:
        for name in (*BOX, *PROBABILITIES):
            op.add_column("faces", column(name))
    fill(op.get_bind())


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        rebuild(())
    else:
        for name in (*BOX, *PROBABILITIES):
            op.drop_column("faces", name)


def column(name: str) -> sa.Column:
    return sa.Column(name, sa.Integer() if name in BOX else sa.SmallInteger(), nullable=True)


def rebuild(readable: tuple[str, ...]) -> None:
    """Make SQLite's table of faces anew. Batch mode would do it too, but writes constraints in any order."""
    vectors = ("xyxy", "landmarks", "logits", "probabilities", "smoothed")
    kept = ("run_id", "frame_index", "face_index", "track", "label", "probability", "score", *vectors)
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
        *(column(name) for name in readable),
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


def fill(connection: sa.Connection) -> None:
    key = ("run_id", "frame_index", "face_index")
    vectors = ("xyxy", "smoothed", "probabilities")
    faces = sa.table("faces", *(sa.column(name) for name in (*key, *vectors, *BOX, *PROBABILITIES)))
    names = (*BOX, *PROBABILITIES)
    update = (
        sa.update(faces)
        .where(*(faces.c[name] == sa.bindparam(f"of_{name}") for name in key))
        .values({name: sa.bindparam(f"new_{name}") for name in names})
    )
    for (run,) in connection.execute(sa.select(sa.column("id")).select_from(sa.table("runs"))).all():
        last = (-1, -1)
        while True:
            after = sa.or_(
                faces.c.frame_index > last[0], sa.and_(faces.c.frame_index == last[0], faces.c.face_index > last[1])
            )
            rows = connection.execute(
                sa.select(*(faces.c[name] for name in (*key, *vectors)))
                .where(faces.c.run_id == run, after)
                .order_by(faces.c.frame_index, faces.c.face_index)
                .limit(AT_ONCE)
            ).all()
            if not rows:
                break
            last = (rows[-1].frame_index, rows[-1].face_index)
            values = np.hstack(
                [
                    whole([row.xyxy for row in rows], 10),
                    whole([row.smoothed for row in rows], 10_000),
                    whole([row.probabilities for row in rows], 10_000),
                ]
            ).tolist()
            connection.execute(
                update,
                [
                    {f"of_{name}": getattr(row, name) for name in key}
                    | {f"new_{name}": value for name, value in zip(names, numbers, strict=True)}
                    for row, numbers in zip(rows, values, strict=True)
                ],
            )


def whole(packed: list[bytes], scale: int) -> np.ndarray:
    values = np.frombuffer(b"".join(packed), "<f4").reshape(len(packed), -1).astype(np.float64)
    known = np.isfinite(values)
    return np.where(known, np.rint(np.where(known, values, 0.0) * scale).astype(np.int64), None)
