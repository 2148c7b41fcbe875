"""The live page in a real browser, where there is one: it moves, it answers, it can be used and read by everybody."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fertrack.imaging import palette
from fertrack.live.state import LivePerson
from fertrack.types import EXPRESSIONS
from tests.support.live_page import Served, serving
from tests.support.live_session_fake import SUMMARY, FakeSession

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH")

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright_api.expect
WAIT_MS = 120_000  # a busy machine takes its time

QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

TOUCHED = """() => [...document.querySelectorAll('body *')].filter((e) => {
  const box = e.getBoundingClientRect();
  return box.width > 0 && box.height > 0 && getComputedStyle(e).clipPath === 'none' && box.right > innerWidth + 1;
}).map((e) => `${e.tagName}#${e.id}.${e.className} ${Math.round(e.getBoundingClientRect().right)}`)"""
"""Elements that reach beyond the right edge of the window."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=QUIET)
        expect.set_options(timeout=WAIT_MS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """One browser on the page, and what it did besides."""

    page: Any
    served: Served
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def session(self) -> FakeSession:
        return self.served.session

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def focused(self) -> str:
        """Name of what has the keyboard; empty if nothing on the page has."""
        return self.page.evaluate("""() => {
          const element = document.activeElement;
          return element === document.body ? '' : (element.getAttribute('aria-label') || element.innerText).trim();
        }""")

    def tab_to(self, name: str) -> None:
        """Press Tab until something of this name has the focus, and see that the focus can be seen."""
        for _ in range(40):
            self.page.keyboard.press("Tab")
            if re.search(name, self.focused()):
                outline = self.page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
                assert outline == "solid", f"the focus on {name} cannot be seen"
                return
        raise AssertionError(f"{name} is not reached by Tab; the last was {self.focused()}")


@contextmanager
def visiting(chromium: Any, session: FakeSession, **options: Any) -> Iterator[Visit]:
    with serving(session) as served:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        visit = Visit(page, served)
        page.on("request", lambda request: visit.asked.append(request.url))
        page.on("console", lambda message: visit.complaints.append(message.text))
        page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        try:
            page.goto(served.url)
            page.wait_for_url(f"{served.base}/")
            page.wait_for_selector("#picture[data-number]")
            page.wait_for_selector(".card")
            yield visit
        finally:
            context.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Visit]:
    with visiting(chromium, FakeSession()) as visit:
        yield visit
        assert visit.complaints == []
        assert {re.sub(r"[/?].*", "", url.removeprefix("http://")) for url in visit.asked} == {
            f"127.0.0.1:{visit.served.port}"
        }


def pixels(page: Any) -> bytes:
    """The picture as it is on the screen."""
    return page.locator("#picture").screenshot()


def test_the_picture_moves_and_the_numbers_change(visit: Visit) -> None:
    page = visit.page
    assert page.evaluate("() => [picture.width, picture.height]") == [320, 180]
    first, number = pixels(page), int(page.get_attribute("#picture", "data-number"))
    before = {name: visit.text(f"#{name}") for name in ("display_fps", "results_hz", "age_ms", "latency_ms", "dropped")}
    page.wait_for_function("(number) => Number(picture.dataset.number) > number + 5", arg=number)
    assert pixels(page) != first
    changed = "(before) => Object.entries(before).every(([id, text]) => document.getElementById(id).innerText !== text)"
    page.wait_for_function(changed, arg=before)
    after = {name: visit.text(f"#{name}") for name in before}
    assert re.fullmatch(r"\d+\.\d fps", after["display_fps"])
    assert re.fullmatch(r"\d+ · 120 · 150 ms", after["latency_ms"])
    assert visit.text("#budget") == "faces searched in 1 frame in 3 at 640 px, new estimates 10 times a second"
    assert visit.text("#source") == "camera 0"


