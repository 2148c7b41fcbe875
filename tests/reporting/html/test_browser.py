"""The HTML report in a real browser, where there is one: it draws, it is silent, it asks the network for nothing."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fertrack.errors import OutputExistsError
from fertrack.imaging import palette
from fertrack.reporting.html.pdf import print_pdf
from fertrack.reporting.html.run_page import write_html
from fertrack.storage.engine import open_database
from tests.support.reporting_runs import ScriptedPerson, ScriptedRun, store_run

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH")

QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-quic", "--disable-sync"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-extensions"),
    *("--enable-logging=stderr", "--virtual-time-budget=20000", "--host-resolver-rules=MAP * ~NOTFOUND"),
]

HOSTILE = "</script><script>document.title='owned'</script><b>Ana</b> & 李"
RUN = ScriptedRun(
    persons=(
        ScriptedPerson([(0, 1.2), (2.5, 4)], [(0, "neutral"), (0.6, "happiness"), (3, "uncertain")], name=HOSTILE),
        ScriptedPerson([(0, 4)], [(0, "sadness"), (1, "surprise"), (2, "anger"), (3, "fear")]),
    ),
    frames=100,
    source_name="a rather long file name, as cameras and phones like to give them 2026-03-04 15-06-07.mp4",
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("browser")
    with open_database(folder / "fertrack.db", create=True) as db:
        yield write_html(db, store_run(db, RUN), folder / "report.html")


def browse(page: Path, folder: Path, *options: str) -> tuple[str, list[str]]:
    """Load a page; gives the document after its scripts ran, and what was written to the console."""
    command = [CHROMIUM or "", *QUIET, f"--user-data-dir={folder / 'profile'}", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    console = [line for line in done.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
    return done.stdout.decode(), console


def with_script(report: Path, folder: Path, script: str) -> Path:
    """A copy of the report that runs a script once its charts are drawn. Only the copy's policy allows that."""
    page = report.read_text(encoding="utf-8")
    page, policies = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert policies == 1
    waiting = (
        "const drawn = () => document.documentElement.dataset.charts === 'drawn';"
        "const begin = () => { clearInterval(timer); test().catch((e) => say(String(e))); };"
        "const timer = setInterval(() => { if (drawn()) begin(); }, 50);"
        "const say = (result) => { parent.postMessage(JSON.stringify(result), '*'); };"
        "addEventListener('message', (event) => { if (event.source === window) document.title = event.data; });"
    )
    copy = folder / "tested.html"
    copy.write_text(
        page.replace("</body>", f"<script>{waiting}\nasync function test() {{{script}}}</script></body>"),
        encoding="utf-8",
    )
    return copy


def title(document: str) -> str:
    found = re.search(r"<title>(.*?)</title>", document, re.DOTALL)
    assert found
    return html.unescape(found[1])


def requests_of_the_page(log: Path) -> set[str]:
    """Network addresses a page asked for, from the browser's log; without the browser's own errands."""
    events = json.loads(log.read_text(errors="replace"))["events"]
    asked = [event["params"] for event in events if "url" in event.get("params", {})]
    return {
        params["url"]
        for params in asked
        if re.match("(https?|wss?):", params["url"]) and params.get("initiator", "not an origin") != "not an origin"
    }


