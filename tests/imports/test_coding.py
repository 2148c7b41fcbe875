"""Human coding: exported, edited and read back; tiers found to be persons; codings of other people's making."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pympi import Elan

from fertrack.cli.main import run as fertrack
from fertrack.errors import FertrackError
from fertrack.imports.coding import read_coding
from fertrack.imports.recognise import read_events
from fertrack.reporting.exports.registry import export_run
from fertrack.storage.engine import Database, open_database
from fertrack.types import EXPRESSIONS, label_name
from tests.support.queries import corrections, episodes
from tests.support.reporting_runs import ScriptedPerson, ScriptedRun, store_run

NTSC = 30000 / 1001
RUN = ScriptedRun(
    persons=(
        ScriptedPerson([(0, 1.0), (1.2, 2)], [(0, "neutral"), (0.5, "happiness"), (0.8, "uncertain")], "Ana"),
        ScriptedPerson([(0, 2)], [(0, "sadness"), (1.0, "neutral")]),
    ),
    frames=60,
    fps=NTSC,  # no frame begins at a whole millisecond
)
Edit = Callable[[Path], None]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "fertrack.db", create=True) as database:
        store_run(database, RUN)
        yield database


def edit_eaf(path: Path) -> None:
    """Ana's happiness becomes surprise."""
    read = Elan.Eaf(str(path))
    (start, end) = next(row[:2] for row in read.get_annotation_data_for_tier("Ana") if row[2] == "happiness")
    read.remove_annotation("Ana", (start + end) // 2)
    read.add_annotation("Ana", start, end, "Surprised")
    read.to_file(str(path))


def edit_boris(path: Path) -> None:
    project = json.loads(path.read_text(encoding="utf-8"))
    (observation,) = project["observations"].values()
    for event in observation["events"]:
        if event[1:3] == ["Ana", "happiness"]:
            event[2] = "surprise"
    path.write_text(json.dumps(project), encoding="utf-8")


def edit_praat(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace('"happiness"', '"surprise"'), encoding="utf-8")


@pytest.mark.parametrize(("kind", "edit"), [("eaf", edit_eaf), ("boris", edit_boris), ("textgrid", edit_praat)])
def test_a_file_goes_out_is_edited_and_comes_back_as_a_correction_of_what_was_edited(
    db: Database, tmp_path: Path, kind: str, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export_run(db, 1, kind, tmp_path)[0]
    shown = episodes(db, 1)
    words = ["import-labels", "1", str(path), "--db", db.url]
    assert fertrack(words) == 0
    assert "says what the estimates say: nothing to import" in capsys.readouterr().out
    assert corrections(db, 1).empty

    edit(path)
    assert fertrack([*words, "--author", "coder 1"]) == 0
    table = corrections(db, 1)
    happy = shown[(shown["person"] == "Ana") & (shown["expression"] == "happiness")].iloc[0]
    assert set(table["corrected"]) == {"surprise"}
    assert set(table["author"]) == {"coder 1"}
    assert len(table) == happy["frames"] == 9
    assert table["time_s"].min() == happy["start_s"]


def test_a_coding_as_a_whole_confirms_too(db: Database, tmp_path: Path) -> None:
    path = export_run(db, 1, "eaf", tmp_path)[0]
    assert fertrack(["import-labels", "1", str(path), "--db", db.url, "--all"]) == 0
    table = corrections(db, 1)
    assert (table["corrected"] == table["label"]).all()
    assert len(table) == episodes(db, 1)["frames"].sum()


def test_an_annotation_that_was_made_longer_corrects_what_it_adds(db: Database, tmp_path: Path) -> None:
    path = export_run(db, 1, "eaf", tmp_path)[0]
    read = Elan.Eaf(str(path))
    start, end, _ = next(row[:3] for row in read.get_annotation_data_for_tier("Ana") if row[2] == "happiness")
    read.remove_annotation("Ana", (start + end) // 2)
    read.add_annotation("Ana", start, 1500, "happiness")  # over the uncertain time, and where nobody is seen
    read.to_file(str(path))
    assert fertrack(["import-labels", "1", str(path), "--db", db.url]) == 0
    table = corrections(db, 1)
    assert set(table["label"]) == {"uncertain"}
    assert table["time_s"].max() < 1.5


def test_coder_and_person_of_a_tier_are_its_annotator_and_participant(db: Database, tmp_path: Path) -> None:
    made = Elan.Eaf()
    made.add_tier("mother_face", part="Ana", ann="B. Coder")
    made.add_annotation("mother_face", 0, 500, "happy")
    made.add_tier("mother_talks", part="Ana")
    made.add_annotation("mother_talks", 0, 500, "hello")
    made.to_file(str(tmp_path / "made.eaf"))
    with db.run(1) as run:
        (segment,) = read_coding(run, tmp_path / "made.eaf")
    assert (segment.coder, segment.subject, label_name(segment.label)) == ("B. Coder", 0, "happiness")


def table(folder: Path, text: str) -> Path:
    (folder / "coding.csv").write_text(text, encoding="utf-8")
    return folder / "coding.csv"


def test_a_table_of_frames_or_stretches_is_a_coding(db: Database, tmp_path: Path) -> None:
    path = table(tmp_path, "person,start_s,end_s,expression,intensity\nID 2,0:01,1.5,sad,3\nana,0,1,uncertain,\n")
    with db.run(1) as run:
        found = [(each.subject, each.end_s, each.label, each.intensity) for each in read_coding(run, path)]
        assert found == [(0, 1.0, -1, None), (1, 1.5, EXPRESSIONS.index("sadness"), 3.0)]
        path = table(tmp_path, "track,frame_index,corrected,author\n2,4,fear,x\n2,5,fear,x\n2,6,,\n-1,7,fear,\n")
        (segment,) = read_coding(run, path)
        assert (segment.coder, segment.start_s, segment.end_s) == ("x", *(run.frames.start_s[[4, 6]]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("person,start_s,end_s,expression\nBob,0,1,happy\n", "means nobody of run 1.*Ana.*--map 'Bob=P1'"),
        (
            "person,start_s,end_s,expression\nAna,0,1,happy\nAna,0.5,1,sad\n",
            "two expressions at once at 0.50 s",
        ),
        ("person,start_s,end_s,expression\nAna,0,1,hapiness\nAna,1,2,sad\n", "row 2: .*did you mean 'happiness'"),
        ("person,start_s,end_s,expression\nAna,1,1,sad\n", "lasts no time"),
        ("person,start_s,end_s,expression\nAna,1,2,\n", "says of nobody in run 1"),
        ("time,what\n1,sad\n", "needs the columns person"),
    ],
)
def test_what_is_wrong_with_a_coding_is_one_sentence(db: Database, tmp_path: Path, text: str, said: str) -> None:
    with db.run(1) as run, pytest.raises(FertrackError, match=said):
        read_coding(run, table(tmp_path, text))


def test_a_mapped_subject_is_the_person_and_an_unknown_one_is_named(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "coded.tsv"
    path.write_text(
        "Observation id\tSubject\tBehavior\tStart (s)\tStop (s)\nday 1\tMother\tsad\t0\t0.5\nday 2\tMother\tfear\t0\t1",
        encoding="utf-8",
    )
    words = ["import-labels", "1", str(path), "--db", db.url, "--map", "Mother=Ana"]
    assert fertrack(words) == 1
    assert "has 2 observations: name one with --tier" in capsys.readouterr().err
    assert fertrack([*words, "--tier", "day 1"]) == 0
    assert set(corrections(db, 1)["corrected"]) == {"sadness"}
    assert fertrack([*words, "--tier", "day 1", "--map", "Child=Ana"]) == 1
    assert "has no tier or subject 'Child': there are 'Mother'" in " ".join(capsys.readouterr().err.split())
    assert [event.tier for event in read_events(path, tier="day 2")] == ["Mother"]


def test_a_table_made_by_hand_is_imported_whole(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path, "person;start_s;end_s;expression;author\nAna;0;0,5;neutral;B. Coder\nMum;0;1;sad;B. Coder\n")
    words = ["import-labels", "1", str(path), "--db", db.url]
    assert fertrack(words) == 1
    assert "'Mum' means nobody of run 1" in " ".join(capsys.readouterr().err.split())
    assert fertrack([*words, "--map", "Mum=ID 2"]) == 0
    found = corrections(db, 1)
    assert set(found["corrected"]) == {"neutral", "sadness"}
    assert set(found["author"]) == {"B. Coder"}
    assert found["time_s"].max() < 1.0


def test_tables_of_boris_before_8_are_read_with_the_head_they_have(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "coded.tsv"
    lines = ["Observation id\tday 1" + 7 * "\t", 8 * "\t", "Media file(s)" + 8 * "\t", "Player #1\tclip.mp4" + 7 * "\t"]
    lines += ["Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\tBehavioral category\tComment\tStatus"]
    lines += [f"{time}\tclip.mp4\t2.0\t30\tAna\tsad\t\t\t{status}" for time, status in ((0.3, "START"), (1.2, "STOP"))]
    path.write_text("\n".join(lines), encoding="utf-8")
    with db.run(1) as run:
        (segment,) = read_coding(run, path)
    assert (label_name(segment.label), segment.row) == ("sadness", 6)


def test_two_persons_of_one_name_stay_two_in_files(db: Database, tmp_path: Path) -> None:
    persons = [ScriptedPerson([(0, 2)], [(0, word)], "Kim") for word in ("fear", "anger")]
    store_run(db, ScriptedRun(persons=persons))
    path = export_run(db, 2, "boris", tmp_path)[0]
    with db.run(2) as run:
        assert [label_name(each.label) for each in read_coding(run, path)] == ["fear", "anger"]
