"""Numbers and views for SQL: what a database browser, R or a spreadsheet reads without fertrack.

SQLite's SQL cannot unpack bytes, so that box and probabilities of a face stand in plain columns, too. Probabilities are
whole ten-thousandths and box edges tenths of a pixel: whole numbers take two bytes where a float takes eight, so that a
face takes 279 bytes with its index instead of 224, not 380. The packed vectors stay the exact truth, from which
fertrack itself reads. Read-only views give everything plain names and units:

============  ========================================================================================
view          a row is
============  ========================================================================================
v_faces       a face in a frame: who, when, where, the label that counts, fourteen probabilities
v_episodes    a stretch of frames without a gap in which a track kept one estimate
v_persons     a person of a run
v_runs        a run
v_markers     a marker of a run
============  ========================================================================================

``label`` of a face is the one that counts in every answer: what a person gave, else the estimate; ``estimate`` and
``corrected`` say both. Stretches are stored as estimated, so ``v_episodes`` has an ``estimate``, and says how many of
its faces people labelled otherwise.

Made anew with every migration, since SQLite refuses to rebuild a table that a view names. Names are the same on SQLite
and PostgreSQL, and the same as in the CSV files where both have a column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from fertrack.types import EXPRESSIONS, FloatArray

__all__ = [
    "BOX_COLUMNS",
    "PROBABILITY_COLUMNS",
    "QUALITY_COLUMN",
    "READABLE_COLUMNS",
    "VIEWS",
    "box_columns",
    "create_views",
    "drop_views",
    "probability_columns",
    "quality_column",
    "quality_of",
]

BOX_COLUMNS = ("x1_tenths", "y1_tenths", "x2_tenths", "y2_tenths")
PROBABILITY_COLUMNS = (*(f"p_{name}_e4" for name in EXPRESSIONS), *(f"raw_{name}_e4" for name in EXPRESSIONS))
"""Smoothed, then calibrated probabilities of the frame alone."""

QUALITY_COLUMN = "quality_e4"
"""Quality of the face's image, whole ten-thousandths; NULL: not judged."""

READABLE_COLUMNS = (*BOX_COLUMNS, *PROBABILITY_COLUMNS)


def box_columns(xyxy: FloatArray) -> dict[str, list[Any]]:
    """Columns of ``BOX_COLUMNS``.

    Args:
        xyxy: float32 (N, 4), px.
    """
    return dict(zip(BOX_COLUMNS, _whole(xyxy, 10), strict=True))


def probability_columns(smoothed: FloatArray, probabilities: FloatArray) -> dict[str, list[Any]]:
    """Columns of ``PROBABILITY_COLUMNS``.

    Args:
        smoothed: float32 (N, 7).
        probabilities: float32 (N, 7), of each frame alone.
    """
    return dict(zip(PROBABILITY_COLUMNS, _whole(np.hstack([smoothed, probabilities]), 10_000), strict=True))


def quality_column(quality: FloatArray) -> dict[str, list[Any]]:
    """Column ``QUALITY_COLUMN`` of float32 (N,), 0 to 1."""
    return {QUALITY_COLUMN: _whole(quality[:, None], 10_000)[0] if len(quality) else []}


def quality_of(stored: Sequence[int | None]) -> FloatArray:
    """Quality from its column, float32 (N,); NaN where it was not judged."""
    return np.array([np.nan if value is None else value / 1e4 for value in stored], np.float32)


def _whole(values: FloatArray, scale: int) -> list[list[Any]]:
    """Column by column, whole numbers; None where a value is not a number."""
    known = np.isfinite(values)
    whole = np.rint(np.where(known, values, 0.0) * np.float64(scale)).astype(np.int64)
    if known.all():
        return list(whole.T.tolist())
    return [
        [number if there else None for number, there in zip(numbers, theres, strict=True)]
        for numbers, theres in zip(whole.T.tolist(), known.T.tolist(), strict=True)
    ]


_LABEL = "CASE {} " + " ".join(f"WHEN {code} THEN '{name}'" for code, name in enumerate(EXPRESSIONS))
_WORD = _LABEL + " WHEN -1 THEN 'uncertain' WHEN -2 THEN 'not readable' END"
_WHO = (
    "CASE WHEN p.display_name <> '' THEN p.display_name WHEN p.number > 0 THEN 'P' || p.number "
    "WHEN {track} IS NOT NULL THEN 'ID ' || {track} END"
)


def _probabilities(kind: str) -> str:
    return ",\n  ".join(f"f.{kind}_{name}_e4 / 10000.0 AS {kind}_{name}" for name in EXPRESSIONS)


