"""Erasing a person: no byte of theirs is left, everybody else's rows are as before, and videos do not show them."""

from __future__ import annotations

import base64
import json
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import sqlalchemy as sa

from fertrack.cli.main import run as fertrack
from fertrack.config import load_settings
from fertrack.errors import ConfigError, ReportError, RunNotFoundError, StorageError, VideoWriteError
from fertrack.imports.marker_import import import_markers
from fertrack.render import render_run
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.exports.csv_export import write_csv
from fertrack.reporting.exports.registry import export_run
from fertrack.reporting.html.comparison import write_comparison
from fertrack.reporting.html.run_page import write_html
from fertrack.rights import erase
from fertrack.rights.erase import erase_person, finish_erasing
from fertrack.rights.person_export import export_person
from fertrack.storage.engine import Database, open_database
from fertrack.storage.maintenance import backup, check_database, vacuum
from fertrack.storage.models import Base, Embedding, Face
from fertrack.storage.people import actions as person_actions
from fertrack.storage.people.corrections import GivenLabel, store_corrections
from fertrack.storage.people.thumbnails import BestFace, store_thumbnails
from fertrack.storage.written_files import DatabaseCopy, DrawnVideo, Report, record_output
from tests.support import queries
from tests.support.postgres_server import running_server
from tests.support.queries import expression_stats, markers, outputs, thumbnails
from tests.support.rights_scenes import (
    DETECTOR,
    FRAMES,
    add_person,
    decoded,
    likeness,
    make_clip,
    results,
    store_clip,
)

NAME, FORMER, OTHER = "Zora Quillfeather", "Wrongname Dunsany", "Berta Blom"
JPEG = b"\xff\xd8\xff thumbnail of "


@dataclass
class Scene:
    """A stored run of two persons with everything that can be stored about them."""

    folder: Path
    clip: Path
    db: Database
    run: int

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def args(self, *words: str) -> list[str]:
        return [*words, "--db", self.db.url]


def make_scene(folder: Path, url: str | Path, settings: list[str] | None = None) -> Scene:
    clip = make_clip(folder / "clip.mp4")
    database = open_database(url, create=True, busy_timeout_s=0.5)
    chosen = load_settings([], ["video.audio=false", "video.crf=12", *(settings or [])])
    stated = {"purpose": "a study", "consent": f"form 7, signed by {NAME.upper()}; form 8"}
    # Track 3 is the first person too, seen at the same time in no frame: the last frames of track 1 are not stored.
    run = store_clip(database, clip, results(seen=((1, 1, 20), (2, 2, FRAMES))), chosen, **stated)
    add_person(database, run, FORMER, 1, [1])
    add_person(database, run, OTHER, 2, [2])
    person_actions.rename(database, run, "ID 1", NAME)
    store_corrections(database, run, [GivenLabel(row=1, label=3, run=run, frame_index=2, track=1)], author=OTHER)
    store_corrections(
        database, run, [GivenLabel(row=1, label=2, run=run, frame_index=2, track=2)], author=NAME, add=True
    )
    marks = folder / "marks.csv"
    marks.write_text(f"time_s,label,note\n0.2,cue,for {NAME}\n0.4,bell,\n", encoding="utf-8")
    import_markers(database, run, marks)
    store_thumbnails(database, run, {1: BestFace(3, 0.9, JPEG + b"one"), 2: BestFace(3, 0.8, JPEG + b"two")})
    return Scene(folder, clip, database, run)


@pytest.fixture
def scene(tmp_path: Path, empty_database: Path) -> Iterator[Scene]:
    shutil.copy(empty_database, tmp_path / "a.db")
    made = make_scene(tmp_path, tmp_path / "a.db")
    with made.db:
        yield made


def write_video(scene: Scene) -> Path:
    """A video with names."""
    scene.out.mkdir(exist_ok=True)
    return render_run(scene.db, scene.run, scene.out / "named.mp4").path


