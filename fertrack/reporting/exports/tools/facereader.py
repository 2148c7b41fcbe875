"""Logs in the shape of FaceReader's, one file a person, for scripts that were written for those.

===================================  ================================================================================
file                                 columns, tab-separated, after a block of metadata and an empty line
===================================  ================================================================================
``<stem>.<person>_detailed.txt``     Video Time, Neutral, Happy, Sad, Angry, Surprised, Scared, Disgusted, Participant
                                     Name, Analysis Index; a row a frame
``<stem>.<person>_state.txt``        Video Time, Dominant Expression, Participant Name, Analysis Index; a row for the
                                     begin of each episode and of the time between two, and a last one that says END
===================================  ================================================================================

Times are ``hh:mm:ss.mmm`` of the video. A frame in which the person is not seen has ``FIND_FAILED`` in every column of
expressions, as FaceReader writes it. States are the episodes of ``fertrack episodes``, joined over short interruptions;
all other time is the state ``Unknown``. The numbers are fertrack's
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
    texts: dict[str, str] = {}
    for person in content.persons:
        theirs = faces[faces["track"].isin(person.tracks)]
        logs = {
            "detailed": to_detailed_log(content, person, times_s, theirs),
            "state": to_state_log(content, person, float(times_s[0]) if len(times_s) else 0.0),
        }
        texts |= {_name(stem, person, kind, chosen.only): log for kind, log in logs.items()}
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


def to_state_log(content: RunContent, person: PersonContent, begin_s: float) -> str:
    """The person's episodes, a line for each begin, and for that of the time between two.

    Args:
        content: the run.
        person: one of its persons.
        begin_s: when the first frame is shown, seconds.
    """
    lines = ["\t".join(["Video Time", "Dominant Expression", "Participant Name", "Analysis Index"])]
    states = [] if person.segments and person.segments[0].start_s <= begin_s else [(begin_s, UNKNOWN)]
    for segment, following in zip(person.segments, [*person.segments[1:], None], strict=True):
        states.append((segment.start_s, _NAMES[segment.label]))
        until_s = content.end_s if following is None else following.start_s
        if _clock(segment.end_s) < _clock(until_s):
            states.append((segment.end_s, UNKNOWN))
    states.append((content.end_s, "END"))
    lines += ["\t".join([_clock(time_s), state, person.name, "1"]) for time_s, state in states]
    return _with_head("Video analysis state log", content, person, lines)


def _name(stem: str, person: PersonContent, kind: str, only: str) -> str:
    """Name of a log; of one that is written again the name that it has, also if the person has another name now."""
    end = f"id{person.track}_{kind}.txt"
    is_theirs = only.startswith(f"{stem}.") and (only.endswith((f"-{end}", f".{end}")))
    return only if is_theirs else f"{stem}.{person.file_name}_{kind}.txt"


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
