"""Runs that were cut off at any moment go on to the very results of one that nothing has disturbed."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import fertrack
from fertrack.cli.main import run
from fertrack.config import Settings, load_settings
from fertrack.demo import compose_demo
from fertrack.errors import OutputExistsError, StorageError
from fertrack.pipeline import pipeline
from fertrack.storage.engine import open_database
from fertrack.storage.models import Run
from fertrack.storage.recordings import AnalysedRow
from fertrack.storage.unfinished import analysed_frames, store_analysed, trim_analysed
from fertrack.types import AnalysisMs, Detections, Faces, FrameFaces
from tests.support.storage_scenes import store

FRAMES = 40
OPTIONS = ("storage.flush_s=0.01", "report.csv=true")
SEED = 20
CUT_OFF = """
import os, signal, sys
import fertrack
from fertrack.config import load_settings

clip, out, at, number, resume, *options = sys.argv[1:]
settings = load_settings((), options)

def cut_off(progress):
    if progress.frames == int(at):
        os.kill(os.getpid(), int(number))

fertrack.process_video(clip, out, settings=settings, resume=resume == "True", on_progress=cut_off)
"""

QUERIES = (
    "SELECT run_id, frame_index, time_s FROM frames ORDER BY frame_index",
    "SELECT * FROM faces ORDER BY frame_index, face_index",
    "SELECT t.run_id, t.number, p.number, first_frame, last_frame, first_s, last_s, faces FROM tracks t "
    "LEFT JOIN persons p ON p.id = person_id ORDER BY t.number",
    "SELECT track, state, similarity FROM links ORDER BY track",
    "SELECT * FROM episodes ORDER BY 1, 2, 3",
    "SELECT * FROM events ORDER BY 1, 2, 3",
    "SELECT kind, sentence FROM person_actions ORDER BY id",
    "SELECT id, status, error, notes, frames, faces, tracks, decode_failures, video_s, ended_at > started_at FROM runs",
    "SELECT run_id, content, made_with FROM recordings",
    "SELECT stage, frames FROM stage_timings ORDER BY position",
    "SELECT count(*) FROM analysed",
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, 1.6 s, with sound."""
    return compose_demo(tmp_path_factory.mktemp("clip") / "two people.mp4", frame_count=FRAMES)


