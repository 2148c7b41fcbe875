"""Facts about each person for the report: presence in view, and which expression estimates won."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fertrack.imaging.palette import person_colour
from fertrack.reporting.config import ReportConfig
from fertrack.storage.config import LONGEST_BREAK_S
from fertrack.storage.people.persons import persons as ask_persons
from fertrack.storage.people.reference import RunPerson
from fertrack.storage.queries.segments import Segments
from fertrack.storage.queries.statistics import transitions
from fertrack.storage.queries.timeline import episodes as ask_episodes
from fertrack.storage.queries.timeline import timeline as ask_timeline
from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    import pandas as pd

    from fertrack.storage.stored_run import StoredRun
if TYPE_CHECKING:
    import pandas as pd

    from fertrack.storage.stored_run import StoredRun

__all__ = [
    "Presence",
    "ReportedPerson",
    "TransitionRow",
    "TransitionTable",
    "load_persons",
    "most_visible",
    "presence_of",
    "presence_rows",
    "read_transitions",
    "uncertain_share",
]

_ROUNDING_S = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class ReportedPerson:
    """One person of a run, with all that the report says of them.

    Attributes:
        who: the person.
        label: name or ``P3``, as in the video, with the number where somebody else has the same name; ``ID 3`` for a
            track that is nobody's.
        first_s: time of the first frame in which the person was seen.
        last_s: end of the last one.
        visible_s: time during which the person was seen, however short the breaks.
        frames: frames in which the person was seen.
        shares: share of that time per expression estimate, in ``EXPRESSIONS`` order.
        uncertain: share of that time in which no expression was certain enough.
        rows: this person's part of the timeline.
        episodes: this person's episodes.
        seen: unbroken segments of time in which the person was seen.
        corrected: those in which people gave the labels.
    """

    who: RunPerson
    label: str
    first_s: float
    last_s: float
    visible_s: float
    frames: int
    shares: dict[str, float]
    uncertain: float
    rows: pd.DataFrame
    episodes: pd.DataFrame
    seen: Segments
    corrected: Segments

    @property
    def corrected_spans(self) -> list[tuple[float, float]]:
        """Start and end of each segment in which people gave the labels, s."""
        return list(zip(self.corrected.start_s.tolist(), self.corrected.end_s.tolist(), strict=True))

    @property
    def track(self) -> int:
        """ID of the first track."""
        return self.who.tracks[0]

    @property
    def colour(self) -> str:
        """Colour of the person's box in the video, ``#rrggbb``."""
        return person_colour(self.who.number or self.track)


def load_persons(run: StoredRun, config: ReportConfig) -> tuple[list[ReportedPerson], float]:
    """Everybody in a stored run, in order of their first ID; and how long a frame is shown, seconds."""
    summary = run.facts.summary
    interval_s = summary.video_s / summary.frames if summary.frames else 0.0
    timeline = ask_timeline(run)
    episodes = ask_episodes(run, min_duration_s=config.min_episode_s, max_gap_s=config.max_gap_s)
    found = _persons(run, timeline, episodes, gap_s=config.max_gap_s, interval_s=interval_s)
    for person in found:  # grouping loses what the answers say of themselves
        person.rows.attrs.update(timeline.attrs)
        person.episodes.attrs.update(episodes.attrs)
    return found, interval_s


def uncertain_share(persons: Sequence[ReportedPerson]) -> float | None:
    """Share of all time seen in which no expression was likely enough; None if nobody was seen."""
    seen_s = sum(person.visible_s for person in persons)
    return sum(person.uncertain * person.visible_s for person in persons) / seen_s if seen_s > 0 else None


def _persons(
    run: StoredRun, timeline: pd.DataFrame, episodes: pd.DataFrame, *, gap_s: float, interval_s: float
) -> list[ReportedPerson]:
    """Everybody in a run, in order of their first ID.

    Args:
        run: the run.
        timeline: as from ``storage.queries.timeline``, confirmed rows only.
        episodes: as from ``storage.queries.timeline.episodes``.
        gap_s: longest time without a face that does not break a segment, seconds.
        interval_s: how long a frame is shown, seconds.
    """
    given = run.corrections
    corrected = set(zip(given.frame_index.tolist(), given.face_index.tolist(), strict=True))
    owner = run.subjects.first_tracks()
    rows_of = dict(tuple(timeline.groupby(timeline["track"].map(owner))))
    episodes_of = dict(tuple(episodes.sort_values("start_s", kind="stable").groupby(episodes["track"].map(owner))))
    people = {person.tracks[0]: person for person in run.subjects.people}
    names = Counter(person.label for person in people.values())
    found = []
    for record in ask_persons(run).sort_values("track").to_dict("records"):
        track = int(record["track"])
        who = people[track]
        rows = rows_of.get(track, timeline.iloc[:0])
        time_s = rows["time_s"].to_numpy(np.float64)
        seen = Segments.plain(np.full(len(rows), track, np.int64), time_s, time_s + interval_s).closed(gap_s)
        shown_s, ends_s = run.frames.of(np.unique(rows["frame_index"].to_numpy(np.int64)))
        by_people = [face in corrected for face in zip(rows["frame_index"], rows["face_index"], strict=True)]
        given_s = time_s[np.array(by_people, np.bool_)]
        spans = Segments.plain(np.full(len(given_s), track, np.int64), given_s, given_s + interval_s)
        found.append(
            ReportedPerson(
                who=who,
                label=who.label if names[who.label] == 1 else who.full_label,
                first_s=float(record["first_s"]),
                last_s=float(record["last_s"]) + interval_s,
                visible_s=float((ends_s - shown_s).sum()),
                frames=int(record["frames"]),
                shares={name: float(record[f"share_{name}"]) for name in EXPRESSIONS},
                uncertain=float(record["share_uncertain"]),
                rows=rows,
                episodes=episodes_of.get(track, episodes.iloc[:0]),
                seen=seen,
                corrected=spans.closed(0.5 * interval_s),
            )
        )
    return found