def test_the_token_leaves_the_address_and_opens_nothing_else(visit: Visit, chromium: Any) -> None:
    assert "token" not in visit.page.url
    assert "token" not in visit.page.evaluate("() => JSON.stringify(performance.getEntries().map((e) => e.name))")
    visit.page.reload()  # whoever has the cookie may come back
    visit.page.wait_for_selector(".card")
    other = chromium.new_context()
    refused = other.new_page()
    assert refused.goto(visit.served.url).status == 403
    assert "works once" in refused.inner_text("body")
    other.close()


def test_a_card_says_what_and_how_sure(visit: Visit) -> None:
    first, second = visit.page.locator(".card").all()
    expect(first.locator(".name")).to_have_text("P1")
    expect(first.locator(".estimate .label")).to_have_text("happiness")
    expect(second.locator(".estimate .label")).to_have_text("uncertain")
    expect(second.locator(".detail")).to_have_text("nearest: sadness 31 %")
    words = first.locator(".bars .word").all_inner_texts()
    assert words == [*EXPRESSIONS, "uncertain"]
    assert first.locator(".bars .current .word").all_inner_texts() == ["happiness"]
    shares = [int(text.split()[0]) for text in first.locator(".percent").all_inner_texts() if text]
    assert sum(shares) == pytest.approx(100, abs=4)
    widths = [bar.bounding_box()["width"] for bar in first.locator(".fill").all()[:7]]
    assert (
        max(range(7), key=widths.__getitem__) == EXPRESSIONS.index("happiness") == max(range(7), key=shares.__getitem__)
    )
    assert re.match("Last 60 seconds: (not seen|happiness) ", first.locator(".strip").get_attribute("aria-label"))


def test_the_strip_is_drawn_in_the_lane_of_its_expression(visit: Visit) -> None:
    read_lanes = """() => {
      const canvas = document.querySelector('.strip');
      // Of a copy: the browser complains of pictures that are read again and again from where they are drawn.
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true});
      copy.drawImage(canvas, 0, 0);
      const lane = canvas.height / 8;
      const hex = (p) => '#' + [...p.slice(0, 3)].map((v) => v.toString(16).padStart(2, '0')).join('');
      const column = copy.getImageData(canvas.width - 3, 0, 1, canvas.height).data;
      return [...Array(8).keys()].map((row) => {
        const y = Math.round((row + 1) * lane - lane * 0.3);
        const p = column.slice(4 * y, 4 * y + 4);
        return p[3] ? hex(p) : '';
      });
    }"""
    expected = [palette.LIGHT["happiness"] if name == "happiness" else "" for name in (*EXPRESSIONS, "uncertain")]
    deadline_s = time.monotonic() + 60
    while (colours := visit.page.evaluate(read_lanes)) != expected and time.monotonic() < deadline_s:
        visit.page.wait_for_timeout(100)
    assert colours == expected


def test_markup_in_a_name_is_text(chromium: Any) -> None:
    session = FakeSession()
    session.names[1] = "<img src=x onerror=document.title='owned'>"
    with visiting(chromium, session) as visit:
        assert visit.text(".card .name >> nth=0") == session.names[1]
        assert visit.page.title() == "fertrack live"
        assert visit.complaints == []


