"""Results of other programs become runs: their numbers, their persons, their time, and what is said about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fertrack.cli.main import run
from fertrack.errors import TableError
from fertrack.expression.config import CalibrationConfig, SmoothingConfig
from fertrack.imports.run_import import ImportRules, import_run
from fertrack.storage.engine import Database, open_database
from fertrack.storage.queries.statistics import expression_stats, person_episodes
from fertrack.storage.runs import RunRecord
from fertrack.types import EXPRESSIONS, VideoInfo
from tests.support import queries

RECORD = RunRecord(config_toml="", config_digest="", detector="", classifier="")
AS_THEY_ARE = ImportRules(
    fps=10.0, smoothing=SmoothingConfig(enabled=False), calibration=CalibrationConfig(use_thresholds=False)
)
CAPITALS = {"happiness": "Happy", "sadness": "Sad", "surprise": "Surprise", "anger": "Anger"}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "a.db", create=True) as opened:
        yield opened


def points(x: float, y: float) -> dict[str, float]:
    """A square of 68 points, 40 px wide, whose upper left corner is there."""
    across, down = np.divmod(np.arange(68), 17)
    return {f"x_{i}": x + across[i] * 40 / 3 for i in range(68)} | {f"y_{i}": y + down[i] * 2.5 for i in range(68)}


def pyfeat_row(frame: int, expression: str, p: float, x: float = 10.0, **more: object) -> dict[str, object]:
    rest = dict.fromkeys(EXPRESSIONS, (1 - p) / 6) | {expression: p}
    box = {"FaceRectX": x, "FaceRectY": 20.0, "FaceRectWidth": 40.0, "FaceRectHeight": 50.0, "FaceScore": 0.9}
    return {
        "frame": float(frame),
        **box,
        **points(x, 20.0),
        "Pitch": 1.0,
        "AU12": 0.5,
        **rest,
        "input": "a.mp4",
        **more,
    }


def openface_row(frame: int, time_s: float, x: float = 10.0, *, success: int = 1, **more: object) -> dict[str, object]:
    head = {"frame": frame, **more, "timestamp": time_s, "confidence": 0.98 * success, "success": success}
    return {**head, "gaze_0_x": 0.1, **points(x, 20.0), "X_0": 1.0, "AU12_r": 2.5, "AU12_c": 1.0}


def written(folder: Path, rows: Sequence[dict[str, object]], separator: str = ",") -> Path:
    path = folder / "theirs.csv"
    table = pd.DataFrame(rows)
    text = table.to_csv(index=False)
    path.write_text(text.replace(",", separator), encoding="utf-8")
    return path


def test_py_feats_probabilities_are_taken_over(db: Database, tmp_path: Path) -> None:
    rows = [pyfeat_row(i, "happiness" if i < 10 else "sadness", 0.7) for i in range(20)]
    done = import_run(db, "pyfeat", written(tmp_path, rows), RECORD, AS_THEY_ARE)
    assert (done.run, done.frames, done.faces, done.tracks) == (1, 20, 20, 1)
    table = queries.timeline(db, 1)
    assert table["time_s"].tolist() == pytest.approx([i / 10 for i in range(20)])
    assert table["label"].astype(str).tolist() == ["happiness"] * 10 + ["sadness"] * 10
    assert table["p_happiness"].tolist() == pytest.approx([0.7] * 10 + [0.05] * 10, abs=1e-4)
    assert table[["x1", "y1", "x2", "y2"]].iloc[0].tolist() == [10, 20, 50, 70]
    with db.run(1) as stored:
        happy, sad = person_episodes(stored)["duration_s"]
        assert (happy, sad) == (pytest.approx(1.0), pytest.approx(1.0))
        facts = stored.facts
    assert "Py-Feat, imported, sha256:" in facts.classifier
    assert facts.calibration is not None
    assert not facts.calibration.calibrated
    assert "were not calibrated" in " ".join(facts.summary.notes)
    assert facts.summary.video_s == pytest.approx(2.0)


@pytest.mark.parametrize("names", [{}, CAPITALS])
def test_names_of_older_and_newer_versions_are_read(names: dict[str, str], db: Database, tmp_path: Path) -> None:
    rows = [{names.get(name, name): value for name, value in pyfeat_row(i, "anger", 0.8).items()} for i in range(5)]
    import_run(db, "pyfeat", written(tmp_path, rows), RECORD, AS_THEY_ARE)
    assert set(queries.timeline(db, 1)["label"].astype(str)) == {"anger"}


def test_fertracks_thresholds_and_smoothing_make_the_labels(db: Database, tmp_path: Path) -> None:
    rows = [pyfeat_row(i, "fear", 0.35) for i in range(10)]
    import_run(db, "pyfeat", written(tmp_path, rows), RECORD, ImportRules(fps=10.0))
    assert set(queries.timeline(db, 1)["label"].astype(str)) == {"uncertain"}, "under the threshold of 0.4"


def test_identities_are_tracks_and_nobody_is_twice_in_a_frame(db: Database, tmp_path: Path) -> None:
    rows = []
    for i in range(6):
        rows += [pyfeat_row(i, "anger", 0.8, 300.0, Identity="Person_1", FaceScore=0.99)]
        rows += [pyfeat_row(i, "neutral", 0.8, 10.0, Identity="Person_0")]
    rows.append(pyfeat_row(5, "fear", 0.8, 500.0, Identity="Person_1", FaceScore=0.5))
    done = import_run(db, "pyfeat", written(tmp_path, rows), RECORD, AS_THEY_ARE)
    assert done.tracks == 2
    table = queries.timeline(db, 1)
    assert table[table["track"] == 1]["label"].astype(str).tolist() == ["anger"] * 6
    assert table[table["track"] == 2]["label"].astype(str).tolist() == ["neutral"] * 6
    assert len(queries.timeline(db, 1, include_unconfirmed=True)) == 13


def test_faces_without_identities_are_followed(db: Database, tmp_path: Path) -> None:
    rows = []
    for i in range(12):
        pair = [pyfeat_row(i, "anger", 0.8, 300.0 + i), pyfeat_row(i, "neutral", 0.8, 10.0 + i)]
        rows += pair[:: 1 if i % 2 else -1]
    done = import_run(db, "pyfeat", written(tmp_path, rows), RECORD, AS_THEY_ARE)
    assert done.tracks == 2
    for _, mine in queries.timeline(db, 1).groupby("track"):
        assert len(mine) == 12
        assert mine["label"].astype(str).nunique() == 1


def test_frames_without_a_face_count_whether_the_file_has_them_or_not(db: Database, tmp_path: Path) -> None:
    empty = {name: None for name in pyfeat_row(0, "anger", 0.8) if name not in ("frame", "input")}
    rows = [pyfeat_row(0, "anger", 0.8), {**pyfeat_row(10, "anger", 0.8), **empty}, pyfeat_row(20, "anger", 0.8)]
    rows += [pyfeat_row(30 + 10 * i, "anger", 0.8) for i in range(3) if i != 1]
    done = import_run(db, "pyfeat", written(tmp_path, rows), RECORD, AS_THEY_ARE)
    assert (done.frames, done.faces) == (6, 4), "every tenth frame; number 40 was left out"
    with db.run(1) as stored:
        table = expression_stats(stored).set_index("state")
    assert table.loc["no face", "seconds"] == pytest.approx(2.0)
    assert table.loc["anger", "seconds"] == pytest.approx(4.0)
    assert any("1 frame without a row in the file counts" in note for note in done.notes)


def test_openface_has_faces_and_no_expressions(db: Database, tmp_path: Path) -> None:
    rows = [openface_row(i + 1, i / 25, success=int(i != 3)) for i in range(10)]
    done = import_run(db, "openface", written(tmp_path, rows, ", "), RECORD)
    assert (done.frames, done.faces, done.tracks) == (10, 9, 1)
    table = queries.timeline(db, 1)
    assert table["frame_index"].tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert table["time_s"].tolist() == pytest.approx([i / 25 for i in (0, 1, 2, 4, 5, 6, 7, 8, 9)])
    assert set(table["label"].astype(str)) == {"uncertain"}
    assert table[["x1", "y1", "x2", "y2"]].iloc[0].tolist() == [10, 20, 50, 60]
    assert any("action units, no expressions" in note for note in done.notes)
    assert not queries.episodes_of_persons(db, 1)["expression"].notna().any()


def test_openface_with_several_faces_says_who_is_who(db: Database, tmp_path: Path) -> None:
    rows = []
    for i in range(10, 20):
        rows.append(openface_row(i + 1, i / 25, 200.0, face_id=7))
        if i != 12:
            rows.append(openface_row(i + 1, i / 25, 10.0, face_id=3))
    done = import_run(db, "openface", written(tmp_path, rows), RECORD)
    assert (done.frames, done.tracks) == (20, 2), "and nobody in the first ten frames"
    table = queries.timeline(db, 1)
    assert table.groupby("track")["x1"].first().tolist() == [200.0, 10.0]
    assert table["time_s"].min() == pytest.approx(0.4)


def test_a_video_gives_name_size_and_rate(db: Database, tmp_path: Path) -> None:
    info = VideoInfo(name="clip.mp4", width=640, height=360, fps=50.0, path="/videos/clip.mp4")
    rows = [pyfeat_row(i, "anger", 0.8) for i in range(5)]
    import_run(db, "pyfeat", written(tmp_path, rows), RECORD, ImportRules(video=info))
    with db.run(1) as stored:
        assert (stored.facts.source_name, stored.facts.info.width) == ("clip.mp4", 640)
    assert queries.timeline(db, 1)["time_s"].tolist() == pytest.approx([i / 50 for i in range(5)])


def damaged(**changes: object) -> list[dict[str, object]]:
    return [{**pyfeat_row(i, "anger", 0.8), **changes} for i in range(3)]


@pytest.mark.parametrize(
    ("tool", "rows", "said"),
    [
        ("pyfeat", [openface_row(1, 0.0)], "has no column 'FaceRectX': is it a file of Py-Feat"),
        ("openface", damaged(), "has no column 'timestamp': is it a file of OpenFace"),
        ("pyfeat", damaged(happiness=-0.2), "hold no probabilities"),
        ("pyfeat", damaged(happiness="high"), "column 'happiness' holds something that is no number"),
        ("pyfeat", damaged(frame=1.5), "must be whole"),
        ("pyfeat", [pyfeat_row(0, "anger", 0.8), pyfeat_row(1, "anger", 0.8, input="b.mp4")], "about 2 videos"),
        ("pyfeat", [{k: v for k, v in pyfeat_row(0, "anger", 0.8).items() if k != "fear"}], "no column for fear"),
        ("openface", [{"frame": 1, "timestamp": 0.0, "confidence": 1.0, "success": 1}], "run OpenFace with -2Dfp"),
        ("openface", [openface_row(0, 0.0)], "numbered from -1"),
        ("openface", [openface_row(1, 5.0), openface_row(2, 1.0)], "its times go back"),
        ("openface", [openface_row(900_000_000, 5.0)], "cannot be imported"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_stored(
    tool: str, rows: list[dict[str, object]], said: str, db: Database, tmp_path: Path
) -> None:
    rules = ImportRules(fps=0.0 if tool == "openface" else 25.0)
    with pytest.raises(TableError, match=said):
        import_run(db, tool, written(tmp_path, rows), RECORD, rules)
    assert len(queries.runs(db)) == 0


def test_the_command_says_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, [pyfeat_row(i, "happiness", 0.8) for i in range(30)])
    assert run(["runs", "import", "pyfeat", str(path)]) == 1
    assert "has no times: say how many frames there are a second with --fps" in capsys.readouterr().err
    assert run(["runs", "import", "pyfeat", str(path), "--fps", "25", "--set", "privacy.purpose=study 7"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "run 1: 30 frames, 30 faces, 1 track\n"
    assert "were not calibrated" in printed.err
    assert run(["stats", "last", "--format", "csv"]) == 0
    assert "happiness,1.2" in capsys.readouterr().out
    assert run(["report", "last"]) == 0
    (report,) = Path("fertrack-out").glob("*.html")
    assert "is not calibrated" in report.read_text(encoding="utf-8")
    assert "mported from Py-Feat" in report.read_text(encoding="utf-8")
    assert run(["rescore", "last", "--set", "smoothing.half_life_s=1.0"]) == 0