VIEWS: dict[str, str] = {
    "v_runs": """
SELECT
  r.id AS run, s.name AS video, s.path AS path, r.status AS status, r.started_at AS started_at, r.ended_at AS ended_at,
  r.frames AS frames, r.faces AS faces, r.tracks AS tracks,
  (SELECT count(DISTINCT coalesce(-t.person_id, t.number)) FROM tracks t WHERE t.run_id = r.id) AS persons,
  r.width AS width, r.height AS height, r.fps AS fps, r.video_s AS video_s, r.elapsed_s AS elapsed_s,
  r.detector AS detector, r.classifier AS classifier, r.purpose AS purpose, r.error AS error,
  r.fertrack_version AS fertrack_version, c.participant AS participant, c.session AS session,
  c.condition AS condition
FROM runs r JOIN sources s ON s.id = r.source_id LEFT JOIN recordings c ON c.run_id = r.id""",
    "v_persons": f"""
SELECT
  t.run_id AS run, {_WHO.format(track="min(t.number)")} AS person, p.display_name AS name, min(t.number) AS track,
  count(*) AS tracks, min(t.first_s) AS first_s, max(t.last_s) AS last_s, sum(t.faces) AS faces
FROM tracks t LEFT JOIN persons p ON p.id = t.person_id
GROUP BY t.run_id, coalesce(-t.person_id, t.number), p.display_name, p.number""",
    "v_faces": f"""
SELECT
  f.run_id AS run, {_WHO.format(track="f.track")} AS person, p.display_name AS name, f.track AS track,
  fr.time_s AS time_s, f.frame_index AS frame_index, f.face_index AS face_index,
  f.x1_tenths / 10.0 AS x1, f.y1_tenths / 10.0 AS y1, f.x2_tenths / 10.0 AS x2, f.y2_tenths / 10.0 AS y2,
  f.score AS score, {_WORD.format("coalesce(c.label, f.label)")} AS label,
  CASE WHEN c.label >= 0 THEN 1.0 ELSE f.probability END AS probability,
  CASE WHEN coalesce(c.label, f.label) = -1 THEN 1 ELSE 0 END AS uncertain,
  {_WORD.format("f.label")} AS estimate, {_WORD.format("c.label")} AS corrected,
  {_probabilities("p")},
  {_probabilities("raw")},
  f.quality_e4 / 10000.0 AS quality
FROM faces f
JOIN frames fr ON fr.run_id = f.run_id AND fr.frame_index = f.frame_index
LEFT JOIN tracks t ON t.run_id = f.run_id AND t.number = f.track
LEFT JOIN persons p ON p.id = t.person_id
LEFT JOIN corrections c
  ON c.run_id = f.run_id AND c.frame_index = f.frame_index AND c.face_index = f.face_index""",
    "v_episodes": f"""
SELECT
  e.run_id AS run, {_WHO.format(track="e.track")} AS person, p.display_name AS name, e.track AS track,
  {_WORD.format("e.label")} AS estimate, e.start_s AS start_s, e.end_s AS end_s, e.end_s - e.start_s AS duration_s,
  e.apex_s AS apex_s, e.frames AS frames, e.mean_probability AS mean_probability,
  e.peak_probability AS peak_probability,
  (SELECT count(*) FROM corrections c
   JOIN faces f ON f.run_id = c.run_id AND f.frame_index = c.frame_index AND f.face_index = c.face_index
   JOIN frames fr ON fr.run_id = c.run_id AND fr.frame_index = c.frame_index
   WHERE c.run_id = e.run_id AND f.track = e.track AND c.label <> e.label
     AND fr.time_s >= e.start_s AND fr.time_s < e.end_s) AS corrected_faces
FROM episodes e
JOIN tracks t ON t.run_id = e.run_id AND t.number = e.track
LEFT JOIN persons p ON p.id = t.person_id""",
    "v_markers": """
SELECT
  m.run_id AS run, m.label AS label, m.time_s AS time_s, m.end_s AS end_s, m.note AS note,
  i.file_name AS file_name, i.offset_s AS offset_s, i.stretch AS stretch
FROM markers m LEFT JOIN marker_imports i ON i.id = m.import_id""",
}
"""Query of each view."""


def create_views(connection: sa.Connection) -> None:
    """Create all views; none of them may be there."""
    for name, query in VIEWS.items():
        connection.exec_driver_sql(f"CREATE VIEW {name} AS{query}")


def drop_views(connection: sa.Connection) -> None:
    """Remove those views that are there."""
    for name in VIEWS:
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