def write_everything(scene: Scene) -> list[Path]:
    """A video with names, a report, and exports of everybody and of one person."""
    write_video(scene)
    write_html(scene.db, scene.run, scene.out / "clip.report.html")
    csv = write_csv(scene.db, scene.run, scene.out, "clip")
    srt = export_run(scene.db, scene.run, "srt", scene.out)
    of_one = export_run(scene.db, scene.run, "elan", scene.out, track=1)
    of_other = export_run(scene.db, scene.run, "elan", scene.out, track=2)
    return [scene.out / "named.mp4", scene.out / "clip.report.html", *csv, *srt, *of_one, *of_other]


def needles(scene: Scene) -> list[bytes]:
    """Every sequence of bytes that is the person's alone: names, and packed vectors."""
    found = [name.encode() for name in (NAME, FORMER, NAME.upper())] + [JPEG + b"one"]
    with scene.db.reading() as connection:
        for row in connection.execute(sa.select(Face).where(Face.run_id == scene.run)):
            if row.track == 1 or (row.track is None and row.frame_index >= 15):
                found += [row.xyxy, row.landmarks, row.logits, row.probabilities, row.smoothed]
        found += [row.vector for row in connection.execute(sa.select(Embedding).where(Embedding.track == 1))]
    return found


def left_in_files(path: Path, wanted: list[bytes]) -> list[bytes]:
    content = b"".join(each.read_bytes() for each in (path, Path(f"{path}-wal"), Path(f"{path}-shm")) if each.exists())
    return [needle for needle in wanted if needle in content]


def rows_of(database: Database, condition: Callable[[str, sa.RowMapping], bool]) -> dict[str, list[tuple[object, ...]]]:
    with database.reading() as connection:
        return {
            table.name: [
                tuple(row.values())
                for row in connection.execute(sa.select(table)).mappings()
                if condition(table.name, row)
            ]
            for table in Base.metadata.sorted_tables
        }


def test_no_byte_of_the_person_is_left(scene: Scene) -> None:
    files = write_everything(scene)
    wanted = needles(scene)
    assert len(wanted) > 100
    vacuum(scene.db)
    path = Path(scene.db.url)
    assert left_in_files(path, wanted) == wanted, "the search finds what is there"

    report = erase_person(scene.db, NAME)

    assert left_in_files(path, wanted) == []
    assert not any(word in path.read_bytes() for word in (b"Zora", b"Quillfeather", b"Wrongname"))
    for file in files:
        if file.exists():
            content = file.read_bytes()
            assert NAME.encode() not in content
            assert FORMER.encode() not in content
    assert report.rows["faces"] == 19, "of 20 frames, one was not claimed by the track"
    assert report.rows["unclaimed faces"] == 1
    assert report.deleted == [scene.out / "run1.clip.id1.elan.txt"]
    assert (scene.out / "run1.clip.id2.elan.txt").exists()
    check = check_database(scene.db)
    assert check.problems == ()


def test_what_is_written_again_is_about_the_others_only(scene: Scene) -> None:
    write_everything(scene)
    before = (scene.out / "clip.faces.csv").read_text(encoding="utf-8")
    assert NAME in before
    report = erase_person(scene.db, "P1", scene.run)
    assert {path.name for path in report.rewritten} == {
        "clip.report.html",
        "clip.faces.csv",
        "clip.episodes.csv",
        "run1.clip.srt",
    }
    after = (scene.out / "clip.faces.csv").read_text(encoding="utf-8")
    assert OTHER in after
    theirs = [line for line in before.splitlines() if OTHER in line]
    assert len(theirs) == FRAMES
    assert after.splitlines() == [before.splitlines()[0], *theirs]
    page = (scene.out / "clip.report.html").read_text(encoding="utf-8")
    assert OTHER in page
    assert "form 7, signed by [erased]; form 8" in page


