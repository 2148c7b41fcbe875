"""Self-test of an installation: a scripted scene through the whole program, compared with rows that are stored here.

The scene's detector and classifier read its pixels exactly, so that the rows are the same on every machine. Video in
and out, tracking, calibration, smoothing, database, report and tables are tested; ``doctor`` itself tries the networks'
weights and devices.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd

from fertrack.config import load_settings
from fertrack.doctor import Finding
from fertrack.errors import FertrackError, reason_of
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.outputs.plan import plan_outputs
from fertrack.pipeline.analyzer import FaceAnalyzer
from fertrack.pipeline.pipeline import Pipeline
from fertrack.process import ProcessResult, process_planned
from fertrack.storage.engine import open_database
from fertrack.storage.queries.timeline import timeline
from fertrack.testing import FakeClassifier, FakeDetector, ScenePerson, SyntheticScene

__all__ = ["rows_of_scene", "self_test", "stored_rows"]

SCENE = SyntheticScene(
    (
        ScenePerson((60, 80), (70, 0), script=((0.0, "happiness"), (0.8, "neutral"), (1.4, "surprise"))),
        ScenePerson(
            (250, 170), (-60, 0), script=((0.0, "sadness"), (1.1, "anger")), visible_s=((0.0, 0.6), (0.9, 9.0))
        ),
    ),
    frame_count=50,
)
_SETTINGS = (
    *("linking.method=off", "report.csv=true", "engine.workers=2", "privacy.purpose=self-test", "video.codec=h264"),
    *("calibration.thresholds={}", "calibration.fallback_threshold=0.3"),
)
_STORED = Path(__file__).with_name("self_test_rows.json")
_TOLERANCE = {"x1": 0.05, "y1": 0.05, "x2": 0.05, "y2": 0.05, "probability": 0.002}
_COLUMNS = ("frame_index", "time_s", "track", "label", *_TOLERANCE)


def self_test() -> list[Finding]:
    """Run the scene through the program; one finding for the rows, and one for the files."""
    began_s = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix="fertrack-self-test-") as folder:
            result, rows = rows_of_scene(Path(folder))
            missing = _missing(result)
    except (FertrackError, OSError, av.error.FFmpegError) as error:
        found = f"the scene could not be processed: {reason_of(error)}"
        return [Finding("self-test", "problem", found, "reinstall fertrack")]
    took_s = time.perf_counter() - began_s
    wrong = differences(rows, stored_rows())
    found = f"{len(rows)} rows of a scripted scene are as they should be, in {took_s:.1f} s"
    findings = [Finding("self-test", "problem" if wrong else "ok", wrong or found, "reinstall fertrack" * bool(wrong))]
    if missing:
        findings.append(
            Finding("self-test", "problem", f"not written as it should be: {', '.join(missing)}", "reinstall")
        )
    else:
        findings.append(Finding("self-test", "ok", "annotated video, report and CSV files were written and read back"))
    return findings


def rows_of_scene(folder: Path) -> tuple[ProcessResult, list[list[Any]]]:
    """Process the scene's video in a folder; the result, and a row for each face, as ``stored_rows`` has them.

    Raises:
        FertrackError: it could not be processed.
    """
    settings = load_settings([], _SETTINGS)
    (plan,) = plan_outputs([str(_video(folder / "scene.mp4"))], folder / "out", settings, overwrite=False)
    pipeline = Pipeline(
        FaceAnalyzer(FakeDetector(SCENE), FakeClassifier()),
        Calibrator(settings.calibration, ClassifierCalibration.uncalibrated("self-test")),
        tracking=settings.tracking,
        smoothing=settings.smoothing,
        engine=settings.engine,
    )
    with open_database(folder / "out" / "fertrack.db", create=True) as database:
        result = process_planned(plan, pipeline, database, settings)
        with database.run(result.run) as run:
            faces = timeline(run)
    return result, _plain(faces)


def stored_rows() -> list[list[Any]]:
    """Rows as they should be: frame, time (s), track, label, box (px), probability."""
    rows: list[list[Any]] = json.loads(_STORED.read_text(encoding="utf-8"))
    return rows


def differences(rows: Sequence[Sequence[Any]], expected: Sequence[Sequence[Any]]) -> str:
    """Sentence about the first row that is not as expected; empty if all are."""
    if len(rows) != len(expected):
        return f"the scene has {len(expected)} faces, and {len(rows)} were stored"
    for row, wanted in zip(rows, expected, strict=True):
        for name, value, other in zip(_COLUMNS, row, wanted, strict=True):
            near = name in _TOLERANCE and abs(value - other) <= _TOLERANCE[name]
            if not near and value != other:
                return f"frame {row[0]}, track {row[2]}: {name} is {value}, and should be {other}"
    return ""


def _plain(faces: pd.DataFrame) -> list[list[Any]]:
    rows = faces[list(_COLUMNS)].sort_values(["frame_index", "track"]).to_dict("split")["data"]
    return [[round(value, 4) if isinstance(value, float) else value for value in row] for row in rows]


def _video(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(
            "libx264", rate=round(SCENE.fps), options={"crf": "12", "preset": "veryfast"}
        )
        stream.width, stream.height, stream.pix_fmt = SCENE.width, SCENE.height, "yuv420p"
        for index in range(SCENE.frame_count):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(SCENE.image(index)), format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, round(SCENE.fps))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _missing(result: ProcessResult) -> list[str]:
    """Outputs that are not there, or are not whole."""
    wrong = []
    frames = 0
    if result.video_path is not None:
        with av.open(str(result.video_path)) as container:
            frames = sum(1 for _ in container.decode(video=0))
    if frames != SCENE.frame_count:
        wrong.append(f"the annotated video has {frames} of {SCENE.frame_count} frames")
    if result.report_path is None or b"</html>" not in result.report_path.read_bytes():
        wrong.append("the report")
    wrong += [path.name for path in result.csv_paths if path.stat().st_size == 0]
    return wrong
