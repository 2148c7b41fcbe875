"""Recordings: never in anybody's way, and playable whatever happens to them."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from fertrack.errors import ConfigError, OutputExistsError, VideoWriteError
from fertrack.live.recorder import Recorder, Recordings
from fertrack.sinks.config import VideoOutputConfig
from fertrack.sinks.encoder import VideoEncoder
from fertrack.types import Image, VideoInfo

INFO = VideoInfo("camera", 320, 240, 30.0)
CONFIG = VideoOutputConfig(preset="ultrafast")


def picture(number: int) -> Image:
    return np.random.default_rng(number).integers(0, 255, (240, 320, 3), np.uint8)  # large, so that it gets written


def record(recorder: Recorder, times_s: list[float]) -> None:
    for number, time_s in enumerate(times_s):
        recorder.offer(picture(number), time_s)
        time.sleep(0.02)


def times_in(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0) if frame.time is not None]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_pictures_keep_their_times_and_begin_at_0(tmp_path: Path, name: str) -> None:
    recorder = Recorder(tmp_path / "new" / name, INFO, CONFIG)
    given = [100.0, 100.033, 100.2, 100.25, 101.5]
    record(recorder, given)
    recorder.stop()
    recorder.stop()
    assert times_in(recorder.path) == pytest.approx([each - 100.0 for each in given], abs=0.002)
    assert (recorder.first_s, recorder.frames, recorder.dropped) == (100.0, 5, 0)
    assert [path.name for path in recorder.path.parent.iterdir()] == [name]


def test_an_encoder_that_is_too_slow_costs_pictures_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    encode = VideoEncoder.encode

    def slowly(self: VideoEncoder, timestamp_s: float) -> None:
        go_on.wait(20.0)
        encode(self, timestamp_s)

    monkeypatch.setattr(VideoEncoder, "encode", slowly)
    recorder = Recorder(tmp_path / "a.mp4", INFO, CONFIG)
    started = time.monotonic()
    for number in range(50):
        recorder.offer(picture(number), number / 30)
    assert time.monotonic() - started < 5.0
    go_on.set()
    recorder.stop()
    assert recorder.dropped > 30
    assert recorder.frames + recorder.dropped == 50
    assert len(times_in(recorder.path)) == recorder.frames


def fail_after(pictures: int) -> Callable[[VideoEncoder, float], None]:
    encode = VideoEncoder.encode

    def fail(self: VideoEncoder, timestamp_s: float) -> None:
        if self.frames >= pictures:
            raise OSError(errno.ENOSPC, "No space left on device")
        encode(self, timestamp_s)

    return fail


def test_a_full_disk_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VideoEncoder, "encode", fail_after(60))
    recorder = Recorder(tmp_path / "a.mp4", INFO, CONFIG)
    record(recorder, [number / 30 for number in range(80)])
    with pytest.raises(VideoWriteError, match="what was written before is kept"):
        recorder.stop()
    assert recorder.failed
    assert len(times_in(recorder.path)) > 20
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    recorder.offer(picture(0), 99.0)


def test_a_file_that_cannot_be_completed_keeps_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "broken")

    recorder = Recorder(tmp_path / "a.mp4", INFO, CONFIG)
    record(recorder, [number / 30 for number in range(40)])
    monkeypatch.setattr("fertrack.live.recorder.write_finished", fail)
    with pytest.raises(VideoWriteError, match="broken"):
        recorder.stop()
    assert len(times_in(recorder.path)) > 20


def test_no_picture_no_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.mp4", INFO, CONFIG)
    recorder.stop()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_recorded_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(OutputExistsError):
        Recorder(tmp_path / "a.mp4", INFO, CONFIG)
    Recorder(tmp_path / "a.mp4", INFO, CONFIG, overwrite=True).stop()
    with pytest.raises(ConfigError):
        Recorder(tmp_path / "a.txt", INFO, CONFIG)
    (tmp_path / "file").touch()
    with pytest.raises(VideoWriteError, match="choose another name"):
        Recorder(tmp_path / "file" / "a.mp4", INFO, CONFIG)


def test_what_a_killed_run_recorded_is_not_replaced_unasked(tmp_path: Path) -> None:
    path, part = tmp_path / "c.mp4", tmp_path / "c.part.mp4"
    part.write_bytes(b"all that is left")
    with pytest.raises(OutputExistsError, match=r"c\.part\.mp4 .* cut short: rename it"):
        Recorder(path, INFO, CONFIG)
    with pytest.raises(OutputExistsError, match=r"c\.part\.mp4"):
        Recordings(CONFIG, tmp_path).check(path)
    assert part.read_bytes() == b"all that is left"
    recorder = Recorder(path, INFO, CONFIG, overwrite=True)
    record(recorder, [0.0, 0.1])
    recorder.stop()
    assert [each.name for each in tmp_path.iterdir()] == ["c.mp4"]
    part.touch()  # with nothing in it
    Recordings(CONFIG, tmp_path).check(tmp_path / "c.mp4", overwrite=True)
    path.unlink()
    Recordings(CONFIG, tmp_path).check(path)
