"""The HTML report as text: complete in itself, honest, escaped, and well formed for people and screen readers."""

from __future__ import annotations

import base64
import datetime as dt
import doctest
import hashlib
import itertools
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
import sqlalchemy as sa

from fertrack.errors import OutputExistsError, ReportError, RunNotFoundError
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig
from fertrack.imaging import palette
from fertrack.reid.linker import LinkPlan, PersonLink, PlannedPerson
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.html import axes, charts, wording
from fertrack.reporting.html.lines import thin_lines
from fertrack.reporting.html.page import PLOTLY_FILE, PLOTLY_SHA256
from fertrack.reporting.html.persons import load_persons
from fertrack.reporting.html.run_facts import notices, read_calibration, source_rows
from fertrack.reporting.html.run_page import write_html
from fertrack.storage.answer_models import Marker
from fertrack.storage.engine import Database, open_database
from fertrack.storage.people.links import store_plan
from fertrack.types import EXPRESSIONS
from tests.support import queries
from tests.support.reporting_runs import ScriptedPerson, ScriptedRun, store_run

TWO_PERSONS = ScriptedRun(
    persons=(
        ScriptedPerson([(0, 0.8), (1.5, 2)], [(0, "neutral"), (0.52, "happiness"), (1.6, "uncertain")], "Ana"),
        ScriptedPerson([(0, 2)], [(0, "sadness"), (1.0, "uncertain")]),
    )
)
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>&\u2028"


class Page(HTMLParser):
    """What the tests ask of a page."""

    VOID = frozenset({"meta", "input", "br", "img", "link", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], f"never closed: {self._open}"
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            attrs, text = self.scripts[-1]
            self.scripts[-1] = (attrs, text + data)
        elif self._open[-1:] != ["style"]:
            self.words.append(data)

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for found, attrs in self.tags if found == tag]

    @property
    def figures(self) -> dict[str, dict]:
        data = json.loads(next(text for attrs, text in self.scripts if attrs.get("id") == "report-data"))
        for trace in (trace for figure in data["figures"].values() for trace in figure["data"]):
            trace |= {k: data["arrays"][v["array"]] for k, v in trace.items() if isinstance(v, dict) and "array" in v}
        return data["figures"]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with open_database(tmp_path_factory.mktemp("html") / "fertrack.db", create=True) as database:
        yield database


