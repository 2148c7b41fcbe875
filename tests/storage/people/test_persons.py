"""Persons in the database: what linking stores, what people change, and that undo restores every row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError, StorageError
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig, SmoothingConfig
from fertrack.reid.linker import KnownPerson, LinkPlan, PersonLink, PlannedPerson
from fertrack.reid.tracklets import Tracklet
from fertrack.sinks.database import DatabaseSink
from fertrack.storage.answer_models import EpisodeRow
from fertrack.storage.engine import Database, open_database
from fertrack.storage.maintenance import check_database
from fertrack.storage.models import Correction, Embedding, Face, Link, Person, PersonAction, Run, TrackRow
from fertrack.storage.people import actions as person_actions
from fertrack.storage.people.corrections import GivenLabel, store_corrections
from fertrack.storage.people.links import delete_expired, load_known, store_embeddings, store_plan
from fertrack.storage.people.thumbnails import BestFace, store_thumbnails, thumbnails
from fertrack.storage.rescore import rescore
from fertrack.storage.rights_models import Thumbnail
from tests.support import queries
from tests.support.queries import corrections
from tests.support.storage_scenes import INFO, RECORD, result, store

NET = "net sha256:1234"
# Track 1 leaves and comes back as 3; 2 is there all the time; 4 may be 2's brother.
SEEN = {1: range(10), 2: range(40), 3: range(20, 40), 4: range(50, 60)}
PLAN = LinkPlan(
    (PlannedPerson((1, 3)), PlannedPerson((2,)), PlannedPerson((4,))),
    (
        PersonLink(1, 0, 0.8, "accepted"),
        PersonLink(3, 0, 0.8, "accepted"),
        PersonLink(4, 1, 0.55, "suggested"),
    ),
)


def run_of(database: Database) -> int:
    labels = {1: "anger", 2: "neutral", 3: "happiness", 4: "uncertain"}
    return store(
        database,
        [result(f, f / 25, [(t, labels[t], 0.6) for t, frames in SEEN.items() if f in frames]) for f in range(60)],
    )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """One run, linked."""
    with open_database(tmp_path / "a.db", create=True) as opened:
        store_plan(opened, run_of(opened), PLAN, embedder=NET)
        yield opened


def tracklets(*tracks: int) -> list[Tracklet]:
    box = np.zeros(4, np.float32)
    return [
        Tracklet(
            t, np.array([[0, 9]]), 0, 1, box, box, np.full((2, 4), t, np.float32), np.array([0.5, 0.25], np.float32)
        )
        for t in tracks
    ]


def rows(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """Everything that changes of persons may touch, except the log."""
    with database.reading() as connection:
        return {
            model.__tablename__: sorted(map(tuple, connection.execute(sa.select(*model.__table__.columns))), key=repr)
            for model in (Person, TrackRow, Link, Embedding)
        }


def who(database: Database, run: int | str = "last") -> dict[str, str]:
    table = queries.persons(database, run)
    labels = table["person"].where(table["person"].notna(), "ID " + table["track"].astype(str))
    return dict(zip(labels, [", ".join(map(str, ids)) for ids in table["track_ids"]], strict=True))


# ---- what linking stores ----


def test_persons_are_numbered_as_they_come_and_shown_everywhere(database: Database) -> None:
    assert who(database) == {"P1": "1, 3", "P2": "2", "P3": "4"}
    timeline = queries.timeline(database, "last")
    assert set(timeline.loc[timeline["track"].isin([1, 3]), "person"]) == {"P1"}
    assert queries.tracks(database, "last")["person"].tolist() == ["P1", "P2", "P1", "P3"]
    assert set(queries.episodes(database, "last", track=3)["person"]) == {"P1"}
    links = queries.links(database, "last")
    assert links[["track", "person", "state"]].values.tolist() == [
        [1, "P1", "accepted"], [3, "P1", "accepted"], [4, "P2", "suggested"],
    ]  # fmt: skip
    assert links["similarity"].tolist() == [0.8, 0.8, 0.55]
    assert set(links["embedder"]) == {NET}


def test_a_person_s_shares_are_of_all_their_tracks_together(database: Database) -> None:
    first = queries.persons(database, "last").iloc[0]
    assert (first["first_s"], first["last_s"], first["frames"]) == (0.0, 39 / 25, 30)
    assert first["share_anger"] == pytest.approx(1 / 3)
    assert first["share_happiness"] == pytest.approx(2 / 3)


def test_without_linking_every_track_is_a_person_without_a_name(tmp_path: Path) -> None:
    with open_database(tmp_path / "b.db", create=True) as database:
        run_of(database)
        assert queries.persons(database, "last")["person"].isna().all()
        assert who(database) == {"ID 1": "1", "ID 2": "2", "ID 3": "3", "ID 4": "4"}
        assert person_actions.rename(database, "last", "ID 2", "Ann") == "ID 2 is now called Ann"
        assert who(database) == {"ID 1": "1", "Ann": "2", "ID 3": "3", "ID 4": "4"}
        assert person_actions.merge(database, "last", "id 1", ["ID 3"]) == "ID 3 merged into ID 1"
        assert who(database) == {"P2": "1, 3", "Ann": "2", "ID 4": "4"}
        person_actions.undo(database, "last")
        person_actions.undo(database, "last")
        assert rows(database)["persons"] == []


# ---- changes, and their undoing ----


CHANGES = {
    "rename": lambda db: person_actions.rename(db, 1, "P1", " 李  雷 "),
    "merge": lambda db: person_actions.merge(db, 1, "P2", ["p3"]),
    "merge with names": lambda db: person_actions.merge(db, 1, "P1", ["P3"]),
    "split": lambda db: person_actions.split(db, 1, "P1", [3]),
    "split all": lambda db: person_actions.split(db, 1, "P1"),
    "split at a time": lambda db: person_actions.split(db, 1, "P2", at_s=0.8),
}


@pytest.mark.parametrize("name", CHANGES)
def test_undo_restores_every_row_exactly(database: Database, name: str) -> None:
    store_embeddings(database, 1, tracklets(1, 3, 4), embedder=NET, ttl_days=1)
    if name == "merge with names":
        person_actions.rename(database, 1, "P3", "Zoë")
    before = rows(database)
    sentence = CHANGES[name](database)
    assert rows(database) != before
    assert person_actions.undo(database, 1) == sentence
    assert rows(database) == before


def test_everything_is_undone_step_by_step_and_logged(database: Database) -> None:
    before = rows(database)
    for name in ("rename", "split", "merge"):
        CHANGES[name](database)
    assert who(database) == {"李 雷": "1", "P2": "2, 4", "P4": "3"}
    person_actions.undo(database, "last")
    person_actions.rename(database, "last", "P2", "Bob")
    for expected in ("P2 is now called Bob", "ID 3 split from 李 雷", "P1 is now called 李 雷"):
        assert person_actions.undo(database, "last") == expected
    assert rows(database) == before
    with pytest.raises(StorageError, match="nothing to undo in run 1"):
        person_actions.undo(database, "last")
    log = queries.actions(database, "last")
    assert log["kind"].tolist() == ["link", "rename", "split", "merge", "undo", "rename", "undo", "undo", "undo"]
    assert log["undone"].tolist() == [False, True, True, True, False, True, False, False, False]
    assert log["what"].iloc[4] == "undid: P3 merged into P2"


def test_a_merge_keeps_a_name_and_says_so_in_the_links(database: Database) -> None:
    person_actions.rename(database, 1, "P3", "Zoë")
    person_actions.merge(database, 1, "P2", ["zoë"])
    assert who(database) == {"P1": "1, 3", "Zoë": "2, 4"}
    links = queries.links(database, 1)
    assert links.loc[links["track"] == 4, ["person", "state"]].values.tolist() == [["Zoë", "manual"]]
    assert links.loc[links["track"] == 4, "similarity"].item() == 0.55, "what was measured stays known"


def test_a_split_marks_the_link_as_rejected(database: Database) -> None:
    assert person_actions.split(database, 1, "P1", [3]) == "ID 3 split from P1"
    assert who(database) == {"P1": "1", "P2": "2", "P4": "3", "P3": "4"}
    links = queries.links(database, 1)
    assert links.loc[links["track"] == 3, ["person", "state"]].values.tolist() == [["P1", "rejected"]]


# ---- a track that goes on with somebody else ----


def everything(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """All that a cut may touch, except the log; who is on the faces, and what is derived from that."""
    found = rows(database)
    with database.reading() as connection:
        for model in (Face, EpisodeRow, Correction, Run, Thumbnail):
            found[model.__tablename__] = sorted(
                map(tuple, connection.execute(sa.select(*model.__table__.columns))), key=repr
            )
    return found


def test_a_track_is_cut_at_a_time_and_its_later_part_is_somebody_else(database: Database) -> None:
    """A gallery's tiles have changed places at 1.2 s, and the tracks stayed with the tiles."""
    before = queries.timeline(database, 1)
    sentence = person_actions.split(database, 1, "P2", at_s=1.2)
    assert sentence == "ID 2 was cut at 1.20 s: P2 before, P4 (ID 5) from there on"
    assert who(database) == {"P1": "1, 3", "P2": "2", "P4": "5", "P3": "4"}
    after = queries.timeline(database, 1)
    assert after.loc[after["track"] == 5, "frame_index"].tolist() == list(range(30, 40))
    assert after.loc[after["track"] == 2, "frame_index"].tolist() == list(range(30))
    assert set(after.loc[after["frame_index"] < 30, "person"].dropna()) == {"P1", "P2"}
    assert sorted(after["label"]) == sorted(before["label"]), "no label changes"
    tracks = queries.tracks(database, 1).set_index("track")
    assert tracks.loc[[2, 5], ["first_s", "last_s"]].values.tolist() == [[0.0, 29 / 25], [1.2, 39 / 25]]
    assert set(queries.episodes(database, 1, track=5)["person"]) == {"P4"}
    assert check_database(database).problems == ()


