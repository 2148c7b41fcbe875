"""Formats of other tools: read back by a reader of their own, and equal to what the database says."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from praatio import textgrid as praat
from pyarrow import feather
from pympi import Elan

from fertrack.errors import MissingExtraError, OutputExistsError, ReportError
from fertrack.imports.marker_import import import_markers
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.exports.registry import MULTI_FILE, export_run
from fertrack.reporting.exports.tools import facereader, xlsx
from fertrack.reporting.exports.tools.content import MarkerContent, PersonContent, RunContent, Segment
from fertrack.reporting.exports.tools.eaf import to_eaf
from fertrack.reporting.exports.tools.textgrid import to_textgrid
from fertrack.reporting.exports.tools.wide import to_wide
from fertrack.storage.engine import Database, open_database
from fertrack.types import EXPRESSIONS, LABELS
from tests.support.reporting_runs import ScriptedPerson, ScriptedRun, store_run

NAME = 'Ana "Ö" & <b>'
RUN = ScriptedRun(
    persons=(
        ScriptedPerson([(0, 0.8), (1.5, 2)], [(0, "neutral"), (0.52, "happiness"), (1.6, "uncertain")], NAME),
        ScriptedPerson([(0, 2)], [(0, "sadness"), (1.0, "uncertain")]),
        ScriptedPerson([(0, 0.04)], confirmed=False),
    ),
    cuts=(30,),
)
SEGMENTS = {NAME: [(0.0, 0.52, "neutral"), (0.52, 0.8, "happiness")], "ID 2": [(0.0, 1.0, "sadness")]}
MARKERS = "time_s,label,end_s\n0.4,stimulus,1.2\n1.5,beep,\n"


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("tools")
    (folder / "markers.csv").write_text(MARKERS, encoding="utf-8")
    with open_database(folder / "fertrack.db", create=True) as database:
        store_run(database, RUN)
        import_markers(database, 1, folder / "markers.csv")
        store_run(database, ScriptedRun())
        yield database


def content(*persons: PersonContent, **changes: object) -> RunContent:
    import datetime as dt

    given = {
        "run": 1,
        "source_name": "clip.mp4",
        "source_path": "/videos/clip.mp4",
        "started_at": dt.datetime(2026, 12, 1, 9, 30, tzinfo=dt.UTC),
        "fps": 25.0,
        "duration_s": 4.0,
        "persons": persons,
        "markers": (),
        "cuts_s": (),
        "program": "fertrack 0.1.0",
    }
    return RunContent(**{**given, **changes})  # type: ignore[arg-type]


# Every format -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output_format", MULTI_FILE)
def test_all_files_are_named_and_nothing_is_overwritten_unasked(
    db: Database, tmp_path: Path, output_format: str
) -> None:
    paths = export_run(db, 1, output_format, tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    before = {path: path.read_bytes() for path in paths}
    paths[-1].unlink()
    if len(paths) > 1:  # a file that is there keeps the others from being written
        with pytest.raises(OutputExistsError):
            export_run(db, 1, output_format, tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted(paths[:-1])
    assert export_run(db, 1, output_format, tmp_path, overwrite=True) == paths
    if output_format not in {"xlsx", "duckdb"}:  # which hold the time of their making
        assert {path: path.read_bytes() for path in paths if path.suffix != ".xlsx"} == {
            path: text for path, text in before.items() if path.suffix != ".xlsx"
        }


@pytest.mark.parametrize("output_format", MULTI_FILE)
def test_a_run_without_faces_is_written_too(db: Database, tmp_path: Path, output_format: str) -> None:
    for path in export_run(db, 2, output_format, tmp_path):
        assert path.exists()


@pytest.mark.parametrize("output_format", MULTI_FILE)
def test_one_file_of_several_is_written_alone(db: Database, tmp_path: Path, output_format: str) -> None:
    everything = export_run(db, 1, output_format, tmp_path / "all")
    for path in everything:
        (alone,) = export_run(db, 1, output_format, tmp_path / path.name, only=path.name)
        assert alone.name == path.name


# ELAN -------------------------------------------------------------------------------------------------------------


def test_elan_opens_the_tiers_of_persons_markers_and_cuts(db: Database, tmp_path: Path) -> None:
    eaf, tsconf, curves = export_run(db, 1, "eaf", tmp_path)
    read = Elan.Eaf(str(eaf))
    for name, segments in SEGMENTS.items():
        found = [(start / 1000, end / 1000, text) for start, end, text, *_ in read.get_annotation_data_for_tier(name)]
        assert found == segments
    assert [row[:3] for row in read.get_annotation_data_for_tier("markers")] == [
        (400, 1200, "stimulus"),
        (1500, 1501, "beep"),
    ]
    assert [row[0] for row in read.get_annotation_data_for_tier("cuts")] == [1200]
    assert set(LABELS) == set(re.findall(r">(\w+)</CVE_VALUE>", eaf.read_text(encoding="utf-8")))
    text = eaf.read_text(encoding="utf-8")
    linked = re.findall(r'LINKED_FILE_DESCRIPTOR .*?RELATIVE_LINK_URL="\./(.*?)"', text)
    assert linked == [tsconf.name, curves.name]
    assert "/videos/clip.mp4" in text
    rows = pd.read_csv(curves)
    assert list(rows.columns)[:2] == ["time_s", f"{NAME} surprise"]
    assert rows[f"{NAME} neutral"].iloc[0] == pytest.approx(0.7)
    assert rows[f"{NAME} neutral"].isna().sum() == 18  # 0.80 to 1.52 s at 25 a second
    config = tsconf.read_text(encoding="utf-8")
    columns = [int(column) for column in re.findall(r'col="(\d+)"', config)]
    assert columns == list(range(1, 15))
    assert config.count('name="ID 2 ') == 7


def test_elan_tiers_of_one_name_are_told_apart_and_overlapping_markers_get_tiers_of_their_own(tmp_path: Path) -> None:
    twins = [PersonContent("Kim", track, (track,), (Segment("fear", 0.0, 1.0, 0.5),)) for track in (1, 2)]
    markers = (MarkerContent("a", 0.0, 2.0, ""), MarkerContent("b", 1.0, 3.0, ""), MarkerContent("c", 2.0, None, ""))
    path = tmp_path / "x.eaf"
    path.write_text(to_eaf(content(*twins, markers=markers), tmp_path, "x"), encoding="utf-8")
    read = Elan.Eaf(str(path))
    assert list(read.get_tier_names()) == ["Kim", "Kim (2)", "markers", "markers 2"]
    assert [row[2] for row in read.get_annotation_data_for_tier("markers")] == ["a", "c"]
    assert [row[2] for row in read.get_annotation_data_for_tier("markers 2")] == ["b"]


# Praat ------------------------------------------------------------------------------------------------------------


def test_praat_reads_intervals_without_gaps(db: Database, tmp_path: Path) -> None:
    (path,) = export_run(db, 1, "textgrid", tmp_path)
    read = praat.openTextgrid(str(path), includeEmptyIntervals=True)
    for name, segments in SEGMENTS.items():
        entries = read.getTier(name.replace('"', '""') if name not in read.tierNames else name).entries
        assert [(e.start, e.end, e.label) for e in entries if e.label] == segments
        assert entries[0].start == 0.0
        assert entries[-1].end == read.maxTimestamp
        assert all(first.end == second.start for first, second in itertools.pairwise(entries))
    assert [(point.time, point.label) for point in read.getTier("markers").entries] == [
        (0.4, "stimulus"),
        (1.5, "beep"),
    ]
    assert [point.time for point in read.getTier("cuts").entries] == [1.2]


def test_another_reader_of_praat_files_finds_the_same(db: Database, tmp_path: Path) -> None:
    textgrid = pytest.importorskip("textgrid", reason="textgrid is not installed: praatio alone reads the files back")
    (path,) = export_run(db, 1, "textgrid", tmp_path)
    tiers = {tier.name: tier for tier in textgrid.TextGrid.fromFile(str(path)).tiers}
    found = [(each.minTime, each.maxTime, each.mark) for each in tiers["ID 2"] if each.mark]
    assert found == SEGMENTS["ID 2"]


def test_praat_markers_that_last_and_do_not_overlap_are_intervals() -> None:
    text = to_textgrid(content(markers=(MarkerContent("a", 0.5, 1.0, ""), MarkerContent("b", 1.0, 2.0, ""))))
    assert 'class = "IntervalTier"' in text
    assert text.count('text = ""') == 2  # before the first and after the last


# BORIS ------------------------------------------------------------------------------------------------------------


def test_boris_has_a_start_and_a_stop_of_every_segment(db: Database, tmp_path: Path) -> None:
    project_path, sheet = export_run(db, 1, "boris", tmp_path)
    project = json.loads(project_path.read_text(encoding="utf-8"))
    assert {each["name"] for each in project["subjects_conf"].values()} == set(SEGMENTS)
    kinds = {each["code"]: each["type"] for each in project["behaviors_conf"].values()}
    assert kinds == {
        **dict.fromkeys(LABELS, "State event"),
        "stimulus": "State event",
        "beep": "Point event",
    }
    (observation,) = project["observations"].values()
    assert observation["file"]["1"] == ["/videos/clip.mp4"]
    events = observation["events"]
    assert [event[0] for event in events] == sorted(event[0] for event in events)
    for name, segments in SEGMENTS.items():
        moments = [(event[0], event[2]) for event in events if event[1] == name]
        assert sorted(moments) == sorted([(s, w) for s, _, w in segments] + [(e, w) for _, e, w in segments])
    rows = list(openpyxl.load_workbook(sheet).worksheets[0].values)
    assert rows[0] == ("TIME", "SUBJECT", "CODE", "MODIFIER", "COMMENT")
    assert [(row[0], row[1] or "", row[2]) for row in rows[1:]] == [(e[0], e[1], e[2]) for e in events]


def test_boris_stops_one_expression_before_the_next_begins() -> None:
    person = PersonContent("A", 1, (1,), (Segment("anger", 0.0, 1.0, 0.9), Segment("fear", 1.0, 2.0, 0.8)))
    from fertrack.reporting.exports.tools.boris import boris_events

    assert [(event[0], event[2], event[3]) for event in boris_events(content(person))] == [
        (0.0, "anger", "START"),
        (1.0, "anger", "STOP"),
        (1.0, "fear", "START"),
        (2.0, "fear", "STOP"),
    ]


# FaceReader -------------------------------------------------------------------------------------------------------


def test_facereader_logs_have_the_published_columns_and_failed_frames(db: Database, tmp_path: Path) -> None:
    paths = export_run(db, 1, "facereader", tmp_path)
    assert [path.name for path in paths] == [
        "run1.clip.Ana-b-id1_detailed.txt",
        "run1.clip.Ana-b-id1_state.txt",
        "run1.clip.id2_detailed.txt",
        "run1.clip.id2_state.txt",
    ]
    lines = paths[0].read_text(encoding="utf-8").splitlines()
    assert lines[0] == "Video analysis detailed log"
    start = next(at for at, line in enumerate(lines) if line.startswith("Video Time\t"))
    assert lines[start - 1] == ""
    rows = list(csv.DictReader(io.StringIO("\n".join(lines[start:])), delimiter="\t"))
    assert list(rows[0]) == ["Video Time", *facereader.COLUMNS, "Participant Name", "Analysis Index"]
    assert len(rows) == RUN.frames
    assert rows[0]["Neutral"] == "0.7000"
    assert (rows[13]["Video Time"], rows[13]["Happy"]) == ("00:00:00.520", "0.7000")
    assert rows[25]["Happy"] == "FIND_FAILED"


def test_facereader_states_are_the_episodes(db: Database, tmp_path: Path) -> None:
    """Not single frames: the 0.08 s of happiness at 1.52 s are no episode."""
    paths = export_run(db, 1, "facereader", tmp_path)
    assert states(paths[1]) == [
        ("00:00:00.000", "Neutral"),
        ("00:00:00.520", "Happy"),
        ("00:00:00.800", "Unknown"),
        ("00:00:02.000", "END"),
    ]
    person = PersonContent("A", 1, (1,), (Segment("fear", 0.5, 1.0, 0.9), Segment("anger", 1.0, 4.0, 0.8)))
    (tmp_path / "log.txt").write_text(facereader.to_state_log(content(person), person, 0.0), encoding="utf-8")
    assert [state for _, state in states(tmp_path / "log.txt")] == ["Unknown", "Scared", "Angry", "END"]


def states(path: Path) -> list[tuple[str, ...]]:
    rows = path.read_text(encoding="utf-8").split("Analysis Index\n")[1].splitlines()
    return [tuple(row.split("\t")[:2]) for row in rows]


# BIDS, OpenFace, wide, Excel ---------------------------------------------------------------------------------------


def test_bids_events_are_sorted_and_every_column_is_explained(db: Database, tmp_path: Path) -> None:
    tsv, sidecar = export_run(db, 1, "bids", tmp_path)
    rows = pd.read_csv(tsv, sep="\t", keep_default_na=False)
    assert list(rows.columns[:3]) == ["onset", "duration", "trial_type"]
    assert rows["onset"].is_monotonic_increasing
    expected = sorted((start, word) for segments in SEGMENTS.values() for start, _, word in segments)
    shown = rows[rows["trial_type"] != "marker"]
    assert sorted(zip(shown["onset"], shown["trial_type"], strict=True)) == expected
    marked = rows[rows["trial_type"] == "marker"]
    assert marked[["onset", "duration", "marker", "person"]].values.tolist() == [
        [0.4, 0.8, "stimulus", "n/a"],
        [1.5, 0.0, "beep", "n/a"],
    ]
    explained = json.loads(sidecar.read_text(encoding="utf-8"))
    assert set(rows.columns) <= set(explained)
    assert set(shown["trial_type"]) <= set(explained["trial_type"]["Levels"])


def test_bids_files_pass_the_official_validator(db: Database, tmp_path: Path) -> None:
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed: BIDS files are not validated")
    about = {"Name": "test", "BIDSVersion": "1.10.0", "DatasetType": "raw", "Authors": ["A. Author"]}
    (tmp_path / "dataset_description.json").write_text(json.dumps(about), encoding="utf-8")
    (tmp_path / "README").write_text("A data set of exported events, for a test of the export.\n" * 3, encoding="utf-8")
    export_run(db, 1, "bids", tmp_path / "sub-01" / "beh", stem="sub-01_task-talk")
    words = [str(validator), "--format", "json", "--ignoreWarnings", str(tmp_path)]
    finished = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    found = json.loads(finished.stdout)["issues"]["issues"]
    assert [each for each in found if each["severity"] == "error"] == []
    assert finished.returncode == 0


def test_openface_columns_are_read_by_its_names(db: Database, tmp_path: Path) -> None:
    (path,) = export_run(db, 1, "openface", tmp_path)
    rows = pd.read_csv(path)
    assert list(rows.columns[:5]) == ["frame", "face_id", "timestamp", "confidence", "success"]
    assert (rows["frame"].min(), len(rows)) == (1, 83)
    assert (rows["face_width"].iloc[0], rows["face_height"].iloc[0]) == (44.25, 60.0)


def test_wide_has_one_row_a_time_and_na_where_a_person_is_absent(db: Database, tmp_path: Path) -> None:
    csv_path, feather_path = export_run(db, 1, "wide", tmp_path, config=ReportConfig(wide_hz=5))
    text = csv_path.read_text(encoding="utf-8")
    rows = pd.read_csv(csv_path)
    assert list(rows.columns) == ["time_s"] + [
        f"{who}_{name}" for who in ("P1", "ID2") for name in (*EXPRESSIONS, "label")
    ]
    assert len(rows) == 10
    assert "NA" in text.splitlines()[6]
    assert rows["P1_happiness"].iloc[3] == pytest.approx(0.7)
    table = feather.read_table(feather_path)
    assert json.loads(table.schema.metadata[b"persons"]) == {"P1": NAME, "ID2": "ID 2"}
    assert table.column("P1_happiness").null_count + int(table.to_pandas()["P1_happiness"].isna().sum()) >= 3


def test_wide_columns_have_the_numbers_of_the_persons_not_of_their_order() -> None:
    rows = pd.DataFrame({"person": ["P5"], "track": [7], "time_s": [0.0], "label": ["fear"]})
    rows = rows.assign(**{f"p_{name}": 0.0 for name in EXPRESSIONS})
    assert list(to_wide(rows, {7: 5}).columns)[1] == "P5_surprise"


def test_excel_has_typed_cells_frozen_headings_and_texts_that_are_no_formulas(db: Database, tmp_path: Path) -> None:
    (path,) = export_run(db, 1, "xlsx", tmp_path)
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["read me", "episodes", "persons", "markers", "faces"]
    assert {sheet.freeze_panes for sheet in book.worksheets[1:]} == {"A2"}
    faces = list(book["faces"].values)
    assert len(faces) == 1 + 83
    assert isinstance(faces[1][faces[0].index("time_s")], int | float)
    named = {row[0] for row in book["read me"].values}
    assert {column for sheet in book.worksheets[1:] for column in next(sheet.values)} <= named
    table = pd.DataFrame({"person": ["=1+1"], "n": [2]})
    xlsx.write_xlsx(content(), {"t": table}, [], tmp_path / "f.xlsx", overwrite=False)
    cell = openpyxl.load_workbook(tmp_path / "f.xlsx")["t"]["A2"]
    assert (cell.value, cell.data_type) == ("=1+1", "s")


def test_excel_refuses_more_rows_than_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx, "MAX_ROWS", 3)
    table = pd.DataFrame({"n": [1, 2, 3]})
    with pytest.raises(ReportError, match="export csv or parquet"):
        xlsx.write_xlsx(content(), {"faces": table}, [], tmp_path / "f.xlsx", overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_excel_without_its_package_is_one_sentence(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xlsxwriter", None)
    with pytest.raises(MissingExtraError, match="XlsxWriter"):
        export_run(db, 1, "xlsx", tmp_path)


# Flat files of tables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_flat_file_has_the_tables_of_the_exports(kind: str, db: Database, tmp_path: Path) -> None:
    if kind == "duckdb":
        pytest.importorskip("duckdb", reason="needs the extra [duckdb]")
    (path,) = export_run(db, 1, kind, tmp_path)
    export_run(db, 1, "csv", tmp_path)
    for name in ("faces", "episodes"):
        (csv_path,) = tmp_path.glob(f"*.{name}.csv")
        expected, found = pd.read_csv(csv_path), flat_table(path, name)
        assert list(found.columns) == list(expected.columns)
        assert len(found) == len(expected)
        for column in expected.select_dtypes("number").columns:
            values = found[column].astype(float).tolist()
            assert values == pytest.approx(expected[column].tolist(), abs=1e-2, nan_ok=True), column
        labels = "label" if name == "faces" else "expression"
        assert found[labels].tolist() == expected[labels].tolist()
    assert NAME in set(flat_table(path, "persons")["person"])
    assert flat_table(path, "markers")["label"].tolist() == ["stimulus", "beep"]
    explained = flat_table(path, "columns")
    assert (explained["meaning"] != "").mean() > 0.9
    assert {"p_happiness", "time_s"} <= set(explained["name"])


def flat_table(path: Path, name: str) -> pd.DataFrame:
    if path.suffix == ".duckdb":
        import duckdb

        with duckdb.connect(str(path), read_only=True) as database:
            return database.sql(f"SELECT * FROM {name}").df()
    with contextlib.closing(sqlite3.connect(path)) as database:
        return pd.read_sql_query(f"SELECT * FROM {name}", database)


def test_a_missing_duckdb_says_which_extra_brings_it(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingExtraError, match=r"needs the package duckdb: .*\[duckdb\]"):
        export_run(db, 1, "duckdb", tmp_path)
