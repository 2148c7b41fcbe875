"""The questions to the database by run, each asked at a moment of its own: ``queries.timeline(database, "last")``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import wraps
from typing import Any

from fertrack.evaluation.expression import corrections as scoring
from fertrack.reporting.exports import csv_export
from fertrack.reporting.html import comparison_facts
from fertrack.reporting.html import persons as report_persons
from fertrack.storage import rescore, written_files
from fertrack.storage import runs as stored_runs
from fertrack.storage.engine import Database
from fertrack.storage.facts import RunFacts
from fertrack.storage.people import actions as person_actions
from fertrack.storage.people import corrections as person_corrections
from fertrack.storage.people import persons as who
from fertrack.storage.people import thumbnails as portraits
from fertrack.storage.queries import batches, latency, replay, resample, run_faces, statistics, timing
from fertrack.storage.queries import events as happenings
from fertrack.storage.queries import markers as named_times
from fertrack.storage.queries import moments as conditions
from fertrack.storage.queries import synchrony as pairs
from fertrack.storage.queries import timeline as rows
from fertrack.storage.rights import data_subject as positions
from fertrack.storage.rights import personal_data
from fertrack.storage.written_files import OutputFile
from fertrack.tuning import diagnose as diagnosis


def asked(question: Callable[..., Any]) -> Callable[..., Any]:
    """The same question, asked of a database and a run (number, "last", or "all")."""

    @wraps(question)
    def ask(database: Database, run: int | str, *values: Any, **options: Any) -> Any:
        with database.runs(run) as stored:
            answer = question(stored, *values, **options)
            return iter(list(answer)) if isinstance(answer, Iterator) else answer

    return ask


timeline, episodes, tracks, label_index = (
    asked(rows.timeline),
    asked(rows.episodes),
    asked(rows.tracks),
    rows.label_index,
)
events, markers = asked(happenings.events), asked(named_times.markers)
persons, links, tracks_of_person = asked(who.persons), asked(who.links), asked(who.tracks_of_person)
actions, thumbnails = asked(person_actions.actions), asked(portraits.thumbnails)
corrections = asked(person_corrections.corrections)
expression_stats, transitions = asked(statistics.expression_stats), asked(statistics.transitions)
episodes_of_persons = asked(statistics.person_episodes)
windowed_synchrony = asked(pairs.windowed_synchrony)
since_marker, moments, synchrony = asked(latency.since_marker), asked(conditions.moments), asked(pairs.synchrony)
resampled_timeline = asked(resample.resampled_timeline)
runs = stored_runs.runs
speed_over_time, stage_timings = asked(timing.speed_over_time), asked(timing.stage_timings)
load_run_faces, stored_results = asked(run_faces.load_run_faces), asked(replay.stored_results)
run_coverage = asked(batches.run_coverage)
original_config, previous_config = asked(rescore.original_config), asked(rescore.previous_config)
diagnose = asked(diagnosis.diagnose)
corrected_faces, calibrator_of = asked(scoring.corrected_faces), asked(scoring.calibrator_of)
evaluate_corrections = asked(scoring.evaluate_corrections)
face_table, episode_table = asked(csv_export.face_table), asked(csv_export.episode_table)
load_persons = asked(report_persons.load_persons)
read_side, read_transitions = asked(comparison_facts.read_side), asked(report_persons.read_transitions)


def resolve_run(database: Database, run: int | str) -> int:
    """Number of a stored run."""
    with database.run(run) as stored:
        return stored.number


def run_facts(database: Database, run: int | str) -> RunFacts:
    """What is known of a stored run."""
    with database.run(run) as stored:
        return stored.facts


def names_of_tracks(database: Database, run: int | str) -> dict[int, str]:
    """``Ada (P3)`` or ``P3``, by track."""
    with database.run(run) as stored:
        return stored.subjects.full_labels()


def sightings(database: Database, run: int | str) -> Any:
    """Every detected face of a run."""
    with database.run(run) as stored:
        return positions.load_sightings(stored.connection, stored.number)


def holdings(database: Database, person: str, run: int | str | None = None) -> Any:
    """Everything that is held about a person."""
    with database.reading() as connection:
        return personal_data.read_personal_data(connection, database.name, person, run)


def outputs(database: Database, runs: Collection[int] | None = None, **options: Any) -> list[OutputFile]:
    """The files known to have been written."""
    with database.reading() as connection:
        return written_files.outputs(connection, None if runs is None else list(runs), **options)
