"""Segments as an ELAN file (``.eaf``, EAF 3.0), with the video linked and the probability curves under it.

=======================  ============================================================================================
file                     contents
=======================  ============================================================================================
``<stem>.eaf``           a tier a person with a controlled vocabulary of the expressions, tiers of markers and cuts
``<stem>_tsconf.xml``    tells ELAN which column of the curves is whose, linked from the .eaf
``<stem>.curves.csv``    time in seconds, then seven smoothed probabilities a person at an even rate; empty where there
                         is no face
=======================  ============================================================================================

Annotations of a tier never overlap; times are whole milliseconds. The video is linked by its absolute address and by
its name relative to the file, so that moving both together keeps the link. Format: ELAN's EAF schema 3.0 (The Language
Archive, Max Planck Institute for Psycholinguistics) and its time-series configuration.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import pathname2url

import pandas as pd

from fertrack.imaging.palette import LIGHT
from fertrack.reporting.exports.tools.content import RunContent, run_content
from fertrack.reporting.exports.tools.text_files import write_texts
from fertrack.types import EXPRESSIONS, LABELS

if TYPE_CHECKING:
    from fertrack.reporting.exports.selection import Selection

__all__ = ["curves_csv", "to_eaf", "to_tsconf", "write"]

CURVES_HZ = 25.0
"""Rows a second of the curves: as fine as ELAN draws them."""

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_VOCABULARY = "expression"
_Span = tuple[float, float, str]
_Tier = tuple[str, str, Sequence[_Span]]
_MIME = {".mp4": "video/mp4", ".mov": "video/quicktime", ".mkv": "video/x-matroska", ".avi": "video/x-msvideo"}


def write(chosen: Selection, folder: Path, stem: str, *, overwrite: bool) -> list[Path]:
    """Write the chosen run.

    Raises:
        OutputExistsError: a file is already there and ``overwrite`` is False; none is written.
        RunNotFoundError: there is no such track in the run.
        ReportError: a file could not be written.
    """
    from fertrack.storage.queries.resample import resampled_timeline

    content = run_content(chosen)
    who = None if chosen.track is None else f"ID {chosen.track}"
    curves = resampled_timeline(chosen.run, CURVES_HZ, who=who, from_s=0.0)
    date = content.started_at.isoformat(timespec="seconds")
    texts = {
        f"{stem}.eaf": to_eaf(content, folder, stem),
        f"{stem}_tsconf.xml": to_tsconf(curves, folder, stem, date),
        f"{stem}.curves.csv": curves_csv(curves),
    }
    return write_texts(folder, texts, overwrite=overwrite, only=chosen.only)


def to_eaf(content: RunContent, folder: Path, stem: str) -> str:
    """The run as the text of an .eaf file.

    Args:
        content: the run.
        folder: the folder it is written to, for the relative link to the video.
        stem: what its name begins with, for the links to the curves.
    """
    root = ET.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": content.program,
            "DATE": content.started_at.isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    header = ET.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    if content.source_path and "://" not in content.source_path:
        ET.SubElement(header, "MEDIA_DESCRIPTOR", _media(content.source_path, folder))
    for name, mime in ((f"{stem}_tsconf.xml", "text/xml"), (f"{stem}.curves.csv", "unknown")):
        ET.SubElement(
            header,
            "LINKED_FILE_DESCRIPTOR",
            {"LINK_URL": _address(folder / name), "RELATIVE_LINK_URL": f"./{name}", "MIME_TYPE": mime},
        )
    slots = _TimeSlots()
    tiers: list[_Tier] = [
        (person.name, "expression", [(s.start_s, s.end_s, s.label) for s in person.segments])
        for person in content.persons
    ]
    if content.markers:
        marked = [(m.time_s, m.time_s if m.end_s is None else m.end_s, m.label) for m in content.markers]
        tiers.extend((f"markers {n}" if n > 1 else "markers", "text", row) for n, row in enumerate(_rows(marked), 1))
    if content.cuts_s:
        tiers.append(("cuts", "text", [(time_s, time_s, "cut") for time_s in content.cuts_s]))
    elements = [slots.tier(name, kind, spans) for name, kind, spans in _told_apart(tiers)]
    ET.SubElement(header, "PROPERTY", {"NAME": "lastUsedAnnotationId"}).text = str(slots.annotations)
    root.append(slots.order())
    root.extend(elements)
    for kind, vocabulary in (("expression", _VOCABULARY), ("text", "")):
        attributes = {"LINGUISTIC_TYPE_ID": kind, "TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false"}
        if vocabulary:
            attributes["CONTROLLED_VOCABULARY_REF"] = vocabulary
        ET.SubElement(root, "LINGUISTIC_TYPE", attributes)
    ET.SubElement(root, "LANGUAGE", {"LANG_ID": "eng", "LANG_DEF": "", "LANG_LABEL": "English (eng)"})
    words = ET.SubElement(root, "CONTROLLED_VOCABULARY", {"CV_ID": _VOCABULARY})
    ET.SubElement(words, "DESCRIPTION", {"LANG_REF": "eng"}).text = "expression estimates: how a face looks"
    for name in LABELS:  # people may write that none can be told
        entry = ET.SubElement(words, "CV_ENTRY_ML", {"CVE_ID": f"cve_{name}"})
        ET.SubElement(entry, "CVE_VALUE", {"LANG_REF": "eng", "DESCRIPTION": ""}).text = name
    return _text(root)


def curves_csv(rows: pd.DataFrame) -> str:
    """The probability curves: a column of time, then seven a person.

    Args:
        rows: as from ``resampled_timeline``: person, track, time_s and p_<expression>.
    """
    columns = {"time_s": rows["time_s"].unique()}
    for name, part in _persons(rows):
        for expression in EXPRESSIONS:
            columns[f"{name} {expression}"] = part[f"p_{expression}"].to_numpy()
    return pd.DataFrame(columns).to_csv(index=False, float_format="%.4f", lineterminator="\n")


def to_tsconf(rows: pd.DataFrame, folder: Path, stem: str, date: str) -> str:
    """The time-series configuration that goes with ``curves_csv`` of the same rows."""
    root = ET.Element("timeseries", {"date": date, "version": "1.0"})
    source = ET.SubElement(
        root,
        "tracksource",
        {
            "sample-type": "Discontinuous Rate",
            "source-url": _address(folder / f"{stem}.curves.csv"),
            "time-column": "0",
        },
    )
    provider = "mpi.eudico.client.annotator.timeseries.csv.CSVServiceProvider"
    ET.SubElement(source, "property", {"key": "provider", "value": provider})
    column = 0
    for name, _ in _persons(rows):
        for expression in EXPRESSIONS:
            column += 1
            track = ET.SubElement(source, "track", {"derivative": "0", "name": f"{name} {expression}"})
            ET.SubElement(track, "property", {"key": "detect-range", "value": "false"})
            position = ET.SubElement(track, "sample-position")
            ET.SubElement(position, "pos", {"col": str(column), "row": "0"})
            ET.SubElement(track, "description").text = "smoothed probability of the expression estimate"
            ET.SubElement(track, "units").text = "1"
            ET.SubElement(track, "range", {"max": "1.0", "min": "0.0"})
            ET.SubElement(track, "color").text = _rgb(expression)
    return _text(root)


def _persons(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows of each person, under a name that no other has, in order of their first track."""
    parts = [(str(part["person"].iloc[0]), part) for _, part in rows.groupby("track", sort=True)]
    names = [name for name, _ in parts]
    return [(name if names.count(name) == 1 else f"{name} (ID {part['track'].iloc[0]})", part) for name, part in parts]