def test_what_was_cut_can_be_cut_merged_and_undone_step_by_step(database: Database) -> None:
    store_embeddings(database, 1, tracklets(1, 4), embedder=NET, ttl_days=1)
    start = everything(database)
    for change in (
        lambda: person_actions.split(database, 1, "P2", at_s=0.4),
        lambda: person_actions.split(database, 1, "ID 5", at_s=0.8),
        lambda: person_actions.merge(database, 1, "P5", ["P3"]),
        lambda: person_actions.rename(database, 1, "P4", "Ann"),
        lambda: person_actions.split(database, 1, "ID 3", [3], at_s=1.0),
    ):
        change()
        assert check_database(database).problems == ()
    assert who(database) == {"P1": "1, 3", "P2": "2", "Ann": "5", "P5": "4, 6", "P6": "7"}
    for _ in range(5):
        person_actions.undo(database, 1)
        assert check_database(database).problems == ()
    assert everything(database) == start


def test_corrections_and_the_thumbnail_go_with_the_faces_and_embeddings_of_both_are_deleted(
    database: Database,
) -> None:
    store_embeddings(database, 1, tracklets(1, 2), embedder=NET, ttl_days=1)
    store_thumbnails(database, 1, {2: BestFace(35, 0.9, b"jpeg")})
    store_corrections(database, 1, [GivenLabel(row=2, label=3, frame_index=35, track=2)])
    person_actions.split(database, 1, "P2", at_s=1.2)
    assert corrections(database, 1)["track"].tolist() == [5]
    with database.run(1) as run:
        assert list(thumbnails(run)) == [5], "the picture shows the second person"
    assert {person.number for person in load_known(database, NET)} == {1}
    person_actions.undo(database, 1)
    assert corrections(database, 1)["track"].tolist() == [2]
    with database.run(1) as run:
        assert list(thumbnails(run)) == [2]