def report(db: Database, run: ScriptedRun, folder: Path, config: ReportConfig | None = None) -> Page:
    path = write_html(db, store_run(db, run), folder / "report.html", config, overwrite=True)
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(db: Database, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return report(db, TWO_PERSONS, tmp_path_factory.mktemp("page"))


# Complete in itself ----------------------------------------------------------------------------------------------


def square(number: int) -> str:
    """The person's colour before the name, in Plotly's HTML."""
    return f'<span style="color:{palette.person_colour(number)}">■</span> '


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    assert page.attributes("src") == []
    assert page.all("link") == page.all("img") == page.all("iframe") == page.all("base") == []
    assert all(target.startswith("#") for target in page.attributes("href"))
    (style,) = re.findall(
        r"<style>(.*?)</style>", (Path(charts.__file__).parents[1] / "templates/page.html.j2").read_text(), re.S
    )
    css = style + (Path(charts.__file__).parents[1] / "templates/report.css").read_text()
    assert "@import" not in css
    assert "url(" not in css


def test_the_policy_forbids_the_network_and_names_exactly_the_two_scripts(page: Page) -> None:
    policy = page.all("meta")[1]["content"] or ""
    assert page.all("meta")[1]["http-equiv"] == "Content-Security-Policy"
    assert policy.startswith("default-src 'none'; script-src ")
    allowed = set(re.findall(r"'(sha256-[^']+)'", policy))
    running = [text for attrs, text in page.scripts if attrs.get("type") != "application/json"]
    assert len(running) == 2
    assert {
        "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in running
    } == allowed
    assert not re.search(r"https?:|\*|unsafe-eval|script-src[^;]*unsafe-inline", policy)
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


def test_plotly_is_inside_once(page: Page) -> None:
    assert sum("plotly.js (basic" in text[:400] for _, text in page.scripts) == 1


def test_the_charts_script_is_the_file_that_npm_carries_and_can_draw_all_traces(page: Page) -> None:
    content = resources.files("fertrack.reporting").joinpath("plotly_js", PLOTLY_FILE).read_bytes()
    assert hashlib.sha256(content).hexdigest() == PLOTLY_SHA256
    assert b"plotly.js (basic - minified)" in content[:100]
    used = {trace["type"] for figure in page.figures.values() for trace in figure["data"]}
    assert used <= {"scatter", "bar"}  # all that the file has, besides pie


def test_the_report_of_ten_minutes_and_five_persons_has_at_most_two_megabytes(db: Database, tmp_path: Path) -> None:
    script = [(4.0 * i, EXPRESSIONS[i % 7]) for i in range(150)]
    persons = [ScriptedPerson([(0.0, 600.0)], script, f"Person {number}") for number in range(5)]
    run = store_run(db, ScriptedRun(persons, frames=3000, fps=5.0))  # lines have no more points at 25 fps
    assert write_html(db, run, tmp_path / "a.html").stat().st_size <= 2_000_000


def test_an_array_that_traces_share_is_written_once(page: Page) -> None:
    data = json.loads(next(text for attrs, text in page.scripts if attrs.get("id") == "report-data"))
    lines = [trace for trace in data["figures"]["person-1"]["data"] if trace["meta"].get("kind") == "line"]
    assert len(lines) == 7
    assert len({trace["x"]["array"] for trace in lines}) == 1
    assert len({json.dumps(array) for array in data["arrays"]}) == len(data["arrays"])


def test_the_same_run_gives_the_same_bytes(db: Database, tmp_path: Path) -> None:
    run = store_run(db, TWO_PERSONS)
    one, other = (write_html(db, run, tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert one == other


# Facts and honesty -----------------------------------------------------------------------------------------------


def test_the_facts_of_the_run_are_there(page: Page) -> None:
    for fact in (
        "clip.mp4", "640 × 360 px", "50 frames", "2 s of video", "centerface sha256:09189dea",
        "test-classifier sha256:01da7798", "c0ffee" * 10, "Temperature 0.566", "Strength of the prior correction 0.7",
        "classifier calibrated", "0 frames dropped", "0 undecodable packets", "run complete", "fertrack 0.1.0",
    ):  # fmt: skip
        assert fact in page.text, fact
    assert "/videos/" not in page.text  # reports are handed on; folders are nobody's business


def test_a_clean_run_has_no_warnings(page: Page) -> None:
    assert "notice serious" not in page.attributes("class")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dropped": 12}, "12 frames dropped"),
        ({"decode_failures": 1}, "1 undecodable packet skipped"),
        ({"status": "interrupted"}, "The run was interrupted"),
        ({"status": "failed", "error": "the disk is full"}, "The run failed. The disk is full."),
        ({"calibration": None}, "The calibration is not recorded"),
        (
            {"calibration": Calibrator(CalibrationConfig(), ClassifierCalibration.uncalibrated("x")).record},
            "The classifier is not calibrated",
        ),
    ],
)
def test_what_is_in_doubt_is_flagged_at_the_top(db: Database, tmp_path: Path, change: dict, words: str) -> None:
    found = report(db, replace(TWO_PERSONS, **change), tmp_path)
    assert words in found.text
    assert "notice serious" in found.attributes("class")
    assert "bad" in found.attributes("class")
    assert found.text.index(words) < found.text.index("Overview Everybody")


@pytest.mark.parametrize(
    ("status", "title"), [("crashed", "The run was cut off"), ("running", "The run has not ended")]
)
def test_a_run_without_an_end_is_flagged(db: Database, status: str, title: str) -> None:
    facts = replace(queries.run_facts(db, store_run(db, TWO_PERSONS)), status=status)
    (notice,) = notices(facts, read_calibration(facts.calibration), persons=2)
    assert (notice.title, notice.serious) == (title, True)


def test_a_rescored_run_says_when(db: Database) -> None:
    facts = queries.run_facts(db, store_run(db, TWO_PERSONS))
    assert "Labels recomputed" not in dict(source_rows(facts, read_calibration(facts.calibration)))
    facts = replace(facts, rescored_at=dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC))
    rows = dict(source_rows(facts, read_calibration(facts.calibration)))
    assert rows["Labels recomputed"] == "2026-03-04 05:06:07 UTC"


