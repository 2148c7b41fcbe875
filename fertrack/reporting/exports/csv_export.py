"""CSV files of a run: one row per face per frame, and one row per episode.

Both are written by ``fertrack.reporting.exports.csv_rows``, which says how numbers and texts look; ``fertrack timeline
--format csv`` prints the same columns with the same decimals. Times are seconds from the start of the video.

Write the right expression (or ``uncertain``) into ``corrected`` and give the file to ``fertrack import-labels``: see
``fertrack.reporting.exports.label_import``.

``<stem>.faces.csv``, in order of frame, then track:

==================  ====================================================================================
run                 ID of the run in the database
frame_index         exact 0-based frame number
face_index          which of the frame's faces, from 0; with frame_index, the face's key in the database
time_s              presentation time, s, 6 decimals
track               ID of the person within the run; -1 = a detection that no confirmed track has claimed
person              name given to that person, if any
x1, y1, x2, y2      face box in px of the source frame, 2 decimals
score               how sure the detector is that this is a face, 0 to 1
label               expression estimate, ``uncertain`` or ``not readable``
corrected           what a person said the face shows, if anybody did
probability         smoothed probability of the label; of the most likely expression where it is ``uncertain``
p_<expression>      smoothed probabilities, seven columns that sum to 1
raw_<expression>    calibrated probabilities of this frame alone, seven columns that sum to 1
quality             how well the face can be read, 0 to 1; empty where it was not judged
==================  ====================================================================================

``<stem>.episodes.csv``, in order of track, then time:

==================  ====================================================================================
run, track, person  as above; detections that no track has claimed have no episodes
expression          the expression estimate; the person may have been uncertain or unseen for short times in between
start_s, end_s      when the first frame is shown and when the last one stops being shown, s, 6 decimals
duration_s          end_s - start_s
mean_probability    mean smoothed probability over the frames that show the expression
peak_probability    its highest value
frames              number of those frames
corrected           what a person said it shows, if all faces of the person in that time were corrected alike
==================  ====================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fertrack.files import check_free, replacing
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.exports.csv_rows import write_rows
from fertrack.storage.people.corrections import corrections
from fertrack.storage.queries.timeline import episodes as ask_episodes
from fertrack.storage.queries.timeline import timeline
from fertrack.storage.written_files import CsvTable, record_output
from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    from fertrack.storage.engine import Database
    from fertrack.storage.stored_run import StoredRun

__all__ = ["EPISODE_COLUMNS", "FACE_COLUMNS", "csv_paths", "episode_table", "face_table", "write_csv"]

FACE_COLUMNS: dict[str, int | None] = {
    "run": None,
    "frame_index": None,
    "face_index": None,
    "time_s": 6,
    "track": None,
    "person": None,
    "x1": 2,
    "y1": 2,
    "x2": 2,
    "y2": 2,
    "score": 4,
    "label": None,
    "corrected": None,
    "probability": 4,
    **{f"p_{name}": 4 for name in EXPRESSIONS},
    **{f"raw_{name}": 4 for name in EXPRESSIONS},
    "quality": 4,
}
"""Columns of ``<stem>.faces.csv`` in order, with their decimals; None = written as it is."""

EPISODE_COLUMNS: dict[str, int | None] = {
    "run": None,
    "track": None,
    "person": None,
    "expression": None,
    "start_s": 6,
    "end_s": 6,
    "duration_s": 6,
    "mean_probability": 4,
    "peak_probability": 4,
    "frames": None,
    "corrected": None,
}
"""Columns of ``<stem>.episodes.csv`` in order, with their decimals; None = written as it is."""


_BOTH = ("faces.csv", "episodes.csv")


def csv_paths(folder: Path, stem: str) -> list[Path]:
    """The two files that ``write_csv`` writes: faces, then episodes."""
    return [folder / f"{stem}.{name}" for name in _BOTH]


def write_csv(
    db: Database,
    run: int | str,
    folder: Path,
    stem: str,
    config: ReportConfig | None = None,
    *,
    track: int | None = None,
    overwrite: bool = False,
    only: Sequence[str] = _BOTH,
) -> list[Path]:
    """Write a run's faces and episodes as CSV; the columns are documented at the top of this module.

    Args:
        db: the open database.
        run: number of the run, or "last".
        folder: where the files go; made if missing.
        stem: what both file names begin with.
        config: shortest episode and longest gap; the defaults if None.
        track: only this person's; all, and faces that no track has claimed, if None.
        overwrite: replace files of the same names.
        only: which of the files: "faces.csv", "episodes.csv".

    Returns:
        Their paths, faces first.

    Raises:
        OutputExistsError: one of the files is already there and ``overwrite`` is False; neither is written.
        RunNotFoundError: there is no such run, or no such track in it.
        ReportError: a file could not be written.
    """
    config = config or ReportConfig()
    paths = [path for path in csv_paths(folder, stem) if path.name.removeprefix(f"{stem}.") in only]
    for path in paths:
        check_free(path, overwrite=overwrite)
    with db.run(run) as stored:
        faces = face_table(stored, track)
        episodes = episode_table(stored, config, faces, track) if _BOTH[1] in only else pd.DataFrame()
    for path in paths:
        is_faces = path.name == f"{stem}.{_BOTH[0]}"
        with replacing(path, overwrite=overwrite) as file:
            write_rows(faces if is_faces else episodes, file, FACE_COLUMNS if is_faces else EPISODE_COLUMNS)
        record_output(db, stored.number, path, CsvTable(stem, track, config))
    return paths


def face_table(
    run: StoredRun,
    track: int | None = None,
    *,
    expression: str | None = None,
    from_s: float | None = None,
    to_s: float | None = None,
    confirmed_only: bool = False,
) -> pd.DataFrame:
    """The rows of ``<stem>.faces.csv``, numbers as they are stored; or some of them.

    Args:
        run: the run.
        track: only this person's; all, and faces that no track has claimed, if None.
        expression: only faces labelled so; see ``storage.queries.timeline``.
        from_s: only frames shown at this time or later, seconds.
        to_s: only frames shown before this time, seconds.
        confirmed_only: without the faces that no track has claimed.

    Raises:
        RunNotFoundError: there is no such track in the run.
    """
    faces = timeline(
        run,
        track=track,
        expression=expression,
        from_s=from_s,
        to_s=to_s,
        include_unconfirmed=track is None and not confirmed_only,
    )
    given = corrections(run).set_index(["frame_index", "face_index"])["corrected"].astype("str")
    keys = pd.MultiIndex.from_frame(faces[["frame_index", "face_index"]])
    faces["corrected"] = given.reindex(keys).to_numpy()
    return faces[list(FACE_COLUMNS)]


def episode_table(run: StoredRun, config: ReportConfig, faces: pd.DataFrame, track: int | None = None) -> pd.DataFrame:
    """The rows of ``<stem>.episodes.csv``, numbers as they are stored.

    Args:
        run: the run.
        config: shortest episode and longest gap.
        faces: as from ``face_table``.
        track: only this person's; all if None.
    """
    episodes = ask_episodes(run, track=track, min_duration_s=config.min_episode_s, max_gap_s=config.max_gap_s)
    of_track = dict(tuple(faces.groupby("track"))) if faces["corrected"].notna().any() else {}
    agreed: list[str | None] = []
    for number, start_s, end_s in zip(episodes["track"], episodes["start_s"], episodes["end_s"], strict=True):
        rows = of_track.get(number, faces.iloc[:0])
        labels = rows.loc[(rows["time_s"] >= start_s) & (rows["time_s"] < end_s), "corrected"]
        same = len(labels) > 0 and labels.notna().all() and labels.nunique() == 1
        agreed.append(str(labels.iloc[0]) if same else None)
    episodes["corrected"] = pd.Series(agreed, index=episodes.index, dtype="str")
    episodes["run"] = run.number
    return episodes[list(EPISODE_COLUMNS)]
