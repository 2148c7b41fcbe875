"""The HTML report of a run: one file that opens by double click, without a network.

Everything is inside: style, script, Plotly and the numbers. A content security policy in the file forbids the browser
to load anything else and to run any script but the two that were written here (named by their SHA-256). All text from
outside (file names, names of persons, notes) is escaped, by Jinja2 in the page and by ``charts`` in the charts.

Only where it is asked for is there a video as well: inside the file, or linked, and then the policy allows just that.
"""

from __future__ import annotations

import base64
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fertrack.errors import ReportError
from fertrack.files import check_free, replacing
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.html import charts, section_charts
from fertrack.reporting.html.axes import Mark
from fertrack.reporting.html.lines import WINDOW_S, ThinLines, spread_bands, thin_lines
from fertrack.reporting.html.page import render_page
from fertrack.reporting.html.persons import (
    ReportedPerson,
    TransitionTable,
    load_persons,
    most_visible,
    presence_of,
    presence_rows,
    read_transitions,
    uncertain_share,
)
from fertrack.reporting.html.run_facts import (
    Speed,
    calibration_rows,
    cards,
    notices,
    read_calibration,
    read_speed,
    source_rows,
)
from fertrack.reporting.html.summary import key_moments
from fertrack.reporting.html.video import Film, find_film
from fertrack.storage.people.corrected_labels import count_corrected
from fertrack.storage.people.thumbnails import thumbnails
from fertrack.storage.queries.markers import markers
from fertrack.storage.written_files import Report, drawn_videos, record_output
from fertrack.types import EXPRESSIONS, Float64Array

if TYPE_CHECKING:
    from fertrack.storage.engine import Database
    from fertrack.storage.facts import RunFacts
    from fertrack.storage.stored_run import StoredRun

__all__ = ["write_html"]

MAX_OVERVIEW_ROWS = 120
"""Rows of the overview chart; more would be thinner than a letter on a page of sensible height."""

SHORTEST_AXIS_S = 0.1
"""A single image has no duration, but its time axis must have a length."""

MAX_TABLE_ROWS = 200
"""Episodes listed under one chart; the CSV export has them all."""

_BAND_SHARE = 4
"""A band's outline has this many times fewer points than its line may have: it is a shade, not a value to read."""