def test_an_upright_turned_video_says_so(db: Database) -> None:
    facts = queries.run_facts(db, store_run(db, TWO_PERSONS))
    facts = replace(facts, info=replace(facts.info, rotation=90, fps=0.0))
    rows = dict(source_rows(facts, read_calibration(facts.calibration)))
    assert rows["Image"] == "640 × 360 px, turned 90° to be upright"


def test_notes_of_the_run_are_shown_as_sentences(db: Database, tmp_path: Path) -> None:
    found = report(db, replace(TWO_PERSONS, notes=("the file ends early at 1.9 s",)), tmp_path)
    assert "The file ends early at 1.9 s." in found.text
    assert "notice serious" not in found.attributes("class")


def test_settings_that_differ_from_the_classifiers_own_are_said(db: Database, tmp_path: Path) -> None:
    own = ClassifierCalibration(classifier="x", calibrated=True, temperature=0.566)
    changed = Calibrator(CalibrationConfig(temperature=1.25, thresholds={"fear": 0.6}), own).record
    found = report(db, replace(TWO_PERSONS, calibration=changed), tmp_path)
    assert "calibrated, changed by settings" in found.text
    assert "1.25 (set for this run; the classifier's own is 0.566)" in found.text
    assert re.search(r"fear 14\.3% 14\.3% \+0\.000 60%", found.text)


def test_a_run_without_faces_is_a_valid_report_that_says_so(db: Database, tmp_path: Path) -> None:
    found = report(db, ScriptedRun(), tmp_path)
    assert "No faces were found. This is a valid result" in found.text
    assert found.scripts == []
    assert "overview" not in found.attributes("id")
    assert {"how", "run", "timing"} <= set(found.attributes("id"))


def test_a_run_without_a_frame_is_a_valid_report(db: Database, tmp_path: Path) -> None:
    assert "0 frames" in report(db, ScriptedRun(frames=0), tmp_path).text


def test_faces_that_nobody_could_follow_are_said(db: Database, tmp_path: Path) -> None:
    found = report(db, ScriptedRun([ScriptedPerson([(0, 0.04)], confirmed=False)]), tmp_path)
    assert "Nobody was followed" in found.text
    assert "1 faces analysed" in found.text


def test_a_single_picture_is_a_valid_report(db: Database, tmp_path: Path) -> None:
    found = report(db, ScriptedRun([ScriptedPerson([(0, 9)], [(0, "anger")])], frames=1), tmp_path)
    assert "anger 100%" in found.text
    assert {t["mode"] for t in found.figures["person-1"]["data"] if t["meta"]["kind"] == "line"} == {"lines+markers"}


# Persons ---------------------------------------------------------------------------------------------------------


def test_persons_with_their_times_and_shares(page: Page) -> None:
    # Ana: 32 frames, of which 13 neutral, 9 happiness (7 and 2), 10 uncertain; seen 0 to 0.8 s and 1.52 to 2 s
    assert "Ana 0:00.0 – 0:02.0 1.3 s neutral 41% happiness 28% 31%" in page.text
    assert "ID 2 0:00.0 – 0:02.0 2 s sadness 50% 50%" in page.text
    assert "2 persons followed" in page.text
    widths = [float(width) for width in re.findall(r"width: ([\d.]+)%", " ".join(page.attributes("style")))][:5]
    assert sum(widths[:3]) == pytest.approx(100, abs=0.01)
    assert sum(widths[3:]) == pytest.approx(100, abs=0.01)


def test_episodes_are_tabled(page: Page) -> None:
    assert "neutral 0:00.00 0:00.52 0.52 s 70% 70%" in page.text
    assert "sadness 0:00.00 0:01.00 1 s 70% 70%" in page.text


