"""Notebook views of a run and a person: small tables, and a timeline in one call."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fertrack.errors import RunNotFoundError
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.html import charts
from fertrack.reporting.html.axes import plotly_text
from fertrack.reporting.html.lines import spread_bands, thin_lines
from fertrack.reporting.html.persons import ReportedPerson, load_persons
from fertrack.reporting.html.wording import clock, count, duration, percent, plural
from fertrack.storage.engine import open_database
from fertrack.storage.people.persons import persons as ask_persons
from fertrack.storage.queries.batches import run_coverage
from fertrack.storage.queries.timeline import episodes as ask_episodes
from fertrack.storage.queries.timeline import timeline as ask_timeline
from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    import pandas as pd

    from fertrack.reporting.notebook.figure import OfflineFigure
    from fertrack.storage.stored_run import StoredRun

__all__ = ["PersonView", "RunView", "open_run", "run_html"]

_MIN_SHARE = 0.05
"""Expressions with a smaller share of the time are not named in a table."""

SHORTEST_AXIS_S = 0.1
"""A single image has no duration, but its time axis must have a length."""


@dataclass(frozen=True, slots=True)
class PersonView:
    """One person of a stored run, ready to be asked and drawn.

    Attributes:
        run: ID of the run.
        track: ID of the person's first track.
    """

    _database_url: str = field(repr=False)  # it may hold a password
    run: int
    track: int

    @classmethod
    def find(cls, database_url: str, run: int, who: int | str) -> PersonView:
        """The person who was followed as this track; or, as on the command line, a name, "P3" or "ID 5".

        Raises:
            RunNotFoundError: the run has no such track or person.
        """
        with open_database(database_url) as db, db.run(run) as stored:
            subjects = stored.subjects
        if isinstance(who, str):
            return cls(database_url, run, int(subjects.track[subjects.find(who)[0]]))
        owner = subjects.first_tracks().get(who)
        if owner is None:
            raise RunNotFoundError(f"run {run} has no person with ID {who}: result.persons() lists them")
        return cls(database_url, run, owner)

    def timeline(self) -> pd.DataFrame:
        """One row per frame in which the person was seen; columns as from ``storage.queries.timeline``."""
        return self._person().rows

    def episodes(self) -> pd.DataFrame:
        """One row per segment of time with one expression; columns as from ``storage.queries.timeline.episodes``."""
        return self._person().episodes

    def plot(self) -> OfflineFigure:
        """The person's timeline as a Plotly figure, as in the report: lines, shades around them, episodes below."""
        from fertrack.reporting.notebook.figure import painted

        config = ReportConfig()
        with open_database(self._database_url) as db, db.run(self.run) as stored:
            person, interval_s = _load(stored, self.track, config)
            cuts_s = stored.cuts.time_s
        rows = person.rows
        time_s = rows["time_s"].to_numpy(np.float64)
        smoothed, single = (
            rows[[f"{kind}_{name}" for name in EXPRESSIONS]].to_numpy(np.float32) for kind in ("p", "raw")
        )
        step_s = config.max_gap_s + interval_s
        lines = thin_lines(time_s, smoothed, config.max_points, step_s)
        bands = spread_bands(time_s, smoothed, single, max_points=config.max_points, max_step_s=step_s)
        end_s = max(person.last_s, person.first_s + SHORTEST_AXIS_S)
        inside = cuts_s[(cuts_s >= person.first_s) & (cuts_s <= end_s)]
        figure = painted(charts.person_chart(lines, person, person.first_s, end_s, inside, bands=bands))
        figure.update_layout(title={"text": plotly_text(person.label), "x": 0.01, "y": 0.98, "yanchor": "top"})
        return figure

    def _person(self) -> ReportedPerson:
        with open_database(self._database_url) as db, db.run(self.run) as stored:
            return _load(stored, self.track, ReportConfig())[0]

    def _repr_html_(self) -> str:
        person = self._person()
        facts = [
            ("seen", f"{clock(person.first_s)} to {clock(person.last_s)}, for {duration(person.visible_s)}"),
            ("frames", count(person.frames)),
            ("share of time", _shares(person.shares, person.uncertain)),
            ("episodes", str(len(person.episodes))),
        ]
        rows = [
            (
                row["expression"],
                clock(row["start_s"], 2),
                clock(row["end_s"], 2),
                duration(row["duration_s"]),
                percent(row["mean_probability"]),
            )
            for row in person.episodes.to_dict("records")
        ]
        columns = ("expression estimate", "from", "to", "length", "mean probability")
        return _titled(f"{person.label}, run {self.run}", facts) + _table(columns, rows)


