from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError
from fertrack.storage.engine import Database, open_database
from fertrack.storage.models import Face, Person, TrackRow
from fertrack.storage.queries.episode_store import load_segments
from fertrack.types import EXPRESSIONS
from tests.support import queries
from tests.support.storage_scenes import INFO, RECORD, random_results, result, store, summary

# 10 frames a second. Track 1 is happy, uncertain for 0.2 s, happy, then sad; track 2 comes, goes for 1 s, comes back.
SCENE = [
    result(0, 0.0, [(1, "happiness", 0.9), (-1, "uncertain", 0.3)]),
    result(1, 0.1, [(1, "happiness", 0.7), (2, "anger", 0.6)]),
    result(2, 0.2, [(2, "anger", 0.8), (1, "uncertain", 0.35)]),
    result(3, 0.3, [(1, "uncertain", 0.35)]),
    result(4, 0.4, [(1, "happiness", 0.8)]),
    result(5, 0.5, [(1, "sadness", 0.5)]),
    *[result(i, i / 10) for i in range(6, 12)],
    result(12, 1.2, [(2, "anger", 0.5)]),
    result(13, 1.3),
]

TIMELINE = [
    *(
        "run",
        "frame_index",
        "face_index",
        "time_s",
        "track",
        "person",
        "x1",
        "y1",
        "x2",
        "y2",
        "score",
        "label",
        "probability",
    ),
    *(f"p_{name}" for name in EXPRESSIONS),
    *(f"raw_{name}" for name in EXPRESSIONS),
    "quality",
]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with open_database(tmp_path_factory.mktemp("queries") / "a.db", create=True) as opened:
        store(opened, list(random_results(20, 2)))
        run = store(opened, SCENE)
        with opened.writing() as connection:
            connection.execute(sa.insert(Person).values(id=1, display_name="Zoë Ω", created_at=dt.datetime.now(dt.UTC)))
            connection.execute(
                sa.update(TrackRow).where(TrackRow.run_id == run, TrackRow.number == 2).values(person_id=1)
            )
        yield opened


# Which run -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "number"), [("last", 2), ("2", 2), (2, 2), (" 1 ", 1), (1, 1)])
def test_a_run_is_named_by_number_or_as_the_last(database: Database, asked: str | int, number: int) -> None:
    assert queries.resolve_run(database, asked) == number
    assert queries.run_facts(database, asked).id == number
    assert queries.timeline(database, asked).attrs["run"] == number


@pytest.mark.parametrize("asked", [7, "7", "-1", "first", "1.0", "", "²"])
def test_an_unknown_run_is_refused_and_the_known_ones_named(database: Database, asked: str | int) -> None:
    for query in (queries.resolve_run, queries.run_facts, queries.timeline, queries.tracks, queries.stage_timings):
        with pytest.raises(RunNotFoundError, match=rf"no run {str(asked).strip()} in .*: 2 runs, 1 to 2, are stored"):
            query(database, asked)


@pytest.mark.parametrize("asked", ["lsat", "Last", "latest"])
def test_last_misspelt(database: Database, asked: str) -> None:
    with pytest.raises(RunNotFoundError, match="did you mean 'last'"):
        queries.resolve_run(database, asked)


def test_an_empty_database_says_so(db: Database) -> None:
    for asked in ("last", 1):
        with pytest.raises(RunNotFoundError, match=r"there are no runs in .* yet: `fertrack process` makes one"):
            queries.resolve_run(db, asked)
    table = queries.runs(db)
    assert list(table.columns)[:3] == ["run", "source", "path"]
    assert table.empty
    assert str(table["started_at"].dtype) == "datetime64[us, UTC]"


def test_runs_lists_every_run(database: Database) -> None:
    table = queries.runs(database)
    assert table["run"].tolist() == [1, 2]
    row = table.iloc[1]
    assert (row["source"], row["path"], row["status"]) == ("clip.mp4", "/videos/clip.mp4", "complete")
    assert (row["frames"], row["faces"], row["track_count"], row["decode_failures"]) == (14, 10, 2, 2)
    assert row["notes"] == "the file ends early; two packets were skipped"
    assert pd.Timestamp.now("UTC") - row["started_at"] < pd.Timedelta(minutes=5)
    assert row["ended_at"] >= row["started_at"]
    assert table.attrs["units"]["elapsed_s"] == "s"


