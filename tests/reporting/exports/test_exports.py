"""Exports: each format is what its readers expect, says what the database says, and takes names as text."""

from __future__ import annotations

import builtins
import csv
import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pysubs2
import pytest
import sqlalchemy as sa

from fertrack.cli.main import run as fertrack
from fertrack.errors import MissingExtraError, OutputExistsError, RunNotFoundError
from fertrack.imaging.track_labels import person_bgr
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.exports.csv_export import FACE_COLUMNS, write_csv
from fertrack.reporting.exports.csv_rows import defused
from fertrack.reporting.exports.elan import to_elan
from fertrack.reporting.exports.registry import FORMATS, export_run
from fertrack.reporting.exports.subtitles import RENDERERS, Cue
from fertrack.storage.engine import Database, open_database
from fertrack.storage.models import TrackRow
from fertrack.storage.people.corrections import GivenLabel, store_corrections
from tests.support import queries
from tests.support.reporting_runs import ScriptedPerson, ScriptedRun, store_run

AWKWARD = 'Ana <i>{\\b1}"Ö" & 李 --> x'
RUN = ScriptedRun(
    persons=(
        ScriptedPerson([(0, 0.8), (1.5, 2)], [(0, "neutral"), (0.52, "happiness"), (1.6, "uncertain")], AWKWARD),
        ScriptedPerson([(0, 2)], [(0, "sadness"), (1.0, "uncertain")]),
        ScriptedPerson([(0, 0.04)], confirmed=False),
    )
)
# who, expression, begin and end in ms: what the script above says, with the default shortest episode of 0.2 s
EPISODES = [(1, "neutral", 0, 520), (2, "sadness", 0, 1000), (1, "happiness", 520, 800)]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with open_database(tmp_path_factory.mktemp("exports") / "fertrack.db", create=True) as database:
        store_run(database, RUN)
        store_run(database, ScriptedRun())
        store_corrections(database, 1, [GivenLabel(row=2, label=0, frame_index=0, face_index=2)])
        yield database


def exported(db: Database, output_format: str, folder: Path, **options: Any) -> str:
    (path,) = export_run(db, 1, output_format, folder, **options)
    return path.read_bytes().decode("utf-8")


# Rows -------------------------------------------------------------------------------------------------------------


def test_json_lines_say_what_the_database_says(db: Database, tmp_path: Path) -> None:
    text = exported(db, "jsonl", tmp_path)
    assert text.endswith("}\n")
    records = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    stored = queries.timeline(db, 1, include_unconfirmed=True)
    assert len(records) == len(stored) == 20 + 12 + 50 + 1
    assert {tuple(record) for record in records} == {tuple(FACE_COLUMNS)}
    assert records[0]["corrected"] == "surprise"
    assert (records[1]["person"], records[2]["person"]) == (AWKWARD, None)
    assert (records[1]["x1"], records[1]["score"], records[1]["label"]) == (50.0, 0.9876, "neutral")
    for name in ("frame_index", "face_index", "track"):
        assert [record[name] for record in records] == stored[name].tolist()
    assert [record["time_s"] for record in records] == pytest.approx(stored["time_s"].tolist(), abs=1e-6)


def test_parquet_has_types_and_units(db: Database, tmp_path: Path) -> None:
    (path,) = export_run(db, 1, "parquet", tmp_path)
    table = pq.read_table(path)
    assert table.column_names == list(FACE_COLUMNS)
    units = {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in table.schema}
    assert (units["time_s"], units["x1"], units["p_fear"], units["track"]) == ("s", "px", "1", "")
    assert table.schema.metadata[b"run"] == b"1"
    read = table.to_pandas()
    stored = queries.timeline(db, 1, include_unconfirmed=True)
    for name in set(stored.columns) - {"person", "quality"}:
        assert read[name].tolist() == stored[name].tolist(), name
    assert read["quality"].isna().all(), "this run was not judged"
    assert (read["label"].dtype, read["x1"].dtype) == (stored["label"].dtype, stored["x1"].dtype)


def test_parquet_of_a_run_without_corrections_has_the_types_of_one_with_them(db: Database, tmp_path: Path) -> None:
    with_some, with_none = (pq.read_schema(export_run(db, run, "parquet", tmp_path)[0]) for run in (1, 2))
    assert with_none.field("corrected").type == "string"
    assert with_none.names == with_some.names