def test_other_peoples_rows_stay_bit_for_bit(scene: Scene) -> None:
    def others(table: str, row: sa.RowMapping) -> bool:
        if table in ("faces", "episodes", "embeddings", "links", "thumbnails"):
            return bool(row["track"] == 2)
        whole = ("frames", "events", "stage_timings", "episode_sets", "sources")
        return table in whole or (table == "tracks" and bool(row["number"] == 2))

    before, shares = rows_of(scene.db, others), expression_stats(scene.db, "all", who=OTHER)
    erase_person(scene.db, NAME)
    assert rows_of(scene.db, others) == before
    assert expression_stats(scene.db, "all", who=OTHER).equals(shares)
    facts = queries.run_facts(scene.db, scene.run)
    assert (facts.summary.faces, facts.summary.tracks) == (FRAMES, 1)
    assert facts.consent == "form 7, signed by [erased]; form 8"
    assert queries.persons(scene.db, scene.run)["person"].tolist() == [OTHER]
    assert list(thumbnails(scene.db, scene.run)) == [2]
    assert markers(scene.db, scene.run)[["label", "note"]].to_numpy().tolist() == [
        ["cue", "for [erased]"],
        ["bell", ""],
    ]


def test_the_record_says_when_and_how_much_and_nothing_else(scene: Scene) -> None:
    erase_person(scene.db, NAME)
    with sqlite3.connect(scene.db.url) as raw:
        (row,) = raw.execute("SELECT erased_at, finished_at, counts FROM erasures").fetchall()
        log = raw.execute("SELECT kind, sentence, before, after FROM person_actions").fetchall()
    raw.close()
    assert row[0] <= row[1]
    counts = json.loads(row[2])
    assert counts["faces"] == 19
    assert all(isinstance(value, int) for value in counts.values())
    assert log == [("erased", "a change, erased since", "[]", "[]")]


def test_a_video_is_drawn_again_without_the_person(scene: Scene) -> None:
    write_video(scene)
    path = scene.out / "named.mp4"
    before = decoded(path)
    assert min(likeness(before[index], 1, index) for index in range(20)) > 0.9
    report = erase_person(scene.db, NAME)
    assert report.redrawn == [path]
    after = decoded(path)
    assert len(after) == FRAMES
    assert max(abs(likeness(after[index], 1, index)) for index in range(FRAMES)) < 0.35
    assert min(likeness(after[index], 2, index) for index in range(FRAMES)) > 0.9
    assert [each.name for each in scene.out.glob("*erasing*")] == []


def test_without_its_source_a_video_is_overwritten(scene: Scene) -> None:
    write_video(scene)
    path = scene.out / "named.mp4"
    before = decoded(path)
    scene.clip.unlink()
    report = erase_person(scene.db, NAME)
    assert (report.redrawn, report.overwritten) == ([], [path])
    after = decoded(path)
    assert len(after) == FRAMES
    for index in range(20):
        assert abs(likeness(after[index], 1, index)) < 0.35
        assert likeness(after[index], 2, index) > 0.85
    # The label above the first person is not there any more, that of the second one is.
    label = (slice(50, 68), slice(22, 90))
    assert before[2][label].reshape(-1, 3).std(axis=0).max() > 40
    assert after[2][label].reshape(-1, 3).std(axis=0).max() < 5, "one flat colour"
    other = (slice(88, 108), slice(160, 319))
    assert abs(float(after[2][other].std()) - float(before[2][other].std())) < 8


def test_debug_panels_with_faces_are_hidden_with_the_whole_picture(scene: Scene) -> None:
    from fertrack.sinks.video import VideoOutputConfig

    scene.out.mkdir()
    path = scene.out / "debug.mp4"
    render_run(scene.db, scene.run, path, VideoOutputConfig(debug_overlay=True, audio=False))
    scene.clip.unlink()
    erase_person(scene.db, NAME)
    first = decoded(path)[3]
    assert first.reshape(-1, 3).std(axis=0).max() < 4


def test_a_dry_run_changes_nothing(scene: Scene) -> None:
    files = write_everything(scene)
    before = rows_of(scene.db, lambda *_: True), [file.read_bytes() for file in files]
    report = erase_person(scene.db, NAME, dry_run=True)
    assert not report.done
    assert report.redrawn == [scene.out / "named.mp4"]
    assert report.deleted == [scene.out / "run1.clip.id1.elan.txt"]
    assert len(report.rewritten) == 4
    assert report.rows["log entries"] == 1
    assert (rows_of(scene.db, lambda *_: True), [file.read_bytes() for file in files]) == before


