"""What fertrack never says or stores; which files it remembers having written; what purge leaves behind."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fertrack.cli.main import run as fertrack
from fertrack.demo import compose_demo
from fertrack.errors import StorageError
from fertrack.reporting.exports.csv_export import EPISODE_COLUMNS, FACE_COLUMNS
from fertrack.sinks.config import VideoOutputConfig
from fertrack.storage import written_files as output_records
from fertrack.storage.engine import Database, open_database
from fertrack.storage.models import Base
from fertrack.storage.rights.data_subject import name_pattern, scrub_names
from fertrack.storage.rights.retention import purge
from fertrack.storage.written_files import DrawnVideo, LiveVideo, Made, Report, record_output
from tests.support.paths import REPOSITORY
from tests.support.queries import outputs
from tests.support.rights_scenes import add_person, make_clip, results, store_clip

PACKAGE = REPOSITORY
SENSITIVE = {"age", "ages", "gender", "sex", "race", "ethnicity", "ethnic", "skin", "religion", "nationality"}
PICTURES = {"thumbnails.picture"}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "a.db", create=True, busy_timeout_s=0.2) as database:
        yield database


def columns() -> dict[str, str]:
    return {
        f"{table.name}.{column.name}": str(column.type)
        for table in Base.metadata.sorted_tables
        for column in table.columns
    }


def test_no_age_gender_or_race_anywhere() -> None:
    names = [*columns(), *FACE_COLUMNS, *EPISODE_COLUMNS]
    assert [name for name in names if SENSITIVE & set(re.split(r"[._]", name))] == []
    for path in sorted((PACKAGE / "fertrack" / "cli").glob("*.py")):
        options = re.findall(r'"(--[\w-]+)', path.read_text(encoding="utf-8"))
        assert not [option for option in options if SENSITIVE & set(option.strip("-").split("-"))], path


def test_the_only_pictures_that_can_be_stored_are_thumbnails() -> None:
    blobs = {name for name, kind in columns().items() if "BLOB" in kind.upper() or "BINARY" in kind.upper()}
    vectors = {f"faces.{name}" for name in ("xyxy", "landmarks", "logits", "probabilities", "smoothed")}
    seen = {"analysed.packed"}  # numbers that the networks gave, kept until the run is complete, to resume it
    assert blobs == vectors | {"embeddings.vector"} | seen | PICTURES


def test_an_estimate_is_never_called_a_feeling() -> None:
    """Wherever the word is used it is to say what an estimate is not."""
    files = [*PACKAGE.glob("fertrack/**/*.py"), *PACKAGE.glob("fertrack/**/*.j2"), *PACKAGE.glob("fertrack/**/*.js")]
    files += [PACKAGE / "README.md", PACKAGE / "reports" / "model_card.md", *PACKAGE.glob("fertrack/guide/*.md")]
    for path in files:
        text = " ".join(path.read_text(encoding="utf-8").split())
        text = text.replace("|feelings|", "|")  # a word of purposes that are refused
        for found in re.finditer(r"\bfeel(s|ings?)?\b", text, re.IGNORECASE):
            before = text[max(0, found.start() - 60) : found.start()].lower()
            assert re.search(r"\b(not|never|nothing|no)\b", before), f"{path}: {text[found.start() - 60 : found.end()]}"


def test_the_model_card_says_what_it_must() -> None:
    card = (PACKAGE / "reports" / "model_card.md").read_text(encoding="utf-8")
    for needed in ("## Intended use", "imits", "icence", "recall", "95 %"):
        assert needed in card


def test_what_a_run_writes_is_remembered_from_the_beginning(tmp_path: Path) -> None:
    clip, out = compose_demo(tmp_path / "clip.mp4", frame_count=2), tmp_path / "out"
    assert fertrack(["process", str(clip), "-o", str(out), "--set", "report.csv=true"]) == 0
    assert fertrack(["db", "backup", str(tmp_path / "copy.db"), "--db", str(out / "fertrack.db")]) == 0
    with open_database(out / "fertrack.db") as database:
        known = {(file.kind, file.path.name, file.run) for file in outputs(database)}
        assert all(file.is_as_written for file in outputs(database))
    assert known == {
        ("video", "clip.annotated.mp4", 1),
        ("report", "clip.report.html", 1),
        ("csv", "clip.faces.csv", 1),
        ("csv", "clip.episodes.csv", 1),
        ("backup", "copy.db", None),
    }


def test_a_file_written_again_by_another_run_is_that_runs(db: Database, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    first, second = store_clip(db, clip, results(1)), store_clip(db, clip, results(2))
    path = tmp_path / "report.html"
    path.write_text("one", encoding="utf-8")
    record_output(db, first, path, Report())
    assert [file.is_as_written for file in outputs(db)] == [True]
    path.write_text("two", encoding="utf-8")
    assert [file.is_as_written for file in outputs(db)] == [False]
    record_output(db, second, path, Report())
    record_output(db, second, path, Report())
    assert [(file.run, file.is_as_written) for file in outputs(db)] == [(second, True)]
    path.unlink()
    assert not outputs(db)[0].is_there
    assert outputs(db, [first]) == []


@pytest.mark.parametrize(
    ("stored", "made"),
    [
        ('{"config": {"crf": 30, "gone": 1, "preset": "unheard of"}}', DrawnVideo(VideoOutputConfig(crf=30))),
        (
            '{"config": {"codec": "vp9", "crf": 63}, "except": [2]}',
            DrawnVideo(VideoOutputConfig(codec="vp9", crf=63), clear=(2,)),
        ),
        ('{"config": {"codec": "h264", "crf": 63}, "frames": 7}', DrawnVideo(frames=7)),
        ('{"offset_s": 0.5, "shown_alike": [[1, 2]]}', LiveVideo(0.5, ((1, 2),))),
    ],
)
def test_a_record_of_another_version_is_read(db: Database, tmp_path: Path, stored: str, made: Made) -> None:
    """Options that are not known, or refused, are left out: no erasure may fail because of them."""
    run = store_clip(db, make_clip(tmp_path / "clip.mp4"), results(1))
    record_output(db, run, tmp_path / "a.mp4", DrawnVideo())
    with db.writing() as connection:
        connection.exec_driver_sql("UPDATE outputs SET options = ?", (stored,))
    assert [file.made for file in outputs(db)] == [made]


def test_a_file_that_cannot_be_remembered_is_written_all_the_same(
    db: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object, **__: object) -> None:
        raise StorageError("locked by another program")

    monkeypatch.setattr(output_records, "store_output", locked)
    record_output(db, 1, tmp_path / "x.html", Report())
    assert "will not know it" in caplog.text


def test_purge_names_the_files_that_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    path = tmp_path / "old.html"
    path.write_text("x", encoding="utf-8")
    with open_database(tmp_path / "a.db", create=True) as database:
        run = store_clip(database, clip, results(), retention_days=1)
        kept = store_clip(database, clip, results())
        record_output(database, run, path, Report())
        record_output(database, kept, tmp_path / "a.db", Report())
        later = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
        assert purge(database, now=later, dry_run=True).files == (path,)
        report = purge(database, now=later)
        assert report.files == (path,)
        assert [file.run for file in outputs(database)] == [kept]
    assert path.exists()
    assert fertrack(["privacy", "purge", "--db", str(tmp_path / "a.db")]) == 0
    assert "0 runs" in capsys.readouterr().out


def test_names_are_found_as_words_only() -> None:
    pattern = name_pattern(["Ann Lee", "Al"])
    assert pattern is not None
    text = "ann_lee.mp4 ANN-LEE Annie Lee Al's Also al Ann  Lee"
    assert pattern.sub("*", text) == "*.mp4 * Annie Lee *'s Also * *"
    assert name_pattern([]) is None
    assert name_pattern(["(a+)+"]).search("x (a+)+ y")  # type: ignore[union-attr]  # a name is no pattern


def test_settings_keep_working_when_a_name_is_taken_out(db: Database, tmp_path: Path) -> None:
    """Somebody may be called like an option's value, or like a section."""
    from fertrack.config import load_settings
    from tests.support import queries

    clip = make_clip(tmp_path / "video" / "clip.mp4")
    settings = load_settings(
        [], ["video.preset=fast", "privacy.purpose=a study with Fast and Video", "video.audio=false"]
    )
    run = store_clip(db, clip, results(), settings)
    add_person(db, run, "Fast", 1, [1])
    with db.writing() as connection:
        assert scrub_names(connection, ["Fast", "Video"], [run]) == 1
    facts = queries.run_facts(db, run)
    again = load_settings(base=facts.config_toml)
    assert again.video.preset == "fast"
    assert again.privacy.purpose == "a study with [erased] and [erased]"
    assert facts.source_path.endswith("/video/clip.mp4"), "a folder may be called so for other reasons"
