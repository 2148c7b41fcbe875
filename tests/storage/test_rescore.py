from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError, StorageError
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig, SmoothingConfig
from fertrack.expression.fold import ExpressionFold
from fertrack.sinks.database import DatabaseSink
from fertrack.storage import rescore as module
from fertrack.storage.engine import Database, StorageConfig, open_database
from fertrack.storage.models import Face, Rescore
from fertrack.storage.readable import READABLE_COLUMNS
from fertrack.storage.rescore import rescore
from fertrack.types import FrameResult
from tests.support import queries
from tests.support.storage_scenes import INFO, RECORD, random_results, result, store, summary

BUNDLE = ClassifierCalibration.uncalibrated("test")
CALM = Calibrator(CalibrationConfig(temperature=3.0), BUNDLE)
SHARP = Calibrator(CalibrationConfig(temperature=0.5, bias={"anger": 0.18}), BUNDLE)
SMOOTHING = SmoothingConfig(half_life_s=0.3, hysteresis_margin=0.05)


def folded(frames: list[FrameResult], calibrator: Calibrator, smoothing: SmoothingConfig) -> list[FrameResult]:
    """The frames as the pipeline would have made them."""
    fold = ExpressionFold(calibrator, smoothing)
    made = []
    for frame in frames:
        values = fold.update(frame.timestamp_s, frame.track_ids, frame.faces.logits)
        made.append(replace(frame, probabilities=values.probabilities, smoothed=values.smoothed, labels=values.labels))
    return made


def scene() -> list[FrameResult]:
    """300 frames, some without faces, some faces unconfirmed, uneven times."""
    frames = []
    for frame in random_results(300, 3):
        time_s = frame.timestamp_s + 0.01 * (frame.frame_index % 3)
        if frame.frame_index % 7 == 0:
            frames.append(result(frame.frame_index, time_s))
        else:
            ids = np.where(frame.frame_index % 5 == 0, [-1, *frame.track_ids[1:]], frame.track_ids)
            frames.append(replace(frame, timestamp_s=time_s, track_ids=ids))
    return frames


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "a.db", create=True) as opened:
        yield opened


def test_rescoring_gives_the_rows_that_the_pipeline_would_have_given(database: Database) -> None:
    frames = scene()
    run = store(database, folded(frames, CALM, SMOOTHING))
    expected = store(database, folded(frames, SHARP, SmoothingConfig(half_life_s=0.1)))
    untouched = queries.timeline(database, expected, include_unconfirmed=True)

    report = rescore(database, run, SHARP, SmoothingConfig(half_life_s=0.1))

    for query, options in (
        (queries.timeline, {"include_unconfirmed": True}),
        (queries.episodes, {}),
        (queries.tracks, {}),
    ):
        got, wanted = query(database, run, **options), query(database, expected, **options)
        if "run" in got:
            got["run"] = wanted["run"]
        assert got.equals(wanted)
    assert queries.timeline(database, expected, include_unconfirmed=True).equals(untouched), "other runs stay"
    with database.reading() as connection:
        readable = [getattr(Face, name) for name in READABLE_COLUMNS]
        of_run = [
            connection.execute(
                sa.select(*readable).where(Face.run_id == number).order_by(Face.frame_index, Face.face_index)
            )
            for number in (run, expected)
        ]
        assert of_run[0].all() == of_run[1].all()
    assert report.faces == sum(len(frame.faces) for frame in frames)
    assert report.frames == sum(len(frame.faces) > 0 for frame in frames)
    assert report.run == run
    assert 0 < report.labels_changed < report.faces


def test_rescoring_with_the_same_settings_changes_nothing(database: Database) -> None:
    run = store(database, folded(scene(), CALM, SMOOTHING))
    before = queries.timeline(database, run, include_unconfirmed=True)
    assert rescore(database, "last", CALM, SMOOTHING).labels_changed == 0
    assert queries.timeline(database, run, include_unconfirmed=True).equals(before)


def test_how_many_frames_are_read_at_once_changes_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = folded(scene()[:100], CALM, SMOOTHING)
    whole, parts = store(database, frames), store(database, frames)
    rescore(database, whole, SHARP, SMOOTHING)
    monkeypatch.setattr(module, "_FRAMES_AT_ONCE", 7)
    rescore(database, parts, SHARP, SMOOTHING)
    first, second = (queries.timeline(database, run).drop(columns="run") for run in (whole, parts))
    assert first.equals(second)


def test_what_was_in_force_before_is_kept(database: Database) -> None:
    run = store(database, folded(scene()[:20], CALM, SMOOTHING))
    rescore(
        database,
        run,
        SHARP,
        SMOOTHING,
        config_toml='[storage]\nurl = "postgresql://me:s3cret@host/db"\n',
        config_digest="new",
    )
    facts = queries.run_facts(database, run)
    assert facts.calibration == SHARP.record
    assert facts.config_toml == '[storage]\nurl = "postgresql://me:***@host/db"\n'
    assert facts.config_digest == "new"
    assert facts.rescored_at is not None
    assert facts.ended_at is not None
    assert facts.rescored_at >= facts.ended_at

    rescore(database, run, CALM, SMOOTHING)
    assert queries.run_facts(database, run).config_digest == "new", "kept when none is given"
    with database.reading() as connection:
        history = connection.execute(sa.select(Rescore.__table__).order_by(Rescore.id)).all()
    assert [(row.config_digest, row.calibration) for row in history] == [
        (RECORD.config_digest, {}),
        ("new", SHARP.record.to_json()),
    ]
    assert history[0].config_toml == RECORD.config_toml


def test_if_it_fails_halfway_the_run_is_as_before(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store(database, folded(scene(), CALM, SMOOTHING))
    before = queries.timeline(database, run)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_record", fail)
    with pytest.raises(KeyboardInterrupt):
        rescore(database, run, SHARP, SMOOTHING)
    assert queries.timeline(database, run).equals(before)
    assert queries.run_facts(database, run).rescored_at is None


def test_runs_in_progress_and_unknown_runs_are_refused(database: Database) -> None:
    with pytest.raises(RunNotFoundError):
        rescore(database, "last", CALM, SMOOTHING)
    with DatabaseSink(database, INFO, RECORD, StorageConfig(batch_rows=1)) as sink:
        sink.write(result(0, 0.0, [(1, "anger", 0.5)]))
        with pytest.raises(StorageError, match=f"run {sink.run_id} is still being written"):
            rescore(database, sink.run_id, CALM, SMOOTHING)
        sink.finish(summary([]))
    assert rescore(database, sink.run_id, CALM, SMOOTHING).faces == 1


def test_a_run_without_faces_can_be_rescored(database: Database) -> None:
    run = store(database, [result(0, 0.0)])
    report = rescore(database, run, CALM, SMOOTHING)
    assert (report.frames, report.faces, report.labels_changed) == (0, 0, 0)