def test_files_that_cannot_be_seen_to_are_named(scene: Scene) -> None:
    write_everything(scene)
    export_person(scene.db, NAME, scene.folder / "for-her")
    backup(scene.db, scene.folder / "copy.db")
    record_output(scene.db, None, scene.folder / "copy.db", DatabaseCopy())
    edited = scene.out / "clip.faces.csv"
    edited.write_text(edited.read_text(encoding="utf-8") + "\r\nmine", encoding="utf-8")
    (scene.out / "run1.clip.srt").rename(scene.out / "moved.srt")
    (scene.out / "named.mp4").rename(scene.out / "moved.mp4")
    report = erase_person(scene.db, NAME)
    said = "\n".join(report.left)
    for expected in (
        "copy.db of ",
        "for-her was made for the person",
        "clip.faces.csv was changed since it was written",
        "run1.clip.srt is not there any more",
        "named.mp4 is not there any more",
        "clip.mp4 was not changed: it is yours",
    ):
        assert expected in said
    assert edited.read_text(encoding="utf-8").endswith("mine")
    # What was changed by hand is named again, until it is gone.
    assert finish_erasing(scene.db) is None
    assert [file.path for file in outputs(scene.db) if file.stale] == [edited]


def test_a_video_that_cannot_be_written_stops_everything(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(scene)
    before = rows_of(scene.db, lambda *_: True)

    def full(*_: object, **__: object) -> None:
        raise VideoWriteError("the disk is full")

    monkeypatch.setattr(erase, "render_run", full)
    with pytest.raises(StorageError, match="nothing was deleted"):
        erase_person(scene.db, NAME)
    assert rows_of(scene.db, lambda *_: True) == before
    monkeypatch.undo()
    erase_person(scene.db, NAME)
    assert check_database(scene.db).problems == ()


def test_another_video_under_the_name_is_left_and_named(scene: Scene) -> None:
    write_video(scene)
    scene.clip.unlink()
    make_clip(scene.out / "named.mp4", frames=5)
    report = erase_person(scene.db, NAME)
    assert report.overwritten == []
    assert any("named.mp4 was not changed: it is not as fertrack has written it" in each for each in report.left)
    assert len(decoded(scene.out / "named.mp4")) == 5


@pytest.mark.parametrize("where", ["rewrite_stale", "vacuum"])
def test_interrupted_after_the_rows_it_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    write_everything(scene)
    wanted = needles(scene)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(erase, where, killed)
    with pytest.raises(KeyboardInterrupt):
        erase_person(scene.db, NAME)
    monkeypatch.undo()
    assert any("not finished" in problem for problem in check_database(scene.db).problems)

    assert fertrack(scene.args("person", "erase", NAME, "--yes")) == 0
    shown = capsys.readouterr()
    assert "has been finished first" in shown.err
    assert check_database(scene.db).problems == ()
    assert left_in_files(Path(scene.db.url), wanted) == []
    assert NAME not in (scene.out / "clip.report.html").read_text(encoding="utf-8")
    assert finish_erasing(scene.db) is None
    assert fertrack(scene.args("person", "erase")) == 0
    assert "no erasure was interrupted" in capsys.readouterr().out


def test_interrupted_before_the_rows_it_begins_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(scene)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(erase, "erase_rows", killed)
    with pytest.raises(KeyboardInterrupt):
        erase_person(scene.db, NAME)
    monkeypatch.undo()
    assert queries.tracks_of_person(scene.db, scene.run, NAME) == (1,)
    erase_person(scene.db, NAME)
    with pytest.raises(RunNotFoundError):
        erase_person(scene.db, NAME)
    assert max(abs(likeness(image, 1, i)) for i, image in enumerate(decoded(scene.out / "named.mp4"))) < 0.35


def test_a_reader_that_holds_the_log_open_is_named_and_it_can_be_finished(scene: Scene) -> None:
    """Another program that reads keeps the write-ahead log, and with it what was deleted."""
    other = sqlite3.connect(scene.db.url, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM faces").fetchone()
    try:
        with pytest.raises(StorageError, match=r"locked by another program|another program has it open"):
            erase_person(scene.db, NAME)
    finally:
        other.close()
    assert finish_erasing(scene.db) is not None
    assert check_database(scene.db).problems == ()


def test_the_name_of_a_merged_person_goes_too(scene: Scene) -> None:
    """A track was taken for somebody else with a name, before it was merged into the person."""
    run = store_clip(scene.db, scene.clip, results(3, seen=((1, 1, 8), (2, 2, FRAMES))))
    add_person(scene.db, run, "Odd Alias", 3, [1])
    with scene.db.writing() as connection:  # the person of the first run is in this one too
        key = connection.scalar(sa.text("SELECT person_id FROM tracks WHERE run_id = 1 AND number = 1"))
        connection.execute(
            sa.text(f"INSERT INTO links VALUES (99, {run}, 1, {key}, 0.5, 'suggested', 'x', '2026-01-01')")
        )
    person_actions.merge(scene.db, run, NAME, ["Odd Alias"])
    erase_person(scene.db, NAME)
    content = Path(scene.db.url).read_bytes()
    assert b"Odd Alias" not in content
    assert b"Zora" not in content
    assert queries.persons(scene.db, run)["track_ids"].tolist() == [(2,)]


def test_names_that_others_bear_now_stay(scene: Scene) -> None:
    person_actions.rename(scene.db, scene.run, OTHER, "")
    person_actions.rename(scene.db, scene.run, NAME, OTHER)
    person_actions.rename(scene.db, scene.run, OTHER, NAME)
    person_actions.rename(scene.db, scene.run, "ID 2", OTHER)
    erase_person(scene.db, NAME)
    assert queries.persons(scene.db, scene.run)["person"].tolist() == [OTHER]
    kinds = queries.actions(scene.db, scene.run)["kind"].tolist()
    assert kinds == ["erased", "rename", "erased", "erased", "rename"]


def test_a_track_that_is_nobodys_can_be_erased(scene: Scene) -> None:
    run = store_clip(scene.db, scene.clip, results(5))
    report = erase_person(scene.db, "ID 2", run)
    assert report.rows["faces"] == FRAMES
    assert queries.persons(scene.db, run)["track"].tolist() == [1]
    assert queries.persons(scene.db, scene.run)["person"].tolist() == [NAME, OTHER]


def test_who_is_meant_must_be_clear(scene: Scene) -> None:
    run = store_clip(scene.db, scene.clip, results(5))
    with pytest.raises(RunNotFoundError, match="say which run"):
        erase_person(scene.db, "ID 1")
    with pytest.raises(RunNotFoundError, match="there is no person 'Nobody'"):
        erase_person(scene.db, "Nobody")
    assert erase_person(scene.db, "ID 1", run, dry_run=True).rows["tracks"] == 1


def test_the_command_asks_and_shows_what_it_did(
    scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.confirm", _refuse)
    assert fertrack(scene.args("person", "erase", NAME)) == 1
    assert queries.tracks_of_person(scene.db, scene.run, NAME) == (1,)
    assert fertrack(scene.args("person", "erase", NAME, "--json")) == 2
    capsys.readouterr()
    assert fertrack(scene.args("person", "erase", "last", NAME, "--json", "--dry-run")) == 0
    foreseen = json.loads(capsys.readouterr().out)
    assert (foreseen["done"], foreseen["rows"]["faces"]) == (False, 19)
    assert fertrack(scene.args("person", "erase", "last", NAME, "too", "--yes")) == 2
    assert fertrack(scene.args("person", "erase", NAME, "--yes")) == 0
    assert "not who" in capsys.readouterr().out


def _refuse(text: str, *, abort: bool) -> None:
    import typer

    assert abort
    assert NAME in text
    raise typer.Abort


@pytest.fixture
def texture_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A detector of the test's own that finds the patches."""
    (tmp_path / "texturepackage").mkdir()
    (tmp_path / "texturepackage" / "finder.py").write_text(DETECTOR, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("texturepackage", "texturepackage.finder"):  # another test's
        sys.modules.pop(module, None)
    return "texturepackage.finder"


def test_later_videos_do_not_show_the_person_either(tmp_path: Path, texture_detector: str) -> None:
    """The database does not know any more where the person is, and the source does: faces without rows are hidden."""
    scene = make_scene(tmp_path, tmp_path / "a.db", [f"detection.name={texture_detector}"])
    with scene.db:
        scene.out.mkdir()
        early = scene.out / "early.mp4"
        render_run(scene.db, scene.run, early)
        erase_person(scene.db, NAME)
        with pytest.raises(ConfigError, match=r"allow it with --detector texturepackage\.finder"):
            render_run(scene.db, scene.run, scene.out / "late.mp4")
        assert texture_detector not in sys.modules, "a database may be a stranger's: what it names is not imported"
        late = render_run(scene.db, scene.run, scene.out / "late.mp4", detector=texture_detector)
        assert any("1 person was erased" in note for note in late.notes)
        for index, image in enumerate(decoded(late.path)):
            assert abs(likeness(image, 1, index)) < 0.35
            assert likeness(image, 2, index) > 0.9
        erase_person(scene.db, OTHER)
        for index, image in enumerate(decoded(early)):
            assert abs(likeness(image, 1, index)) < 0.35, "hidden the second time too"
            assert abs(likeness(image, 2, index)) < 0.35


def test_where_the_detector_is_gone_later_videos_are_refused(tmp_path: Path, texture_detector: str) -> None:
    scene = make_scene(tmp_path, tmp_path / "a.db", [f"detection.name={texture_detector}"])
    with scene.db:
        erase_person(scene.db, NAME)
        (tmp_path / "texturepackage" / "finder.py").unlink()
        sys.modules.pop(texture_detector, None)
        with pytest.raises(ConfigError, match="cannot be imported"):
            render_run(scene.db, scene.run, tmp_path / "late.mp4", detector=texture_detector)
        assert not (tmp_path / "late.mp4").exists()


def test_on_postgresql_too(tmp_path: Path) -> None:
    with running_server() as address:
        url = f"postgresql:///erase?{address}"
        admin = sa.create_engine(f"postgresql+psycopg:///postgres?{address}", isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(sa.text("CREATE DATABASE erase TEMPLATE template0 ENCODING 'UTF8'"))
        admin.dispose()
        scene = make_scene(tmp_path, url)
        with scene.db:
            files = write_everything(scene)
            report = erase_person(scene.db, NAME)
            assert (report.rows["faces"], report.rows["unclaimed faces"]) == (19, 1)
            assert check_database(scene.db).problems == ()
            assert any("write-ahead log" in sentence for sentence in report.left)
            everything = json.dumps(rows_of(scene.db, lambda *_: True), default=str)
            assert "Zora" not in everything
            assert OTHER in everything
            assert NAME not in files[1].read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_is_named_and_tried_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fertrack.rights import refresh_outputs as rewriting

    write_everything(scene)

    def broken(*_: object) -> list[str]:
        raise ReportError("the disk is full")

    monkeypatch.setattr(rewriting, "_report", broken)
    report = erase_person(scene.db, NAME)
    assert any("clip.report.html could not be written again" in sentence for sentence in report.left)
    monkeypatch.undo()
    assert erase_person(scene.db, OTHER).rewritten
    assert NAME not in (scene.out / "clip.report.html").read_text(encoding="utf-8")


def test_reports_play_no_source_that_shows_the_person(scene: Scene) -> None:
    """A report that played the source plays nothing any more; one that played a drawn video plays it as it is now."""
    write_video(scene)
    shutil.copy(scene.clip, scene.out / "clip.mp4")
    linked, drawn = scene.out / "linked.html", scene.out / "drawn.html"
    config = ReportConfig(video="link")
    write_html(scene.db, scene.run, linked, config, video=scene.clip)
    write_html(scene.db, scene.run, drawn, config, video=scene.out / "named.mp4")
    report = erase_person(scene.db, NAME)
    assert set(report.rewritten) == {linked, drawn}
    assert any("linked.html plays no video any more" in sentence for sentence in report.left)
    assert "clip.mp4" not in re.findall(r'src="([^"]*)"', linked.read_text(encoding="utf-8"))
    assert "named.mp4" in drawn.read_text(encoding="utf-8")
    with pytest.raises(ReportError, match="shows them as before"):
        write_html(scene.db, scene.run, linked, config, video=scene.clip, overwrite=True)


@pytest.mark.parametrize("mode", ["link", "embed"])
def test_a_report_never_plays_another_video_than_it_did(scene: Scene, mode: Literal["link", "embed"]) -> None:
    """The other person is hidden in the video that the report chose, and clear in one that was drawn later."""
    hidden = render_run(scene.db, scene.run, scene.folder / "hidden.mp4", anonymise=True).path
    path = write_html(scene.db, scene.run, scene.folder / "page.html", ReportConfig(video=mode))
    assert [file.made.video for file in outputs(scene.db) if isinstance(file.made, Report)] == [hidden]
    clear = render_run(scene.db, scene.run, scene.folder / "clear.mp4").path
    report = erase_person(scene.db, NAME)
    page = path.read_text(encoding="utf-8")
    assert report.rewritten == [path]
    assert "clear.mp4" not in page
    assert base64.b64encode(clear.read_bytes()).decode() not in page
    assert "hidden.mp4" in page
    assert (base64.b64encode(hidden.read_bytes()).decode() in page) == (mode == "embed")

    hidden.unlink()
    report = erase_person(scene.db, OTHER)
    page = path.read_text(encoding="utf-8")
    assert any("page.html plays no video any more" in sentence for sentence in report.left)
    assert "clear.mp4" not in page
    assert "hidden.mp4" not in page
    assert "<video" not in page


def test_a_report_of_an_earlier_version_that_does_not_say_what_it_plays_plays_nothing(scene: Scene) -> None:
    write_video(scene)
    path = write_html(scene.db, scene.run, scene.folder / "page.html", ReportConfig(video="link"))
    record_output(scene.db, scene.run, path, Report(ReportConfig(video="link")))
    report = erase_person(scene.db, NAME)
    assert any("page.html plays no video any more" in sentence for sentence in report.left)
    assert "<video" not in path.read_text(encoding="utf-8")


def test_a_video_that_was_left_as_it_was_is_played_no_more(scene: Scene) -> None:
    """Somebody has cut it, so it is not written to, and shows the person as before."""
    video = write_video(scene).rename(scene.out / "cut.annotated.mp4")
    record_output(scene.db, scene.run, video, DrawnVideo())
    path = write_html(scene.db, scene.run, scene.out / "page.html", ReportConfig(video="embed"), video=video)
    with video.open("ab") as file:
        file.write(b"edited")
    report = erase_person(scene.db, NAME)
    assert any("cut.annotated.mp4 was not changed" in sentence for sentence in report.left)
    assert any("page.html plays no video any more" in sentence for sentence in report.left)
    assert "<video" not in path.read_text(encoding="utf-8")
    with pytest.raises(ReportError, match="shows them as before"):
        write_html(scene.db, scene.run, path, ReportConfig(video="embed"), video=video, overwrite=True)


def test_a_comparison_of_runs_is_written_again(scene: Scene) -> None:
    other = store_clip(scene.db, scene.clip, results(7))
    add_person(scene.db, other, "Carla", 5, [1])
    path = write_comparison(scene.db, [scene.run, other], scene.folder / "both.html")
    assert NAME in path.read_text(encoding="utf-8")
    assert erase_person(scene.db, NAME).rewritten == [path]
    page = path.read_text(encoding="utf-8")
    assert NAME not in page
    assert "Carla" in page
