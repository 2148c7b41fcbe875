"""Logs in the shape of FaceReader's, one file a person, for scripts that were written for those.

===================================  ================================================================================
file                                 columns, tab-separated, after a block of metadata and an empty line
===================================  ================================================================================
``<stem>.<person>_detailed.txt``     Video Time, Neutral, Happy, Sad, Angry, Surprised, Scared, Disgusted, Participant
                                     Name, Analysis Index; a row a frame
``<stem>.<person>_state.txt``        Video Time, Dominant Expression, Participant Name, Analysis Index; a row whenever
                                     it changes, and a last one that says END
===================================  ================================================================================

Times are ``hh:mm:ss.mmm`` of the video. A frame in which the person is not seen has ``FIND_FAILED`` in every column of
expressions, as FaceReader writes it; *uncertain* and *not seen* are the state ``Unknown``. The numbers are fertrack's
smoothed probabilities, which sum to 1; FaceReader's are intensities, which do not: the shape is the same, the scale is
not. UTF-8.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fertrack.reporting.exports.tools.content import PersonContent, RunContent, run_content
from fertrack.reporting.exports.tools.text_files import write_texts
from fertrack.types import Float64Array

if TYPE_CHECKING:
    from fertrack.reporting.exports.selection import Selection

__all__ = ["COLUMNS", "UNKNOWN", "to_detailed_log", "to_state_log", "write"]

COLUMNS = {
    "Neutral": "neutral",
    "Happy": "happiness",
    "Sad": "sadness",
    "Angry": "anger",
    "Surprised": "surprise",
    "Scared": "fear",
    "Disgusted": "disgust",
}
"""FaceReader's name of each expression, in its order of columns, and ours."""

UNKNOWN = "Unknown"

_NAMES = {ours: theirs for theirs, ours in COLUMNS.items()}


def write(chosen: Selection, folder: Path, stem: str, *, overwrite: bool) -> list[Path]:
    """Write the chosen run.

    Raises:
        OutputExistsError: a file is already there and ``overwrite`` is False; none is written.
        RunNotFoundError: there is no such track in the run.
        ReportError: a file could not be written.
    """
    from fertrack.reporting.exports.csv_export import face_table

    content = run_content(chosen)
    faces = face_table(chosen.run, chosen.track, confirmed_only=True)
    times_s = chosen.run.frames.start_s
    texts = {}
    for person in content.persons:
        theirs = faces[faces["track"].isin(person.tracks)]
        texts[f"{stem}.{person.file_name}_detailed.txt"] = to_detailed_log(content, person, times_s, theirs)
        texts[f"{stem}.{person.file_name}_state.txt"] = to_state_log(content, person, times_s, theirs)
    return write_texts(folder, texts, overwrite=overwrite, only=chosen.only)


def to_detailed_log(
    content: RunContent, person: PersonContent, frame_times_s: Float64Array, faces: pd.DataFrame
) -> str:
    """The person's probabilities, a line a frame.

    Args:
        content: the run.
        person: one of its persons.
        frame_times_s: float64 (F,), when each frame is shown, seconds.
        faces: the person's faces: time_s and p_<expression>.
    """
    wanted = [f"p_{ours}" for ours in COLUMNS.values()]
    seen = dict(zip(faces["time_s"].to_numpy(), faces[wanted].to_numpy(), strict=True))
    failed = ["FIND_FAILED"] * len(COLUMNS)
    lines = ["\t".join(["Video Time", *COLUMNS, "Participant Name", "Analysis Index"])]
    for time_s in frame_times_s.tolist():
        values = [f"{value:.4f}" for value in seen[time_s]] if time_s in seen else failed
        lines.append("\t".join([_clock(time_s), *values, person.name, "1"]))
    return _with_head("Video analysis detailed log", content, person, lines)


def to_state_log(content: RunContent, person: PersonContent, frame_times_s: Float64Array, faces: pd.DataFrame) -> str:
    """The person's label, a line whenever it changes.

    Args:
        content: the run.
        person: one of its persons.
        frame_times_s: float64 (F,), when each frame is shown, seconds.
        faces: the person's faces: time_s and label.
    """
    labels = dict(zip(faces["time_s"].to_numpy(), faces["label"].astype(str), strict=True))
    lines = ["\t".join(["Video Time", "Dominant Expression", "Participant Name", "Analysis Index"])]
    state = None
    for time_s in frame_times_s.tolist():
        now = _NAMES.get(labels.get(time_s, ""), UNKNOWN)
        if now != state:
            lines.append("\t".join([_clock(time_s), now, person.name, "1"]))
            state = now
    lines.append("\t".join([_clock(content.end_s), "END", person.name, "1"]))
    return _with_head("Video analysis state log", content, person, lines)


def _with_head(title: str, content: RunContent, person: PersonContent, lines: Sequence[str]) -> str:
    head = [
        title,
        f"Face Model:\t{content.program}, expression estimates",
        "Calibration:\tNone",
        f"Start time:\t{content.started_at:%d-%m-%Y %H:%M:%S}",
        f"Filename:\t{content.source_path or content.source_name}",
        f"Frame rate:\t{content.fps:g}",
        f"Participant Name:\t{person.name}",
        "",
    ]
    return "\n".join([*head, *lines]) + "\n"


def _clock(seconds: float) -> str:
    milliseconds = max(0, round(seconds * 1000))
    whole, fraction = divmod(milliseconds, 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}.{fraction:03}"