def test_timing_per_stage(page: Page) -> None:
    assert "detect 50 30.00 27.00 45.00 120.00 1.5 s 82%" in page.text


def test_the_most_visible_persons_get_charts_and_all_are_in_the_table(db: Database, tmp_path: Path) -> None:
    persons = [ScriptedPerson([(0, 0.4 * i)]) for i in range(1, 6)]
    found = report(db, ScriptedRun(persons), tmp_path, ReportConfig(max_charts=2))
    assert set(found.figures) == {"overview", "presence", "person-4", "person-5"}
    assert "ID 1 0:00.0" in found.text
    assert "Shown are the 2 persons seen longest, of 5" in found.text


def test_long_lists_of_episodes_are_cut_and_say_so(db: Database, tmp_path: Path) -> None:
    script = [(k * 0.24 - 0.01, EXPRESSIONS[k % 7]) for k in range(250)]
    found = report(db, ScriptedRun([ScriptedPerson([(0, 60)], script)], frames=1500), tmp_path)
    assert "250 episodes of ID 1" in found.text
    assert "The first 200 are listed" in found.text


# Words -----------------------------------------------------------------------------------------------------------


def test_words_stay_with_estimates(page: Page) -> None:
    said = page.text.lower()
    assert "expression estimate" in said
    for never in ("feels", "is feeling", "emotion detected", "emotion recogn", "mood", "ethnic", "race "):
        assert never not in said
    assert [m.start() for m in re.finditer("emotion", said)] == [
        said.index("inferring emotions of people at the workplace") + 10
    ]
    for needed in (
        "art. 5(1)(f)",
        "art. 50(3)",
        "does not mean neutral",
        "class prior",
        "age, gender and origin are neither",
    ):
        assert needed in said


def test_numbers_are_written_as_documented() -> None:
    result = doctest.testmod(wording)
    assert (result.failed, result.attempted > 4) == (0, True)
    assert doctest.testmod(axes).failed == 0
    assert wording.clock(-1.25) == "-0:01.2"


# Escaping --------------------------------------------------------------------------------------------------------


def test_text_from_outside_is_only_text(db: Database, tmp_path: Path) -> None:
    hostile = ScriptedRun(
        [ScriptedPerson([(0, 2)], name=HOSTILE)],
        source_name=HOSTILE,
        status="failed",
        error=HOSTILE,
        notes=(HOSTILE,),
        config_toml=f"a = '''{HOSTILE}'''",
    )
    found = report(db, hostile, tmp_path)
    assert found.all("img") == []
    assert len(found.scripts) == 3
    assert found.text.count("document.title='owned'") >= 5
    label = found.figures["overview"]["layout"]["yaxis"]["ticktext"][0]
    assert label.startswith(square(1) + "&lt;/script")
    assert "<" not in label.removeprefix(square(1))


def test_json_cannot_leave_its_element() -> None:
    text = charts.to_json({"name": "</script><!-- & \u2028 é"})
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == {"name": "</script><!-- & \u2028 é"}


def test_arrays_are_packed_as_plotly_reads_them() -> None:
    values = np.array([0.5, np.nan, 1.5], np.float32)
    packed = json.loads(charts.to_json({"y": values}))["y"]
    assert packed["dtype"] == "f4"
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(packed["bdata"]), "<f4"), values)
    with pytest.raises(TypeError, match="complex"):
        charts.to_json(np.zeros(2, complex))
    with pytest.raises(ValueError, match="JSON"):
        charts.to_json(float("nan"))