def test_a_person_is_renamed_where_they_stand(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Rename P2").click()
    box = page.get_by_role("textbox", name="New name")
    expect(box).to_be_focused()
    page.wait_for_timeout(700)  # numbers keep coming; what is being typed stays
    box.fill("Åsa Öberg")
    box.press("Enter")
    expect(page.locator(".card .name").nth(1)).to_have_text("Åsa Öberg")
    assert visit.session.names[2] == "Åsa Öberg"
    expect(page.get_by_role("button", name="Rename Åsa Öberg")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.type("nobody")
    page.keyboard.press("Escape")
    expect(page.locator(".card .name").nth(1)).to_have_text("Åsa Öberg")
    assert visit.session.names[2] == "Åsa Öberg"


class _NameTaken(FakeSession):
    def rename(self, person: int, name: str) -> None:
        raise ValueError(f"somebody else is called {name}")


def test_a_name_that_is_refused_is_said_in_the_alert_line(chromium: Any) -> None:
    with visiting(chromium, _NameTaken()) as visit:
        visit.page.get_by_role("button", name="Rename P2").click()
        box = visit.page.get_by_role("textbox", name="New name")
        box.fill("Ana")
        box.press("Enter")
        expect(visit.page.get_by_role("alert")).to_have_text("somebody else is called Ana")


def test_going_on_gives_the_keyboard_back(visit: Visit) -> None:
    """Also where nothing had the focus when q asked whether to stop."""
    page = visit.page
    page.keyboard.press("q")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Stop session")).to_be_focused()


class _SomebodyLeft(FakeSession):
    """Person 1 left a while ago, once ``gone`` is said."""

    gone = False

    def _persons(self, now_s: float) -> Iterator[LivePerson]:
        for person in super()._persons(now_s):
            left = self.gone and person.person == 1
            yield replace(person, visible=False, last_seen_s=now_s - 10.0) if left else person


def test_those_who_are_there_come_first(chromium: Any) -> None:
    session = _SomebodyLeft()
    with visiting(chromium, session) as visit:
        names = visit.page.locator(".card .name")
        expect(names).to_have_text(["P1", "P2"])
        visit.page.get_by_role("button", name="Rename P1").focus()
        session.gone = True
        expect(names).to_have_text(["P2", "P1"])
        expect(visit.page.get_by_role("button", name="Rename P1")).to_be_focused()
        visit.page.get_by_role("button", name="Rename P2").focus()
        session.gone = False
        expect(names).to_have_text(["P1", "P2"])
        expect(visit.page.get_by_role("button", name="Rename P2")).to_be_focused()


def test_recording_shows_where_and_says_why_not(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Start recording").click()
    expect(page.get_by_role("button", name="Stop recording")).to_be_visible()
    expect(page.locator("#recording")).to_have_text("Recording to /tmp/study/live <1>.mp4")
    page.get_by_role("button", name="Stop recording").click()
    expect(page.locator("#recording")).to_have_text("Recorded: /tmp/study/live <1>.mp4")
    assert visit.session.recording is None
    visit.session.refuse_recording = True
    page.get_by_role("button", name="Start recording").click()
    expect(page.get_by_role("alert")).to_have_text("live.mp4 exists: move it away first")
    visit.complaints.clear()  # the browser notes the refusal itself


def test_the_whole_way_by_keyboard(chromium: Any) -> None:
    with visiting(chromium, FakeSession()) as visit:
        page = visit.page
        page.keyboard.press("Tab")
        assert visit.focused() == "Skip to the people"
        visit.tab_to("Start recording")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Stop recording")).to_be_visible()
        page.keyboard.press("Space")
        expect(page.get_by_role("button", name="Start recording")).to_be_visible()
        visit.tab_to("Pause image")
        page.keyboard.press("Space")
        assert page.get_attribute("#pause", "aria-pressed") == "true"
        page.keyboard.press("Space")
        visit.tab_to("Rename P1")
        page.keyboard.press("Enter")
        page.keyboard.type("quiet Quentin")  # q in a name is only a letter
        page.keyboard.press("Enter")
        expect(page.locator(".card .name").first).to_have_text("quiet Quentin")
        page.keyboard.press("q")
        expect(page.get_by_role("dialog", name="Stop the session?")).to_be_visible()
        page.keyboard.press("Escape")
        assert visit.session.stops == 0
        page.keyboard.press("q")
        assert visit.focused() == "Stop and save"
        visit.tab_to("Go on")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="The session has ended")).to_be_focused()
        assert visit.session.stops == 1
        visit.served.thread.join(60)
        assert not visit.served.thread.is_alive()
        assert visit.complaints == []


def test_no_press_is_lost_while_an_answer_is_on_its_way(visit: Visit) -> None:
    """A button means what it says, and the stop button is heard whatever else is under way."""
    page = visit.page
    visit.session.answer_s = 60.0
    page.get_by_role("button", name="Start recording").press("Enter")
    expect(page.get_by_role("button", name="Stop recording")).to_be_visible()
    page.get_by_role("button", name="Stop recording").press("Enter")
    expect(page.get_by_role("button", name="Start recording")).to_be_visible()
    page.get_by_role("button", name="Start recording").press("Enter")
    expect(page.get_by_role("button", name="Stop recording")).to_be_visible()
    page.keyboard.press("q")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The session has ended")).to_be_visible()
    assert visit.session.stops == 1


def test_the_end_names_the_files(chromium: Any) -> None:
    notes = ("2 persons may be one: fertrack person list 7",)
    with visiting(chromium, FakeSession(summary_at_end=replace(SUMMARY, notes=notes))) as visit:
        visit.session.stop()
        page = visit.page
        expect(page.get_by_role("heading", name="The session has ended")).to_be_visible()
        said = visit.text("#goodbye")
        for words in ("Everything was saved.", "7 in /tmp/study/fertrack.db", "/tmp/study/live <1>.mp4", "1 min 12 s"):
            assert words in said
        assert notes[0] in said
        assert 'fertrack report 7 --db "/tmp/study/fertrack.db"' in said
        expect(page.locator(".badge")).to_contain_text("Expression estimation is off")
        assert page.locator("#session").is_hidden()
        expect(page.get_by_role("status")).to_contain_text("The session has ended. Everything was saved.")
        visit.served.thread.join(60)
        asked = len(visit.asked)
        page.wait_for_timeout(1200)
        assert len(visit.asked) == asked  # nobody is asked any more
        assert visit.complaints == []


def test_a_lost_connection_is_said_until_it_is_back(visit: Visit) -> None:
    page, banner = visit.page, visit.page.locator("#banner")
    expect(banner).to_be_hidden()
    visit.session.connect("reconnecting", attempt=3, message="no picture for 5 s")
    expect(banner).to_have_text("Reconnecting … attempt 3: no picture for 5 s")
    expect(page.get_by_role("status")).to_have_text("Reconnecting … attempt 3: no picture for 5 s")
    visit.session.connect("live", attempt=0, message="", reconnects=1)
    expect(banner).to_be_hidden()
    expect(page.locator("#reconnects")).to_have_text("once")
    expect(page.get_by_role("status")).to_have_text("Connected.")


def test_results_that_are_too_few_to_follow_anyone_are_said(visit: Visit) -> None:
    page, banner = visit.page, visit.page.locator("#banner")
    visit.session.notice = "0.8 results a second are too few to follow anyone"
    expect(banner).to_have_text(visit.session.notice)
    visit.session.connect("reconnecting", attempt=1, message="")
    expect(banner).to_have_text("Reconnecting … attempt 1")
    visit.session.connect("live", attempt=0)
    expect(banner).to_have_text(visit.session.notice)
    visit.session.notice = ""
    expect(banner).to_be_hidden()
    expect(page.get_by_role("status")).to_have_text("Results come often enough again.")


def test_no_picture_is_no_reason_to_ask_without_pause(visit: Visit) -> None:
    """While a run is being saved, the answer that there is no picture comes at once."""
    visit.page.route(re.compile(r"/picture\?"), lambda route: route.fulfill(status=204))
    visit.page.wait_for_timeout(300)
    before, began_s = len(visit.asked), time.monotonic()
    asked: list[str] = []
    while len(asked) < 3:
        visit.page.wait_for_timeout(500)
        asked = [url for url in visit.asked[before:] if "/picture?" in url]
    assert len(asked) <= 10 * (time.monotonic() - began_s)


def test_a_program_that_is_gone_is_noticed(chromium: Any) -> None:
    with visiting(chromium, FakeSession()) as visit:
        visit.page.route("**/numbers", lambda route: route.abort())
        visit.page.route(re.compile(r"/picture\?"), lambda route: route.abort())
        visit.page.reload()
        expect(visit.page.locator("#banner")).to_contain_text("fertrack does not answer")


def test_pausing_the_picture_stops_asking_for_it(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Pause image").click()
    page.wait_for_timeout(500)
    asked = sum("/picture" in url for url in visit.asked)
    views = visit.session.views
    page.wait_for_timeout(500)
    assert sum("/picture" in url for url in visit.asked) == asked
    assert visit.session.views == views
    page.get_by_role("button", name="Pause image").click()
    page.wait_for_function("(number) => Number(picture.dataset.number) > number", arg=views)


def test_a_person_who_leaves_and_one_who_comes(visit: Visit) -> None:
    page, session = visit.page, visit.session
    session.names[3] = "P3"
    session.labels = {1: "fear", 3: "neutral"}
    expect(page.locator(".card .name")).to_have_text(["P1", "P3"])
    expect(page.locator(".estimate .label").first).to_have_text("fear")
    session.labels = {}
    expect(page.locator("#nobody")).to_be_visible()
    expect(page.locator(".card")).to_have_count(0)


LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2},
    "phone dark still": {
        "viewport": {"width": 360, "height": 740},
        "color_scheme": "dark",
        "reduced_motion": "reduce",
    },
}


