"""What stands in the report's sections: bands, presence, transitions, calibration, speed, pictures of faces."""

from __future__ import annotations

import base64
import doctest
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fertrack.errors import ReportError
from fertrack.expression.calibration import Calibrator
from fertrack.expression.config import CalibrationConfig
from fertrack.models.bundle import load_bundle
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.html import axes, pdf
from fertrack.reporting.html.lines import spread_bands
from fertrack.reporting.html.persons import presence_of
from fertrack.storage.engine import Database, open_database
from fertrack.storage.people.thumbnails import BestFace, store_thumbnails
from fertrack.types import EXPRESSIONS
from tests.reporting.html.test_run_page import Page, moments, report
from tests.support.reporting_runs import CALIBRATED, ScriptedPerson, ScriptedRun, store_run

RELIABILITY = load_bundle("default").card.reliability
MEASURED = Calibrator(CalibrationConfig(), replace(CALIBRATED, reliability=RELIABILITY)).record
RUN = ScriptedRun(
    [
        ScriptedPerson([(0, 1), (2.5, 6)], [(0, "neutral"), (0.5, "happiness"), (3.5, "neutral"), (4, "anger")], "Ana"),
        ScriptedPerson([(0.4, 5)], [(0, "sadness"), (2, "surprise"), (3, "sadness"), (4, "surprise")]),
    ],
    frames=200,
    cuts=(60, 110),
    calibration=MEASURED,
)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with open_database(tmp_path_factory.mktemp("parts") / "fertrack.db", create=True) as database:
        yield database


@pytest.fixture(scope="module")
def page(db: Database, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return report(db, RUN, tmp_path_factory.mktemp("page"))


# Bands -----------------------------------------------------------------------------------------------------------


def test_a_band_is_the_spread_of_single_frames_around_the_line() -> None:
    time_s = np.arange(100) / 25
    smoothed = np.full((100, 1), 0.5, np.float32)
    single = (0.5 + 0.2 * (-1.0) ** np.arange(100)[:, None]).astype(np.float32)
    bands = spread_bands(time_s, smoothed, single, max_points=1000, max_step_s=0.5)
    forth, back = np.split(bands.values[:, 0], 2)
    np.testing.assert_allclose(forth, 0.7, atol=1e-6)
    np.testing.assert_allclose(back, 0.3, atol=1e-6)
    np.testing.assert_array_equal(bands.time_s, np.concatenate([time_s, time_s[::-1]]))


def test_where_frames_agree_with_the_line_there_is_no_band() -> None:
    values = np.linspace(0, 1, 20, dtype=np.float32)[:, None]
    bands = spread_bands(np.arange(20) / 25, values, values, max_points=100, max_step_s=0.5)
    np.testing.assert_allclose(bands.values[:20, 0], bands.values[:19:-1, 0], atol=1e-6)


def test_a_band_knows_its_window_and_stops_at_gaps() -> None:
    time_s = np.concatenate([np.arange(50) / 25, 10 + np.arange(50) / 25])
    smoothed = np.zeros((100, 1), np.float32)
    single = np.zeros((100, 1), np.float32)
    single[50:] = 1.0  # all of the disagreement is after the gap
    bands = spread_bands(time_s, smoothed, single, max_points=1000, max_step_s=0.5)
    (gap,) = np.flatnonzero(np.isnan(bands.values[:, 0]))
    assert gap == 100
    assert bands.values[:gap].max() == 0.0
    assert bands.values[gap + 1 : gap + 51].min() == 1.0
    far = spread_bands(np.arange(2) * 0.4, smoothed[:2], single[49:51], max_points=1000, max_step_s=0.5)
    np.testing.assert_allclose(far.values[:2, 0], [0.0, 1.0])  # 0.4 s away is outside a window of 0.5 s


def test_a_thinned_band_is_never_narrower_and_never_longer() -> None:
    random = np.random.default_rng(1)
    time_s = np.arange(5000) / 25
    smoothed = np.full((5000, 2), 0.5, np.float32)
    single = (0.5 + random.normal(0, 0.1, (5000, 2))).astype(np.float32)
    whole = spread_bands(time_s, smoothed, single, max_points=20_000, max_step_s=0.5)
    thin = spread_bands(time_s, smoothed, single, max_points=100, max_step_s=0.5)
    assert len(thin.time_s) == 100
    assert (thin.time_s.min(), thin.time_s.max()) == (time_s[0], time_s[-1])
    half = len(thin.time_s) // 2
    upper = np.interp(time_s[25:-25], thin.time_s[:half], thin.values[:half, 0])
    assert np.mean(upper >= whole.values[25:4975, 0] - 0.02) > 0.97
    assert thin.values[:half].max() == whole.values[:5000].max()


def test_bands_of_misfitting_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(N, C\)"):
        spread_bands(
            np.zeros(3), np.zeros((3, 2), np.float32), np.zeros((3, 1), np.float32), max_points=9, max_step_s=1
        )
    with pytest.raises(ValueError, match="at least 4"):
        spread_bands(
            np.zeros(1), np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32), max_points=3, max_step_s=1
        )
    nothing = np.zeros((0, 7), np.float32)
    assert len(spread_bands(np.zeros(0), nothing, nothing, max_points=9, max_step_s=1).time_s) == 0


