"""Labels that people gave: out to CSV, corrected, and in again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fertrack.cli.main import run as fertrack
from fertrack.errors import LabelsError, RunNotFoundError, TableError
from fertrack.reporting.exports.csv_export import write_csv
from fertrack.reporting.exports.label_import import read_labels
from fertrack.storage.engine import Database, open_database
from fertrack.storage.people.corrections import GivenLabel, store_corrections
from fertrack.types import EXPRESSIONS
from tests.support import queries
from tests.support.queries import corrections
from tests.support.storage_scenes import result, store

# ten frames: track 1 angry, track 2 fearful from frame 5 on, and a face nobody has claimed in frame 3
SCENE = [
    result(
        i,
        i / 25,
        [(1, "anger", 0.5), (2, "fear" if i > 4 else "uncertain", 0.6), *([(-1, "uncertain", 0.3)] if i == 3 else [])],
    )
    for i in range(10)
]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "a.db", create=True) as database:
        store(database, SCENE)
        store(database, SCENE[:2])
        yield database


def face(frame: int, number: int, label: int, row: int = 2) -> GivenLabel:
    return GivenLabel(row=row, label=label, frame_index=frame, face_index=number)


def stored(db: Database, run: int = 1) -> list[tuple[int, int, str]]:
    table = corrections(db, run)
    return list(table[["frame_index", "face_index", "corrected"]].itertuples(index=False, name=None))


def written(path: Path, header: str, rows: Sequence[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


# Round trip -------------------------------------------------------------------------------------------------------


def test_faces_go_out_and_come_back_corrected(db: Database, tmp_path: Path) -> None:
    before = queries.timeline(db, 1)
    faces_path, _ = write_csv(db, 1, tmp_path, "clip")
    faces = pd.read_csv(faces_path, dtype=str, keep_default_na=False)
    assert set(faces["corrected"]) == {""}
    faces.loc[(faces["track"] == "1") & (faces["frame_index"] == "4"), "corrected"] = "Disgust"
    faces.loc[faces["track"] == "-1", "corrected"] = " uncertain "
    faces.to_csv(faces_path, index=False)

    report = store_corrections(db, 1, read_labels(faces_path), author="coder 1")
    assert (report.labels, report.faces, report.changed, report.replaced, report.unmatched) == (2, 2, 1, 0, ())
    assert stored(db) == [(3, 2, "uncertain"), (4, 0, "disgust")]
    pd.testing.assert_frame_equal(queries.timeline(db.estimates(), 1), before, obj="the estimates")
    assert queries.timeline(db, 1, track=1)["label"].tolist()[3:6] == ["anger", "disgust", "anger"]

    again = pd.read_csv(write_csv(db, 1, tmp_path, "again")[0], keep_default_na=False)
    shown = again[again["corrected"] != ""]
    assert shown[["frame_index", "face_index", "corrected"]].to_numpy().tolist() == [
        [3, 2, "uncertain"],
        [4, 0, "disgust"],
    ]
    assert store_corrections(db, 1, read_labels(tmp_path / "again.faces.csv")).replaced == 2
    assert stored(db) == [(3, 2, "uncertain"), (4, 0, "disgust")]


def test_an_episode_corrects_every_face_in_it_and_no_other(db: Database, tmp_path: Path) -> None:
    _, path = write_csv(db, 1, tmp_path, "clip")
    episodes = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert episodes["expression"].tolist() == ["anger", "fear"]
    episodes["corrected"] = ["", "surprise"]
    episodes.to_csv(path, index=False)
    store_corrections(db, 1, read_labels(path))
    assert stored(db) == [(frame, 1, "surprise") for frame in range(5, 10)]
    again = pd.read_csv(write_csv(db, 1, tmp_path, "again")[1], keep_default_na=False)
    assert again["corrected"].tolist() == ["", "surprise"]
    store_corrections(db, 1, [face(7, 1, 0), face(8, 1, 1)], add=True)
    mixed = pd.read_csv(write_csv(db.estimates(), 1, tmp_path, "mixed")[1], keep_default_na=False)
    assert mixed["corrected"].tolist() == ["", ""], "corrected in different ways: no one label holds"


def test_what_is_read_back_has_logits_and_units(db: Database) -> None:
    store_corrections(db, 1, [face(5, 1, 3)], author="coder 1")
    table = corrections(db, "1")
    assert list(table.columns) == [
        *("run", "frame_index", "face_index", "time_s", "track", "label", "corrected", "author", "imported_at"),
        *(f"logit_{name}" for name in EXPRESSIONS),
    ]
    (row,) = table.to_dict("records")
    assert (row["run"], row["track"], row["label"], row["corrected"], row["author"]) == (
        1,
        2,
        "fear",
        "happiness",
        "coder 1",
    )
    assert row["time_s"] == pytest.approx(0.2)
    np.testing.assert_array_equal(table.filter(like="logit_").to_numpy()[0], SCENE[5].faces.logits[1])
    assert dt.datetime.now(dt.UTC) - row["imported_at"].to_pydatetime() < dt.timedelta(minutes=1)
    assert table.attrs["units"]["time_s"] == "s"
    none = corrections(db, 2)
    assert (len(none), none.dtypes.to_dict()) == (0, table.dtypes.to_dict())
    with pytest.raises(RunNotFoundError):
        corrections(db, 9)


# Storing ----------------------------------------------------------------------------------------------------------


def test_a_new_import_replaces_and_add_keeps(db: Database) -> None:
    store_corrections(db, 1, [face(0, 0, 1), face(1, 0, 1)])
    store_corrections(db, 2, [face(0, 0, 6)])
    assert store_corrections(db, 1, [face(1, 0, 2), face(2, 0, 2)], add=True).replaced == 1
    assert stored(db) == [(0, 0, "fear"), (1, 0, "disgust"), (2, 0, "disgust")]
    assert store_corrections(db, 1, [face(9, 0, 4)]).replaced == 3
    assert stored(db) == [(9, 0, "sadness")]
    assert stored(db, 2) == [(0, 0, "neutral")], "another run's stay"


def test_labels_without_a_face_are_reported_and_left_out(db: Database) -> None:
    given = [
        face(0, 0, 1),
        face(0, 7, 1, row=3),
        face(9, 5, 1, row=4),
        GivenLabel(row=5, label=1, frame_index=3, track=3),
        GivenLabel(row=6, label=1, track=7, from_s=0.1, to_s=0.3),
        GivenLabel(row=7, label=1, run=2, frame_index=0, face_index=0),
        GivenLabel(row=8, label=1, frame_index=3, track=-1),
    ]
    report = store_corrections(db, 1, given)
    assert [label.row for label in report.unmatched] == [3, 4, 5, 6, 7, 8]
    assert [label.place for label in report.unmatched][1:5] == [
        "frame 9, face 5",
        "frame 3, track 3",
        "track 7, 0.1 s to 0.3 s",
        "run 2, frame 0, face 0",
    ]
    assert stored(db) == [(0, 0, "fear")]


@pytest.mark.parametrize(
    ("label", "says"),
    [
        (face(10, 0, 1, row=3), "row 3: frame 10 is outside the run; run 1 has the frames 0 to 9, of 0.00 s to 0.40 s"),
        (face(-1, 0, 1, row=3), "row 3: frame -1 is outside the run"),
        (GivenLabel(row=4, label=1, track=1, from_s=0.0, to_s=400_000.0), "row 4: 400000 s is outside the run"),
        (GivenLabel(row=4, label=1, track=1, from_s=9.0, to_s=0.2), "row 4: 9 s is outside the run"),
    ],
)
def test_labels_for_frames_and_times_outside_the_run_are_refused(db: Database, label: GivenLabel, says: str) -> None:
    store_corrections(db, 1, [face(0, 0, 1)])
    with pytest.raises(LabelsError, match=says):
        store_corrections(db, 1, [face(1, 0, 1), label])
    assert stored(db) == [(0, 0, "fear")], "what was there stays"


def test_labels_for_no_face_at_all_leave_earlier_corrections_alone(db: Database) -> None:
    store_corrections(db, 1, [face(0, 0, 1), face(1, 0, 1)])
    with pytest.raises(LabelsError, match=r"^no row gives a label to a face of run 1: the 2 earlier corrections stay$"):
        store_corrections(db, 1, [])
    with pytest.raises(LabelsError, match=r"of run 1 \(row 5: frame 9, face 7\): the 2 earlier corrections stay"):
        store_corrections(db, 1, [face(9, 7, 1, row=5), face(8, 7, 1, row=6)], add=True)
    assert stored(db) == [(0, 0, "fear"), (1, 0, "fear")]
    with pytest.raises(LabelsError, match=r"of run 2 \(row 2: frame 1, face 7\): nothing was imported"):
        store_corrections(db, 2, [face(1, 7, 1)])
    assert store_corrections(db, 2, []).replaced == 0, "nothing was there, and nothing is"
    assert store_corrections(db, 1, [], clear=True).replaced == 2
    assert stored(db) == []


def test_the_later_of_two_labels_for_a_face_holds(db: Database) -> None:
    whole = GivenLabel(row=2, label=1, track=1, from_s=0.0, to_s=0.12)
    store_corrections(db, 1, [whole, GivenLabel(row=3, label=0, frame_index=1, track=1, author="x")], author="y")
    assert stored(db) == [(0, 0, "fear"), (1, 0, "surprise"), (2, 0, "fear")]
    assert corrections(db, 1)["author"].tolist() == ["y", "x", "y"]


# Reading ----------------------------------------------------------------------------------------------------------


def test_what_spreadsheets_save_is_read(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes("\ufeffTrack;Start_s; End_s;Corrected;author\r\n1;0,52;1,5;Anger;Zoë\r\n2;;;;\r\n".encode())
    (label,) = read_labels(path)
    assert (label.row, label.track, label.from_s, label.to_s, label.author) == (2, 1, 0.52, 1.5, "Zoë")
    assert EXPRESSIONS[label.label] == "anger"


def test_words_of_labelled_pictures_are_understood(tmp_path: Path) -> None:
    words = ["happy", "HAPPY", "Angry", "sad", "Uncertain", "neutral"]
    rows = [f"{frame},0,{word}" for frame, word in enumerate(words)]
    given = read_labels(written(tmp_path / "a.csv", "frame_index,face_index,corrected", rows))
    assert [label.label for label in given] == [3, 3, 5, 4, -1, 6]


def test_a_file_without_corrections_is_empty_not_wrong(db: Database, tmp_path: Path) -> None:
    assert read_labels(write_csv(db, 1, tmp_path, "clip")[0]) == []
    assert read_labels(written(tmp_path / "a.csv", "frame_index,track,corrected", ["", "1"])) == []


@pytest.mark.parametrize(
    ("header", "rows", "sentence"),
    [
        (
            "frame_index,face_index,corrected",
            ["0,0,hapiness"],
            r"row 2: no expression 'hapiness': did you mean 'happiness'",
        ),
        ("frame_index,face_index,corrected", ["0,0,anger", "1,0,angst"], r"row 3: no expression 'angst'"),
        ("frame_index,face_index,corrected", ["1.5,0,anger"], r"row 2: frame_index '1\.5' is not a whole number"),
        (
            "track,start_s,end_s,corrected",
            ["1,x,2,anger"],
            r"row 2: start_s must be seconds such as 12\.5, or m:ss, not 'x'",
        ),
        ("track,start_s,end_s,corrected", ["1,,2,anger"], "row 2: it does not say which face"),
        ("frame_index,face_index,corrected", ["0,0,x"] * 8, "and 3 more rows"),
        ("frame_index,face_index,label", ["0,0,anger"], "no column 'corrected'"),
        ("frame_index,corrected", ["0,anger"], "does not say which faces"),
        ("frame_index,face_index,corrected", ['0,0,"anger'], "is no CSV file"),
    ],
)
def test_a_file_with_mistakes_is_refused_with_its_rows(
    tmp_path: Path, header: str, rows: list[str], sentence: str
) -> None:
    with pytest.raises((LabelsError, TableError), match=sentence):
        read_labels(written(tmp_path / "labels.csv", header, rows))


def test_a_file_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TableError, match="is not text"):
        read_labels(tmp_path / "a.csv")
    with pytest.raises(TableError, match="No such file"):
        read_labels(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(LabelsError, match="no column"):
        read_labels(tmp_path / "empty.csv")


# The command ------------------------------------------------------------------------------------------------------


def test_the_command_imports_and_names_what_does_not_match(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["0,0,anger", "1,0,fear", *(f"{frame},7,fear" for frame in range(10)), "0,8,fear", "0,9,fear"]
    path = written(tmp_path / "labels.csv", "frame_index,face_index,corrected", rows)
    assert fertrack(["import-labels", "1", str(path), "--db", db.url, "--author", "coder 1"]) == 0
    printed = capsys.readouterr()
    assert "2 faces corrected (1 unlike the estimate), 12 rows match no face" in printed.out
    assert "row 4 matches no face of run 1: frame 0, face 7" in printed.err
    assert "2 more rows match no face" in printed.err
    assert set(corrections(db, 1)["author"]) == {"coder 1"}

    wrong = written(tmp_path / "wrong.csv", "frame_index,face_index,corrected", ["0,0,hapiness"])
    assert fertrack(["import-labels", "1", str(wrong), "--db", db.url]) == 1
    assert "did you mean 'happiness'?" in capsys.readouterr().err
    assert len(stored(db)) == 2, "a file with a mistake changes nothing"


def test_the_command_refuses_a_file_that_corrects_nothing(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blank = written(tmp_path / "blank.csv", "frame_index,face_index,corrected", ["0,0,", "1,0,"])
    words = ["import-labels", "1", str(blank), "--db", db.url]
    assert fertrack(words) == 0
    assert "has a label in 'corrected': nothing to import, nothing changed" in capsys.readouterr().out
    one = written(tmp_path / "one.csv", "frame_index,face_index,corrected", ["0,0,happy", "9,9,fear"])
    assert fertrack(["import-labels", "1", str(one), "--db", db.url]) == 0
    assert "2 labels read, 1 face corrected (1 unlike the estimate), 1 row matches no face" in capsys.readouterr().out
    assert fertrack(words) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "no row gives a label to a face of run 1: the 1 earlier correction stays" in told
    assert fertrack([*words, "--add", "--clear"]) == 2
    assert stored(db) == [(0, 0, "happiness")]
    capsys.readouterr()
    assert fertrack([*words, "--clear"]) == 0
    assert "0 faces corrected (0 unlike the estimate), 0 rows match no face, 1 earlier correction removed" in (
        capsys.readouterr().out
    )
    assert stored(db) == []
