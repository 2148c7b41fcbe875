"""Segments as BIDS events: ``<stem>_events.tsv`` with a JSON sidecar that explains its columns.

==========  ==============================================================================================
column      meaning
==========  ==============================================================================================
onset       when the segment or marker begins, seconds of the video
duration    how long it lasts, seconds; 0 for a moment
trial_type  the expression estimate, such as ``happiness``; ``marker`` for markers
person      who shows it; ``n/a`` for markers
value       mean smoothed probability of the estimate, 0 to 1; ``n/a`` for markers
marker      label of the marker; ``n/a`` for segments
==========  ==============================================================================================

In order of onset, missing values ``n/a``, as the Brain Imaging Data Structure (specification 1.10, task events) wants;
to be renamed to ``sub-<label>_task-<label>_events.tsv`` in the folder of the recording.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from fertrack.reporting.exports.tools.content import RunContent, run_content
from fertrack.reporting.exports.tools.text_files import write_texts
from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    from fertrack.reporting.exports.selection import Selection

__all__ = ["to_events_json", "to_events_tsv", "write"]

_COLUMNS = ("onset", "duration", "trial_type", "person", "value", "marker")


def write(chosen: Selection, folder: Path, stem: str, *, overwrite: bool) -> list[Path]:
    """Write the chosen run.

    Raises:
        OutputExistsError: a file is already there and ``overwrite`` is False; none is written.
        RunNotFoundError: there is no such track in the run.
        ReportError: a file could not be written.
    """
    content = run_content(chosen)
    texts = {f"{stem}_events.tsv": to_events_tsv(content), f"{stem}_events.json": to_events_json(content)}
    return write_texts(folder, texts, overwrite=overwrite, only=chosen.only)


def to_events_tsv(content: RunContent) -> str:
    """Segments of everybody and markers, one a line."""
    rows: list[tuple[float, float, str, str, str, str]] = []
    for person in content.persons:
        for segment in person.segments:
            lasts_s = segment.end_s - segment.start_s
            value = f"{segment.probability:.4f}"
            rows.append((segment.start_s, lasts_s, segment.label, _plain(person.name), value, "n/a"))
    for marker in content.markers:
        lasts_s = 0.0 if marker.end_s is None else marker.end_s - marker.time_s
        rows.append((marker.time_s, lasts_s, "marker", "n/a", "n/a", _plain(marker.label)))
    lines = ["\t".join(_COLUMNS)]
    for onset, duration, *texts in sorted(rows):
        lines.append("\t".join([f"{onset:.6f}", f"{duration:.6f}", *texts]))
    return "\n".join(lines) + "\n"


def to_events_json(content: RunContent) -> str:
    """The sidecar: what each column means, in which unit, and what made it."""
    levels = {name: f"estimate: the face looks like {name}" for name in EXPRESSIONS}
    sidecar = {
        "onset": {"Description": "Onset, from the beginning of the video", "Units": "s"},
        "duration": {"Description": "Duration; 0 for a moment", "Units": "s"},
        "trial_type": {
            "LongName": "Expression estimate",
            "Description": "Expression that a classifier estimates from a face: how it looks, not what is felt",
            "Levels": {**levels, "marker": "moment or stretch named by the experimenter"},
        },
        "person": {"Description": "Person who shows the expression: given name, or ID of the first track"},
        "value": {"Description": "Mean smoothed probability of the estimate", "Units": "1"},
        "marker": {"Description": "Label of the marker"},
        "GeneratedBy": [{"Name": "fertrack", "Version": content.program.removeprefix("fertrack ")}],
    }
    return json.dumps(sidecar, ensure_ascii=False, indent=2) + "\n"


def _plain(text: str) -> str:
    return " ".join(text.split()) or "n/a"