def test_run_facts(database: Database) -> None:
    facts = queries.run_facts(database, 2)
    assert (facts.source_name, facts.source_path, facts.info) == (INFO.name, INFO.path, INFO)
    assert (facts.config_toml, facts.config_digest) == (RECORD.config_toml, RECORD.config_digest)
    assert (facts.detector, facts.classifier, facts.calibration) == (
        RECORD.detector,
        RECORD.classifier,
        RECORD.calibration,
    )
    assert facts.summary == summary(SCENE)
    assert facts.started_at.tzinfo is dt.UTC
    assert facts.rescored_at is None


def test_stage_timings(database: Database) -> None:
    table = queries.stage_timings(database, 2)
    assert table.to_dict("records") == [
        {
            "stage": "detect",
            "frames": 14,
            "total_s": 0.5,
            "mean_ms": 20.0,
            "p50_ms": 19.0,
            "p95_ms": 31.0,
            "p99_ms": 38.0,
            "max_ms": 40.0,
        }
    ]
    assert table.attrs["units"] == {
        "total_s": "s",
        "mean_ms": "ms",
        "p50_ms": "ms",
        "p95_ms": "ms",
        "p99_ms": "ms",
        "max_ms": "ms",
    }


# Timeline --------------------------------------------------------------------------------------------------------


def test_timeline_columns_types_and_units(database: Database) -> None:
    table = queries.timeline(database, 2)
    assert list(table.columns) == TIMELINE
    assert {str(table[name].dtype) for name in ("run", "frame_index", "face_index", "track")} == {"int64"}
    assert {str(table[name].dtype) for name in ("x1", "score", "probability", "p_fear", "raw_fear")} == {"float32"}
    assert str(table["time_s"].dtype) == "float64"
    assert list(table["label"].cat.categories) == [*EXPRESSIONS, "uncertain", "not readable"]
    assert set(table.attrs["units"]) == set(TIMELINE) - {"run", "frame_index", "face_index", "track", "person", "label"}
    assert table.attrs["units"]["x1"] == "px"


def test_timeline_rows_are_by_frame_then_track(database: Database) -> None:
    table = queries.timeline(database, 2)
    rows = table[["frame_index", "time_s", "track", "label"]].itertuples(index=False, name=None)
    assert list(rows) == [
        (0, 0.0, 1, "happiness"),
        (1, 0.1, 1, "happiness"),
        (1, 0.1, 2, "anger"),
        (2, 0.2, 1, "uncertain"),
        (2, 0.2, 2, "anger"),
        (3, 0.3, 1, "uncertain"),
        (4, 0.4, 1, "happiness"),
        (5, 0.5, 1, "sadness"),
        (12, 1.2, 2, "anger"),
    ]
    assert table["person"].isna().tolist() == [track == 1 for track in table["track"]]
    assert set(table["person"].dropna()) == {"Zoë Ω"}


def test_timeline_values_belong_to_their_row(database: Database) -> None:
    table = queries.timeline(database, 2)
    row = table[(table["frame_index"] == 2) & (table["track"] == 1)].iloc[0]  # stored as the frame's second face
    assert row[["x1", "y1", "x2", "y2"]].tolist() == [6.0, 7.0, 8.0, 9.0]
    assert row["probability"] == np.float32(0.35)
    assert row["p_neutral"] == np.float32(0.35)
    assert row["p_anger"] == pytest.approx(0.65 / 6)
    assert [row[f"raw_{name}"] for name in EXPRESSIONS] == [np.float32(1 / 7)] * 7


def test_timeline_of_unconfirmed_faces_only_when_asked(database: Database) -> None:
    table = queries.timeline(database, 2, include_unconfirmed=True)
    assert len(table) == 10
    assert table[table["track"] == -1][["frame_index", "label"]].values.tolist() == [[0, "uncertain"]]
    with pytest.raises(RunNotFoundError, match="no track -1"):
        queries.timeline(database, 2, track=-1)


def times(table: pd.DataFrame) -> list[float]:
    return table["time_s"].tolist()


def test_timeline_of_one_track(database: Database) -> None:
    assert times(queries.timeline(database, 2, track=2)) == [0.1, 0.2, 1.2]
    with pytest.raises(RunNotFoundError, match="run 2 has no track 9: its tracks are 1 to 2"):
        queries.timeline(database, 2, track=9)


