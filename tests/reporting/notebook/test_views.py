"""What runs and persons show of themselves in a notebook, and that every answer's columns have units."""

from __future__ import annotations

import html.parser
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.io as pio
import pytest
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError
from fertrack.imaging.palette import LIGHT
from fertrack.process import ProcessResult
from fertrack.reporting.notebook.figure import PLOTLY_CONFIG
from fertrack.reporting.notebook.views import run_html
from fertrack.storage.engine import Database, open_database
from fertrack.storage.models import Run, TrackRow
from fertrack.storage.people.corrections import GivenLabel, store_corrections
from fertrack.types import EXPRESSIONS, RunSummary
from tests.support import queries
from tests.support.queries import corrections
from tests.support.reporting_runs import ScriptedPerson, ScriptedRun, store_run

RUN = ScriptedRun(
    persons=(
        ScriptedPerson([(0, 0.8)], [(0, "neutral"), (0.52, "happiness")], "<b>Ana</b> & 李"),
        ScriptedPerson([(0, 2)], [(0, "sadness"), (1.0, "uncertain")]),
        ScriptedPerson([(1.5, 2)], [(0, "anger")]),
    ),
    cuts=(35,),
    source_name="<script>clip.mp4",
)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with open_database(tmp_path_factory.mktemp("notebook") / "fertrack.db", create=True) as database:
        store_run(database, RUN)
        with database.writing() as connection:  # track 3 is Ana's return
            ana = connection.scalar(sa.select(TrackRow.person_id).where(TrackRow.number == 1))
            connection.execute(sa.update(TrackRow).where(TrackRow.number == 3).values(person_id=ana))
        store_run(database, ScriptedRun())
        yield database


@pytest.fixture
def result(db: Database) -> ProcessResult:
    summary = RunSummary("complete", 50, 82, 3, 0, 0, 1.0, 2.0)
    return ProcessResult(1, summary, db.url, db.name, Path("out & more/a.mp4"), None, (Path("a.csv"),))


class Tags(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, _attrs: Any) -> None:
        assert tag in {"p", "b", "table", "thead", "tbody", "tr", "th", "td"}, tag
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_run_shows_its_persons_and_files(result: ProcessResult) -> None:
    shown = Tags(result._repr_html_()).text
    for expected in ("Run 1, complete", "<script>clip.mp4", "not stated", "out & more/a.mp4", "a.csv"):
        assert expected in shown
    assert "<b>Ana</b> & 李" in shown, "a name is text"
    assert any(cell.startswith("neutral") and "happiness" in cell for cell in shown)


def test_a_run_without_persons_shows_its_facts(db: Database) -> None:
    empty = ProcessResult(2, RunSummary("complete", 50, 0, 0, 0, 0, 1.0, 2.0), db.url, db.name, None, None)
    shown = Tags(empty._repr_html_()).text
    assert "Run 2, complete" in shown
    assert "file" not in shown


def test_a_person_is_all_tracks_of_theirs(result: ProcessResult) -> None:
    ana, back = result.person(1), result.person(3)
    assert ana == back, "by whichever track"
    timeline = ana.timeline()
    assert timeline["track"].unique().tolist() == [1, 3]
    assert timeline.attrs["units"]["time_s"] == "s"
    assert ana.episodes()["expression"].tolist() == ["neutral", "happiness", "anger"]
    assert ana.episodes().attrs["units"]["duration_s"] == "s"
    assert result.person(2).timeline()["track"].unique().tolist() == [2]
    with pytest.raises(RunNotFoundError, match="no person with ID 7"):
        result.person(7)
    assert "url" not in repr(ana)


def test_a_person_is_found_by_what_the_command_line_takes(db: Database, result: ProcessResult) -> None:
    import fertrack

    run = fertrack.open_run(1, db.url)
    for who in ("P1", "<b>Ana</b> & 李", "ID 3", "1"):
        assert run.person(who) == result.person(who) == run.person(1)
    assert run.person("ID 2").track == 2
    with pytest.raises(RunNotFoundError, match="nobody called 'P5'"):
        run.person("P5")


def test_each_question_is_a_module_of_its_own() -> None:
    for name in ("statistics", "moments", "synchrony", "latency", "resample", "timing"):
        assert importlib.import_module(f"fertrack.storage.queries.{name}").__all__


def test_consent_is_shown(db: Database) -> None:
    with db.writing() as connection:
        connection.execute(sa.update(Run).where(Run.id == 1).values(consent="forms 12-19"))
    assert "forms 12-19" in Tags(run_html(db.url, 1)).text


def test_a_person_shows_their_episodes(result: ProcessResult) -> None:
    shown = Tags(result.person(1)._repr_html_()).text
    assert any("<b>Ana</b> & 李" in text for text in shown)
    assert [text for text in shown if text in EXPRESSIONS] == ["neutral", "happiness", "anger"]
    assert "0:00.52" in shown


def test_a_plot_has_the_lines_the_database_has(result: ProcessResult) -> None:
    figure = result.person(2).plot()
    lines = {trace.name: trace for trace in figure.data if (trace.meta or {}).get("kind") == "line"}
    assert set(lines) == set(EXPRESSIONS)
    stored = result.timeline(track=2)
    np.testing.assert_allclose(lines["sadness"].y, stored["p_sadness"])
    assert {name: line.line.color for name, line in lines.items()} == {name: LIGHT[name] for name in EXPRESSIONS}
    kinds = [trace.meta["kind"] for trace in figure.data]
    assert (kinds.count("band"), kinds.count("cut"), kinds.count("seen")) == (1, 1, 1)
    title = result.person(1).plot().layout.title.text
    assert "&lt;b&gt;Ana&lt;/b&gt; &amp; 李" in title, "Plotly reads markup in its texts"