def test_it_draws_its_charts_silently_and_alone(report: Path, tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    document, console = browse(report, tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert console == []
    assert 'data-charts="drawn"' in document
    assert (
        len(re.findall(r'<div class="chart js-plotly-plot"', document)) == 5
    )  # overview, presence, two persons, speed
    assert len(re.findall(r'<g class="trace scatter', document)) == 2 * (7 + 7) + 4  # lines and bands; fps, p50 and p95
    assert len(re.findall(r'<g class="point"', document)) == 2 * (3 + 3 + 4) + (1 + 3 + 1)
    # seen stretches and episodes, twice; anybody, each stretch of a person, and a gap
    assert title(document).endswith("– expression report")  # the hostile name did not run
    assert "cloud" not in "".join(re.findall(r'data-title="[^"]*"', document)).lower()
    assert requests_of_the_page(log) == set()


def test_a_request_and_a_word_on_the_console_would_be_noticed(report: Path, tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    script = "await fetch('https://plotly.example/x').catch((e) => console.error('refused')); say('asked');"
    document, console = browse(with_script(report, tmp_path, script), tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert title(document) == '"asked"'
    assert requests_of_the_page(log) == {"https://plotly.example/x"}
    assert any("refused" in line for line in console)


def test_it_answers_to_its_user(report: Path, tmp_path: Path) -> None:
    script = """
      const charts = [...document.querySelectorAll('.chart')];
      const rest = (ms) => new Promise((r) => setTimeout(r, ms));
      const labels = [...charts[0].querySelectorAll('.ytick text')].map((t) => t.textContent);
      const persons = charts.filter((c) => c.dataset.figure.startsWith('person'));
      const lineColour = persons[1].data.find((t) => t.name === 'happiness').line.color;
      const pageColour = getComputedStyle(document.documentElement).getPropertyValue('--x-happiness').trim();

      document.querySelector('input[data-expression=anger]').click();
      await rest(300);
      const isShown = (t) => t.meta.kind === 'line' && t.visible !== false;
      const shown = persons.map((c) => c.data.filter(isShown).length);

      const start = charts[0].layout.xaxis.range[0];
      const ms = (value) => typeof value === 'number' ? value : Date.parse(value.replace(' ', 'T') + 'Z');
      const ranges = () => charts.map((c) => c._fullLayout.xaxis.range.map((v) => Math.round(ms(v) - start)));
      await Plotly.relayout(persons[0], { 'xaxis.range[0]': start + 1000, 'xaxis.range[1]': start + 2000 });
      await rest(800);
      const zoomed = ranges();
      persons[1].querySelector('[data-title="Reset axes"]').click();
      await rest(800);
      const reset = ranges();

      window.dispatchEvent(new Event('beforeprint'));
      await rest(300);
      const printed = [persons[0].layout.width, persons[0].layout.font.color];
      window.dispatchEvent(new Event('afterprint'));
      await rest(300);
      const after = persons[0].layout.font.color;
      say({ labels, lineColour, pageColour, shown, zoomed, reset, printed, after });
    """
    page = with_script(report, tmp_path, script)
    document, console = browse(page, tmp_path, "--dump-dom", "--blink-settings=preferredColorScheme=0")
    said = json.loads(title(document))
    assert said["labels"] == ["■ </script><script>…", "■ ID 2"]  # markup in a name is drawn as text
    assert said["lineColour"] == said["pageColour"] == palette.DARK["happiness"]
    assert said["shown"] == [6, 6]
    assert said["zoomed"] == [[1000, 2000]] * 5
    assert said["reset"] == [[0, 4000]] * 5
    assert said["printed"] == [660, palette.PAGE_LIGHT["text"]]
    assert said["after"] == palette.PAGE_DARK["text"]
    assert console == []


def test_nothing_is_wider_than_a_phone(report: Path, tmp_path: Path) -> None:
    width = 360
    script = """
      const root = document.documentElement;
      const right = (e) => Math.round(e.getBoundingClientRect().right);
      const wide = [...document.querySelectorAll('body *:not(.scroll *)')].filter((e) => right(e) > innerWidth);
      const names = wide.map((e) => `${e.tagName}.${e.getAttribute('class')}`);
      say({ inner: innerWidth, scroll: root.scrollWidth, names });
    """
    inner = with_script(report, tmp_path, script)
    frame = tmp_path / "frame.html"  # a headless window cannot be as narrow as a phone, a frame can
    frame.write_text(
        "<title></title><script>addEventListener('message', (e) => { document.title = e.data; });</script>"
        f"<iframe src='{inner.name}' style='width:{width}px;height:900px;border:0'></iframe>"
    )
    document, _ = browse(frame, tmp_path, "--dump-dom", f"--window-size={width + 100},1000")
    result = json.loads(title(document))
    assert result["inner"] == width
    assert result["names"] == []
    assert result["scroll"] <= width


def test_a_report_is_printed_to_a_file(report: Path, tmp_path: Path) -> None:
    pdf = print_pdf(report, tmp_path / "report.pdf")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert pdf.read_bytes().count(b"/Type /Page\n") <= 5, "of two people"
    with pytest.raises(OutputExistsError):
        print_pdf(report, pdf)


def test_it_prints(report: Path, tmp_path: Path) -> None:
    pdf = tmp_path / "report.pdf"
    _, console = browse(report, tmp_path, f"--print-to-pdf={pdf}")
    assert console == []
    assert 2 <= pdf.read_bytes().count(b"/Type /Page\n") <= 12
