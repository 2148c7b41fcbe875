"""Small stored runs, written by hand or at random, that the storage tests share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fertrack.sinks.database import DatabaseSink, RunRecord
from fertrack.storage.engine import Database, StorageConfig
from fertrack.types import (
    EXPRESSIONS,
    UNCERTAIN,
    AnalysisMs,
    Detections,
    Faces,
    FrameResult,
    RunSummary,
    StageStats,
    VideoInfo,
)

INFO = VideoInfo(
    name="clip.mp4", width=640, height=360, fps=25.0, path="/videos/clip.mp4", codec="h264", has_audio=True
)
RECORD = RunRecord(
    config_toml="[tracking]\nmax_age = 30\n",
    config_digest="abc123",
    detector="centerface sha256:09189dea",
    classifier="default sha256:1234",
    fertrack_version="0.1.0",
)


def result(index: int, time_s: float, faces: Sequence[tuple[int, str, float]] = ()) -> FrameResult:
    """A frame with these faces: track, label, and smoothed probability of the label (of "neutral" if uncertain)."""
    n = len(faces)
    labels = np.array([UNCERTAIN if name == "uncertain" else EXPRESSIONS.index(name) for _, name, _ in faces], np.int64)
    smoothed = np.empty((n, 7), np.float32)
    for row, (_, name, p) in enumerate(faces):
        smoothed[row] = (1 - p) / 6
        smoothed[row, EXPRESSIONS.index("neutral" if name == "uncertain" else name)] = p
    xyxy = np.arange(4 * n, dtype=np.float32).reshape(n, 4) + index
    landmarks = np.arange(10 * n, dtype=np.float32).reshape(n, 5, 2) + 0.25
    detections = Detections(xyxy, np.full(n, 0.875, np.float32), landmarks)
    logits = np.log(smoothed)
    return FrameResult(
        frame_index=index,
        timestamp_s=time_s,
        faces=Faces(detections, logits),
        track_ids=np.array([track for track, _, _ in faces], np.int64),
        track_xyxy=xyxy,
        probabilities=np.full((n, 7), 1 / 7, np.float32),
        smoothed=smoothed,
        labels=labels,
        ms=AnalysisMs(read=2.0, detect=20.0, align=0.5, classify=1.25),
        track_ms=0.25,
    )


def random_results(frames: int, faces: int, *, fps: float = 25.0, seed: int = 0) -> Iterator[FrameResult]:
    """Frames of ``faces`` faces each, in tracks of about 500 frames, values at random."""
    random = np.random.default_rng(seed)
    for index in range(frames):
        logits = random.normal(scale=2.0, size=(faces, 7)).astype(np.float32)
        weights = np.exp(logits)
        probabilities = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        xyxy = random.random((faces, 4), np.float32) * 640
        detections = Detections(xyxy, random.random(faces, np.float32), random.random((faces, 5, 2), np.float32) * 640)
        yield FrameResult(
            frame_index=index,
            timestamp_s=index / fps,
            faces=Faces(detections, logits, np.full(faces, 0.8765, np.float32)),
            track_ids=np.arange(faces) + 1 + index // 500 * faces,
            track_xyxy=xyxy,
            probabilities=probabilities,
            smoothed=probabilities,
            labels=np.where(probabilities.max(axis=1) > 0.4, probabilities.argmax(axis=1), UNCERTAIN),
            ms=AnalysisMs(2.3456, 22.5, 0.4, 1.2),
            track_ms=0.2,
        )


def covered_s(results: Sequence[FrameResult]) -> float:
    """Time from the first frame to the end of the last, which lasts as long as the frames do on the whole."""
    times = [result.timestamp_s for result in results]
    return times[-1] - times[0] + float(np.median(np.diff(times))) if len(times) > 1 else 0.04 * len(times)


def summary(results: Sequence[FrameResult], status: str = "complete") -> RunSummary:
    """A summary that fits these frames."""
    return RunSummary(
        status=status,
        frames=len(results),
        faces=sum(len(each.faces) for each in results),
        tracks=len({int(track) for each in results for track in each.track_ids} - {-1}),
        dropped=0,
        decode_failures=2,
        elapsed_s=1.5,
        video_s=covered_s(results),
        stages=(StageStats("detect", len(results), 0.5, 20.0, 19.0, 31.0, 40.0, 38.0),),
        notes=("the file ends early", "two packets were skipped"),
        error="",
    )


def store(
    database: Database,
    results: Sequence[FrameResult],
    *,
    info: VideoInfo = INFO,
    record: RunRecord = RECORD,
    batch_rows: int = 1000,
) -> int:
    """Store a complete run and return its number."""
    with DatabaseSink(database, info, record, StorageConfig(batch_rows=batch_rows)) as sink:
        for each in results:
            sink.write(each, None)
        sink.finish(summary(results))
    return sink.run_id