def write_html(
    db: Database,
    run: int | str,
    path: Path,
    config: ReportConfig | None = None,
    *,
    video: Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the HTML report of one run. The same stored run always gives the same bytes.

    Args:
        db: the open database.
        run: number of the run, or "last".
        path: the file to write; its folder is made if missing.
        config: what is drawn and listed, and whether the video and images of faces are in it; the defaults if None.
        video: the video to link or embed, where ``config.video`` asks for one; if None, the annotated one beside
            ``path``, or the source.
        overwrite: replace a file that is already there.

    Returns:
        ``path``.

    Raises:
        OutputExistsError: ``path`` is already there and ``overwrite`` is False.
        RunNotFoundError: there is no such run.
        ReportError: the file could not be written, or the video cannot be linked or embedded.
    """
    config = config or ReportConfig()
    check_free(path, overwrite=overwrite)
    with db.run(run) as stored:
        page, film = _read_page(stored, path, config, video)
    with replacing(path, overwrite=overwrite) as file:
        file.write(page)
    made = Report(config, None if film is None else film.path.absolute())
    record_output(db, stored.number, path, made)
    return path


def _read_page(run: StoredRun, path: Path, config: ReportConfig, video: Path | None) -> tuple[str, Film | None]:
    """The page of one run as it is stored at one moment, and the video that it plays."""
    facts = run.facts
    persons, interval_s = load_persons(run, config)
    speed = read_speed(run)
    start_s, end_s = _time_range(facts, persons, speed.first_s)
    charted = most_visible(persons, config.max_charts)
    drawn = drawn_videos(run.connection, run.number)
    film = find_film(
        config.video,
        facts,
        path,
        given=video,
        max_embed_mb=config.max_embed_mb,
        begins_s=speed.first_s if _asked_from_s(facts.config_toml) > 0.0 else 0.0,
        recorded=drawn,
    )
    if film is not None and run.erased_persons and film.path.resolve() not in {each.resolve() for each in drawn}:
        raise ReportError(
            f"somebody was erased from run {run.number}, and {film.name} shows them as before: name a video that "
            f"fertrack has drawn since with --video-file (`fertrack render {run.number}` draws one), or use "
            "--video none"
        )
    page = _render(
        facts,
        persons,
        charted,
        corrections=(count_corrected(run.connection, run.number), run.corrected_faces),
        start_s=start_s,
        end_s=end_s,
        interval_s=interval_s,
        cuts_s=run.cuts.time_s,
        marks=_markers(run),
        speed=speed,
        transitions=read_transitions(run, [person.track for person in charted], config),
        thumbnails=_thumbnails(run) if config.thumbnails else {},
        film=film,
        config=config,
    )
    return page, film


def _render(
    facts: RunFacts,
    persons: list[ReportedPerson],
    charted: list[ReportedPerson],
    *,
    corrections: tuple[int, int],
    start_s: float,
    end_s: float,
    interval_s: float,
    cuts_s: Float64Array,
    marks: list[Mark],
    speed: Speed,
    transitions: tuple[TransitionTable, dict[int, TransitionTable]],
    thumbnails: dict[int, str],
    film: Film | None,
    config: ReportConfig,
) -> str:
    calibration = read_calibration(facts.calibration)
    in_overview = most_visible(persons, MAX_OVERVIEW_ROWS)
    anybody, presence = presence_of(in_overview, start_s, end_s)
    lines = {person.track: _lines(person, config, config.max_gap_s + interval_s) for person in charted}
    figures: dict[str, Any] = {}
    for person in charted:
        line, bands = lines[person.track]
        figures[f"person-{person.track}"] = charts.person_chart(
            line, person, start_s, end_s, cuts_s, bands=bands, markers=marks
        )
    if persons:
        figures["overview"] = charts.overview(in_overview, start_s, end_s, cuts_s, markers=marks)
        figures["presence"] = section_charts.presence_chart(anybody, presence, start_s, end_s, cuts_s)
    if calibration.reliability:
        figures["reliability"] = section_charts.reliability_chart(calibration.reliability)
    if speed.rows:
        figures["speed"] = section_charts.speed_chart(speed.table, start_s, end_s)
    uncertain = uncertain_share(persons)
    return render_page(
        "report.html.j2",
        figures,
        {
            "title": f"{config.title or facts.source_name} – expression report",
            "key_moments": key_moments(charted),
            "markers": marks,
            "fertrack_version": facts.fertrack_version,
            "facts": facts,
            "settings": _without_home(facts.config_toml),
            "notices": notices(facts, calibration, len(persons), *corrections),
            "corrected_faces": corrections[1],
            "calibration": calibration,
            "calibration_section": ("calibration", "Calibration"),
            "calibration_rows": calibration_rows(calibration, uncertain),
            "cards": cards(facts, len(persons), uncertain),
            "facts_rows": source_rows(facts, calibration, len(cuts_s)),
            "cuts_s": cuts_s.tolist(),
            "start_s": start_s,
            "end_s": end_s,
            "persons": persons,
            "charted": charted,
            "in_overview": in_overview,
            "anybody": anybody,
            "presence_rows": presence_rows(presence),
            "slices_s": {track: line.slice_s for track, (line, _) in lines.items()},
            "window_s": WINDOW_S,
            "transitions": transitions[0],
            "transitions_of": transitions[1],
            "timings": speed.stages,
            "speed": speed.rows,
            "speed_window_s": speed.window_s,
            "speed_sentence": speed.sentence,
            "thumbnails": thumbnails,
            "film": film,
            "config": config,
            "max_table_rows": MAX_TABLE_ROWS,
        },
        more=("video.js",) if film else (),
        media="" if film is None else "blob:" if film.mode == "embed" else "'self' file:",
    )


def _lines(person: ReportedPerson, config: ReportConfig, max_step_s: float) -> tuple[ThinLines, Any]:
    """A person's lines and the bands around them, thinned."""
    time_s = person.rows["time_s"].to_numpy(np.float64)
    smoothed, single = (
        person.rows[[f"{kind}_{name}" for name in EXPRESSIONS]].to_numpy(np.float32) for kind in ("p", "raw")
    )
    bands = spread_bands(
        time_s, smoothed, single, max_points=max(4, config.max_points // _BAND_SHARE), max_step_s=max_step_s
    )
    return thin_lines(time_s, smoothed, config.max_points, max_step_s), bands


def _time_range(facts: RunFacts, persons: list[ReportedPerson], first_s: float) -> tuple[float, float]:
    """First and last moment on every time axis, seconds: from the first analysed frame to the end of the last."""
    start_s = min([first_s, *(person.first_s for person in persons)])
    end_s = max([start_s + facts.summary.video_s, *(person.last_s for person in persons)])
    return start_s, max(end_s, start_s + SHORTEST_AXIS_S)


def _asked_from_s(config_toml: str) -> float:
    """Where in the video the run was told to begin, seconds; 0 if its configuration does not say."""
    try:
        return float(tomllib.loads(config_toml)["input"]["from_s"])
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError):
        return 0.0


def _without_home(config_toml: str) -> str:
    """The settings with the user's own folder written as ``~``: reports are handed on."""
    home = str(Path.home())
    return config_toml.replace(home, "~") if len(home) > 1 else config_toml


def _markers(run: StoredRun) -> list[Mark]:
    found = []
    for row in markers(run).head(MAX_TABLE_ROWS).to_dict("records"):
        start_s, end_s = float(row["time_s"]), float(row["end_s"])
        found.append(Mark(str(row["label"]), start_s, start_s if np.isnan(end_s) else end_s))
    return found


def _thumbnails(run: StoredRun) -> dict[int, str]:
    return {track: base64.b64encode(jpeg).decode("ascii") for track, jpeg in thumbnails(run).items()}
