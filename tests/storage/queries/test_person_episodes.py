"""Stored episodes, and the episodes of persons that are joined from them."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError, StorageError
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig, SmoothingConfig
from fertrack.sinks.database import DatabaseSink
from fertrack.storage.answer_models import EpisodeRow, EpisodeSet
from fertrack.storage.engine import Database, open_database
from fertrack.storage.maintenance import store_missing_episodes
from fertrack.storage.models import Person, TrackRow
from fertrack.storage.queries import episode_store
from fertrack.storage.queries.batches import coverage_sentence
from fertrack.storage.queries.episode_store import load_segments
from fertrack.storage.rescore import rescore
from fertrack.types import FrameResult
from tests.support import queries
from tests.support.queries import episodes_of_persons as person_episodes
from tests.support.storage_scenes import INFO, RECORD, random_results, result, store

# 10 frames a second, two seconds. Track 1 is happy, leaves, and comes back as track 3, still happy, then angry.
# Track 2 is sad, uncertain for 0.3 s, sad again.


def scene() -> list[FrameResult]:
    frames = []
    for i in range(20):
        faces = []
        if i < 6:
            faces.append((1, "happiness", 0.5 + i / 20))  # the highest, 0.75, at 0.5 s
        if 9 <= i < 12:
            faces.append((3, "happiness", 0.6))
        if i >= 12:
            faces.append((3, "anger", 0.9))
        faces.append((2, "uncertain" if 5 <= i < 8 else "sadness", 0.8 if i == 10 else 0.7))
        frames.append(result(i, i / 10, faces))
    return frames


def name_person(database: Database, run: int, key: int, number: int, name: str, *tracks: int) -> None:
    with database.writing() as connection:
        if connection.scalar(sa.select(Person.id).where(Person.id == key)) is None:
            connection.execute(
                sa.insert(Person).values(id=key, number=number, display_name=name, created_at=dt.datetime.now(dt.UTC))
            )
        connection.execute(
            sa.update(TrackRow).where(TrackRow.run_id == run, TrackRow.number.in_(tracks)).values(person_id=key)
        )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "a.db", create=True) as opened:
        store(opened, scene())
        yield opened


def shape(table: pd.DataFrame) -> list[list[object]]:
    return table[["person", "track", "expression", "onset_s", "apex_s", "offset_s"]].round(6).values.tolist()


def test_onset_apex_and_offset_of_tracks(database: Database) -> None:
    table = person_episodes(database, "last")
    assert shape(table) == [
        ["ID 1", 1, "happiness", 0.0, 0.5, 0.6],
        ["ID 2", 2, "sadness", 0.0, 1.0, 2.0],
        ["ID 3", 3, "happiness", 0.9, 0.9, 1.2],
        ["ID 3", 3, "anger", 1.2, 1.2, 2.0],
    ]
    sad = table.iloc[1]
    assert sad["duration_s"] == pytest.approx(2.0)
    assert sad["uncertain_s"] == pytest.approx(0.3)
    assert sad["no_face_s"] == pytest.approx(0.0)
    assert sad["frames"] == 17
    assert sad["mean_probability"] == pytest.approx((16 * 0.7 + 0.8) / 17)
    assert sad["peak_probability"] == pytest.approx(0.8)
    assert table.attrs["units"]["onset_s"] == "s"
    covered = table.attrs["coverage"]
    assert covered == pytest.approx({"certain_s": 0.6 + 1.7 + 1.1, "uncertain_s": 0.3, "no_face_s": 1.4 + 0.9})
    assert coverage_sentence(covered) == ("of 6.0 person-seconds, 5.0 % were uncertain and 38.3 % without a face")


def test_tracks_of_one_person_make_one_episode_and_say_how_long_no_face_was_seen(database: Database) -> None:
    name_person(database, 1, 7, 1, "Zoë", 1, 3)
    table = person_episodes(database, 1, who="zoë")
    assert shape(table) == [["Zoë", 1, "happiness", 0.0, 0.5, 1.2], ["Zoë", 1, "anger", 1.2, 1.2, 2.0]]
    assert table["no_face_s"].tolist() == pytest.approx([0.3, 0.0])
    assert table.attrs["coverage"]["no_face_s"] == pytest.approx(0.3)
    assert len(person_episodes(database, 1, who="zoë", max_gap_s=0.29)) == 3, "0.3 s without a face is too long then"


def test_durations_and_expressions_are_filtered(database: Database) -> None:
    assert shape(person_episodes(database, 1, min_duration_s=0.8)) == [
        ["ID 2", 2, "sadness", 0.0, 1.0, 2.0],
        ["ID 3", 3, "anger", 1.2, 1.2, 2.0],
    ]
    assert set(person_episodes(database, 1, expression="happiness")["track"]) == {1, 3}
    with pytest.raises(ValueError, match="did you mean 'anger'"):
        person_episodes(database, 1, expression="angre")
    with pytest.raises(ValueError, match="uncertain makes no episodes"):
        person_episodes(database, 1, expression="uncertain")
    for wrong in ({"min_duration_s": -1.0}, {"max_gap_s": float("nan")}):
        with pytest.raises(ValueError, match="0 or more"):
            person_episodes(database, 1, **wrong)  # type: ignore[arg-type]  # one keyword at a time


@pytest.mark.parametrize("max_gap_s", [0.0, 0.1, 0.5, 3.0])
@pytest.mark.parametrize("min_duration_s", [0.0, 0.2])
def test_of_tracks_they_are_what_the_faces_themselves_say(
    database: Database, max_gap_s: float, min_duration_s: float
) -> None:
    run = store(database, [each for i, each in enumerate(random_results(600, 3, fps=10.0)) if i % 7 < 5])
    from_faces = queries.episodes(database, run, max_gap_s=max_gap_s, min_duration_s=min_duration_s)
    from_stored = person_episodes(database, run, max_gap_s=max_gap_s, min_duration_s=min_duration_s)
    renamed = from_stored.rename(columns={"onset_s": "start_s", "offset_s": "end_s"})
    columns = ["track", "expression", "start_s", "end_s", "frames", "mean_probability", "peak_probability"]
    pd.testing.assert_frame_equal(
        renamed[columns].sort_values(["track", "start_s"], ignore_index=True), from_faces[columns]
    )


def test_who_is_meant(database: Database) -> None:
    name_person(database, 1, 7, 2, "", 1, 3)

    def tracks(who: str | int) -> list[int]:
        return sorted(set(person_episodes(database, 1, who=who)["track"]))

    assert tracks("P2") == tracks("p 2") == tracks(2) == tracks("ID 3") == [1]
    assert tracks("ID 2") == tracks("track 2") == [2]
    with pytest.raises(RunNotFoundError, match=r"nobody called 'P9' in run 1: .*P2.*"):
        tracks("P9")
    with pytest.raises(RunNotFoundError, match="nobody called '1'"):
        tracks("1")  # track 1 is P2
    name_person(database, 1, 8, 3, "Zoë", 2)
    with pytest.raises(RunNotFoundError, match="did you mean 'Zoë'"):
        tracks("Zoe")
    name_person(database, 1, 9, 4, "Zoë", 3)
    with pytest.raises(RunNotFoundError, match="'Zoë' can mean ID 2 or ID 3"):
        tracks("Zoë")


def test_of_all_runs(database: Database) -> None:
    store(database, [result(i, i / 10, [(1, "fear", 0.9)]) for i in range(10)])
    name_person(database, 1, 7, 1, "Zoë", 1, 3)
    name_person(database, 2, 7, 1, "Zoë", 1)
    table = person_episodes(database, "all", who="Zoë")
    assert table[["run", "expression"]].values.tolist() == [[1, "happiness"], [1, "anger"], [2, "fear"]]
    assert table.attrs["run"] == "all"
    assert person_episodes(database, "all", who="ID 2")["run"].unique().tolist() == [1], "run 2 has no track 2"
    with pytest.raises(RunNotFoundError, match="nobody called 'Ann' in any run"):
        person_episodes(database, "all", who="Ann")


def test_batches_of_runs_give_the_same_answer(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        store(database, list(random_results(50, 2, seed=seed)))
    at_once = person_episodes(database, "all")
    monkeypatch.setattr(episode_store, "_FACES_AT_ONCE", 120)
    monkeypatch.setattr(episode_store, "_ROWS_AT_ONCE", 60)
    pd.testing.assert_frame_equal(person_episodes(database, "all"), at_once)
    assert person_episodes(database, "all").attrs["coverage"] == pytest.approx(at_once.attrs["coverage"])


def test_an_empty_database_says_so(tmp_path: Path) -> None:
    with open_database(tmp_path / "b.db", create=True) as empty:
        for run in ("last", "all"):
            with pytest.raises(RunNotFoundError, match="there are no runs"):
                person_episodes(empty, run)
        store(empty, [result(0, 0.0), result(1, 0.1)])
        table = person_episodes(empty, "all")
        assert table.empty
        assert len(table.columns) == 13
        with pytest.raises(RunNotFoundError, match="nobody was followed there"):
            person_episodes(empty, 1, who=1)


# Stored ----------------------------------------------------------------------------------------------------------


def stored(database: Database) -> list[tuple[object, ...]]:
    with database.reading() as connection:
        return [tuple(row) for row in connection.execute(sa.select(EpisodeRow.__table__))]


def test_a_run_without_stored_episodes_is_answered_from_its_faces(database: Database) -> None:
    """As a run still being written, or one of an earlier version."""
    store(database, scene())
    before, table = stored(database), person_episodes(database, "all")
    assert {row[0] for row in before} == {1, 2}
    for run in (1, 2):
        with database.writing() as connection:
            connection.execute(sa.delete(EpisodeRow).where(EpisodeRow.run_id == run))
            connection.execute(sa.delete(EpisodeSet).where(EpisodeSet.run_id == run))
        pd.testing.assert_frame_equal(person_episodes(database, "all"), table)
        assert person_episodes(database, "all").attrs["coverage"] == pytest.approx(table.attrs["coverage"])
    assert store_missing_episodes(database) == 2
    assert stored(database) == before
    assert store_missing_episodes(database) == 0


def test_rescoring_rewrites_them(database: Database) -> None:
    before = stored(database)
    calibrator = Calibrator(CalibrationConfig(temperature=5.0), ClassifierCalibration.uncalibrated("test"))
    rescore(database, 1, calibrator, SmoothingConfig())
    assert stored(database) != before, "at this temperature nobody is certain of anything"
    after = stored(database)
    with database.writing() as connection:
        episode_store.store_episodes(connection, 1)
    assert stored(database) == after


def test_an_interrupted_run_has_them_too(database: Database) -> None:
    with contextlib.suppress(KeyboardInterrupt), DatabaseSink(database, INFO, RECORD) as sink:
        for each in scene()[:5]:
            sink.write(each, None)
        raise KeyboardInterrupt
    with database.reading() as connection:
        assert 2 in load_segments(connection, [2]).shown_s
        assert connection.scalar(sa.select(sa.func.count()).where(EpisodeRow.run_id == 2)) == 2


def test_a_run_ends_even_where_its_episodes_cannot_be_stored(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> int:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("fertrack.storage.writer.store_episodes", fail)
        run = store(database, scene())
    assert queries.run_facts(database, run).status == "complete"
    assert "its episodes are computed whenever they are asked for: the disk is full" in caplog.text
    assert len(person_episodes(database, run)) == 4
