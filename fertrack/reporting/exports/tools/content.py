"""Contents of a run as formats of events see them: segments of persons, markers, cuts and the video they belong to."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fertrack.reporting.exports.selection import Selection

__all__ = ["MarkerContent", "PersonContent", "RunContent", "Segment", "run_content"]


@dataclass(frozen=True, slots=True)
class Segment:
    """Segment of time in which a person shows one expression.

    Attributes:
        label: expression estimate, such as ``happiness``.
        start_s: onset, seconds of the video.
        end_s: offset, seconds of the video; never before ``start_s``.
        probability: mean smoothed probability of the label over the segment.
    """

    label: str
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True, slots=True)
class PersonContent:
    """A person and what they show.

    Attributes:
        name: given name; ``ID 2`` where there is none; ``Ana (ID 2)`` where several have that name.
        track: ID of the person's first track.
        tracks: IDs of all their tracks.
        segments: in order of time, never overlapping.
    """

    name: str
    track: int
    tracks: tuple[int, ...]
    segments: tuple[Segment, ...]

    @property
    def file_name(self) -> str:
        """Name as part of a file's name: letters, digits and hyphens.

        >>> PersonContent("Ana B.", 1, (1,), ()).file_name
        'Ana-B-id1'
        """
        plain = re.sub(r"[^\w]+", "-", self.name, flags=re.ASCII).strip("-")[:40]
        return f"id{self.track}" if not plain or self.name == f"ID {self.track}" else f"{plain}-id{self.track}"


@dataclass(frozen=True, slots=True)
class MarkerContent:
    """A marker: a moment, or a stretch if ``end_s`` is given; seconds of the video."""

    label: str
    time_s: float
    end_s: float | None
    note: str


@dataclass(frozen=True, slots=True)
class RunContent:
    """A run, ready for formats of events.

    Attributes:
        run: number of the run.
        source_name: short name of the video.
        source_path: its absolute path or masked address; empty if it has neither.
        started_at: when the analysis began, UTC.
        fps: frames per second; the mean where the rate varies.
        duration_s: length of the analysed video, seconds.
        persons: in order of their first track.
        markers: in order of time.
        cuts_s: times at which a new shot begins, seconds.
        program: program and version that made the run.
    """

    run: int
    source_name: str
    source_path: str
    started_at: dt.datetime
    fps: float
    duration_s: float
    persons: tuple[PersonContent, ...]
    markers: tuple[MarkerContent, ...]
    cuts_s: tuple[float, ...]
    program: str

    @property
    def end_s(self) -> float:
        """Time at which everything is over, seconds: the video's end, or the last segment's or marker's."""
        ends = [segment.end_s for person in self.persons for segment in person.segments]
        ends += [marker.time_s if marker.end_s is None else marker.end_s for marker in self.markers]
        return max([self.duration_s, *ends])


def run_content(chosen: Selection) -> RunContent:
    """Read the chosen run, or one person of it.

    Raises:
        RunNotFoundError: there is no such track in the run.
    """
    from fertrack.storage.people.persons import persons
    from fertrack.storage.queries.markers import markers
    from fertrack.storage.queries.statistics import person_episodes

    facts = chosen.run.facts
    who = None if chosen.track is None else f"ID {chosen.track}"
    episodes = person_episodes(
        chosen.run, who=who, min_duration_s=chosen.config.min_episode_s, max_gap_s=chosen.config.max_gap_s
    )
    tracks = {person.tracks[0]: person.tracks for person in chosen.run.subjects.people}
    named = persons(chosen.run)
    names = {
        int(row["track"]): " ".join(row["person"].split()) if isinstance(row["person"], str) else f"ID {row['track']}"
        for row in named.to_dict("records")
    }
    shared = {name for name, count in Counter(names.values()).items() if count > 1}
    names = {first: f"{name} (ID {first})" if name in shared else name for first, name in names.items()}
    segments: dict[int, list[Segment]] = {first: [] for first in names}
    for row in episodes.sort_values("onset_s", kind="stable").to_dict("records"):
        onset_s, offset_s = float(row["onset_s"]), float(row["offset_s"])
        segments[int(row["track"])].append(
            Segment(str(row["expression"]), onset_s, max(onset_s, offset_s), float(row["mean_probability"]))
        )
    asked = [first for first in names if chosen.track is None or chosen.track in tracks[first]]
    stored = markers(chosen.run).to_dict("records")
    return RunContent(
        run=facts.id,
        source_name=facts.source_name,
        source_path=facts.source_path,
        started_at=facts.started_at,
        fps=facts.info.fps,
        duration_s=facts.summary.video_s,
        persons=tuple(PersonContent(names[first], first, tracks[first], tuple(segments[first])) for first in asked),
        markers=tuple(
            MarkerContent(
                str(row["label"]),
                float(row["time_s"]),
                None if row["end_s"] != row["end_s"] else float(row["end_s"]),
                str(row["note"] or ""),
            )
            for row in stored
        ),
        cuts_s=tuple(chosen.run.cuts.time_s.tolist()),
        program=f"fertrack {facts.fertrack_version}",
    )
