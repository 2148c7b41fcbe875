"""Whole files of every kind that is read, small, to be broken."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from fertrack.config import Settings, to_toml
from fertrack.models.bundle import load_bundle
from fertrack.sinks.database import DatabaseSink, RunRecord
from fertrack.storage.engine import open_database
from fertrack.types import AnalysisMs, Detections, Faces, FrameResult, VideoInfo

__all__ = ["whole_files"]

_TEXTS = {
    "list.csv": "video;participant;condition;from;to;rate\na.mp4;P1;rest;0:01;1,5;5\nb.mp4;P2;stress;;12.5;\n",
    "markers.csv": "time_s,label,end_s,note\n0.1,go,0.5,first\n1.25,stop,,\n0:02,go,,x\n",
    "events.tsv": "onset\tduration\ttrial_type\n0.5\t1.0\thappy\n2.5\tn/a\tsad\n",
    "boxes.mot.txt": "1,1,10,20,30,40,0.9,-1,-1,-1\n1,2,100,20,30,40,0.8,-1,-1,-1\n2,1,11,21,30,40,0.9,-1,-1,-1\n",
    "a.url": "rtsp://ana:geheim@10.0.0.2:554/live?channel=1&token=abc#part",
    "db.url": "postgresql://ana:geheim@db.example:5432/faces?sslmode=require&password=geheim",
}


def whole_files(folder: Path) -> list[Path]:
    """Make a whole file of every kind in a folder: videos, images, texts, a bundle's card and a database."""
    for name, text in _TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "mine.toml").write_text(to_toml(Settings()), encoding="utf-8")
    shutil.copy(load_bundle().folder / "bundle.toml", folder / "bundle.card")
    for name, codec in (("a.mp4", "libx264"), ("b.avi", "mpeg4"), ("c.mkv", "mpeg4"), ("d.ts", "mpeg2video")):
        _video(folder / name, codec)
    _video(folder / "e.gif", "gif", "rgb8")
    image = np.arange(48 * 64 * 3, dtype=np.uint32).reshape(48, 64, 3).astype(np.uint8)
    for suffix in (".png", ".jpg", ".webp", ".tif", ".bmp"):
        cv2.imwrite(str(folder / f"i{suffix}"), image)
    _database(folder / "f.db")
    return sorted(folder.iterdir())


def _video(path: Path, codec: str, pixels: str = "yuv420p") -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for number in range(10):
            picture = np.full((48, 64, 3), number * 20, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _database(path: Path) -> None:
    record = RunRecord(config_toml="", config_digest="", detector="d", classifier="c")
    with open_database(path, create=True) as database:
        for name in ("a.mp4", "b.mp4"):
            info = VideoInfo(name=name, width=64, height=48, fps=25.0, path=f"/videos/{name}")
            with DatabaseSink(database, info, record) as sink:
                for each in _results():
                    sink.write(each, None)


def _results() -> list[FrameResult]:
    chance = np.random.default_rng(1)
    results = []
    for index in range(40):
        logits = chance.normal(size=(2, 7)).astype(np.float32)
        weights = np.exp(logits)
        probabilities = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        boxes = (chance.random((2, 4)) * 40).astype(np.float32)
        points = (chance.random((2, 5, 2)) * 40).astype(np.float32)
        results.append(
            FrameResult(
                frame_index=index,
                timestamp_s=index / 25,
                faces=Faces(Detections(boxes, np.full(2, 0.9, np.float32), points), logits),
                track_ids=np.array([1, 2], np.int64),
                track_xyxy=boxes,
                probabilities=probabilities,
                smoothed=probabilities,
                labels=probabilities.argmax(axis=1).astype(np.int64),
                ms=AnalysisMs(1.0, 1.0, 1.0, 1.0),
                track_ms=0.1,
            )
        )
    return results
