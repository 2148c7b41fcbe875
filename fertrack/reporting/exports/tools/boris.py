"""Segments for BORIS: a project (``.boris``), and the five-column sheet that its importer takes.

============================  =======================================================================================
file                          contents
============================  =======================================================================================
``<stem>.boris``              JSON project, format 7.0: ethogram of the expressions and *uncertain*, a subject a person,
                              one observation of the video with a start and a stop event a segment, markers as points
``<stem>.boris_events.xlsx``  the same events as the spreadsheet that BORIS imports: TIME (s), SUBJECT, CODE, MODIFIER,
                              COMMENT; written where XlsxWriter is installed (extra ``[xlsx]``)
============================  =======================================================================================

Behaviours are expression estimates: how a face looks. Format: BORIS's documentation of project files and of "import
events"; opens in BORIS 8 and 9.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fertrack.files import check_free, drafted
from fertrack.reporting.exports.tools.content import RunContent, run_content
from fertrack.reporting.exports.tools.text_files import write_texts
from fertrack.types import LABELS

if TYPE_CHECKING:
    from fertrack.reporting.exports.selection import Selection

__all__ = ["MARKER_SUBJECT", "boris_events", "to_boris", "write", "write_boris_sheet"]

MARKER_SUBJECT = ""
"""BORIS's name of nobody in particular ("No focal subject")."""

SHEET_COLUMNS = ("TIME", "SUBJECT", "CODE", "MODIFIER", "COMMENT")
"""Headings that BORIS's importer of spreadsheets looks for."""

_KEYS = dict(zip(LABELS, "ufdhsanq", strict=True))
"""Behaviours and their keys; people may write that no expression can be told."""


def write(chosen: Selection, folder: Path, stem: str, *, overwrite: bool) -> list[Path]:
    """Write the chosen run.

    Raises:
        OutputExistsError: a file is already there and ``overwrite`` is False; none is written.
        RunNotFoundError: there is no such track in the run.
        ReportError: a file could not be written.
    """
    content = run_content(chosen)
    sheet = folder / f"{stem}.boris_events.xlsx"
    has_sheet = find_spec("xlsxwriter") is not None and chosen.only in {"", sheet.name}
    if has_sheet:
        check_free(sheet, overwrite=overwrite)
    paths = write_texts(folder, {f"{stem}.boris": to_boris(content)}, overwrite=overwrite, only=chosen.only)
    if has_sheet:
        write_boris_sheet(content, sheet, overwrite=overwrite)
        paths.append(sheet)
    return paths


def boris_events(content: RunContent) -> list[tuple[float, str, str, str, str]]:
    """Events in order of time: time (s), subject, behaviour, kind ("START", "STOP", "POINT"), comment.

    Of two events at one moment the stop comes first, so that BORIS pairs them rightly.
    """
    events = []
    for person in content.persons:
        for segment in person.segments:
            comment = f"probability {segment.probability:.2f}"
            events.append((segment.start_s, person.name, segment.label, "START", comment))
            events.append((segment.end_s, person.name, segment.label, "STOP", ""))
    for marker in content.markers:
        kinds = [("POINT", marker.time_s)]
        if marker.end_s is not None:
            kinds = [("START", marker.time_s), ("STOP", marker.end_s)]
        events += [(time_s, MARKER_SUBJECT, marker.label, kind, marker.note) for kind, time_s in kinds]
    order = {"STOP": 0, "POINT": 1, "START": 2}
    return sorted(events, key=lambda event: (event[0], order[event[3]]))


def to_boris(content: RunContent) -> str:
    """The run as the text of a BORIS project with one observation."""
    media = content.source_path or content.source_name
    behaviours = [_behaviour(name, "State event", key) for name, key in _KEYS.items()]
    lasting = {marker.label for marker in content.markers if marker.end_s is not None}
    for label in sorted({marker.label for marker in content.markers} - set(LABELS)):
        behaviours.append(_behaviour(label, "State event" if label in lasting else "Point event", ""))
    names = sorted({person.name for person in content.persons})
    observation = {
        "file": {"1": [media], **{str(player): [] for player in range(2, 9)}},
        "type": "MEDIA",
        "date": content.started_at.strftime("%Y-%m-%dT%H:%M:%S"),
        "description": f"expression estimates of run {content.run}, by {content.program}",
        "time offset": 0.0,
        "events": [
            [round(time_s, 3), subject, behaviour, "", comment, round(time_s * content.fps)]
            for time_s, subject, behaviour, _, comment in boris_events(content)
        ],
        "observation time interval": [0, 0],
        "independent_variables": {},
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "close_behaviors_between_videos": False,
        "scan_sampling_time": 0,
        "start_from_current_time": False,
        "media_info": {
            "length": {media: content.duration_s},
            "fps": {media: content.fps},
            "hasVideo": {media: True},
            "hasAudio": {media: False},
            "offset": {"1": 0.0},
        },
    }
    project = {
        "time_format": "hh:mm:ss",
        "project_date": content.started_at.strftime("%Y-%m-%dT%H:%M:%S"),
        "project_name": f"{content.source_name}, run {content.run}",
        "project_description": "Expression estimates: how a face looks, not what a person feels.",
        "project_format_version": "7.0",
        "subjects_conf": {str(at): {"key": "", "name": name, "description": ""} for at, name in enumerate(names)},
        "behaviors_conf": {str(at): behaviour for at, behaviour in enumerate(behaviours)},
        "observations": {f"{content.source_name} run {content.run}": observation},
        "behavioral_categories": [],
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }
    return json.dumps(project, ensure_ascii=False, indent=1) + "\n"


def write_boris_sheet(content: RunContent, path: Path, *, overwrite: bool) -> None:
    """The same events as a spreadsheet, one a row: a state event begins and ends with a row of the same code.

    Raises:
        ImportError: XlsxWriter is not installed.
        OutputExistsError: ``path`` is already there and ``overwrite`` is False.
        ReportError: the file could not be written.
    """
    import xlsxwriter

    with drafted(path, overwrite=overwrite) as draft, xlsxwriter.Workbook(str(draft)) as book:
        sheet = book.add_worksheet("events")
        for column, heading in enumerate(SHEET_COLUMNS):
            sheet.write_string(0, column, heading)
        for row, (time_s, subject, behaviour, _, comment) in enumerate(boris_events(content), start=1):
            sheet.write_number(row, 0, round(time_s, 3))
            for column, text in enumerate((subject, behaviour, "", comment), start=1):
                sheet.write_string(row, column, text)


def _behaviour(code: str, kind: str, key: str) -> dict[str, Any]:
    return {
        "type": kind,
        "key": key,
        "code": code,
        "description": "expression estimate" if code in LABELS else "marker",
        "color": "",
        "category": "",
        "modifiers": "",
        "excluded": "",
        "coding map": "",
    }