def test_a_cut_outlasts_rescoring_and_the_part_of_an_erased_person_is_gone(database: Database) -> None:
    from fertrack.rights.erase import erase_person

    person_actions.split(database, 1, "P2", at_s=1.2)
    calm = Calibrator(CalibrationConfig(temperature=3.0), ClassifierCalibration.uncalibrated("test"))
    rescore(database, 1, calm, SmoothingConfig())
    assert who(database)["P4"] == "5"
    erase_person(database, "P4", 1)
    timeline = queries.timeline(database, 1)
    assert set(timeline["track"]) == {1, 2, 3, 4}
    assert timeline.loc[timeline["track"] == 2, "frame_index"].max() == 29
    assert check_database(database).problems == ()
    with pytest.raises(StorageError, match="nothing to undo"):
        person_actions.undo(database, 1)


def test_a_track_that_is_nobodys_is_cut_too(tmp_path: Path) -> None:
    with open_database(tmp_path / "b.db", create=True) as database:
        run_of(database)
        start = everything(database)
        said = person_actions.split(database, 1, "ID 2", at_s=0.8)
        assert said == "ID 2 was cut at 0.80 s: ID 2 before, ID 5 from there on"
        assert list(who(database)) == ["ID 1", "ID 2", "ID 3", "ID 5", "ID 4"]
        person_actions.undo(database, 1)
        assert everything(database) == start


