"""Everything held about one person, as a folder of readable files to hand over (GDPR, Art. 15 and 20)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fertrack.errors import OutputExistsError
from fertrack.files import drafted, replacing
from fertrack.reporting.exports.csv_rows import defused
from fertrack.storage.rights.personal_data import PersonalData, read_personal_data
from fertrack.storage.written_files import OutputFile, PersonFolder, outputs, record_output

if TYPE_CHECKING:
    from fertrack.storage.engine import Database

__all__ = ["export_person"]

_README = """\
WHAT IS HELD ABOUT {label}

Made by fertrack on {today}, from {runs} of video analysis. All of it was estimated by a program from images of a
face; an expression estimate says what a face looks like, not what a person feels, and it can be wrong.

person.json       all of the following in one file, for programs
runs.csv          each analysis in which {label} appears: which video, when, for what purpose, on what consent, and
                  until when it is kept (retention_days after its end; empty: no date was set)
tracks.csv        each stretch in which the face was followed: first and last frame, first and last second, images
faces.csv         one row for each image in which the face was found:
                    time_s               when, in seconds of the video
                    x1 y1 x2 y2          where: left, top, right and bottom of the face, in pixels
                    left_eye_x ...       where the eyes, the nose and the corners of the mouth are, in pixels
                    score                how sure the program is that this is a face, 0 to 1
                    label, probability   the expression estimate and its probability, 0 to 1
                    p_...                probability of each expression, smoothed over time
                    raw_...              the same for this image alone
                    logit_...            the network's own numbers, from which all of these are computed
                    track                empty: the face was seen too briefly to be followed, and lies where {label}
                                         was at about that time, so it is probably theirs
episodes.csv      stretches of time with one estimate, from start_s to end_s
corrections.csv   what people said that a face shows, who said it, and when
links.csv         why stretches are taken for one person: similarity of the faces, 1 = the same
embeddings.csv    numbers by which the face can be recognised again (biometric data), and when they expire
log.csv           what people did to this person's entries, such as giving a name
markers.csv       named moments of a video whose name or note names this person
files.csv         files written from these analyses; is_there says whether they are still where they were written.
                  A video, report or export of a whole run shows everybody in it
thumbnails/       small images of the face, if any were kept

Times of day are UTC. An empty table means that nothing of the kind is held. {label} may ask for corrections, and to
have all of this deleted.
"""


def export_person(db: Database, person: str, folder: Path, run: int | str | None = None) -> list[Path]:
    """Write everything that is held about a person into a folder; its ``README.txt`` explains the fields.

    Args:
        db: the open database.
        person: a name, ``P3``, or ``ID 5`` for whoever that track is.
        folder: a new or empty folder.
        run: number of the run in which they are called that, or "last"; None: any, if they are the only one.

    Returns:
        The files written.

    Raises:
        RunNotFoundError: no such run or person, or several go by that name.
        OutputExistsError: there is something in the folder.
        ReportError: a file could not be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputExistsError(f"{folder} is not empty: name a new folder with -o")
    with db.reading() as connection:
        held = read_personal_data(connection, db.name, person, run)
        tables = {**held.tables, "files": _files(outputs(connection, held.subject.runs), held)}
    written = []
    for name, table in tables.items():
        written.append(folder / f"{name}.csv")
        with replacing(written[-1], overwrite=False) as file:
            _for_spreadsheet(table).to_csv(file, index=False, lineterminator="\r\n")
    written += _write_texts(folder, held, tables)
    for (number, track), jpeg in held.thumbnails.items():
        written.append(folder / "thumbnails" / f"run{number}.id{track}.jpg")
        with drafted(written[-1], overwrite=False) as draft:
            draft.write_bytes(jpeg)
    for number in held.subject.runs:
        record_output(db, number, folder, PersonFolder(held.subject.tracks_in(number)))
    return written


def _write_texts(folder: Path, held: PersonalData, tables: dict[str, pd.DataFrame]) -> list[Path]:
    subject = held.subject
    everything = {
        "person": subject.who.label,
        "names": list(subject.names),
        **{name: [_plain(row) for row in table.to_dict("records")] for name, table in tables.items()},
        "thumbnails": [f"thumbnails/run{number}.id{track}.jpg" for number, track in held.thumbnails],
    }
    as_json, readme = folder / "person.json", folder / "README.txt"
    with replacing(as_json, overwrite=False) as file:
        json.dump(everything, file, ensure_ascii=False, indent=1, allow_nan=False)
    today = pd.Timestamp.now(tz="UTC").strftime("%Y-%m-%d")
    count = len(subject.runs)
    text = _README.format(label=subject.who.label, today=today, runs=f"{count} run{'' if count == 1 else 's'}")
    with replacing(readme, overwrite=False) as file:
        file.write(text)
    return [as_json, readme]


def _files(written: Sequence[OutputFile], held: PersonalData) -> pd.DataFrame:
    """Files in which the person appears: those of their runs, unless they are about somebody else alone."""
    rows = []
    for file in written:
        if file.track is None or (file.run, file.track) in held.subject.tracks:
            rows.append((file.run, file.kind, str(file.path), file.written_at, file.is_there))
    return pd.DataFrame(rows, columns=["run", "kind", "path", "written_at", "is_there"])


def _for_spreadsheet(table: pd.DataFrame) -> pd.DataFrame:
    """Texts that no spreadsheet takes for formulas; vectors as JSON."""
    shown = table.copy()
    for name in shown.columns:
        if name == "vector":
            shown[name] = [json.dumps(vector) for vector in shown[name]]
        elif shown[name].dtype.kind not in "iufbM":
            shown[name] = [defused(value) if isinstance(value, str) else value for value in shown[name]]
    return shown


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(name): _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return value
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)) or value is pd.NaT:
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value