def test_timeline_of_one_expression(database: Database) -> None:
    assert times(queries.timeline(database, 2, expression="happiness")) == [0.0, 0.1, 0.4]
    assert times(queries.timeline(database, 2, expression="uncertain")) == [0.2, 0.3]
    assert times(queries.timeline(database, 2, expression="uncertain", include_unconfirmed=True)) == [0.0, 0.2, 0.3]
    assert queries.timeline(database, 2, expression="fear").empty
    with pytest.raises(ValueError, match="no expression 'Hapiness': did you mean 'happiness'"):
        queries.timeline(database, 2, expression="Hapiness")
    with pytest.raises(ValueError, match=r"it must be one of surprise, fear, .*uncertain"):
        queries.timeline(database, 2, expression="xyz")


def test_timeline_between_times_includes_the_first_and_not_the_last(database: Database) -> None:
    assert times(queries.timeline(database, 2, track=1, from_s=0.1, to_s=0.4)) == [0.1, 0.2, 0.3]
    assert times(queries.timeline(database, 2, from_s=0.45)) == [0.5, 1.2]
    assert times(queries.timeline(database, 2, to_s=0.1)) == [0.0]
    assert queries.timeline(database, 2, from_s=99).empty
    assert list(queries.timeline(database, 2, from_s=99).columns) == TIMELINE
    with pytest.raises(ValueError, match=r"nothing lies between 2\.0 s and 1\.0 s"):
        queries.timeline(database, 2, from_s=2.0, to_s=1.0)


def test_timeline_survives_times_that_go_back(db: Database) -> None:
    run = store(db, [result(i, t, [(1, "anger", 0.5)]) for i, t in enumerate([0.0, 0.1, 5.0, 0.2, 0.3])])
    assert queries.timeline(db, run, to_s=1.0)["frame_index"].tolist() == [0, 1, 3, 4]
    assert queries.timeline(db, run, from_s=0.15, to_s=0.25)["frame_index"].tolist() == [3]


# Episodes and shares ---------------------------------------------------------------------------------------------


def test_episodes(database: Database) -> None:
    table = queries.episodes(database, 2, min_duration_s=0.0)
    assert list(table.columns) == [
        *("track", "person", "expression", "start_s", "end_s", "duration_s"),
        *("mean_probability", "peak_probability", "frames"),
    ]
    rounded = table.round({"start_s": 6, "end_s": 6, "duration_s": 6, "mean_probability": 4, "peak_probability": 4})
    assert rounded.drop(columns="person").values.tolist() == [
        [1, "happiness", 0.0, 0.5, 0.5, 0.8, 0.9, 3],
        [1, "sadness", 0.5, 0.6, 0.1, 0.5, 0.5, 1],
        [2, "anger", 0.1, 0.3, 0.2, 0.7, 0.8, 2],
        [2, "anger", 1.2, 1.3, 0.1, 0.5, 0.5, 1],
    ]
    assert table["person"].isna().tolist() == [True, True, False, False]
    assert table.attrs["units"]["duration_s"] == "s"


def test_episodes_can_be_joined_filtered_and_of_one_track(database: Database) -> None:
    def spans(**options: float) -> list[tuple[float, float]]:
        table = queries.episodes(database, 2, **{"min_duration_s": 0.0, **options}).round(6)
        return list(zip(table["start_s"], table["end_s"], strict=True))

    assert spans(track=2, max_gap_s=0.9) == [(0.1, 1.3)]
    assert spans(track=2, max_gap_s=0.89) == [(0.1, 0.3), (1.2, 1.3)]
    assert spans(track=1, max_gap_s=0.0) == [(0.0, 0.2), (0.4, 0.5), (0.5, 0.6)]
    assert spans(min_duration_s=0.2) == [(0.0, 0.5), (0.1, 0.3)]
    with pytest.raises(RunNotFoundError, match="no track 3"):
        spans(track=3)
    for wrong in ({"min_duration_s": -1.0}, {"max_gap_s": -0.1}):
        with pytest.raises(ValueError, match="must not be negative"):
            spans(**wrong)


def test_a_slowly_sampled_video_has_episodes_too(db: Database) -> None:
    run = store(db, [result(i, float(i), [(1, "anger", 0.5)]) for i in range(5)])  # 1 Hz, slower than the gap
    assert queries.episodes(db, run)[["start_s", "end_s", "frames"]].values.tolist() == [[0.0, 5.0, 5]]


