"""A stored run as the window shows it: read once, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fertrack.config import Settings, load_settings
from fertrack.storage.engine import open_database
from fertrack.storage.models import Face
from fertrack.storage.people.persons import persons
from fertrack.storage.queries.faces import FaceColumns, load_faces
from fertrack.storage.runs import runs
from fertrack.storage.stored_run import StoredRun
from fertrack.types import (
    EXPRESSIONS,
    AnalysisMs,
    Detections,
    Faces,
    Float64Array,
    FrameResult,
    IntArray,
)

__all__ = ["Listed", "RunView", "Segment", "ShownPerson", "load_run", "recent_runs"]


@dataclass(frozen=True, slots=True)
class Listed:
    """A run in the list of recent ones."""

    run: int
    source: str
    path: str
    status: str
    day: str

    @property
    def title(self) -> str:
        """Run, video and day in one line."""
        ended = "" if self.status == "complete" else f" · {self.status}"
        return f"{self.run} · {self.source} · {self.day}{ended}"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time with one label: an index into ``EXPRESSIONS``, or -1 for uncertain."""

    start_s: float
    end_s: float
    label: int


@dataclass(frozen=True, slots=True)
class ShownPerson:
    """A person of the run.

    Attributes:
        name: a name, ``P3``, or ``ID 5``.
        number: sets the colour.
        tracks: IDs of the tracks.
        first_s: first seen, seconds.
        last_s: last seen, seconds.
        shares: share of the time seen, by label.
        segments: in order of time.
    """

    name: str
    number: int
    tracks: tuple[int, ...]
    first_s: float
    last_s: float
    shares: dict[str, float]
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RunView:
    """A stored run.

    Attributes:
        number: of the run.
        title: name of the source.
        path: where the source was.
        settings: the options in force for it.
        status: as in ``RunFacts``.
        notes: sentences about the run.
        frame: int64 (F,), numbers of the frames.
        time_s: (F,), when each is shown.
        end_s: when the last one stops being shown.
        cuts_s: beginnings of new shots.
        persons: in the order in which they were first seen.
        faces: all faces, by frame.
        names: what each track is called.
        numbers: number of the person of each track.
        corrected: faces that count as people labelled them.
    """

    number: int
    title: str
    path: str
    settings: Settings
    status: str
    notes: tuple[str, ...]
    frame: IntArray
    time_s: Float64Array
    end_s: float
    cuts_s: tuple[float, ...]
    persons: tuple[ShownPerson, ...]
    faces: FaceColumns
    names: dict[int, str]
    numbers: dict[int, int]
    corrected: int

    def row_at(self, time_s: float) -> int:
        """Row of the analysed frame that is shown at a time; -1 before the first one."""
        return int(np.searchsorted(self.time_s, time_s + 1e-6, side="right")) - 1

    def faces_at(self, time_s: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Rows of ``faces`` that are seen at a time."""
        row = self.row_at(time_s)
        if row < 0:
            return np.empty(0, np.int64)
        first, last = np.searchsorted(self.faces.frame_index, [self.frame[row], self.frame[row] + 1])
        return np.arange(first, last, dtype=np.int64)

    def result_at(self, time_s: float) -> FrameResult:
        """Result of the frame shown at a time, as the drawing functions take it; landmarks are left out."""
        rows = self.faces_at(time_s)
        faces, count = self.faces, len(rows)
        seen = Detections(faces.xyxy[rows], faces.score[rows], np.zeros((count, 5, 2), np.float32))
        return FrameResult(
            frame_index=int(self.frame[max(0, self.row_at(time_s))]) if len(self.frame) else 0,
            timestamp_s=time_s,
            faces=Faces(seen, np.zeros((count, len(EXPRESSIONS)), np.float32), faces.quality[rows]),
            track_ids=faces.track[rows],
            track_xyxy=faces.xyxy[rows],
            probabilities=faces.probabilities[rows],
            smoothed=faces.smoothed[rows],
            labels=faces.label[rows],
            ms=AnalysisMs(),
            track_ms=0.0,
        )


def load_run(database: str, run: int | str) -> RunView:
    """Read a run.

    Raises:
        RunNotFoundError: it is not stored.
        StorageError: the database cannot be read.
    """
    with open_database(database) as opened, opened.run(run) as stored:
        facts = stored.facts
        faces = load_faces(stored.connection, Face.run_id == stored.number)
        stored.corrections.by_face(faces.frame_index, faces.face_index, faces.label, faces.probability)
        frames = stored.frames
        return RunView(
            number=stored.number,
            title=facts.source_name,
            path=facts.source_path,
            settings=load_settings(base=facts.config_toml),
            status=facts.status,
            notes=facts.summary.notes,
            frame=frames.frame,
            time_s=frames.start_s,
            end_s=frames.span_s()[1],
            cuts_s=tuple(stored.cuts.time_s.tolist()),
            persons=_persons(stored),
            faces=faces,
            names=stored.subjects.labels(),
            numbers=stored.subjects.person_numbers(),
            corrected=stored.corrected_faces,
        )


def _persons(stored: StoredRun) -> tuple[ShownPerson, ...]:
    table, rows = persons(stored), stored.segments.rows
    by_track: dict[int, list[Segment]] = {}
    for track, label, start_s, end_s in zip(
        rows.group.tolist(), rows.label.tolist(), rows.start_s.tolist(), rows.end_s.tolist(), strict=True
    ):
        by_track.setdefault(track, []).append(Segment(start_s, end_s, label))
    shown = []
    for row in table.to_dict("records"):
        tracks = tuple(int(track) for track in row["track_ids"])
        shares = {str(name).removeprefix("share_"): float(row[name]) for name in row if str(name).startswith("share_")}
        named = isinstance(row["person"], str) and row["person"]
        segments = sorted((each for track in tracks for each in by_track.get(track, [])), key=lambda s: s.start_s)
        shown.append(
            ShownPerson(
                name=str(row["person"]) if named else f"ID {tracks[0]}",
                number=int(row["number"]) or tracks[0],
                tracks=tracks,
                first_s=float(row["first_s"]),
                last_s=float(row["last_s"]),
                shares=shares,
                segments=tuple(segments),
            )
        )
    return tuple(shown)


def recent_runs(database: str) -> list[Listed]:
    """All runs, newest first; none where there is no database yet.

    Raises:
        StorageError: the database cannot be read.
    """
    if "://" not in database and not Path(database).exists():
        return []
    with open_database(database) as opened:
        table = runs(opened)
    return [
        Listed(
            int(row["run"]), str(row["source"]), str(row["path"]), str(row["status"]), f"{row['started_at']:%Y-%m-%d}"
        )
        for row in reversed(table.to_dict("records"))
    ]