def test_every_line_has_its_band_and_the_page_says_what_it_is(page: Page) -> None:
    kinds = [(t["meta"]["kind"], t["meta"].get("expression")) for t in page.figures["person-1"]["data"]]
    assert {name for kind, name in kinds if kind == "spread"} == set(EXPRESSIONS)
    assert kinds.index(("spread", "anger")) < kinds.index(("line", "anger")), "lines are drawn over the bands"
    assert "root mean square distance over 0.5 s around each moment" in page.text
    assert "does not include errors of the calibration" in page.text


# Presence --------------------------------------------------------------------------------------------------------


def test_presence_shows_gaps_and_cuts(page: Page) -> None:
    seen, gap, cut = page.figures["presence"]["data"]
    begins = (moments(seen["base"]) - axes.MIDNIGHT_MS).tolist()
    assert begins == pytest.approx([0, 0, 2520, 400], abs=21)
    assert moments(seen["y"]).tolist() == [0, 1, 1, 2]  # anybody, Ana twice, the other
    assert moments(gap["y"]).tolist() == [1]
    assert gap["hovertext"] == ["not seen 0:01.0 to 0:02.5 (1.5\u00a0s)"]
    assert len(moments(cut["x"])) == 2 * 3
    assert "in 1 stretch there is nobody, the longest from 0:06.0 to 0:08.0" in page.text
    assert re.search(r"Ana 0:00\.0 0:01\.0 1 s 1\.5 s", page.text)
    assert "Cuts to another shot: 0:02.40 , 0:04.40" in page.text.replace("0:02.40,", "0:02.40 ,")


def test_nobody_at_all_is_one_gap() -> None:
    anybody, each = presence_of([], 2.0, 5.0)
    assert (len(anybody.gaps), anybody.longest_gap, anybody.seen_s, each) == (1, (2.0, 5.0), 0, [])
    assert anybody.longest_gap == (2.0, 5.0)


# Transitions -----------------------------------------------------------------------------------------------------


def test_transitions_are_a_table_shaded_by_count(page: Page) -> None:
    tables = [attrs for attrs in page.all("table") if attrs.get("class") == "heat"]
    assert len(tables) == 3  # all together, and each of the two
    # surprise → sadness once; sadness → surprise twice (by the second person)
    assert re.search(r"Transitions: how often .* surprise · · · · 1 · · fear", page.text)
    assert re.search(r"Transitions: how often .* sadness 2 · · · · · · anger", page.text)
    shades = [float(shade) for shade in re.findall(r"--h: ([\d.]+)", " ".join(page.attributes("style")))]
    assert max(shades) == 1.0
    assert 0.5 in shades
    assert "6 transitions" in page.text


def test_without_any_transition_it_says_so(db: Database, tmp_path: Path) -> None:
    found = report(db, ScriptedRun([ScriptedPerson([(0, 2)])]), tmp_path)
    assert "No expression estimate followed another within 1 s." in found.text
    assert not [attrs for attrs in found.all("table") if attrs.get("class") == "heat"]


# Calibration -----------------------------------------------------------------------------------------------------


def test_the_reliability_of_the_classifier_is_drawn_and_tabled(page: Page) -> None:
    assert RELIABILITY is not None
    right, said, diagonal, faces = page.figures["reliability"]["data"]
    np.testing.assert_allclose(moments(right["y"]), [each.right for each in RELIABILITY.bins], rtol=1e-6)
    np.testing.assert_allclose(moments(said["y"]), [each.confidence for each in RELIABILITY.bins], rtol=1e-6)
    assert moments(diagonal["x"]).tolist() == moments(diagonal["y"]).tolist() == [0, 1]
    assert moments(faces["y"]).tolist() == [each.faces for each in RELIABILITY.bins]
    assert f"{RELIABILITY.ece:.1%}, as measured with this classifier" in page.text
    assert "Measured once with this classifier, not in this video" in page.text
    last = RELIABILITY.bins[-1]
    faces_of_last = f"{last.faces:,}".replace(",", r"\s")  # thin spaces fold into one
    assert re.search(rf"{last.low:.0%} – {last.high:.0%} {faces_of_last} ", page.text)
    assert "other settings than those measured" not in page.text