def test_changes_that_an_earlier_version_logged_can_be_undone(database: Database) -> None:
    """Its entries hold nothing of a track but whose it is."""
    before = rows(database)
    person_actions.split(database, 1, "P1", [3])
    with database.writing() as connection:
        action = connection.execute(sa.select(PersonAction).order_by(PersonAction.id.desc()).limit(1)).one()
        sides = {
            side: [
                [table, key, {"person_id": values["person_id"]} if table == "tracks" else values]
                for table, key, values in getattr(action, side)
            ]
            for side in ("before", "after")
        }
        connection.execute(sa.update(PersonAction).where(PersonAction.id == action.id).values(**sides))
    person_actions.undo(database, 1)
    assert rows(database) == before


def test_who_is_seen_in_one_frame_is_never_one_person(database: Database) -> None:
    before = rows(database)
    with pytest.raises(StorageError, match=r"P1 and P2 cannot be one person: ID 1 and ID 2 are both seen in frame 0"):
        person_actions.merge(database, 1, "P1", ["P2"])
    assert rows(database) == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda db: person_actions.rename(db, 1, "P9", "x"), r"no person 'P9' in run 1: there are P1, P2"),
        (lambda db: person_actions.rename(db, 1, "Heinz", "x"), "there are P1, P2, P3"),
        (
            lambda db: person_actions.rename(db, 1, "4", "x"),
            "no person '4' in run 1: write 'ID 4' for whoever track 4 is",
        ),
        (lambda db: person_actions.rename(db, 7, "P1", "x"), "no run 7"),
        (lambda db: person_actions.merge(db, 1, "P1", ["ID 3"]), "nobody else to merge P1 with"),
        (lambda db: person_actions.split(db, 1, "P1", [2]), "ID 2 is not P1, who is ID 1, 3"),
        (lambda db: person_actions.split(db, 1, "P2"), "one track at least must stay"),
        (lambda db: person_actions.split(db, 1, "P1", [1, 3]), "one track at least must stay"),
        (
            lambda db: person_actions.split(db, 1, "P1", at_s=0.6),
            r"P1 has no track to cut at 0\.60 s: theirs go from 0\.00 to 0\.36 s \(ID 1\), 0\.80 to 1\.56 s \(ID 3\)$",
        ),
        (lambda db: person_actions.split(db, 1, "P2", at_s=0.0), "P2 has no track to cut at 0.00 s"),
        (lambda db: person_actions.split(db, 1, "P2", [1], at_s=0.4), "ID 1 is not P2"),
        (lambda db: person_actions.split(db, 1, "P1", [1, 3], at_s=0.2), "one track can be cut at 0.20 s, not ID 1, 3"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(database: Database, change: object, sentence: str) -> None:
    with pytest.raises((RunNotFoundError, StorageError), match=sentence):
        change(database)  # type: ignore[operator]  # a lambda from the list above
    assert len(queries.actions(database, 1)) == 1


def test_a_name_belongs_to_one_person_of_a_run(database: Database) -> None:
    person_actions.rename(database, 1, "P1", "Ann")
    with pytest.raises(StorageError, match=r"run 1 has a 'Ann' already: .*person merge 1 'Ann' 'P2'"):
        person_actions.rename(database, 1, "P2", "ann")
    assert person_actions.rename(database, 1, "Ann", "ANN") == "Ann is now called ANN"
    assert person_actions.rename(database, 1, "ann", "") == "ANN has no name any more"
    assert "P1" in who(database)


@pytest.mark.parametrize("name", ["P2", "p 2", "ID 2", " id2 ", "P99", "2", "track 2"])
def test_a_number_is_no_name(database: Database, name: str) -> None:
    with pytest.raises(StorageError, match="cannot be a name"):
        person_actions.rename(database, 1, "P1", name)
    assert list(who(database)) == ["P1", "P2", "P3"]
    person_actions.rename(database, 1, "P1", "Pid 2")
    assert "Pid 2" in who(database)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Ann\x1b[2J", "cannot hold U\\+001B, a control character"),
        ("Ann\0", "cannot hold U\\+0000"),
        ("Ann\udcff", "cannot hold U\\+DCFF, half of a character"),
        ("Ann\u202egnp", "cannot hold U\\+202E, which turns the order"),
        ("A" * 1_000_000, "can have 100 characters, not 1000000"),
        ("P" + "9" * 5000, "can have 100 characters"),
    ],
)
def test_a_name_is_plain_text(database: Database, name: str, why: str) -> None:
    with pytest.raises(StorageError, match=why):
        person_actions.rename(database, 1, "P1", name)
    assert list(who(database)) == ["P1", "P2", "P3"]
    person_actions.rename(database, 1, "P1", "سارا\u200cعلی 👩\u200d🔬")
    with pytest.raises(RunNotFoundError, match="no person"):
        person_actions.rename(database, 1, "P" + "9" * 5000, "Ann")


