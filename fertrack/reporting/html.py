"""The HTML report of a run: one file that opens by double click, without a network.

Everything is inside: style, script, Plotly and the numbers. A content security policy in the file forbids the browser
to load anything else and to run any script but the two that were written here (named by their SHA-256). All text from
outside (file names, names of persons, notes) is escaped, by Jinja2 in the page and by ``charts`` in the charts.
"""

from __future__ import annotations

import base64
import hashlib
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from fertrack.errors import ReportError
from fertrack.reporting import charts, palette, wording
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.output_file import check_free, replacing
from fertrack.reporting.persons import Person, most_visible, persons_of
from fertrack.reporting.run_facts import cards, notices, read_calibration, source_rows
from fertrack.reporting.thinning import ThinLines, thin_lines
from fertrack.storage import queries
from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    import pandas as pd

    from fertrack.storage.engine import Database
    from fertrack.storage.queries import RunFacts

__all__ = ["write_html"]

MAX_OVERVIEW_ROWS = 120
"""Rows of the overview chart; more would be thinner than a letter on a page of sensible height."""

SHORTEST_AXIS_S = 0.1
"""A single picture has no duration, but its time axis must have a length."""

MAX_TABLE_ROWS = 200
"""Episodes listed under one chart; the CSV export has them all."""


def write_html(
    db: Database, run: int, path: Path, config: ReportConfig | None = None, *, overwrite: bool = False
) -> Path:
    """Write the HTML report of one run. The same stored run always gives the same bytes.

    Args:
        db: the open database.
        run: ID of the run.
        path: the file to write; its folder is made if missing.
        config: what is drawn and listed; the defaults if None.
        overwrite: replace a file that is already there.

    Returns:
        ``path``.

    Raises:
        OutputExistsError: ``path`` is already there and ``overwrite`` is False.
        RunNotFoundError: there is no such run.
        ReportError: the file could not be written.
    """
    config = config or ReportConfig()
    check_free(path, overwrite=overwrite)
    facts = queries.run_facts(db, run)
    interval_s = facts.summary.video_s / facts.summary.frames if facts.summary.frames else 0.0
    persons = persons_of(
        queries.persons(db, run),
        queries.timeline(db, run),
        queries.episodes(db, run, min_duration_s=config.min_episode_s, max_gap_s=config.max_gap_s),
        gap_s=config.max_gap_s,
        interval_s=interval_s,
    )
    cuts_s = queries.events(db, run, kind="cut")["time_s"].to_numpy(np.float64)
    page = _render(facts, persons, queries.stage_timings(db, run), cuts_s=cuts_s, config=config, interval_s=interval_s)
    with replacing(path, overwrite=overwrite) as file:
        file.write(page)
    return path


def _render(
    facts: RunFacts,
    persons: list[Person],
    timings: pd.DataFrame,
    *,
    cuts_s: npt.NDArray[np.float64],
    config: ReportConfig,
    interval_s: float,
) -> str:
    calibration = read_calibration(facts.calibration)
    start_s, end_s = _time_range(facts, persons)
    charted = most_visible(persons, config.max_charts)
    in_overview = most_visible(persons, MAX_OVERVIEW_ROWS)
    lines = {person.track: _lines(person, config.max_points, config.max_gap_s + interval_s) for person in charted}
    figures = {f"person-{p.track}": charts.person_chart(lines[p.track], p, start_s, end_s, cuts_s) for p in charted}
    if persons:
        figures["overview"] = charts.overview(in_overview, start_s, end_s, cuts_s)
    themes = {
        "light": {"page": palette.PAGE_LIGHT, "expressions": palette.LIGHT},
        "dark": {"page": palette.PAGE_DARK, "expressions": palette.DARK},
    }
    payload = {"themes": themes, "figures": figures}
    seen_s = sum(person.visible_s for person in persons)
    uncertain = sum(person.uncertain * person.visible_s for person in persons) / seen_s if seen_s > 0 else None
    # Markup: what is not escaped again is our own files, Plotly, and JSON that to_json has escaped.
    scripts = [_plotly_script(), Markup(_template_text("report.js"))]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            facts=facts,
            settings=_without_home(facts.config_toml),
            notices=notices(facts, calibration, len(persons)),
            calibration=calibration,
            cards=cards(facts, len(persons), uncertain),
            facts_rows=source_rows(facts, calibration, len(cuts_s)),
            cuts=len(cuts_s),
            persons=persons,
            charted=charted,
            in_overview=in_overview,
            slices_s={track: line.slice_s for track, line in lines.items()},
            timings=_timing_rows(timings),
            config=config,
            expressions=EXPRESSIONS,
            uncertain_name=palette.UNCERTAIN_NAME,
            max_table_rows=MAX_TABLE_ROWS,
            palette=palette,
            style=Markup(_template_text("report.css")),
            script_policy=" ".join(f"'{_digest(script)}'" for script in scripts),
            scripts=scripts,
            payload=Markup(charts.to_json(payload)),
        )
    )


def _lines(person: Person, max_points: int, max_step_s: float) -> ThinLines:
    values = person.rows[[f"p_{name}" for name in EXPRESSIONS]].to_numpy(np.float32)
    return thin_lines(person.rows["time_s"].to_numpy(np.float64), values, max_points, max_step_s)


def _time_range(facts: RunFacts, persons: list[Person]) -> tuple[float, float]:
    """First and last moment on every time axis: the part of the video that was asked for, seconds."""
    start_s = min([_asked_from_s(facts.config_toml), *(person.first_s for person in persons)])
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


def _timing_rows(timings: pd.DataFrame) -> list[dict[str, Any]]:
    """Time per stage with its share of the sum of all stages."""
    total_s = float(timings["total_s"].sum())
    rows: list[dict[str, Any]] = [
        {str(name): value for name, value in row.items()} for row in timings.to_dict("records")
    ]
    return [row | {"share": row["total_s"] / total_s if total_s > 0 else 0.0} for row in rows]


def _digest(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _template_text(name: str) -> str:
    return resources.files("fertrack.reporting").joinpath("templates", name).read_text(encoding="utf-8")


def _plotly_script() -> Markup:
    """Plotly.js as the installed plotly package carries it, made safe to stand in a ``<script>`` element."""
    try:
        text = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    except OSError as error:
        raise ReportError(
            f"plotly's script is missing from the installed package ({error}): reinstall plotly"
        ) from error
    return Markup(text.replace("</script", "<\\/script"))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fertrack.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(wording, name) for name in ("clock", "count", "duration", "percent", "plural")
    }
    return environment
