"""A person's plot, as a notebook shows it, in a real browser: drawn, silent, no upload button, no request."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fertrack.reporting.notebook.views import PersonView
from fertrack.storage.engine import open_database
from fertrack.types import EXPRESSIONS
from tests.reporting.html.test_browser import CHROMIUM, RUN, browse, requests_of_the_page, title
from tests.support.reporting_runs import ScriptedRun, store_run

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH")


def test_a_plot_draws_and_offers_no_upload(tmp_path: Path) -> None:
    run = ScriptedRun(RUN.persons, frames=RUN.frames, cuts=(40,))
    with open_database(tmp_path / "fertrack.db", create=True) as db:
        number = store_run(db, run)
        figure = PersonView.find(db.url, number, 1).plot()
    page = tmp_path / "cell.html"
    body = figure._repr_html_()
    page.write_text(f"<!doctype html><meta charset=utf-8><title>cell</title>{body}", encoding="utf-8")
    log = tmp_path / "net.json"
    document, console = browse(page, tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert console == []
    assert len(re.findall(r'<g class="trace scatter', document)) == 2 * len(EXPRESSIONS) + 1  # lines, shades, the cut
    buttons = re.findall(r'data-title="([^"]*)"', document)
    assert len(buttons) == 6
    assert "cloud" not in "".join(buttons).lower()
    assert title(document) == "cell", "the hostile name did not run"
    assert requests_of_the_page(log) == set()
