"""The report used in a real browser: the video and the timelines follow each other, by mouse, touch and keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fertrack.imaging import palette
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.html.comparison import write_comparison
from fertrack.reporting.html.run_page import write_html
from fertrack.storage.engine import open_database
from tests.reporting.html.test_parts import MEASURED
from tests.support.reporting_runs import ScriptedPerson, ScriptedRun, store_run
from tests.support.video_factory import make_video

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH")

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions"),
    "--host-resolver-rules=MAP * ~NOTFOUND",
]
WAIT_MS = 120_000
RUN = ScriptedRun(
    [
        ScriptedPerson([(0, 3), (5, 12)], [(0, "neutral"), (2, "happiness"), (7, "anger")], "Anastasia Wolfeschlegel"),
        ScriptedPerson([(1, 12)], [(0, "sadness"), (4, "surprise")]),
    ],
    frames=300,
    cuts=(125,),
    calibration=MEASURED,
    source_name="clip.mp4",
)
AT = "(chart, s) => { const a = chart._fullLayout.xaxis; return a._offset + a.l2p(946684800000 + 1000 * s); }"
CURSOR = """chart => {
  const cursor = chart.querySelector('.cursor');
  return cursor.hidden ? null : new DOMMatrix(cursor.style.transform).m41;
}"""
PASSES = """(chart, x) => new Promise((done) => {
  const look = () => new DOMMatrix(chart.querySelector('.cursor').style.transform).m41 > x + 20
    ? done() : setTimeout(look, 50);
  look();
})"""
ZOOMED = """chart => new Promise((done) => {
  const look = () => {
    const [from, to] = chart._fullLayout.xaxis.range.map((moment) => Date.parse(moment.replace(' ', 'T')));
    return to - from < 5000 ? done() : setTimeout(look, 50);
  };
  look();
})"""
WIDE = """() => [...document.querySelectorAll('body *:not(.scroll *)')].filter((e) => {
  const box = e.getBoundingClientRect();
  return box.width > 0 && getComputedStyle(e).clipPath === 'none' && box.right > innerWidth + 1;
}).map((e) => `${e.tagName}.${e.className}`)"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("use")
    video = make_video(
        folder / "my clip.annotated.webm", n=300, fps=25, codec="libvpx", options={"deadline": "realtime"}
    )
    with open_database(folder / "fertrack.db", create=True) as db:
        first, second = store_run(db, RUN), store_run(db, RUN)
        write_html(db, first, folder / "link.html", ReportConfig(video="link"), video=video)
        write_html(db, first, folder / "embed.html", ReportConfig(video="embed"), video=video)
        write_comparison(db, [first, second], folder / "compare.html")
    (folder / "lost").mkdir()
    shutil.copy(folder / "link.html", folder / "lost" / "link.html")
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, folder: Path) -> Iterator[Any]:
    """Opens a page and waits until it is drawn; at the end, nothing may have been asked for and nothing complained."""
    contexts, asked, complaints = [], [], []

    def open_page(name: str, *, charts: bool = True, expected: str = "", **options: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("request", lambda request: asked.append(request.url))
        page.on(
            "console",
            lambda message: complaints.append(message.text.replace(expected, "") if expected else message.text),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((folder / name).as_uri(), wait_until="commit", timeout=WAIT_MS)
        page.wait_for_selector("html[data-charts=drawn]" if charts else "footer", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not [url for url in asked if not url.startswith(("file:", "blob:", "data:"))]
    assert [complaint for complaint in complaints if complaint] == []


def picture(page: Any, selector: str) -> np.ndarray:
    raw = np.frombuffer(page.locator(selector).first.screenshot(), np.uint8)
    return np.asarray(cv2.imdecode(raw, cv2.IMREAD_COLOR))


def shows(image: np.ndarray, colour: str, least: int = 40) -> bool:
    bgr = np.array([int(colour[i : i + 2], 16) for i in (5, 3, 1)])
    return int((np.abs(image.astype(int) - bgr).max(axis=2) <= 6).sum()) >= least


def film_time(page: Any) -> float:
    return float(page.locator("#film").evaluate("film => film.currentTime"))


@pytest.mark.parametrize("name", ["link.html", "embed.html"])
def test_a_click_on_a_timeline_seeks_and_playing_moves_the_cursor(visit: Any, name: str) -> None:
    page = visit(name)
    film = page.locator("#film")
    film.evaluate("film => film.readyState >= 1 || new Promise((done) => { film.onloadedmetadata = done; })")
    assert film.evaluate("film => film.duration") == pytest.approx(12.0, abs=0.2)
    chart = page.locator("[data-figure=person-1]")
    chart.evaluate("chart => chart.scrollIntoView({ block: 'end', behavior: 'instant' })")
    box = chart.bounding_box()
    page.mouse.click(box["x"] + chart.evaluate(AT, 6.0), box["y"] + 100)
    film.evaluate("film => !film.seeking || new Promise((done) => { film.onseeked = done; })")
    assert film_time(page) == pytest.approx(6.0, abs=0.05)
    for figure in ("person-1", "person-2", "overview", "presence", "speed"):
        other = page.locator(f"[data-figure={figure}]")
        assert other.evaluate(CURSOR) == pytest.approx(other.evaluate(AT, film_time(page)), abs=2), figure
    before = chart.evaluate(CURSOR)
    film.evaluate("film => { film.muted = true; return film.play(); }")
    chart.evaluate(PASSES, before)
    film.evaluate("film => film.pause()")
    assert film_time(page) > 6.1


def test_a_drag_zooms_and_does_not_seek(visit: Any) -> None:
    page = visit("link.html")
    chart = page.locator("[data-figure=person-1]")
    chart.evaluate("chart => chart.scrollIntoView({ block: 'end', behavior: 'instant' })")
    box = chart.bounding_box()
    xs = [box["x"] + chart.evaluate(AT, time_s) for time_s in (4.0, 8.0)]
    page.mouse.move(xs[0], box["y"] + 80)
    page.mouse.down()
    page.mouse.move(xs[1], box["y"] + 80, steps=6)
    page.mouse.up()
    page.locator("[data-figure=overview]").evaluate(ZOOMED)
    assert film_time(page) == 0.0
    assert chart.evaluate(CURSOR) is None, "0 s is outside of what is shown"


def test_the_keyboard_plays_from_a_time_in_a_table(visit: Any) -> None:
    page = visit("embed.html")
    summary = page.locator("#person-2 summary").first
    summary.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")  # the table, which can be scrolled
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused == "Play from 0:04.00"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    assert film_time(page) == pytest.approx(4.0, abs=0.05)


def test_a_video_that_is_gone_is_said_and_the_charts_stay(visit: Any, folder: Path) -> None:
    page = visit("lost/link.html", expected="Failed to load resource: net::ERR_FILE_NOT_FOUND")
    page.wait_for_selector("#film-note.serious")
    assert "is not where this report expects it" in page.locator("#film-note").inner_text()
    assert page.locator(".js-plotly-plot").count() == 6


def test_pictures_in_light_dark_and_on_paper(visit: Any, folder: Path) -> None:
    light, dark = visit("link.html"), visit("link.html", color_scheme="dark")
    for page, colours, surface in (
        (light, palette.LIGHT, palette.PAGE_LIGHT["surface"]),
        (dark, palette.DARK, palette.PAGE_DARK["surface"]),
    ):
        chart = picture(page, "#person-1 .chart")
        assert shows(chart, surface, 5000)
        assert shows(chart, colours["anger"])
        assert shows(chart, colours["happiness"])
        accent = (palette.PAGE_LIGHT if page is light else palette.PAGE_DARK)["accent"]
        assert shows(picture(page, "[data-figure=presence]"), accent, 1000)
        assert np.ptp(picture(page, "#transitions .heat").reshape(-1, 3).mean(axis=1)) > 40, "the heat map has shades"
    light.emulate_media(media="print")
    assert not light.locator("#video").is_visible()
    assert not light.locator("nav").is_visible()
    paper = light.pdf(format="A4", print_background=False)
    assert 3 <= paper.count(b"/Type /Page\n") <= 14


@pytest.mark.parametrize("scripts", [True, False])
def test_closed_tables_are_on_paper(visit: Any, scripts: bool) -> None:
    page = visit("link.html", charts=scripts, java_script_enabled=scripts)
    box = page.locator("#timing details").last
    closed = box.bounding_box()["height"]
    if scripts:
        page.locator("#print-all").check()
    page.emulate_media(media="print")
    if scripts:
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert box.bounding_box()["height"] > closed + 100, "the whole table is there"
    if scripts:
        assert page.locator("details:not([open])").count() == 0
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("details[open]").count() == 0, "closed again"


@pytest.mark.parametrize("name", ["link.html", "compare.html"])
def test_nothing_is_wider_than_a_phone_even_with_all_tables_open(visit: Any, name: str) -> None:
    phone = {"viewport": {"width": 360, "height": 780}, "has_touch": True, "is_mobile": True}
    page = visit(name, charts=name != "compare.html", **phone)
    page.evaluate("() => { for (const each of document.querySelectorAll('details')) each.open = true; }")
    assert page.evaluate(WIDE) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_screen_reader_finds_its_way(visit: Any) -> None:
    tree = visit("link.html").locator("body").aria_snapshot()
    for expected in (
        "- banner",
        "- main",
        "- contentinfo",
        'heading "clip.mp4" [level=1]',
        'heading "Calibration" [level=2]',
        'img "Reliability diagram: expected calibration error',
        'img "Chart of when anybody and each of 2 persons was seen',
        'table "Transitions: how often the expression of the row was followed by that of the column"',
        'rowheader "Ana',
    ):
        assert expected in tree, expected