def test_a_plot_has_the_shades_of_the_report(result: ProcessResult) -> None:
    figure = result.person(2).plot()
    shades = [trace for trace in figure.data if trace.meta["kind"] == "spread"]
    assert {trace.legendgroup for trace in shades} == set(EXPRESSIONS), "the legend hides a line with its shade"
    assert all(trace.fillcolor.startswith("rgba(") and not trace.showlegend for trace in shades)


def test_a_stored_run_shows_itself_without_being_processed_again(db: Database, result: ProcessResult) -> None:
    import fertrack

    run = fertrack.open_run(1, db.url)
    assert "<b>Ana</b> & 李" in "".join(Tags(run._repr_html_()).text)
    assert "url" not in repr(run)
    pd.testing.assert_frame_equal(run.persons(), result.persons())
    assert len(run.timeline(track=2)) == len(run.person(2).timeline()) == 50
    assert run.episodes()["track"].tolist() == result.episodes()["track"].tolist()
    assert fertrack.open_run("last", db.url).run == 2
    with pytest.raises(RunNotFoundError):
        fertrack.open_run(9, db.url)


def test_a_run_draws_everybody_in_one_call(db: Database) -> None:
    import fertrack

    figure = fertrack.open_run(1, db.url).plot()
    bands = [trace for trace in figure.data if trace.meta["kind"] == "band"]
    assert {trace.name for trace in bands} == {"neutral", "happiness", "sadness", "anger"}
    assert all(trace.showlegend for trace in bands)
    assert list(figure.layout.yaxis.ticktext)[1].endswith("</span> ID 2")
    assert shown_config(figure._repr_html_())["showSendToCloud"] is False
    with pytest.raises(RunNotFoundError, match="nobody was followed in run 2"):
        fertrack.open_run("last", db.url).plot()


def test_what_is_known_of_a_person_says_how_much_is_not_known(result: ProcessResult) -> None:
    for table in (result.person(2).timeline(), result.person(2).episodes()):
        assert table.attrs["coverage"] == pytest.approx({"certain_s": 1.0, "uncertain_s": 1.0, "no_face_s": 0.0})
    ana = result.person(1).timeline().attrs["coverage"]  # seen 0 to 0.8 s and 1.52 to 2 s
    assert ana == pytest.approx({"certain_s": 1.28, "uncertain_s": 0.0, "no_face_s": 0.72})
    everybody = result.timeline().attrs["coverage"]
    assert everybody == pytest.approx({"certain_s": 2.28, "uncertain_s": 1.0, "no_face_s": 0.72})


def shown_config(text: str) -> dict[str, Any]:
    """The configuration in Plotly's HTML: the last argument of Plotly.newPlot."""
    call = text[text.rindex("Plotly.newPlot(") :]
    start = re.search(r'\{"responsive"', call)
    assert start is not None
    config, _ = json.JSONDecoder().raw_decode(call[start.start() :])
    assert isinstance(config, dict)
    return config


def test_no_way_of_showing_a_plot_offers_an_upload(
    result: ProcessResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = result.person(1).plot()
    figure.write_html(tmp_path / "a.html", include_plotlyjs=False)
    monkeypatch.setattr(pio.renderers, "default", "plotly_mimetype")
    bundle = figure._repr_mimebundle_()["application/vnd.plotly.v1+json"]
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(pio, "show", lambda _figure, *_args, **kwargs: calls.append(kwargs["config"]))
    figure.show()
    figure._ipython_display_()
    configs = [
        *calls,
        bundle["config"],
        shown_config(figure._repr_html_()),
        shown_config((tmp_path / "a.html").read_text(encoding="utf-8")),
    ]
    assert len(configs) == 5
    for config in configs:
        assert config["showSendToCloud"] is False
        assert config["modeBarButtons"] == PLOTLY_CONFIG["modeBarButtons"]

    assert "<script src=" not in figure._repr_html_()


def test_every_number_of_every_answer_has_a_unit(db: Database) -> None:
    store_corrections(db, 1, [GivenLabel(row=2, label=0, frame_index=0, face_index=0)])
    answers: dict[str, pd.DataFrame] = {
        "runs": queries.runs(db),
        "timeline": queries.timeline(db, 1),
        "episodes": queries.episodes(db, 1),
        "tracks": queries.tracks(db, 1),
        "persons": queries.persons(db, 1),
        "links": queries.links(db, 1),
        "events": queries.events(db, 1),
        "stage_timings": queries.stage_timings(db, 1),
        "corrections": corrections(db, 1),
    }
    for name, table in answers.items():
        units = table.attrs["units"]
        assert set(units) <= set(table.columns), name
        for column in table.columns:
            if table[column].dtype.kind in "fM":
                assert column in units, f"{name}: {column}"
            assert units.get(column) in {None, "s", "ms", "px", "1", "UTC"}, f"{name}: {column}"
        assert set(table.attrs["columns"]) == set(table.columns), f"{name}: a column without its meaning"
        if name != "runs":
            assert table.attrs["run"] == 1
        documented = str(getattr(queries, name, corrections).__doc__)
        for column in table.columns:
            stem = column.split("_")[0] if column.endswith(EXPRESSIONS) else column
            assert stem in documented, f"{name}: {column} is not documented"