def test_a_run_in_progress_is_left_alone(database: Database) -> None:
    with DatabaseSink(database, INFO, RECORD) as sink, pytest.raises(StorageError, match="still being written"):
        person_actions.undo(database, sink.run_id)


# ---- several runs, and what may be kept of a face ----


def second_run(database: Database, known: list[KnownPerson]) -> int:
    """A later run in which track 1 is the first run's P1, and the others are new."""
    run = run_of(database)
    key = known[0].id
    plan = LinkPlan(
        (PlannedPerson((1, 3), known=key), PlannedPerson((2,)), PlannedPerson((4,))),
        (PersonLink(1, 0, 0.7, "accepted"), PersonLink(3, 0, 0.7, "accepted")),
    )
    store_plan(database, run, plan, embedder=NET, known=known)
    return run


def test_a_person_of_two_runs_has_one_name_and_one_number(database: Database) -> None:
    store_embeddings(database, 1, tracklets(1, 2, 3, 4), embedder=NET, ttl_days=1)
    known = load_known(database, NET)
    assert [(person.number, person.embeddings.shape) for person in known] == [(1, (4, 4)), (2, (2, 4)), (3, (2, 4))]
    np.testing.assert_array_equal(known[0].embeddings[:, 0], [1, 1, 3, 3])
    assert load_known(database, "another net") == []
    run = second_run(database, known)
    assert who(database, run) == {"P1": "1, 3", "P4": "2", "P5": "4"}
    person_actions.rename(database, run, "P1", "Ann")
    assert list(who(database, 1)) == ["Ann", "P2", "P3"]
    with pytest.raises(StorageError, match="nothing to undo in run 1"):
        person_actions.undo(database, 1)


