"""The video of a report: found, linked or embedded as asked, refused with a sentence, and allowed by the policy."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fertrack.cli.main import run as command
from fertrack.errors import ReportError
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.html.run_page import write_html
from fertrack.reporting.html.video import find_film
from fertrack.storage.engine import Database, open_database
from fertrack.storage.facts import RunFacts
from tests.reporting.html.test_run_page import Page
from tests.support import queries
from tests.support.reporting_runs import ScriptedPerson, ScriptedRun, store_run

RUN = ScriptedRun([ScriptedPerson([(0, 2)], [(0, "neutral"), (1, "happiness")])], cuts=(20,))
BYTES = b"not really a film"


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with open_database(tmp_path_factory.mktemp("film") / "fertrack.db", create=True) as database:
        store_run(database, RUN)
        yield database


@pytest.fixture
def facts(db: Database, tmp_path: Path) -> RunFacts:
    source = tmp_path / "source" / "my clip.mp4"
    source.parent.mkdir()
    source.write_bytes(BYTES)
    return replace(queries.run_facts(db, 1), source_path=str(source), source_name=source.name)


def written(db: Database, path: Path, config: ReportConfig, video: Path | None = None) -> Page:
    return Page(write_html(db, 1, path, config, video=video, overwrite=True).read_text(encoding="utf-8"))


def policy(page: Page) -> str:
    return page.all("meta")[1]["content"] or ""


def test_without_being_asked_there_is_no_video(db: Database, facts: RunFacts, tmp_path: Path) -> None:
    assert find_film("none", facts, tmp_path / "r.html") is None
    page = written(db, tmp_path / "r.html", ReportConfig())
    assert page.all("video") == []
    assert "media-src" not in policy(page)
    assert "seek" not in page.attributes("class")


def test_a_link_is_relative_and_quoted(facts: RunFacts, tmp_path: Path) -> None:
    film = find_film("link", facts, tmp_path / "reports" / "r.html", begins_s=3.0)
    assert film is not None
    assert (film.address, film.content, film.mime) == ("../source/my%20clip.mp4", "", "video/mp4")
    assert (film.drawn, film.starts_s) == (False, 0.0)
    assert film.size_mb == pytest.approx(len(BYTES) / 1e6)


def test_the_annotated_video_beside_the_report_comes_first(facts: RunFacts, tmp_path: Path) -> None:
    drawn = tmp_path / "x.annotated.webm"
    drawn.write_bytes(BYTES)
    film = find_film("link", facts, tmp_path / "x.report.html", begins_s=3.0)
    assert film is not None
    assert (film.address, film.mime) == ("./x.annotated.webm", "video/webm")
    assert (film.drawn, film.starts_s) == (True, 3.0), "its own time is 0 where the run began"
    recorded = {tmp_path / "gone.mp4": None, Path(facts.source_path): 7.0}
    far = find_film("link", facts, tmp_path / "elsewhere" / "x.report.html", begins_s=3.0, recorded=recorded)
    assert far is not None
    assert (far.drawn, far.starts_s) == (True, 7.0), "what is known to have been drawn is found wherever it lies"
    other = find_film("link", facts, tmp_path / "x.report.html", given=Path(facts.source_path))
    assert other is not None
    assert not other.drawn


def test_what_cannot_be_played_is_one_sentence(facts: RunFacts, tmp_path: Path) -> None:
    report = tmp_path / "r.html"
    with pytest.raises(
        ReportError, match=r"there is no video .*gone\.mp4 to link for run 1: name it with --video-file"
    ):
        find_film("link", facts, report, given=tmp_path / "gone.mp4")
    pictures = tmp_path / "clip.gif"
    pictures.write_bytes(BYTES)
    with pytest.raises(ReportError, match=r"clip\.gif is no video that browsers play"):
        find_film("embed", facts, report, given=pictures)
    with pytest.raises(ReportError, match=r"my clip\.mp4 has 0 MB, and only up to 1e-05 MB .* use --video link"):
        find_film("embed", facts, report, max_embed_mb=1e-5)


def test_an_embedded_video_is_in_the_file_and_the_reader_is_told(db: Database, facts: RunFacts, tmp_path: Path) -> None:
    page = written(db, tmp_path / "r.html", ReportConfig(video="embed"), Path(facts.source_path))
    (content,) = [text for attrs, text in page.scripts if attrs.get("id") == "film-data"]
    assert base64.b64decode(content) == BYTES
    assert "The video is inside this file (0.1 MB): whoever gets the file sees the people in it." in page.text
    assert policy(page).split("media-src ")[1].startswith("blob:;")
    (video,) = page.all("video")
    assert "src" not in video
    assert video["aria-label"] == "Video, my clip.mp4"
    assert page.text.index("The video is inside this file") < page.text.index("Overview Everybody")


def test_a_linked_video_is_the_only_thing_the_policy_lets_in(db: Database, facts: RunFacts, tmp_path: Path) -> None:
    page = written(db, tmp_path / "r.html", ReportConfig(video="link"), Path(facts.source_path))
    assert page.attributes("src") == ["source/my%20clip.mp4"] or page.attributes("src") == ["./source/my%20clip.mp4"]
    assert "media-src 'self' file:;" in policy(page)
    assert "default-src 'none'" in policy(page)
    assert "played from my clip.mp4, which has to stay where it is" in page.text
    assert "the video beside it is a file of its own" in page.text


def test_times_in_tables_are_buttons_that_play_from_there(db: Database, facts: RunFacts, tmp_path: Path) -> None:
    page = written(db, tmp_path / "r.html", ReportConfig(video="link"), Path(facts.source_path))
    buttons = [attrs for attrs in page.all("button") if attrs.get("class") == "seek"]
    assert {"0", "1000", "800"} <= {attrs["data-seek-ms"] for attrs in buttons}  # episodes, and the cut
    assert all((attrs["aria-label"] or "").startswith("Play from 0:0") for attrs in buttons)


def test_the_command_links_and_embeds(
    db: Database, facts: RunFacts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["report", "1", "--db", db.url, "-o", str(tmp_path), "--overwrite"]
    assert command([*options, "--video", "embed", "--video-file", facts.source_path]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert "film-data" in path.read_text(encoding="utf-8")
    assert command([*options, "--video-file", facts.source_path]) == 0, "naming a video means linking it"
    assert 'src="./source/my%20clip.mp4"' in path.read_text(encoding="utf-8")
    assert command([*options, "--video", "link"]) == 1
    assert "--video-file" in capsys.readouterr().err
    too_large = [*options, "--video", "embed", "--video-file", facts.source_path, "--set", "report.max_embed_mb=1e-5"]
    assert command(too_large) == 1
    assert "report.max_embed_mb" in capsys.readouterr().err