def test_settings_other_than_those_measured_are_said(db: Database, tmp_path: Path) -> None:
    own = replace(CALIBRATED, reliability=RELIABILITY)
    changed = Calibrator(CalibrationConfig(temperature=2.0), own).record
    found = report(db, replace(RUN, calibration=changed), tmp_path)
    assert "This run used other settings than those measured." in found.text


def test_a_classifier_that_was_not_measured_says_so(db: Database, tmp_path: Path) -> None:
    found = report(db, replace(RUN, calibration=Calibrator(CalibrationConfig(), CALIBRATED).record), tmp_path)
    assert "reliability" not in found.figures
    assert "Not measured: this run's classifier came without a reliability diagram." in found.text
    assert "Expected calibration error not measured" in found.text
    unknown = report(db, replace(RUN, calibration=None), tmp_path)
    assert "Expected calibration error not recorded" in unknown.text


def test_the_share_uncertain_stands_with_the_calibration(db: Database, tmp_path: Path) -> None:
    half = ScriptedRun([ScriptedPerson([(0, 2)], [(0, "neutral"), (1, "uncertain")])])
    assert "Uncertain in this run 50% of the time with a face" in report(db, half, tmp_path).text
    assert "Uncertain in this run nobody was seen" in report(db, ScriptedRun(), tmp_path).text


# Timing ----------------------------------------------------------------------------------------------------------


def test_speed_over_the_video(page: Page, db: Database, tmp_path: Path) -> None:
    figure = page.figures["speed"]
    traces = {trace["meta"]["kind"]: trace for trace in figure["data"]}
    assert list(traces) == ["possible", "rate", "median", "p95"]
    for trace in traces.values():
        values = moments(trace["y"])
        assert len(values) == len(moments(trace["x"])) == 8 + 1  # 8 s, a second each, and where the last one ends
        assert np.array_equal(values[-1:], values[-2:-1], equal_nan=True), "the last window is as wide as the others"
        steps = np.diff(moments(trace["x"]).astype(np.float64))
        assert steps[-1] == pytest.approx(steps[0])
    assert figure["layout"]["yaxis"]["title"]["text"] == "frames per second"
    assert moments(traces["rate"]["y"])[0] == pytest.approx(25.0, rel=0.05)
    assert {traces[kind]["yaxis"] for kind in ("median", "p95")} == {"y2"}
    assert "fps analysed fps possible" in page.text
    assert "50.0 frames a second over the whole run; 0 frames dropped." in page.text
    assert "speed" not in report(db, ScriptedRun([ScriptedPerson([(0, 2)])]), tmp_path).figures  # too short for a line


# Faces -----------------------------------------------------------------------------------------------------------


def test_faces_are_shown_only_where_asked_for(db: Database, tmp_path: Path) -> None:
    run = store_run(db, RUN)
    _, encoded = cv2.imencode(".jpg", np.full((48, 48, 3), 120, np.uint8))
    jpeg = encoded.tobytes()
    store_thumbnails(db, run, {1: BestFace(frame_index=0, quality=0.9, jpeg=jpeg)})
    from fertrack.reporting.html.run_page import write_html

    def written(config: ReportConfig) -> Page:
        return Page(write_html(db, run, tmp_path / "r.html", config, overwrite=True).read_text(encoding="utf-8"))

    assert written(ReportConfig()).all("img") == []
    shown = written(ReportConfig(thumbnails=True))
    pictures = shown.all("img")
    assert [attrs["alt"] for attrs in pictures] == ["Face of Ana", ""]  # named once, then only decoration
    assert base64.b64decode((pictures[0]["src"] or "").removeprefix("data:image/jpeg;base64,")) == jpeg
    assert "whoever gets it sees who these people are" in shown.text
    assert written(ReportConfig(thumbnails=True)).text == shown.text


# Axes ------------------------------------------------------------------------------------------------------------


def test_the_time_axis_begins_with_the_first_picture(db: Database, tmp_path: Path) -> None:
    late = report(db, ScriptedRun([ScriptedPerson([(0, 9)])], first_s=0.852), tmp_path)
    first, last = late.figures["overview"]["layout"]["xaxis"]["range"]
    assert (first - axes.MIDNIGHT_MS, last - axes.MIDNIGHT_MS) == (852, 2852)
    assert "A person who was followed is in view for 2 s of 2 s." in late.text


# Names -----------------------------------------------------------------------------------------------------------


def test_drawn_videos_show_the_name_and_the_number(db: Database) -> None:
    from fertrack.storage.people import persons
    from tests.support.queries import names_of_tracks

    assert names_of_tracks(db, store_run(db, RUN))[1] == "Ana (P1)"
    assert doctest.testmod(persons).failed == 0


def test_without_a_browser_nothing_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "find_chromium", lambda: None)
    with pytest.raises(ReportError, match="no Chromium, Chrome or Edge was found"):
        pdf.print_pdf(tmp_path / "r.html", tmp_path / "r.pdf")