def test_tracks_share_out_the_time_with_a_face(database: Database) -> None:
    table = queries.tracks(database, 2)
    assert list(table.columns) == [
        *("track", "person", "first_s", "last_s", "frames"),
        *(f"share_{name}" for name in EXPRESSIONS),
        "share_uncertain",
    ]
    assert table[["track", "first_s", "last_s", "frames"]].values.tolist() == [[1, 0.0, 0.5, 6], [2, 0.1, 1.2, 3]]
    one, two = table.to_dict("records")
    assert one["share_happiness"] == pytest.approx(3 / 6)
    assert one["share_uncertain"] == pytest.approx(2 / 6)
    assert one["share_sadness"] == pytest.approx(1 / 6)
    assert two["share_anger"] == pytest.approx(1.0)
    assert two["person"] == "Zoë Ω"


def test_shares_are_of_time_not_of_frames(db: Database) -> None:
    scene = [(0.0, "anger"), (0.4, "anger"), (0.8, "fear"), (1.0, "fear"), (1.1, "fear"), (1.2, "fear")]
    run = store(db, [result(i, t, [(1, name, 0.5)]) for i, (t, name) in enumerate(scene)])
    row = queries.tracks(db, run).iloc[0]
    last = 0.2  # the last frame lasts a median interval
    assert row["share_anger"] == pytest.approx(0.8 / (1.2 + last))


def test_a_single_picture_has_shares_too(db: Database) -> None:
    run = store(db, [result(0, 0.0, [(1, "anger", 0.5)])], info=replace(INFO, fps=0.0))
    assert queries.tracks(db, run).iloc[0]["share_anger"] == 1.0
    assert queries.episodes(db, run, min_duration_s=0.0)["duration_s"].tolist() == [0.0]


def test_a_run_without_faces_has_empty_answers_with_all_columns(db: Database) -> None:
    run = store(db, [result(i, i / 25) for i in range(3)])
    assert list(queries.timeline(db, run).columns) == TIMELINE
    assert len(queries.episodes(db, run).columns) == 9
    assert len(queries.tracks(db, run).columns) == 13
    with pytest.raises(RunNotFoundError, match="it has no confirmed tracks"):
        queries.episodes(db, run, track=1)


def test_shares_of_every_track_sum_to_one(database: Database) -> None:
    shares = queries.tracks(database, 1).filter(like="share_")
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)


# Speed -----------------------------------------------------------------------------------------------------------


def plan(database: Database, statement: sa.Select) -> str:
    compiled = statement.compile(database.engine, compile_kwargs={"literal_binds": True})
    with database.reading() as connection:
        return " ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}"))


def test_questions_are_answered_from_indexes(database: Database) -> None:
    index = "ix_faces_run_id_track_label_probability"
    of_run = sa.select(Face.smoothed).where(Face.run_id == 2)
    assert "PRIMARY KEY (run_id=? AND frame_index>? AND frame_index<?)" in plan(
        database, of_run.where(Face.frame_index.between(5, 9))
    )
    whole_run = of_run.where(Face.track.is_not(None)).order_by(Face.frame_index, Face.face_index)
    assert plan(database, whole_run) == "SEARCH faces USING PRIMARY KEY (run_id=?)", "and nothing is sorted"
    surprised = of_run.where(Face.track == 1, Face.label == 0, Face.probability > 0.7)
    assert f"{index} (run_id=? AND track=? AND label=? AND probability>?)" in plan(database, surprised)
    labels = sa.select(Face.track, Face.frame_index, Face.label, Face.probability).where(
        Face.run_id == 2, Face.track.is_not(None)
    )
    assert f"COVERING INDEX {index}" in plan(database, labels)
    with database.reading() as connection:
        assert load_segments(connection, [2]).rows.frames.sum() == 9


def test_answers_take_moments(db: Database) -> None:
    run = store(db, list(random_results(5000, 4)))
    for query in (queries.timeline, queries.episodes, queries.tracks):
        query(db, run)
        started = time.process_time()
        assert len(query(db, run)) > 0
        assert time.process_time() - started < 0.5, "20,000 faces; measured 0.05 s on an idle machine"