def test_a_person_of_several_tracks_is_one_person(db: Database, tmp_path: Path) -> None:
    returns = ScriptedRun(
        (
            ScriptedPerson([(0.0, 1.0)], [(0.0, "happiness")]),
            ScriptedPerson([(0.0, 4.0)]),
            ScriptedPerson([(2.0, 4.0)], [(0.0, "anger")]),
        ),
        frames=100,
    )
    number = store_run(db, returns)
    plan = LinkPlan((PlannedPerson((1, 3)), PlannedPerson((2,))), (PersonLink(3, 0, 0.75, "accepted"),))
    store_plan(db, number, plan, embedder="net")
    path = write_html(db, number, tmp_path / "report.html")
    found = Page(path.read_text(encoding="utf-8"))
    assert found.figures["overview"]["layout"]["yaxis"]["ticktext"] == [square(1) + "P1", square(2) + "P2"]
    assert "P1 0:00.0 – 0:04.0 3 s anger 67% happiness 33%" in found.text
    lines = [trace for trace in found.figures["person-1"]["data"] if trace["name"] == "anger"]
    assert lines, "the person's one chart shows what the second track showed"


def test_the_users_own_folder_is_not_in_the_settings(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/somebody"))
    run = replace(TWO_PERSONS, config_toml='[storage]\nurl = "/home/somebody/fertrack.db"\n')
    text = report(db, run, tmp_path).text
    assert 'url = "~/fertrack.db"' in text
    assert "somebody" not in text.replace("somebody who leaves", "").replace("Somebody who leaves", "")


# Structure -------------------------------------------------------------------------------------------------------


def test_the_page_can_be_walked_by_keyboard_and_screen_reader(page: Page) -> None:
    tags = [tag for tag, _ in page.tags]
    assert all(tags.count(landmark) == 1 for landmark in ("header", "nav", "main", "footer", "h1", "title"))
    assert page.all("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h\d", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in page.attributes("href")} <= set(ids)
    assert {name for value in page.attributes("aria-labelledby") for name in value.split()} <= set(ids)
    assert tags.count("caption") == tags.count("table") >= 4
    assert all("scope" in attrs for attrs in page.all("th"))
    described = [attrs for _, attrs in page.tags if "data-figure" in attrs]
    assert [attrs["role"] for attrs in described] == ["img"] * 4
    assert "Share of time: neutral 41%, happiness 28%, uncertain 31%." in (described[1]["aria-label"] or "")
    assert all(
        "tabindex" in attrs and attrs.get("aria-label") for attrs in page.all("div") if attrs.get("class") == "scroll"
    )


def test_golden_structure(page: Page) -> None:
    assert [attrs.get("id") for attrs in page.all("section")] == [
        "short", "overview", "persons", "timelines", "transitions", "how",
        "appendix", "presence", "calibration", "run", "timing",
    ]  # fmt: skip
    assert [attrs.get("id") for attrs in page.all("article")] == ["person-1", "person-2"]


def test_the_first_page_says_who_showed_what(db: Database, tmp_path: Path) -> None:
    found = report(db, TWO_PERSONS, tmp_path, ReportConfig(title="Interview <3>", note="Day 2.\nRoom B."))
    assert "Interview <3> clip.mp4, 2 s of video" in found.text
    assert "Day 2. Room B." in found.text
    assert "Ana was seen for 1.3 s, most often neutral (41%); happiness longest, from 0:00.5 to 0:00.8." in found.text
    assert "ID 2 was seen for 2 s, mostly uncertain (50%); sadness longest, from 0:00.0 to 0:01.0." in found.text
    assert "0:00.5 Ana happiness 0.28 s 70%" in found.text
    assert found.text.index("Key moments") < found.text.index("Overview Everybody") < found.text.index("Calibration")


def test_markers_are_in_the_charts(db: Database, tmp_path: Path) -> None:
    run = store_run(db, TWO_PERSONS)
    with db.writing() as connection:
        rows = [
            {"run_id": run, "time_s": 0.5, "end_s": 1.0, "label": "<cue>", "note": ""},
            {"run_id": run, "time_s": 1.5, "end_s": None, "label": "end", "note": ""},
        ]
        connection.execute(sa.insert(Marker), rows)
    found = Page(write_html(db, run, tmp_path / "report.html").read_text(encoding="utf-8"))
    for name in ("overview", "person-1"):
        traces = {trace["meta"]["kind"]: trace for trace in found.figures[name]["data"]}
        assert (moments(traces["marker"]["x"])[::3] - axes.MIDNIGHT_MS).tolist() == [500, 1500]
        assert (moments(traces["marker-band"]["x"])[:2] - axes.MIDNIGHT_MS).tolist() == [500, 1000]
    assert {t["meta"]["kind"]: t for t in found.figures["overview"]["data"]}["marker-name"]["text"] == [
        "&lt;cue&gt;",
        "end",
    ]
    assert "marker (2)" in found.text


# Charts ----------------------------------------------------------------------------------------------------------


def moments(packed: dict[str, str]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["bdata"]), f"<{packed['dtype']}")


