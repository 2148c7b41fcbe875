"""A person gets everything that is held about them, from all runs, in files that people can read."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from fertrack.cli.main import run as fertrack
from fertrack.errors import OutputExistsError, RunNotFoundError
from fertrack.imports.marker_import import import_markers
from fertrack.reporting.exports.csv_export import write_csv
from fertrack.reporting.exports.registry import export_run
from fertrack.rights.person_export import export_person
from fertrack.storage.engine import Database, open_database
from fertrack.storage.models import Face, TrackRow
from fertrack.storage.packing import unpack_rows
from fertrack.storage.people import actions as person_actions
from fertrack.storage.people.corrections import GivenLabel, store_corrections
from fertrack.storage.people.thumbnails import BestFace, store_thumbnails
from fertrack.types import EXPRESSIONS
from tests.support.rights_scenes import FRAMES, add_person, results, store_clip

NAME = "=Zoë 李"
TABLES = {"runs", "tracks", "faces", "episodes", "corrections", "links", "embeddings", "log", "markers", "files"}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Two runs with the same person: track 1 of the first, track 2 of the second."""
    with open_database(tmp_path / "a.db", create=True) as database:
        clip = tmp_path / "clip.mp4"
        first = store_clip(database, clip, results(1), purpose="a study", consent="form 7")
        second = store_clip(database, clip, results(2))
        person = add_person(database, first, "", 1, [1])
        add_person(database, first, "Berta", 2, [2])
        with database.writing() as connection:
            theirs = sa.and_(TrackRow.run_id == second, TrackRow.number == 2)
            connection.execute(sa.update(TrackRow).where(theirs).values(person_id=person))
        person_actions.rename(database, first, "P1", NAME)
        store_corrections(
            database, first, [GivenLabel(row=1, label=3, run=first, frame_index=4, track=1)], author="coder"
        )
        marks = tmp_path / "marks.csv"
        marks.write_text(f"time_s,label,note\n0.5,cue,{NAME} was asked\n0.7,bell,\n", encoding="utf-8")
        import_markers(database, first, marks)
        store_thumbnails(
            database, first, {1: BestFace(3, 0.9, b"\xff\xd8\xff one"), 2: BestFace(3, 0.8, b"\xff\xd8\xff 2")}
        )
        yield database


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_everything_is_there_from_all_runs(db: Database, tmp_path: Path) -> None:
    write_csv(db, 1, tmp_path / "out", "clip")
    export_run(db, 1, "srt", tmp_path / "out", track=2)
    folder = tmp_path / "for-zoe"
    written = export_person(db, NAME, folder)
    assert {path.stem for path in written if path.suffix == ".csv"} == TABLES
    assert all(path.is_file() for path in written)

    faces = table(folder, "faces")
    of_first = [row for row in faces if row["run"] == "1"]
    assert (len(of_first), len(faces)) == (FRAMES, 2 * FRAMES)
    assert [row["frame_index"] for row in of_first if not row["track"]] == ["16", "20"], "of no track, but theirs"
    assert {row["track"] for row in faces if row["run"] == "2"} == {"2"}
    assert {(row["run"], row["track"]) for row in table(folder, "tracks")} == {("1", "1"), ("2", "2")}
    assert {row["run"] for row in table(folder, "episodes")} == {"1", "2"}
    runs = table(folder, "runs")
    assert [(row["purpose"], row["consent"]) for row in runs] == [("a study", "form 7"), ("", "")]
    (correction,) = table(folder, "corrections")
    assert (correction["frame_index"], correction["label"], correction["author"]) == ("4", "happiness", "coder")
    (marker,) = table(folder, "markers")
    assert marker["note"] == "'=Zoë 李 was asked", "no spreadsheet takes it for a formula"
    (renamed,) = table(folder, "log")
    assert renamed["what"].startswith("P1 is now called")
    (vector,) = table(folder, "embeddings")
    assert len(json.loads(vector["vector"])) == 128
    assert (folder / "thumbnails" / "run1.id1.jpg").read_bytes() == b"\xff\xd8\xff one"
    assert len(list((folder / "thumbnails").iterdir())) == 1
    files = {Path(row["path"]).name: row["is_there"] for row in table(folder, "files")}
    assert files == {"clip.faces.csv": "True", "clip.episodes.csv": "True"}, "not what is about somebody else alone"


def test_numbers_are_the_stored_ones_and_json_says_the_same(db: Database, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    export_person(db, "P1", folder, run=1)
    with db.reading() as connection:
        row = connection.execute(sa.select(Face).where(Face.run_id == 1, Face.frame_index == 4, Face.track == 1)).one()
    (logits,), (points,) = unpack_rows([row.logits], (7,)), unpack_rows([row.landmarks], (10,))
    shown = next(each for each in table(folder, "faces") if (each["run"], each["frame_index"]) == ("1", "4"))
    np.testing.assert_allclose([float(shown[f"logit_{name}"]) for name in EXPRESSIONS], logits, rtol=1e-6)
    assert float(shown["right_mouth_y"]) == pytest.approx(float(points[9]), rel=1e-6)
    told = json.loads((folder / "person.json").read_text(encoding="utf-8"))
    assert set(told) == {"person", "names", "thumbnails", *TABLES}
    assert told["names"] == [NAME]
    assert len(told["faces"]) == 2 * FRAMES
    assert told["faces"][4]["logit_fear"] == pytest.approx(float(logits[1]), rel=1e-6)
    assert told["faces"][16]["track"] is None


def test_others_do_not_appear(db: Database, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    for path in export_person(db, NAME, folder):
        if path.suffix != ".jpg":
            assert "Berta" not in path.read_text(encoding="utf-8")


def test_the_readme_explains_every_column_family(db: Database, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    export_person(db, NAME, folder)
    text = (folder / "README.txt").read_text(encoding="utf-8")
    assert NAME in text
    assert "2 runs" in text
    assert "not what a person feels" in text
    assert max(len(line) for line in text.splitlines()) <= 130
    for name in TABLES:
        assert f"{name}.csv" in text
    for column in table(folder, "faces")[0]:
        family = column.split("_")[0]
        known = {"run", "frame", "face"} | {"right", "nose", "y1", "x2", "y2"}
        assert family in known or column in text or f"{family}_" in text, column


def test_the_command_and_its_errors(db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    assert fertrack(["person", "export", "last", "ID 2", "-o", str(folder), "--db", db.url]) == 0
    assert str(folder / "README.txt") in capsys.readouterr().out
    assert fertrack(["person", "export", NAME, "-o", str(folder), "--db", db.url]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert fertrack(["person", "export", "1", "P1", "P2", "--db", db.url]) == 2
    with pytest.raises(OutputExistsError):
        export_person(db, NAME, tmp_path)
    with pytest.raises(RunNotFoundError, match="no person"):
        export_person(db, "Carla", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_somebody_without_anything_but_a_track(db: Database, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    export_person(db, "ID 1", folder, run="last")
    assert len(table(folder, "faces")) == FRAMES
    for name in ("embeddings", "log", "markers", "corrections", "links"):
        assert table(folder, name) == []
    assert json.loads((folder / "person.json").read_text(encoding="utf-8"))["person"] == "ID 1"