class _TimeSlots:
    """Numbers the time slots and annotations of a document in the order in which they are asked for."""

    def __init__(self) -> None:
        self._times_ms: list[int] = []
        self.annotations = 0

    def tier(self, name: str, kind: str, spans: Sequence[_Span]) -> ET.Element:
        tier = ET.Element("TIER", {"LINGUISTIC_TYPE_REF": kind, "TIER_ID": name})
        last_ms = 0
        for start_s, end_s, text in spans:
            begin_ms = max(last_ms, round(start_s * 1000))
            last_ms = max(round(end_s * 1000), begin_ms + 1)  # ELAN shows nothing that lasts no time
            self.annotations += 1
            attributes = {
                "ANNOTATION_ID": f"a{self.annotations}",
                "TIME_SLOT_REF1": self._slot(begin_ms),
                "TIME_SLOT_REF2": self._slot(last_ms),
            }
            if kind == "expression":
                attributes["CVE_REF"] = f"cve_{text}"
            holder = ET.SubElement(ET.SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION", attributes)
            ET.SubElement(holder, "ANNOTATION_VALUE").text = text
        return tier

    def order(self) -> ET.Element:
        order = ET.Element("TIME_ORDER")
        for number, time_ms in enumerate(self._times_ms, start=1):
            ET.SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": f"ts{number}", "TIME_VALUE": str(time_ms)})
        return order

    def _slot(self, time_ms: int) -> str:
        self._times_ms.append(time_ms)
        return f"ts{len(self._times_ms)}"


def _rows(spans: Sequence[_Span]) -> list[list[_Span]]:
    """Overlapping markers on as many tiers as they need; markers of no length last a millisecond."""
    rows: list[list[_Span]] = []
    for span in sorted(spans):
        for row in rows:
            if max(row[-1][1], row[-1][0] + 0.001) <= span[0]:
                row.append(span)
                break
        else:
            rows.append([span])
    return rows


def _told_apart(tiers: Sequence[_Tier]) -> list[_Tier]:
    """Tiers with names of their own: two persons of one name get a number behind it."""
    seen: dict[str, int] = {}
    found = []
    for name, kind, spans in tiers:
        seen[name] = seen.get(name, 0) + 1
        found.append((name if seen[name] == 1 else f"{name} ({seen[name]})", kind, spans))
    return found


def _media(path: str, folder: Path) -> dict[str, str]:
    relative = os.path.relpath(path, folder).replace(os.sep, "/")
    relative = relative if relative.startswith(".") else f"./{relative}"
    mime = _MIME.get(Path(path).suffix.lower(), "video/*")
    return {"MEDIA_URL": _address(Path(path)), "RELATIVE_MEDIA_URL": relative, "MIME_TYPE": mime}


def _address(path: Path) -> str:
    return "file://" + pathname2url(str(path.absolute()))


def _rgb(expression: str) -> str:
    value = LIGHT[expression].lstrip("#")
    return ",".join(str(int(value[at : at + 2], 16)) for at in (0, 2, 4))


def _text(root: ET.Element) -> str:
    ET.indent(root, "    ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