@pytest.fixture(scope="module")
def undisturbed(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("undisturbed")
    fertrack.process_video(clip, out, settings=settings())
    return results(out)


def settings(*options: str) -> Settings:
    return load_settings((), [*OPTIONS, *options])


def results(out: Path) -> dict[str, Any]:
    """All that a run leaves: rows, decoded pictures and sound, CSV files, names of the files."""
    with closing(sqlite3.connect(out / "fertrack.db")) as database:
        found: dict[str, Any] = {query: database.execute(query).fetchall() for query in QUERIES}
    for kind in ("video", "audio"):
        with av.open(out / "two people.annotated.mp4") as container:
            frames = list(container.decode(**{kind: 0}))
            found[kind] = [(frame.pts, hash(frame.to_ndarray().tobytes())) for frame in frames]
    found |= {path.name: path.read_bytes() for path in out.glob("*.csv")}
    found["files"] = sorted(path.name for path in out.iterdir() if "-" not in path.name)
    return found


def cut_off(clip: Path, out: Path, at: int, *options: str, resume: bool = False) -> None:
    """Process the clip in a program that is killed after a frame."""
    given = [str(clip), str(out), str(at), str(int(signal.SIGKILL)), str(resume), *OPTIONS, *options]
    killed = subprocess.run([sys.executable, "-c", CUT_OFF, *given], capture_output=True, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_twice_at_random_moments_the_results_are_those_of_an_undisturbed_run(
    clip: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    first, second = sorted(random.Random(SEED).sample(range(5, FRAMES - 2), 2))
    cut_off(clip, tmp_path, first)
    with pytest.raises(OutputExistsError, match=r"run 1 of two people.mp4 was cut off after .* frames: go on"):
        fertrack.process_video(clip, tmp_path, settings=settings())
    with pytest.raises(StorageError, match=r"as these are different: tracking.max_age_s; begin again with --overwrite"):
        fertrack.process_video(clip, tmp_path, settings=settings("tracking.max_age_s=3"), resume=True)
    content = clip.read_bytes()
    try:
        clip.write_bytes(content + b"more")
        with pytest.raises(StorageError, match="its file has other content now, or is still growing"):
            fertrack.process_video(clip, tmp_path, settings=settings(), resume=True)
    finally:
        clip.write_bytes(content)
    cut_off(clip, tmp_path, second, resume=True)
    result = fertrack.process_video(clip, tmp_path, settings=settings(), resume=True)
    assert (result.run, result.summary.status, result.summary.frames) == (1, "complete", FRAMES)
    assert results(tmp_path) == undisturbed
    with pytest.raises(StorageError, match=r"no run of two people.mp4 .* was cut off, so there is nothing to resume"):
        fertrack.process_video(clip, tmp_path, settings=settings(), resume=True)


def test_interrupted_in_order_the_command_offers_to_go_on_and_does(
    clip: Path,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An orderly end hands on frames of which later ones would have told more; those rows are made anew."""
    count = pipeline._Run._count

    def stop_there(self: Any, result: Any) -> None:
        count(self, result)
        if self._frames == FRAMES // 2:
            self._pipeline.stop()

    options = [part for option in OPTIONS for part in ("--set", option)]
    with monkeypatch.context() as patched:
        patched.setattr(pipeline._Run, "_count", stop_there)
        assert run(["process", str(clip), "-o", str(tmp_path), *options]) == 0
    assert run(["process", str(clip), "-o", str(tmp_path), *options]) == 1
    assert "was cut off after" in capsys.readouterr().err
    assert run(["process", "--resume", str(clip), str(clip), "-o", str(tmp_path)]) == 2
    assert "--resume goes on with one run" in capsys.readouterr().err
    assert run(["process", "last", "--resume", "-o", str(tmp_path)]) == 0
    assert results(tmp_path) == undisturbed


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_with_faces_interpolated_between_frames_it_goes_on_from_a_detected_one(clip: Path, tmp_path: Path) -> None:
    every = "detection.every=3"
    fertrack.process_video(clip, tmp_path / "whole", settings=settings(every))
    cut_off(clip, tmp_path / "cut", 20, every)
    fertrack.process_video(clip, tmp_path / "cut", settings=settings(every), resume=True)
    assert results(tmp_path / "cut") == results(tmp_path / "whole")


def test_what_the_networks_saw_is_read_back_to_the_bit(tmp_path: Path) -> None:
    random_numbers = np.random.default_rng(SEED)

    def seen(index: int, count: int) -> FrameFaces:
        sizes: tuple[tuple[int, ...], ...] = ((4,), (), (5, 2), (7,), ())
        xyxy, score, landmarks, logits, quality = (
            random_numbers.normal(size=(count, *size)).astype(np.float32) for size in sizes
        )
        return FrameFaces(
            index,
            index / 29.97,
            Faces(Detections(xyxy, score, landmarks), logits, quality),
            ms=AnalysisMs(0.1, 1 / 3, 2.0, 3.0, 4),
            signature=random_numbers.normal(size=400).astype(np.float32),
            looks=random_numbers.normal(size=(count, 6)).astype(np.float32) if count else np.empty((0, 0), np.float32),
        )

    frames = [seen(index, count) for index, count in enumerate((0, 2, 1, 0, 3, 0))]
    with open_database(str(tmp_path / "a.db"), create=True) as database:
        number = store(database, [])
        with database.writing() as connection:
            store_analysed(connection, number, 0, frames[:1])
            store_analysed(connection, number, 1, frames[1:])
        read = list(analysed_frames(database, number))
        assert [_bits(frame) for frame in read] == [_bits(frame) for frame in frames]
        with database.writing() as connection:
            trim_analysed(connection, number, 4)
        assert [_bits(frame) for frame in analysed_frames(database, number)] == [_bits(frame) for frame in frames[:4]]
        with database.writing() as connection:  # whoever deletes a run deletes these
            connection.execute(Run.__table__.delete())
            assert connection.execute(AnalysedRow.__table__.select()).all() == []


def _bits(frame: FrameFaces) -> tuple[Any, ...]:
    faces = frame.faces
    arrays = (
        *(getattr(faces.detections, name) for name in ("xyxy", "score", "landmarks")),
        faces.logits,
        faces.quality,
    )
    bits = [array.tobytes() for array in (*arrays, frame.signature, frame.looks)]
    return frame.frame_index, frame.timestamp_s, frame.ms, bits