@dataclass(frozen=True, slots=True)
class RunView:
    """A stored run, ready to be asked and drawn; shows itself in a notebook.

    Attributes:
        run: its number.
    """

    _database_url: str = field(repr=False)  # it may hold a password
    run: int

    def persons(self) -> pd.DataFrame:
        """One row per person; columns as from ``storage.people.persons.persons``."""
        with open_database(self._database_url) as db, db.run(self.run) as stored:
            return ask_persons(stored)

    def timeline(self, track: int | None = None) -> pd.DataFrame:
        """One row per face and frame, of one person or of all; columns as from ``storage.queries.timeline``."""
        with open_database(self._database_url) as db, db.run(self.run) as stored:
            return ask_timeline(stored, track=track)

    def episodes(self, track: int | None = None) -> pd.DataFrame:
        """One row per segment of time with one expression; columns as from ``storage.queries.timeline.episodes``."""
        with open_database(self._database_url) as db, db.run(self.run) as stored:
            return ask_episodes(stored, track=track)

    def person(self, who: int | str) -> PersonView:
        """One person, by the ID of a track; or, as on the command line, by a name, "P3" or "ID 5".

        Raises:
            RunNotFoundError: the run has no such track or person.
        """
        return PersonView.find(self._database_url, self.run, who)

    def plot(self) -> OfflineFigure:
        """Everybody's episodes as a Plotly figure, one row per person.

        Raises:
            RunNotFoundError: nobody was followed in the run.
        """
        from fertrack.reporting.notebook.figure import painted

        with open_database(self._database_url) as db, db.run(self.run) as stored:
            persons, _ = load_persons(stored, ReportConfig())
            cuts_s = stored.cuts.time_s
        if not persons:
            raise RunNotFoundError(f"nobody was followed in run {self.run}: there is nothing to draw")
        start_s = min(person.first_s for person in persons)
        end_s = max(*(person.last_s for person in persons), start_s + SHORTEST_AXIS_S)
        return painted(charts.overview(persons, start_s, end_s, cuts_s))

    def _repr_html_(self) -> str:
        return run_html(self._database_url, self.run)


def open_run(run: int | str = "last", database: str | Path = "fertrack-out/fertrack.db") -> RunView:
    """A stored run, to be asked and drawn in a notebook.

    Args:
        run: number of the run, or "last".
        database: file or URL.

    Raises:
        RunNotFoundError: no such run is stored.
        StorageError: the database cannot be opened.
    """
    with open_database(str(database)) as db, db.run(run) as stored:
        return RunView(db.url, stored.number)


def run_html(database_url: str, run: int, files: Sequence[Path] = ()) -> str:
    """A run for a notebook: its facts, its persons, and where its files are.

    Args:
        database_url: where it is stored.
        run: ID of the run.
        files: what was written besides the database.
    """
    with open_database(database_url) as db, db.run(run) as stored:
        facts, persons, called, name = stored.facts, ask_persons(stored), stored.subjects.labels(), db.name
    summary = facts.summary
    lines = [
        ("source", facts.source_name),
        ("video", f"{duration(summary.video_s)}, {plural(summary.frames, 'frame')}, {plural(summary.faces, 'face')}"),
        ("speed", f"{summary.fps:.1f} frames per second, {summary.real_time_factor:.2g}× real time"),
        ("purpose", facts.purpose or "not stated"),
        ("consent", facts.consent or "not stated"),
        *(("file", str(path)) for path in files),
        ("database", name),
    ]
    rows = [
        (
            called.get(row["track"], f"ID {row['track']}"),
            clock(row["first_s"]),
            clock(row["last_s"]),
            _shares({name: row[f"share_{name}"] for name in EXPRESSIONS}, row["share_uncertain"]),
        )
        for row in persons.to_dict("records")
    ]
    columns = ("person", "first seen", "last seen", "expression estimates, share of time")
    return _titled(f"Run {facts.id}, {facts.status}", lines) + _table(columns, rows)


def _load(run: StoredRun, track: int, config: ReportConfig) -> tuple[ReportedPerson, float]:
    """A person with all tracks of theirs, and how long a frame is shown, seconds."""
    persons, interval_s = load_persons(run, config)
    owner = run.subjects.first_tracks()[track]
    person = next(person for person in persons if person.track == owner)
    covered = run_coverage(run, tracks=person.who.tracks)
    for table in (person.rows, person.episodes):
        table.attrs.update(coverage=covered)
    return person, interval_s


def _shares(shares: dict[str, float], uncertain: float) -> str:
    named = sorted((item for item in shares.items() if item[1] >= _MIN_SHARE), key=lambda item: -item[1])
    undecided = [("uncertain", uncertain)] if uncertain > 0 else []
    return ", ".join(f"{name} {percent(share)}" for name, share in [*named, *undecided])


def _titled(title: str, facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(value)}</td></tr>'
        for name, value in facts
    )
    return f"<p><b>{html.escape(title)}</b></p><table>{rows}</table>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return ""
    head = "".join(f'<th style="text-align:left">{html.escape(column)}</th>' for column in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:left">{html.escape(str(cell))}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