def test_numbers_that_were_shown_stay_with_the_person_they_were_given_to(database: Database) -> None:
    """Live, 3 was P3 before it was found to be 1, who is P4; 2 was P2; nobody had shown 4."""
    run = run_of(database)
    store_plan(database, run, PLAN, embedder=NET, shown={2: 2, 3: 3, 4: 1})
    assert who(database, run) == {"P3": "1, 3", "P2": "2", "P5": "4"}


def test_a_change_that_another_run_has_built_on_is_not_undone(database: Database) -> None:
    store_embeddings(database, 1, tracklets(1), embedder=NET, ttl_days=1)
    run = second_run(database, load_known(database, NET))
    person_actions.rename(database, 1, "P1", "Ann")
    person_actions.rename(database, run, "Ann", "Anna")
    with pytest.raises(StorageError, match="changed from another run since"):
        person_actions.undo(database, 1)
    person_actions.undo(database, run)
    person_actions.undo(database, 1)
    assert "P1" in who(database, run)


def test_embeddings_follow_their_tracks_expire_and_go_with_the_person(database: Database) -> None:
    assert store_embeddings(database, 1, tracklets(1, 2, 3), embedder=NET, ttl_days=1) == 6
    person_actions.split(database, 1, "P1", [3])
    assert [(person.number, len(person.embeddings)) for person in load_known(database, NET)] == [(1, 2), (2, 2), (4, 2)]
    assert person_actions.forget(database, 1, "P4") == "P4 was forgotten"
    assert [person.number for person in load_known(database, NET)] == [1, 2]
    assert delete_expired(database) == 0
    with database.writing() as connection:
        connection.execute(sa.update(Embedding).values(expires_at=dt.datetime.now(dt.UTC)))
    assert load_known(database, NET) == [], "expired embeddings are not used, even before they are deleted"
    assert delete_expired(database) == 4


def test_forgetting_leaves_nothing_of_a_person_but_the_faces(database: Database) -> None:
    person_actions.rename(database, 1, "P1", "Ann")
    store_embeddings(database, 1, tracklets(1, 3), embedder=NET, ttl_days=1)
    person_actions.forget(database, 1, "Ann")
    assert who(database) == {"ID 1": "1", "P2": "2", "ID 3": "3", "P3": "4"}
    assert len(queries.timeline(database, 1, track=3)) == 20
    with database.reading() as connection:
        log = connection.execute(sa.select(PersonAction.sentence, PersonAction.before, PersonAction.after)).all()
        assert connection.execute(sa.select(sa.func.count()).select_from(Embedding)).scalar_one() == 0
    assert "Ann" not in repr(log)
    with pytest.raises(StorageError, match="nothing to undo"):
        person_actions.undo(database, 1)
    with pytest.raises(StorageError, match="nobody known"):
        person_actions.forget(database, 1, "ID 1")


def test_two_persons_of_one_number_are_told_apart_by_their_tracks(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(sa.update(Person).values(number=1))
    with pytest.raises(RunNotFoundError, match="several persons of run 1: name one by its track, ID 1 and ID 2"):
        person_actions.rename(database, 1, "P1", "x")
    person_actions.rename(database, 1, "ID 2", "Bob")
    assert who(database)["Bob"] == "2"


def test_a_person_who_was_erased_while_a_run_went_on_is_a_new_one_in_it(database: Database) -> None:
    """The run has the person's embeddings in memory, and must not fail at its end."""
    from fertrack.rights.erase import erase_person

    store_embeddings(database, 1, tracklets(1, 2, 3, 4), embedder=NET, ttl_days=1)
    known = load_known(database, NET)
    erase_person(database, "P1", 1)
    run = second_run(database, known)
    assert who(database, run) == {"P4": "1, 3", "P5": "2", "P6": "4"}