def test_plotly_accepts_every_figure(page: Page) -> None:
    for figure in page.figures.values():
        go.Figure(figure)


def test_the_overview_has_every_episode_where_it_was(page: Page) -> None:
    bands = {trace["name"]: trace for trace in page.figures["overview"]["data"]}
    assert set(bands) == {"uncertain", "neutral", "happiness", "sadness"}
    happiness = bands["happiness"]
    assert (moments(happiness["base"]) - axes.MIDNIGHT_MS).tolist() == [520]
    assert moments(happiness["x"]).tolist() == [280]  # the second one lasts 0.08 s: too short
    assert moments(happiness["y"]).tolist() == [0]
    assert moments(bands["sadness"]["y"]).tolist() == [1]
    seen = bands["uncertain"]
    assert (moments(seen["base"]) - axes.MIDNIGHT_MS).tolist() == [0, 1520, 0]
    assert moments(seen["x"]).tolist() == [800, 480, 2000]
    assert page.figures["overview"]["layout"]["xaxis"]["range"] == [axes.MIDNIGHT_MS, axes.MIDNIGHT_MS + 2000]


def test_lines_are_the_smoothed_probabilities_and_break_at_gaps(page: Page) -> None:
    lines = {t["name"]: t for t in page.figures["person-1"]["data"] if t["meta"]["kind"] == "line"}
    assert set(lines) == set(EXPRESSIONS)
    y = moments(lines["happiness"]["y"])
    assert len(y) == 32 + 1
    assert np.flatnonzero(np.isnan(y)).tolist() == [20]
    np.testing.assert_allclose(y[13:20], 0.7, rtol=1e-6)
    assert not lines["happiness"]["connectgaps"]


def test_every_trace_has_a_colour_in_both_themes(page: Page) -> None:
    script = (Path(charts.__file__).parents[1] / "templates/report.js").read_text()
    for figure in page.figures.values():
        for trace in figure["data"]:
            if trace["meta"]["kind"] in ("line", "spread", "band", "seen"):
                assert trace["meta"]["expression"] in palette.LIGHT.keys() & palette.DARK.keys()
            else:
                assert re.search(rf"^    {trace['meta']['kind']}: \(page\) =>", script, re.M), trace["meta"]["kind"]


def test_cuts_are_counted_and_marked_on_every_time_axis(db: Database, tmp_path: Path) -> None:
    shots = report(db, ScriptedRun([ScriptedPerson([(0, 2)])], cuts=(10, 30)), tmp_path)
    for name, ends in (("overview", (-0.5, 0.5)), ("person-1", (0.0, 1.02))):
        (marks,) = (trace for trace in shots.figures[name]["data"] if trace["meta"]["kind"] == "cut")
        x, y = moments(marks["x"]).reshape(2, 3), moments(marks["y"]).reshape(2, 3)
        np.testing.assert_array_equal(x[:, :2] - axes.MIDNIGHT_MS, [[400, 400], [1200, 1200]])
        np.testing.assert_allclose(y[:, :2], [ends, ends], rtol=1e-6)
        assert np.isnan(y[:, 2]).all()
    assert "cut to another shot (2)" in shots.text
    assert "3, 2 cuts between them" in shots.text


def test_a_video_of_one_shot_speaks_of_no_cuts(page: Page) -> None:
    assert all(t["meta"]["kind"] != "cut" for figure in page.figures.values() for t in figure["data"])
    assert "cut to another shot" not in page.text