def most_visible(persons: Sequence[ReportedPerson], count: int) -> list[ReportedPerson]:
    """The ``count`` persons seen for the longest time, in order of their ID."""
    chosen = sorted(persons, key=lambda person: (-person.visible_s, person.track))[:count]
    return sorted(chosen, key=lambda person: person.track)


@dataclass(frozen=True, slots=True, eq=False)
class Presence:
    """Times at which a person, or anybody, was seen.

    Attributes:
        label: who; "anybody" for all together.
        seen: unbroken segments.
        gaps: time between two of them.
    """

    label: str
    seen: Segments
    gaps: Segments

    @property
    def seen_s(self) -> float:
        """Time seen, seconds."""
        return float(self.seen.duration_s.sum())

    @property
    def longest_gap(self) -> tuple[float, float] | None:
        """Start and end of the longest of the gaps, or None."""
        if not len(self.gaps):
            return None
        longest = int(self.gaps.duration_s.argmax())
        return float(self.gaps.start_s[longest]), float(self.gaps.end_s[longest])


@dataclass(frozen=True, slots=True)
class PresenceRow:
    """Time during which a person was seen without a longer break, as the row of a table.

    Attributes:
        label: who.
        start_s: when it begins, s.
        end_s: when it ends, s.
        gap_s: how long the person is not seen then, s; 0 after the last one.
    """

    label: str
    start_s: float
    end_s: float
    gap_s: float


def presence_rows(persons: Sequence[Presence]) -> list[PresenceRow]:
    """Presence as rows of a table, person after person."""
    rows = []
    for person in persons:
        gap_after = dict(zip(person.gaps.start_s.tolist(), person.gaps.duration_s.tolist(), strict=True))
        times = zip(person.seen.start_s.tolist(), person.seen.end_s.tolist(), strict=True)
        rows += [PresenceRow(person.label, start, end, gap_after.get(end, 0.0)) for start, end in times]
    return rows


def presence_of(persons: Sequence[ReportedPerson], start_s: float, end_s: float) -> tuple[Presence, list[Presence]]:
    """Presence between two moments, of anybody and of each person.

    The gaps of *anybody* include the time before the first and after the last face.
    """
    each = [Presence(person.label, person.seen, person.seen.gaps().lasting(_ROUNDING_S)) for person in persons]
    every = Segments.concatenated([person.seen for person in persons])
    anybody = every.regrouped(np.zeros(len(every), np.int64)).closed(_ROUNDING_S)
    edges = np.array([start_s, end_s], np.float64)
    around = Segments.concatenated([anybody, Segments.plain(np.zeros(2, np.int64), edges, edges)])
    nobody = around.closed(_ROUNDING_S).gaps()
    return Presence("anybody", anybody, nobody), each


@dataclass(frozen=True, slots=True)
class TransitionRow:
    """Expressions that followed one, with counts in ``EXPRESSIONS`` order."""

    name: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TransitionTable:
    """A square of counts.

    Attributes:
        rows: one per expression, in ``EXPRESSIONS`` order.
        most: the largest count, at least 1.
        total: all counts together.
        broken: pairs of episodes that were not counted, as too long a break lies between them.
        max_break_s: the longest break that counts, seconds.
    """

    rows: tuple[TransitionRow, ...]
    most: int
    total: int
    broken: int
    max_break_s: float


def read_transitions(
    run: StoredRun, tracks: Sequence[int], config: ReportConfig
) -> tuple[TransitionTable, dict[int, TransitionTable]]:
    """Transitions of everybody in a run, and of some persons, by the ID of a track.

    Persons without any transition are left out.
    """

    def read(who: str | None) -> TransitionTable:
        found = transitions(
            run,
            who=who,
            min_duration_s=config.min_episode_s,
            max_gap_s=config.max_gap_s,
        )
        return _table(found)

    each = {track: read(f"ID {track}") for track in tracks}
    return read(None), {track: table for track, table in each.items() if table.total}


def _table(found: pd.DataFrame) -> TransitionTable:
    counts = found.to_numpy().astype(int)
    rows = [
        TransitionRow(str(name), tuple(row)) for name, row in zip(found.index.tolist(), counts.tolist(), strict=True)
    ]
    return TransitionTable(
        tuple(rows), max(1, int(counts.max())), int(counts.sum()), int(found.attrs["broken"]), LONGEST_BREAK_S
    )
