"""The main job on real videos: persons, times, sound and sizes. Skipped where the videos are not there."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

import fertrack
from fertrack.config import load_settings

pytestmark = pytest.mark.shared


def process(video: Path, out: Path, *overrides: str) -> fertrack.ProcessResult:
    return fertrack.process_video(video, out, settings=load_settings([], ["report.html=false", *overrides]))


def picture_times(path: Path) -> list[float]:
    with av.open(path) as container:
        return [frame.time for frame in container.decode(video=0)]


def sound_s(path: Path) -> tuple[str, float, float]:
    """Codec, first and last presentation time of the sound."""
    with av.open(path) as container:
        stream = container.streams.audio[0]
        times = [float(p.pts * p.time_base) for p in container.demux(stream) if p.pts is not None]
        return stream.codec_context.name, min(times), max(times)


@pytest.mark.parametrize(
    ("name", "frames", "fewest", "most"),
    [
        ("fr_short_hamilton_clip.mp4", 275, 5, 24),  # about seven people, four shots: each cut makes new tracks
        ("composite_5faces.mp4", 300, 5, 8),  # five known people; one hidden for 24 frames, one covered
        ("pyfeat_WolfgangLanger_Pexels.mp4", 472, 1, 3),  # one man, a hand over the face for seconds
        ("pyfeat_single_face.mp4", 72, 1, 1),
        ("pyfeat_face_noface.mov", 169, 1, 1),  # variable frame rate; the face leaves
        ("liveportrait_s20.mp4", 297, 1, 1),  # portrait, the camera moves away
        ("intel_head-pose-face-detection-female-and-male.gif", 56, 2, 3),
    ],
)
def test_persons_time_and_sound(
    name: str, frames: int, fewest: int, most: int, shared_data: Path, tmp_path: Path
) -> None:
    video = shared_data / "video" / name
    result = process(video, tmp_path)
    assert result.summary.status == "complete"
    assert result.summary.frames == frames
    assert fewest <= result.summary.tracks <= most
    assert result.video_path is not None
    before, after = picture_times(video), picture_times(result.video_path)
    np.testing.assert_allclose(after, before, atol=2e-3)
    with av.open(video) as source:
        has_sound = bool(source.streams.audio)
    if has_sound:
        codec, start, end = sound_s(video)
        kept_codec, kept_start, kept_end = sound_s(result.video_path)
        assert kept_codec.removesuffix("float") == codec.removesuffix("float")
        assert (kept_start, kept_end) == pytest.approx((start, end), abs=0.05)


def test_database_times_are_the_containers(shared_data: Path, tmp_path: Path) -> None:
    video = shared_data / "video" / "pyfeat_face_noface.mov"
    result = process(video, tmp_path, "video.enabled=false")
    rows = result.timeline(track=1)
    times = picture_times(video)
    np.testing.assert_allclose(rows["time_s"], [times[index] for index in rows["frame_index"]], atol=1e-6)
    assert len(set(np.diff(times).round(4))) > 1, "the clip is meant to have a variable frame rate"


def test_a_video_without_faces_is_a_valid_empty_result(shared_data: Path, tmp_path: Path) -> None:
    result = process(shared_data / "video" / "pyfeat_no_face.mp4", tmp_path)
    assert (result.summary.status, result.summary.tracks) == ("complete", 0)
    assert result.persons().empty
    assert result.video_path is not None


def test_portrait_stays_portrait(shared_data: Path, tmp_path: Path) -> None:
    result = process(shared_data / "video" / "liveportrait_d13.mp4", tmp_path, "input.to_s=1.0")
    assert result.video_path is not None
    with av.open(result.video_path) as video:
        assert (video.streams.video[0].width, video.streams.video[0].height) == (720, 1280)
    assert result.summary.tracks == 1


def test_rows_do_not_depend_on_the_schedule_in_a_crowd(shared_data: Path, tmp_path: Path) -> None:
    video = shared_data / "video" / "mrsingh_crowd.mp4"
    few = ("video.enabled=false", "input.from_s=8", "input.to_s=14")
    one = process(video, tmp_path / "one", *few, "engine.workers=1")
    many = process(video, tmp_path / "many", *few, "engine.workers=3", "engine.batch=5")
    assert one.summary.tracks >= 5
    assert many.timeline().equals(one.timeline())


def test_known_people_keep_their_ids(shared_data: Path, tmp_path: Path) -> None:
    """On the composite clip, each true person's face is followed by one track for most of the time it is visible."""
    video = shared_data / "video" / "composite_5faces.mp4"
    rows = process(video, tmp_path, "video.enabled=false").timeline()
    truth = np.loadtxt(shared_data / "video" / "composite_5faces_gt.txt", delimiter=",")
    for person in np.unique(truth[:, 1]):
        seen = truth[truth[:, 1] == person]
        followed: dict[int, int] = {}
        for frame, x, y, width, height in seen[:, [0, 2, 3, 4, 5]]:
            now = rows[rows["frame_index"] == frame - 1]
            inside = now[
                (now["x1"] + now["x2"]).between(2 * x, 2 * (x + width))
                & (now["y1"] + now["y2"]).between(2 * y, 2 * (y + height))
            ]
            for track in inside["track"]:
                followed[track] = followed.get(track, 0) + 1
        assert max(followed.values()) >= 0.4 * len(seen), f"person {person:.0f}: {followed}"