def test_a_part_of_a_video_is_drawn_as_that_part(db: Database, tmp_path: Path) -> None:
    part = ScriptedRun([ScriptedPerson([(100.5, 200)])], first_s=100.0, config_toml="[input]\nfrom_s = 100.0\n")
    axis = report(db, part, tmp_path).figures["overview"]["layout"]["xaxis"]
    assert axis["range"] == [axes.MIDNIGHT_MS + 100_000, axes.MIDNIGHT_MS + 102_000]


def test_hours_are_written_where_there_are_hours(db: Database, tmp_path: Path) -> None:
    late = ScriptedRun([ScriptedPerson([(0, 9000)])], first_s=4000.0, config_toml="not toml [")
    axis = report(db, late, tmp_path).figures["overview"]["layout"]["xaxis"]
    assert axis["tickformat"] == "%-H:%M:%S"


def test_a_slowly_sampled_video_is_not_torn_apart(db: Database) -> None:
    run = store_run(db, ScriptedRun([ScriptedPerson([(0, 20)])], frames=20, fps=1.0))
    with db.run(run) as stored:
        (person,), _ = load_persons(stored, ReportConfig())
    assert len(person.seen) == len(person.episodes) == 1
    assert person.visible_s == pytest.approx(20.0)


def test_a_short_break_breaks_no_bar_but_is_not_time_seen(db: Database) -> None:
    """As ``stats`` counts it: 0.4 s behind somebody else are not seen, though one bar is drawn across."""
    run = store_run(db, ScriptedRun([ScriptedPerson([(0, 2.0), (2.4, 4.0)])], frames=100, fps=25.0))
    with db.run(run) as stored:
        (person,), _ = load_persons(stored, ReportConfig())
    assert len(person.seen) == 1
    assert person.visible_s == pytest.approx(90 / 25)


def test_long_names_are_shortened_on_the_axis_only(db: Database, tmp_path: Path) -> None:
    found = report(db, ScriptedRun([ScriptedPerson([(0, 2)], name="Wolfeschlegelsteinhausen")]), tmp_path)
    assert found.figures["overview"]["layout"]["yaxis"]["ticktext"] == [square(1) + "Wolfeschlegelstei…"]
    assert "Wolfeschlegelsteinhausen" in found.text


# Files -----------------------------------------------------------------------------------------------------------


def test_nothing_is_replaced_unless_asked(db: Database, tmp_path: Path) -> None:
    run = store_run(db, TWO_PERSONS)
    path = tmp_path / "new" / "report.html"
    assert write_html(db, run, path) == path
    with pytest.raises(OutputExistsError, match=r"report\.html is already there"):
        write_html(db, run, path)
    write_html(db, run, path, overwrite=True)
    assert [found.name for found in path.parent.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_is_one_sentence(db: Database, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match=r"report\.html could not be written"):
        write_html(db, store_run(db, TWO_PERSONS), tmp_path / "file" / "report.html")


def test_an_unknown_run_is_an_error(db: Database, tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError):
        write_html(db, 4711, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_ten_minutes_of_five_persons_stay_small_and_quick(db: Database, tmp_path: Path) -> None:
    persons = [
        ScriptedPerson([(0, 600)], [(k * 1.5, EXPRESSIONS[(3 * k + i) % 7]) for k in range(400)]) for i in range(5)
    ]
    run = store_run(db, ScriptedRun(persons, frames=18_000, fps=30.0))
    began = time.process_time()
    path = write_html(db, run, tmp_path / "report.html")
    assert time.process_time() - began < 10.0
    assert path.stat().st_size < 8_000_000
    found = Page(path.read_text(encoding="utf-8"))
    assert "90 000 faces analysed" in found.text
    assert "Drawn with the lowest and highest value of every 0.8 s; no peak is left out." in found.text


def test_a_thinned_chart_says_so_only_when_it_is_thinned(page: Page) -> None:
    assert "no peak is left out" not in page.text
    assert thin_lines(np.arange(3.0), np.zeros((3, 7), np.float32), 1500, 1.5).slice_s == 0