def test_parquet_without_pyarrow_is_one_sentence(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_pyarrow(
        name: str,
        names_global: Mapping[str, object] | None = None,
        names_local: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real_import(name, names_global, names_local, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[parquet\]"):
        export_run(db, 1, "parquet", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output_format", ["jsonl", "parquet", "csv"])
def test_one_person_only(db: Database, tmp_path: Path, output_format: str) -> None:
    path = export_run(db, 1, output_format, tmp_path, track=2)[0]
    assert path.name == f"run1.clip.id2.faces.{output_format}"
    read = {"jsonl": lambda p: pd.read_json(p, lines=True), "parquet": pd.read_parquet, "csv": pd.read_csv}
    assert read[output_format](path)["track"].tolist() == [2] * 50


# Subtitles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output_format", ["srt", "vtt", "ass"])
def test_subtitles_are_read_by_an_independent_parser(db: Database, tmp_path: Path, output_format: str) -> None:
    read = pysubs2.SSAFile.from_string(exported(db, output_format, tmp_path), format_=output_format)
    shown = [(line.plaintext.rpartition(": ")[2], line.start, line.end) for line in read]
    assert shown == [(f"{expression} 0.70", start, end) for _, expression, start, end in EPISODES]
    names = {line.plaintext.rpartition(": ")[0] for line in read}
    assert "ID 2" in names
    (ana,) = names - {"ID 2"}
    assert re.sub(r"&lt;", "<", ana).startswith("Ana ")
    assert "Ö" in ana
    assert "李" in ana


@pytest.mark.parametrize("output_format", ["srt", "vtt", "ass"])
def test_a_name_is_text_and_cannot_break_a_subtitle(output_format: str) -> None:
    cue = Cue(1, AWKWARD, "anger 0.50", 1.0, 2.0)
    text = RENDERERS[output_format]([cue, Cue(2, "ID 2", "fear 0.90", 3.0, 4.0)], (640, 360))
    read = pysubs2.SSAFile.from_string(text, format_=output_format)
    assert [(line.start, line.end) for line in read] == [(1000, 2000), (3000, 4000)]
    body = next(line for line in text.splitlines() if "anger" in line)
    if output_format == "ass":
        assert "{" not in body
        assert "\\" not in body
    else:
        assert "-->" not in body
        assert "<i>" not in body


def test_ass_has_each_person_in_the_colour_of_the_video(db: Database, tmp_path: Path) -> None:
    read = pysubs2.SSAFile.from_string(exported(db, "ass", tmp_path))
    assert {line.style for line in read} == {"P1", "ID 2"}
    for number, key in ((1, "P1"), (2, "ID 2")):
        colour = read.styles[key].primarycolor
        assert (colour.b, colour.g, colour.r, colour.a) == (*person_bgr(number), 0)
    assert read.styles["P1"].primarycolor != read.styles["ID 2"].primarycolor
    assert (read.info["PlayResX"], read.info["PlayResY"]) == ("640", "360")


def test_subtitles_of_long_videos_and_single_pictures() -> None:
    cues = [Cue(1, "ID 1", "anger 0.50", 3 * 3600 + 61.0049, 3 * 3600 + 62.0), Cue(1, "ID 1", "fear 0.50", 0.0, 0.0)]
    srt = RENDERERS["srt"](cues, (640, 360))
    assert "03:01:01,005 --> 03:01:02,000" in srt
    assert "00:00:00,000 --> 00:00:00,001" in srt
    assert "00:00:00.000 --> 00:00:00.001" in RENDERERS["vtt"](cues, (640, 360))
    ass = RENDERERS["ass"](cues, (640, 360))
    assert "3:01:01.00,3:01:02.00" in ass
    assert "0:00:00.00,0:00:00.01" in ass


def test_options_decide_what_is_an_episode(db: Database, tmp_path: Path) -> None:
    text = exported(db, "srt", tmp_path, config=ReportConfig(min_episode_s=0.6))
    assert [line for line in text.splitlines() if ":" in line and "-->" not in line] == ["ID 2: sadness 0.70"]
    assert "happiness" not in exported(db, "srt", tmp_path, track=2)


# ELAN, MOT, all ----------------------------------------------------------------------------------------------------


def test_elan_has_four_fields_and_tiers_without_overlap(db: Database, tmp_path: Path) -> None:
    rows = list(csv.reader(io.StringIO(exported(db, "elan", tmp_path)), delimiter="\t", quoting=csv.QUOTE_NONE))
    found = [(1 if tier == AWKWARD else 2, what, int(begin), int(end)) for tier, begin, end, what in rows]
    assert found == EPISODES
    assert {row[0] for row in rows} == {AWKWARD, "ID 2"}
    for tier in {row[0] for row in rows}:
        mine = [(int(begin), int(end)) for name, begin, end, _ in rows if name == tier]
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(mine))


def test_elan_of_a_single_picture_lasts_a_millisecond() -> None:
    assert to_elan([Cue(3, "ID 3", "fear 0.50", 0.0, 0.0)]) == "ID 3\t0\t1\tfear\n"
    twins = [Cue(1, "Ana", "fear 0.50", 0.0, 1.0, 1), Cue(2, "Ana", "fear 0.50", 0.5, 1.0, 2)]
    assert to_elan(twins) == "Ana (P1)\t0\t1000\tfear\nAna (P2)\t500\t1000\tfear\n"


def test_mot_counts_frames_from_one(db: Database, tmp_path: Path) -> None:
    lines = exported(db, "mot", tmp_path).splitlines()
    assert len(lines) == 82
    assert lines[0] == "1,1,50.00,40.00,44.25,60.00,0.9876,-1,-1,-1"


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_run_without_faces_can_be_exported(db: Database, tmp_path: Path, output_format: str) -> None:
    for path in export_run(db, 2, output_format, tmp_path):
        assert path.exists()
    if output_format in RENDERERS:
        assert len(pysubs2.SSAFile.load(str(path), format_=output_format)) == 0


@pytest.mark.parametrize("output_format", FORMATS)
def test_nothing_is_replaced_unless_asked(db: Database, tmp_path: Path, output_format: str) -> None:
    paths = export_run(db, 1, output_format, tmp_path)
    paths[0].write_text("precious")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        export_run(db, 1, output_format, tmp_path)
    assert paths[0].read_text() == "precious"
    export_run(db, 1, output_format, tmp_path, overwrite=True)
    assert paths[0].read_bytes() != b"precious"
    assert sorted(tmp_path.iterdir()) == sorted(paths), "no draft is left behind"


def test_what_is_not_there_leaves_no_files(db: Database, tmp_path: Path) -> None:
    for output_format in FORMATS:
        with pytest.raises(RunNotFoundError):
            export_run(db, 9, output_format, tmp_path / "out")
        with pytest.raises(RunNotFoundError):
            export_run(db, 1, output_format, tmp_path / "out", track=9)
    with pytest.raises(ValueError, match="no export format 'doc'"):
        export_run(db, 1, "doc", tmp_path)
    assert not (tmp_path / "out").exists()


def test_the_command_names_its_files(db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", "1", "--db", db.url, "-o", str(tmp_path / "out"), "--format"]
    assert fertrack([*arguments, "csv"]) == 0
    assert [Path(line).name for line in capsys.readouterr().out.splitlines()] == [
        "run1.clip.faces.csv",
        "run1.clip.episodes.csv",
    ]
    assert fertrack([*arguments, "vtt", "--track", "2"]) == 0
    assert capsys.readouterr().out.strip().endswith("run1.clip.id2.vtt")
    assert fertrack([*arguments, "csv"]) == 1
    assert "already there" in capsys.readouterr().err
    assert fertrack([*arguments, "doc"]) == 2


# Spreadsheets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1+2", "@SUM(A1)", "\t=1", " =1", "＝1", "\r=1"])
def test_names_that_are_formulas_are_defused_in_csv(tmp_path: Path, name: str) -> None:
    with open_database(tmp_path / "a.db", create=True) as db:
        run = store_run(db, ScriptedRun([ScriptedPerson([(0, 1)], name=name)], frames=10))
        for path in write_csv(db, run, tmp_path, "clip"):
            rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")))
            assert {row["person"] for row in rows} == {f"'{name}"}


def test_other_names_stay_as_they_are() -> None:
    for name in ("Ana", "'Ana", "Ana = Bo", "1", "", "李"):
        assert defused(name) == name


def test_names_printed_as_csv_are_defused_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_database(tmp_path / "a.db", create=True) as db:
        store_run(db, ScriptedRun([ScriptedPerson([(0, 1)], name="=1+1"), ScriptedPerson([(0, 1)])], frames=10))
        assert fertrack(["timeline", "1", "--db", db.url, "--format", "csv"]) == 0
        printed = pd.read_csv(io.StringIO(capsys.readouterr().out))
        assert set(printed.loc[printed["track"] == 1, "person"]) == {"'=1+1"}
        assert printed.loc[printed["track"] == 2, "person"].isna().all()


def test_somebody_who_comes_back_is_one_person(tmp_path: Path) -> None:
    people = [ScriptedPerson([(0, 0.8)], name="Ana"), ScriptedPerson([(0, 2)]), ScriptedPerson([(1, 2)])]
    with open_database(tmp_path / "a.db", create=True) as db:
        run = store_run(db, ScriptedRun(people))
        with db.writing() as connection:
            ana = connection.scalar(sa.select(TrackRow.person_id).where(TrackRow.number == 1))
            connection.execute(sa.update(TrackRow).where(TrackRow.number == 3).values(person_id=ana))
        tiers = [line.split("\t")[0] for line in exported(db, "elan", tmp_path).splitlines()]
        assert tiers == ["Ana", "ID 2", "Ana"]
        ass = pysubs2.SSAFile.from_string(exported(db, "ass", tmp_path))
        assert [line.style for line in ass] == ["P1", "ID 2", "P1"]
        assert run == 1
