"""Markers of other programs: written by their own libraries where there are any, and read at the right times."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from praatio import textgrid
from pympi import Elan

from fertrack.cli.main import run as fertrack
from fertrack.errors import FertrackError, MissingExtraError, TableError
from fertrack.imports.event import Event, checked
from fertrack.imports.marker_import import Reading, import_markers
from fertrack.imports.recognise import FORMATS, read_events, recognise
from fertrack.imports.synchronise import Clock, synchronised
from fertrack.reporting.exports.registry import export_run
from fertrack.storage.engine import Database, open_database
from fertrack.storage.queries.markers import undo_import
from tests.support.queries import markers
from tests.support.reporting_runs import ScriptedPerson, ScriptedRun, store_run

BIDS = "onset\tduration\ttrial_type\tstim_file\n0.5\t1.5\tface\ta.png\n2,25\tn/a\tn/a\tb.png\n3\t0\tbutton\tn/a\n"
PSYCHOPY = (
    "condition,trials.thisN,image.started,image.stopped,key.started,key.stopped\n"
    "happy,0,1.25,2.25,1.9,None\n"
    "sad,1,,,,\n"
    "sad,2,5.0,6.0,None,None\n"
)
BORIS_TABULAR = (
    "Time;Subject;Behavior;Behavior type;Comment\n"
    "1,5;Ana;smile;START;\n2,0;No focal subject;beep;POINT;loud\n3,5;Ana;smile;STOP;\n"
)
BORIS_AGGREGATED = (
    "Observation id\tSubject\tBehavior\tStart (s)\tStop (s)\no\tAna\tsmile\t1.5\t3.5\no\tBo\tbeep\t2\t2\n"
)
VTT = (
    "WEBVTT\n\nNOTE nothing\n\n1\n00:01.000 --> 00:02.500 align:start\n<v Ana><i>hello</i> &amp; bye\n\n"
    "1:00:00.000 --> 1:00:01.000\nend\n"
)


def write(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    (folder / name).write_text(text, encoding=encoding)
    return folder / name


def spans(events: list[Event]) -> list[tuple[float, float | None, str]]:
    return [(event.time_s, event.end_s, event.label) for event in events]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "fertrack.db", create=True) as database:
        store_run(database, ScriptedRun(persons=(ScriptedPerson([(0, 8)]),), frames=200))
        yield database


# Formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "kind", "expected"),
    [
        ("m.csv", "time_s,label,duration_s\n0:05,a,1\n", "csv", [(5.0, 6.0, "a")]),
        ("e.tsv", BIDS, "bids", [(0.5, 2.0, "face"), (2.25, None, "b.png"), (3.0, None, "button")]),
        ("p.csv", PSYCHOPY, "psychopy", [(1.25, 2.25, "image"), (1.9, None, "key"), (5.0, 6.0, "image")]),
        ("b.csv", BORIS_TABULAR, "boris", [(1.5, 3.5, "smile"), (2.0, None, "beep")]),
        ("b.tsv", BORIS_AGGREGATED, "boris", [(1.5, 3.5, "smile"), (2.0, None, "beep")]),
        ("s.vtt", VTT, "webvtt", [(1.0, 2.5, "hello & bye"), (3600.0, 3601.0, "end")]),
    ],
)
def test_each_format_is_recognised_and_read(
    tmp_path: Path, name: str, text: str, kind: str, expected: list[tuple[float, float | None, str]]
) -> None:
    path = write(tmp_path, name, text)
    assert recognise(path) == kind
    assert spans(read_events(path)) == expected


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8-sig", "utf-16"])
def test_tables_are_read_as_people_save_them(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, "e.tsv", "sep=;\nonset;duration;trial_type\n1,5;0,5;Überraschung\n", encoding)
    assert spans(read_events(path)) == [(1.5, 2.0, "Überraschung")]


def test_conditions_of_a_psychopy_trial_are_in_the_note(tmp_path: Path) -> None:
    first = read_events(write(tmp_path, "p.csv", PSYCHOPY))[0]
    assert first.note == "condition=happy; trials.thisn=0"


def test_the_label_of_a_trial_can_be_its_condition(tmp_path: Path) -> None:
    path = write(tmp_path, "p.csv", PSYCHOPY)
    labelled = read_events(path, columns={"condition": "label"})
    assert spans(labelled) == [(1.25, 2.25, "happy"), (1.9, None, "happy"), (5.0, 6.0, "sad")]
    bids = read_events(write(tmp_path, "e.tsv", BIDS), columns={"stim_file": "label"})
    assert [event.label for event in bids] == ["a.png", "b.png", "button"]
    with pytest.raises(TableError, match="no column 'mood': it has condition"):
        read_events(path, columns={"mood": "label"})


def test_elan_tiers_with_references_are_read(tmp_path: Path) -> None:
    eaf = Elan.Eaf()
    eaf.add_tier("stimuli")
    eaf.add_annotation("stimuli", 500, 1500, "film ü")
    eaf.add_annotation("stimuli", 2000, 2400, "")
    eaf.add_linguistic_type("gloss", constraints="Symbolic_Association")
    eaf.add_tier("gloss", ling="gloss", parent="stimuli")
    eaf.add_ref_annotation("gloss", "stimuli", 700, "a film")
    eaf.to_file(str(tmp_path / "a.eaf"))
    assert spans(read_events(tmp_path / "a.eaf")) == [(0.5, 1.5, "film ü"), (0.5, 1.5, "a film")]
    assert spans(read_events(tmp_path / "a.eaf", tier="gloss")) == [(0.5, 1.5, "a film")]
    with pytest.raises(TableError, match="nothing on a tier 'x': there are 'gloss', 'stimuli'"):
        read_events(tmp_path / "a.eaf", tier="x")


@pytest.mark.parametrize("form", ["long_textgrid", "short_textgrid"])
def test_praat_files_are_read_in_both_text_formats(tmp_path: Path, form: str) -> None:
    grid = textgrid.Textgrid()
    grid.addTier(textgrid.IntervalTier("talk 1", [(0.5, 1.5, 'say "12" <exists>')], 0, 4))
    grid.addTier(textgrid.PointTier("beeps", [(2.25, "beep 3")], 0, 4))
    path = tmp_path / "a.TextGrid"
    grid.save(str(path), form, True)
    events = read_events(path)
    assert spans(events) == [(0.5, 1.5, 'say "12" <exists>'), (2.25, None, "beep 3")]
    assert [event.tier for event in events] == ["talk 1", "beeps"]


def boris_project(*names: str, events: list[list[object]]) -> str:
    kinds = {"0": {"code": "smile", "type": "State event"}, "1": {"code": "beep", "type": "Point event"}}
    return json.dumps({"behaviors_conf": kinds, "observations": {name: {"events": events} for name in names}})


def test_boris_states_become_stretches_of_each_subject(tmp_path: Path) -> None:
    events: list[list[object]] = [
        [1.0, "Ana", "smile", "", "first"],
        [1.5, "Bo", "smile", "", ""],
        [2.0, "Ana", "smile", "", ""],
        [2.0, "", "beep", "", ""],
        [3.0, "Bo", "smile", "", ""],
    ]
    path = write(tmp_path, "p.boris", boris_project("o", events=events))
    found = read_events(path)
    assert spans(found) == [(1.0, 2.0, "smile"), (1.5, 3.0, "smile"), (2.0, None, "beep")]
    assert [event.tier for event in found] == ["Ana", "Bo", ""]


def test_boris_wants_one_observation_and_every_state_stopped(tmp_path: Path) -> None:
    two = write(tmp_path, "two.boris", boris_project("a", "b", events=[]))
    with pytest.raises(TableError, match="2 observations: name one with --tier; there are 'a', 'b'"):
        read_events(two)
    assert read_events(two, tier="b") == []
    open_end = write(tmp_path, "open.boris", boris_project("a", events=[[1.0, "Ana", "smile", "", ""]]))
    with pytest.raises(TableError, match="event 1: 'smile' begins at 1 s and is never stopped"):
        read_events(open_end)


@pytest.mark.parametrize("output_format", ["eaf", "textgrid", "boris", "bids"])
def test_what_fertrack_exports_can_be_read_back(tmp_path: Path, output_format: str) -> None:
    script = ScriptedPerson([(0, 2)], [(0, "happiness"), (1.0, "fear")], "Ana")
    with open_database(tmp_path / "fertrack.db", create=True) as database:
        store_run(database, ScriptedRun(persons=(script,)))
        path = export_run(database, 1, output_format, tmp_path)[0]
    assert spans(read_events(path)) == [(0.0, 1.0, "happiness"), (1.0, 2.0, "fear")]


def xdf(path: Path, stamps: list[tuple[float, str]], pause_s: float = 0.0) -> Path:
    """A recording of one stream of markers and one of numbers, as LabRecorder lays it out."""

    def chunk(tag: int, content: bytes) -> bytes:
        return b"\x04" + struct.pack("<I", len(content) + 2) + struct.pack("<H", tag) + content

    def header(name: str, form: str, rate: float) -> bytes:
        text = (
            f"<info><name>{name}</name><type>Markers</type><channel_count>1</channel_count>"
            f"<nominal_srate>{rate}</nominal_srate><channel_format>{form}</channel_format></info>"
        )
        return text.encode()

    content = b"XDF:" + chunk(1, b"<info><version>1.0</version></info>")
    content += chunk(2, struct.pack("<I", 1) + header("stimuli", "string", 0))
    content += chunk(2, struct.pack("<I", 2) + header("numbers", "float32", 10))
    samples = b"".join(
        b"\x08" + struct.pack("<d", stamp) + b"\x01" + bytes([len(text.encode())]) + text.encode()
        for stamp, text in stamps
    )
    content += chunk(3, struct.pack("<I", 1) + b"\x01" + bytes([len(stamps)]) + samples)
    times = [100.0 + at / 10 + (pause_s if at >= 5 else 0.0) for at in range(10)]
    numbers = b"".join(b"\x08" + struct.pack("<d", time) + struct.pack("<f", 0.0) for time in times)
    content += chunk(3, struct.pack("<I", 2) + b"\x01" + bytes([len(times)]) + numbers)
    path.write_bytes(content)
    return path


def test_xdf_markers_count_from_the_earliest_sample_and_pauses_stay(tmp_path: Path) -> None:
    path = xdf(tmp_path / "r.xdf", [(101.5, "go"), (111.5, "stop"), (111.6, " ")], pause_s=10.0)
    events = read_events(path)
    assert spans(events) == [(pytest.approx(1.5), None, "go"), (pytest.approx(11.5), None, "stop")]
    assert {event.tier for event in events} == {"stimuli"}


def test_xdf_without_its_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyxdf", None)
    with pytest.raises(MissingExtraError, match="pyxdf"):
        read_events(xdf(tmp_path / "r.xdf", []))


@pytest.mark.parametrize("name", ["x.eaf", "x.boris", "x.TextGrid", "x.vtt", "x.xdf", "x.csv"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"<a/>", b"{}", b"[1,", b"x" * 5000])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FertrackError, match=name.replace(".", r"\.")):
        read_events(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for suffix in ("eaf", "boris", "TextGrid", "vtt", "csv"):
        with pytest.raises(TableError, match="No such file"):
            read_events(tmp_path / f"none.{suffix}")


def test_a_format_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=", ".join(FORMATS)):
        read_events(tmp_path / "a.csv", file_format="doc")


# Columns and clocks -------------------------------------------------------------------------------------------------


def test_columns_of_any_table_can_be_mapped(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "Start,What,Extra\n1.5,go,z\n")
    assert spans(read_events(path, columns={"Start": "time_s", "what": "label"})) == [(1.5, None, "go")]
    with pytest.raises(TableError, match="no column 'begin': it has start, what, extra"):
        read_events(path, columns={"begin": "time_s"})
    with pytest.raises(TableError, match=r"--map what=name: a marker has"):
        read_events(path, columns={"what": "name"})
    with pytest.raises(TableError, match=r"no column 'time_s'.*--map start=time_s"):
        read_events(path)


def test_one_pair_shifts_and_two_pairs_stretch() -> None:
    events = [Event(1, 10.0, None, "go"), Event(2, 20.0, 30.0, "film"), Event(3, 1010.0, None, "go")]
    assert synchronised(events, [("go", 12.5)]) == Clock(2.5)
    clock = synchronised(events, [("go", 12.5), ("go", 1012.6)])
    assert clock.drift_ppm == pytest.approx(100.0)
    assert clock.moved(events[1]).time_s == pytest.approx(22.501)
    assert clock.moved(events[1]).end_s == pytest.approx(32.502)
    assert "drift +100.0 ppm" in clock.sentence()
    three = synchronised(events, [("go", 12.5), ("film", 22.6), ("go", 1012.5)])
    assert three.residual_s == pytest.approx(0.041, abs=0.001)


def test_contradicting_pairs_are_refused() -> None:
    events = [Event(1, 10.0, None, "go"), Event(2, 20.0, None, "stop")]
    with pytest.raises(TableError, match="drifts by"):
        synchronised(events, [("go", 12.5), ("stop", 40.0)])
    with pytest.raises(TableError, match=r"has 1 of these; there are 'go', 'stop'"):
        synchronised(events, [("go", 12.5), ("go", 13.5)])


def test_an_import_is_kept_with_its_clock_and_can_be_undone(db: Database, tmp_path: Path) -> None:
    path = write(tmp_path, "e.tsv", BIDS)
    report = import_markers(db, 1, path, Reading(offset_s=2.0))
    assert (report.added, report.clock) == (3, "times moved by +2.000 s")
    assert markers(db, 1)["time_s"].tolist() == [2.5, 4.25, 5.0]
    assert import_markers(db, 1, path, Reading(offset_s=2.0)).added == 0
    import_markers(db, 1, write(tmp_path, "m.csv", "time_s,label\n1,mine\n"))
    assert undo_import(db, 1) == ("m.csv", 1)
    assert undo_import(db, 1) == ("e.tsv", 0), "the second time added nothing, so nothing of the first goes with it"
    assert undo_import(db, 1) == ("e.tsv", 3)
    assert markers(db, 1).empty
    assert undo_import(db, 1) == ("", 0)


def test_an_offset_and_a_synchronisation_exclude_each_other(db: Database, tmp_path: Path) -> None:
    path = write(tmp_path, "e.tsv", BIDS)
    with pytest.raises(ValueError, match="give one of the two"):
        import_markers(db, 1, path, Reading(offset_s=1.0, sync=[("face", 1.0)]))


def test_the_command_maps_synchronises_and_undoes(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "t.csv", "start,what\n100,go\n104,film\n")
    at = ["--db", str(tmp_path / "fertrack.db")]
    import_ = ["markers", "import", "1", str(path), "--map", "start=time_s", "--map", "what=label"]
    assert fertrack([*import_, *at]) == 1
    assert "is outside the run" in capsys.readouterr().err
    assert fertrack([*import_, "--sync", "go=0:02", *at]) == 0
    shown = capsys.readouterr()
    assert "2 markers added" in shown.out
    assert "times moved by -98.000 s" in shown.err
    assert markers(db, 1)["time_s"].tolist() == [2.0, 6.0]
    assert fertrack([*import_, "--sync", "go", *at]) == 2
    assert fertrack([*import_, "--sync", "go=soon", *at]) == 2
    capsys.readouterr()
    assert fertrack(["markers", "undo", "1", *at]) == 0
    assert "undone: the import of t.csv, 2 markers deleted" in capsys.readouterr().out


@pytest.mark.parametrize("label", ["a\x1b[2J", "a\0", "a\ud800", "a\u202eb"])
def test_a_label_is_plain_text_and_may_have_lines(label: str) -> None:
    with pytest.raises(ValueError, match=r"a label cannot hold U\+"):
        checked(Event(2, 1.0, None, label))
    assert checked(Event(2, 1.0, None, "two\nlines", note="\ttab"))
