"""CSV files as spreadsheet programs of several countries save them: one reader for everything that is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from fertrack.errors import TableError
from fertrack.imports.marker_import import import_markers
from fertrack.reporting.exports.label_import import read_labels
from fertrack.storage.engine import Database
from fertrack.storage.people.corrections import store_corrections
from fertrack.tables import Row, parse_rows, read_table, seconds_in
from tests.support.queries import corrections, markers
from tests.support.storage_scenes import result, store


def cells(tmp_path: Path, content: bytes | str) -> list[dict[str, str]]:
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [dict(row.cells) for row in read_table(path).rows]


ZOE = [{"time_s": "0,4", "label": "Zoë"}]


@pytest.mark.parametrize(
    "content",
    [
        "time_s;label\r\n0,4;Zoë\r\n".encode(),
        "\ufefftime_s;label\r\n0,4;Zoë\r\n".encode(),
        "time_s;label\r\n0,4;Zoë\r\n".encode("cp1252"),
        "time_s\tlabel\r\n0,4\tZoë\r\n".encode("utf-16"),
        "sep=;\r\ntime_s;label\r\n0,4;Zoë\r\n".encode(),
        '"sep=;"\r\ntime_s;label\r\n0,4;Zoë\r\n'.encode("cp1252"),
        "SEP=\t\ntime_s\tlabel\n0,4\tZoë\n".encode(),
        "sep=|\ntime_s|label\n0,4|Zoë\n".encode(),
        'time_s,label\n"0,4",Zoë\n'.encode(),
        'Time_S, Label \r"0,4", Zoë \r'.encode(),
        "time_s;label;;\r\n0,4;Zoë;;\r\n;;;\r\n".encode(),
        '"time_s";"label"\r\n"0,4";"Zoë"'.encode(),
    ],
    ids=[
        "utf-8",
        "bom",
        "cp1252",
        "utf-16",
        "sep",
        "quoted sep",
        "sep tab",
        "sep |",
        "commas",
        "mac",
        "empty",
        "quoted",
    ],
)
def test_what_spreadsheets_save_is_the_same_table(tmp_path: Path, content: bytes) -> None:
    assert cells(tmp_path, content) == ZOE


def test_rows_are_numbered_as_a_spreadsheet_shows_them(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('sep=;\na;b\n1;"two\nlines"\n\n3;x\n', encoding="utf-8")
    assert [(row.number, row.text("a")) for row in read_table(path).rows] == [(2, "1"), (4, "3")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.4", 0.4),
        ("0,4", 0.4),
        ("1.234,5", 1234.5),
        ("1,234.5", 1234.5),
        ("1.234.567", 1234567.0),
        ("-3", -3.0),
        ("1e-2", 0.01),
        ("0:05", 5.0),
        ("1:02:03,5", 3723.5),
        ("90:00.25", 5400.25),
        ("", None),
    ],
)
def test_decimal_marks_and_clock_times_are_understood(text: str, value: float | None) -> None:
    assert Row(2, {"time_s": text}).seconds("time_s") == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("soon", r"time_s must be seconds such as 12\.5, or m:ss, not 'soon'"),
        ("1,2,3", "must be seconds"),
        ("1.2,345.6", "must be seconds"),
        ("0:75", "must be seconds"),
        ("inf", "must be a finite number"),
        ("nan", "must be a finite number"),
    ],
)
def test_what_is_no_time_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Row(2, {"time_s": text}).seconds("time_s")


def test_a_number_that_can_be_read_in_two_ways_is_refused() -> None:
    with pytest.raises(ValueError, match=r"may mean 1234 or 1\.234: write it without a comma"):
        Row(2, {"time_s": "1,234"}, comma_separated=True).seconds("time_s")
    assert Row(2, {"time_s": "0,4"}, comma_separated=True).seconds("time_s") == 0.4
    assert Row(2, {"time_s": "1,234"}).seconds("time_s") == 1.234


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a;b\n1;2;3\n", r"row 2 has 3 fields, the header 2$"),
        (b"a,b\n0,4,x\n", "row 2 has 3 fields, the header 2: a decimal comma needs quotes"),
        (b"a;A\n1;2\n", "each column once, not 'a' twice"),
        (b'a;b\n1;"x\n', "is no CSV file"),
        (b"PK\x03\x04\x00\x00", "is not text"),
        (b"a;b\n1;\x81\n", "is not text, or in an encoding other than UTF-8 and Windows-1252"),
    ],
)
def test_files_that_cannot_be_understood_are_refused_in_one_sentence(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(TableError, match=says) as caught:
        cells(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_every_wrong_row_is_named_up_to_five(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("time_s\n" + "x\n" * 7, encoding="utf-8")
    with pytest.raises(TableError, match=r"nothing was imported: row 2: .*; row 6: [^;]*; and 2 more rows$"):
        parse_rows(read_table(path), lambda row: row.seconds("time_s"))


# ---------------------------------------------------------------- all imports go through it


@pytest.fixture
def run(db: Database) -> int:
    return store(db, [result(i, i / 25, [(1, "anger", 0.5)]) for i in range(10)])


def test_labels_and_markers_take_the_same_german_file(db: Database, run: int, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes("sep=;\r\ntrack;start_s;end_s;corrected;author\r\n1;0,04;0,12;angry;Zoë\r\n".encode("cp1252"))
    assert store_corrections(db, run, read_labels(path)).faces == 2
    assert corrections(db, run)["author"].tolist() == ["Zoë", "Zoë"]
    path.write_bytes("sep=;\r\ntime_s;label\r\n0,04;für Zoë\r\n".encode("cp1252"))
    assert import_markers(db, run, path).added == 1
    assert markers(db, run)[["time_s", "label"]].to_numpy().tolist() == [[0.04, "für Zoë"]]


def test_points_that_a_spreadsheet_took_for_thousands_are_refused_with_their_row(
    db: Database, run: int, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("track;start_s;end_s;corrected\n1;0;400000;fear\n", encoding="utf-8")
    with pytest.raises(Exception, match="row 2: 400000 s is outside the run"):
        store_corrections(db, run, read_labels(path))
    assert corrections(db, run).empty
    path.write_text("time_s;label;end_s\n0;a;400000\n40000;b;\n", encoding="utf-8")
    with pytest.raises(TableError, match="row 2: 400000 s is outside the run; row 3: 40000 s is outside the run"):
        import_markers(db, run, path)
    assert markers(db, run).empty


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0:05", 5.0), ("1m30", 90.0), ("1m30s", 90.0), ("1:02:03.5", 3723.5), ("1,5", 1.5), ("7", 7.0)],
)
def test_a_time_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert seconds_in(text) == seconds
    assert Row(2, {"at": text}).seconds("at") == seconds


@pytest.mark.parametrize("text", ["", "soon", "1:75", "5 apples", "nan", "s", "1s2m"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no time: write seconds such as 12\.5, or 0:12, or 1m30s"):
        seconds_in(text)