@pytest.mark.parametrize("look", LOOKS)
def test_it_looks_right(chromium: Any, look: str) -> None:
    session = FakeSession(fps=5, shape=(720, 1280))
    session.names = {1: "Ana-María Fernández de la Vega y Something", 2: "P2", 3: "P3"}
    session.labels = {1: "happiness", 2: "uncertain", 3: "anger"}
    session.began_s -= 75
    with visiting(chromium, session, **LOOKS[look]) as visit:
        page = visit.page
        session.start_recording(Path("/home/somebody/a rather long folder name/live 2026-03-04 15-06-07.mp4"))
        session.connect("reconnecting", attempt=2, message="rtsp://***@camera.example/stream does not answer")
        expect(page.locator("#banner")).to_be_visible()
        expect(page.locator("#recording")).to_contain_text("live 2026")
        page.wait_for_timeout(400)
        save(page, look)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(TOUCHED) == []
        colours = palette.PAGE_DARK if "dark" in look else palette.PAGE_LIGHT
        back = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert back == "rgb({}, {}, {})".format(*bytes.fromhex(colours["page"][1:]))
        moving = page.evaluate("() => getComputedStyle(document.querySelector('.fill')).transitionDuration")
        assert (moving == "0s") == ("still" in look)
        small = page.evaluate(
            "() => [...document.querySelectorAll('button')].filter((b) => b.offsetWidth && "
            "(b.offsetHeight < 24 || b.offsetWidth < 24)).map((b) => b.innerText)"
        )
        assert small == []
        page.get_by_role("button", name="Rename P2").click()
        page.locator("#stop").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        save(page, f"{look} asking")
        page.keyboard.press("Escape")
        assert page.evaluate(TOUCHED) == []
        session.summary_at_end = replace(SUMMARY, recordings=(str(session.recording),), notes=("A note.",))
        session.stop()
        expect(page.get_by_role("heading", name="The session has ended")).to_be_visible()
        save(page, f"{look} ended")
        assert page.evaluate(TOUCHED) == []
        assert visit.complaints == []


def save(page: Any, name: str) -> None:
    """Keep a picture for people to look at, where a folder for it is named."""
    folder = os.environ.get("FERTRACK_SCREENSHOTS")
    if folder:
        (Path(folder) / f"{name.replace(' ', '-')}.png").write_bytes(page.screenshot(full_page=True))
