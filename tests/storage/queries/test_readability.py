"""Faces that cannot be read: stored, shown, summed up, left out of episodes, and read again by rescoring."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fertrack.cli.main import run as command
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig, SmoothingConfig
from fertrack.expression.fold import ExpressionFold
from fertrack.imaging.track_labels import label_text
from fertrack.storage.engine import Database, downgrade, open_database, upgrade
from fertrack.storage.queries.readability import readability
from fertrack.storage.queries.replay import stored_results
from fertrack.storage.rescore import rescore
from fertrack.types import Faces, FrameResult
from tests.support import queries
from tests.support.storage_scenes import result, store

SMOOTHING = SmoothingConfig(enabled=False)
FRAMES = 40


def calibrator(min_quality: float) -> Calibrator:
    return Calibrator(CalibrationConfig(min_quality=min_quality), ClassifierCalibration.uncalibrated("test"))


def scene(min_quality: float = 0.1) -> list[FrameResult]:
    """Person 1 is angry all the time and cannot be read in the second half; person 2 is happy and not judged."""
    fold = ExpressionFold(calibrator(min_quality), SMOOTHING)
    made = []
    for index in range(FRAMES):
        bare = result(index, index / 25, [(1, "anger", 0.9), (2, "happiness", 0.9)])
        quality = np.array([0.8 if index < FRAMES // 2 else 0.02, np.nan], np.float32)
        faces = Faces(bare.faces.detections, bare.faces.logits, quality)
        folded = fold.update(bare.timestamp_s, bare.track_ids, faces.logits, quality)
        made.append(
            replace(
                bare,
                faces=faces,
                probabilities=folded.probabilities,
                smoothed=folded.smoothed,
                labels=folded.labels,
            )
        )
    return made


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "a.db", create=True) as opened:
        store(opened, scene())
        yield opened


def test_the_label_is_not_readable_and_the_quality_stands_beside_it(database: Database) -> None:
    faces = queries.timeline(database, 1, track=1)
    assert faces["label"].astype(str).value_counts().to_dict() == {"anger": 20, "not readable": 20}
    assert sorted(set(faces["quality"].round(4).tolist())) == [np.float32(0.02), np.float32(0.8)]
    assert queries.timeline(database, 1, track=2)["quality"].isna().all(), "not judged"
    assert len(queries.timeline(database, 1, expression="not readable")) == 20
    with sqlite3.connect(database.url) as raw:
        seen = raw.execute("SELECT label, quality, count(*) FROM v_faces WHERE track = 1 GROUP BY 1, 2 ORDER BY 1")
        assert seen.fetchall() == [("anger", 0.8, 20), ("not readable", 0.02, 20)]
    raw.close()


def test_statistics_and_episodes_leave_out_what_was_not_readable(database: Database) -> None:
    (angry, happy) = queries.episodes(database, 1).itertuples()
    assert (angry.expression, angry.duration_s) == ("anger", pytest.approx(0.8))
    assert (happy.expression, happy.duration_s) == ("happiness", pytest.approx(1.6))
    shares = queries.tracks(database, 1)
    assert shares["share_uncertain"].tolist() == pytest.approx([0.5, 0.0])
    with database.run(1) as stored:
        one, two = readability(stored).itertuples()
    assert (one.person, one.faces_s, one.not_readable_s) == ("ID 1", pytest.approx(1.6), pytest.approx(0.8))
    assert (one.share_not_readable, one.mean_quality) == (pytest.approx(0.5), pytest.approx(0.41))
    assert (two.share_not_readable, str(two.mean_quality)) == (0.0, "nan")


def test_the_command_line_says_for_how_long_nobody_could_be_read(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["stats", "last", "--db", str(database.url)]) == 0
    assert "ID 1 was not readable for 50.0 % of the time with a face" in " ".join(capsys.readouterr().err.split())
    assert command(["stats", "quality", "last", "--person", "ID 1", "--format", "csv", "--db", str(database.url)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "run,person,track,faces_s,mean_quality,not_readable_s,share_not_readable",
        "1,ID 1,1,1.600000,0.4100,0.800000,0.5000",
    ]


def test_rescoring_with_another_threshold_reads_what_was_not_readable(database: Database) -> None:
    assert rescore(database, 1, calibrator(0.0), SMOOTHING).labels_changed == 20
    assert set(queries.timeline(database, 1, track=1)["label"].astype(str)) == {"anger"}
    assert rescore(database, 1, calibrator(0.9), SMOOTHING).labels_changed == 40
    other = store(database, scene(0.9))
    again, fresh = (queries.timeline(database, run).drop(columns="run") for run in (1, other))
    assert again.equals(fresh), "rescoring and the pipeline decide alike"


def test_a_replayed_frame_shows_the_words_without_a_probability(database: Database) -> None:
    with database.run(1) as stored:
        last = list(stored_results(stored))[-1]
    assert label_text(last, 0) == "ID 1 not readable"
    assert label_text(last, 1).startswith("ID 2 happiness 0.")
    assert last.faces.quality[0] == np.float32(0.02)


def test_an_older_database_keeps_its_rows_and_was_not_judged(tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    with open_database(old, create=True) as opened:
        store(opened, scene())
        before = queries.timeline(opened, 1)
    downgrade(old, "0011")
    with sqlite3.connect(old) as raw:
        assert raw.execute("SELECT min(label) FROM faces").fetchone() == (-1,), "0011 knows no -2"
    raw.close()
    upgrade(old)
    with open_database(old) as opened:
        after = queries.timeline(opened, 1)
    assert after["quality"].isna().all()
    kept = [name for name in before.columns if name not in ("quality", "label")]
    assert after[kept].equals(before[kept])
