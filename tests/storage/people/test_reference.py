"""One way to name a person: a name, ``P3``, ``3``, ``ID 5``, for every command alike."""

from __future__ import annotations

import doctest
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fertrack.cli.main import run
from fertrack.storage.engine import Database, open_database
from fertrack.storage.people import reference
from fertrack.storage.people.persons import find_person, persons_of_run
from fertrack.storage.people.reference import ByName, ByPerson, ByTrack, RunPerson, matching, parse
from tests.support.rights_scenes import add_person, make_clip, results, store_clip

ANN, THREE, NOBODY = RunPerson(7, 1, "Ann", (4, 6)), RunPerson(8, 3, "", (1,)), RunPerson(0, 0, "", (2,))
PEOPLE = [ANN, THREE, NOBODY]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Ann", ANN), (" aNN ", ANN), ("P1", ANN), ("p 1", ANN), ("1", ANN), (1, ANN), ("ID 6", ANN), ("track 4", ANN),
        ("3", THREE), ("P3", THREE), ("ID 1", THREE),
        ("2", NOBODY), ("ID 2", NOBODY), ("id2", NOBODY),
    ],
)  # fmt: skip
def test_everybody_can_be_named_in_each_way(text: str | int, meant: RunPerson) -> None:
    assert [PEOPLE[index] for index in matching(text, PEOPLE)] == [meant]


@pytest.mark.parametrize("text", ["P2", "4", "ID 3", "Anna", "", "P", "ID"])
def test_a_number_means_a_person_first_and_a_track_only_where_it_is_nobodys(text: str) -> None:
    assert matching(text, PEOPLE) == []


def test_a_name_comes_before_what_it_could_mean_besides() -> None:
    called = RunPerson(9, 5, "P1", (9,))  # from before such names were refused
    assert matching("P1", [ANN, called]) == [1]


def test_a_text_is_read_in_one_of_three_ways() -> None:
    assert parse(" 12 ") == ByPerson(12, or_track=True)
    assert parse("P12") == ByPerson(12)
    assert parse("Track 12") == ByTrack(12)
    assert parse("P12a") == ByName("P12a")
    outcome = doctest.testmod(reference)
    assert (outcome.failed, outcome.attempted > 0) == (0, True)


@pytest.fixture
def db(tmp_path: Path, empty_database: Path) -> Iterator[Database]:
    """A run of Ann, who is P1 and track 1, and of track 2, who is nobody known."""
    shutil.copy(empty_database, tmp_path / "a.db")
    with open_database(tmp_path / "a.db") as database:
        add_person(database, store_clip(database, make_clip(tmp_path / "clip.mp4"), results()), "Ann", 1, [1])
        yield database


@pytest.mark.parametrize("who", ["Ann", "P1", "1", "ID 1"])
def test_every_command_takes_every_way_to_name_a_person(
    db: Database, who: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--db", db.url]
    for command in (
        ["timeline", "last", "--person", who],
        ["timeline", "last", "--person", who, "--rate", "5"],
        ["stats", "last", "--person", who],
        ["episodes", "last", "--person", who],
        ["stats", "synchrony", "last", who, "2"],
    ):
        assert run([*command, "--format", "json", *at]) == 0, command
        rows = json.loads(capsys.readouterr().out)
        assert {row["track"] for row in rows if "track" in row} <= {1}, command
    for command in (
        ["moments", "last", "--who", who, "--expression", "happiness"],
        ["person", "rename", "last", who, "Zoë"],
        ["person", "rename", "last", "Zoë", "Ann"],
        ["render", "last", "--anonymise", "--except", who, "-o", str(tmp_path / "a.mp4")],
        ["person", "export", "last", who, "-o", str(tmp_path / "ann")],
        ["person", "erase", "last", who, "--dry-run"],
        ["person", "forget", "last", who, "--yes"],
    ):
        assert run([*command, *at]) == 0, (command, capsys.readouterr().err)


def test_who_there_is_is_said_where_nobody_is_meant(db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["timeline", "last", "--person"], ["stats", "last", "--person"], ["person", "forget", "last"]):
        assert run([*command, "Anne", "--db", db.url, *(["--yes"] if "forget" in command else [])]) != 0
        assert "in run 1: did you mean 'Ann'?" in capsys.readouterr().err


def test_whoever_a_track_is_stands_for_one_person(db: Database) -> None:
    with db.reading() as connection:
        assert [find_person(connection, 1, person.label) for person in persons_of_run(connection, 1)] == (
            persons_of_run(connection, 1)
        )
