"""Cameras, files played in real time, the choice between them, and the rules of time, waiting and size they share."""

from __future__ import annotations

import itertools
import random
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

import fertrack.sources.stream.camera
from fertrack.errors import ConfigError, VideoOpenError
from fertrack.protocols import VideoSource
from fertrack.sources import (
    Buffered,
    CameraSource,
    InputConfig,
    RealtimeFile,
    StreamConfig,
    StreamSource,
    expand_inputs,
    open_live_source,
)
from fertrack.sources.stream.camera import CameraConnection, ask_camera, cameras
from fertrack.sources.stream.cancellation import Lifeline, SourceClosedError
from fertrack.sources.stream.clock import ArrivalClock, Pacer, StampedFrame
from fertrack.sources.stream.connection import Connection
from fertrack.sources.stream.fit import Letterbox
from fertrack.sources.stream.reconnect import Backoff
from tests.support.stream_servers import Script, mjpeg_server
from tests.support.video_factory import make_video, number_of, picture

# It waits but briefly between two attempts, and as long as a busy machine takes for each picture.
QUICK = StreamConfig(backoff_start_s=0.04, backoff_max_s=0.2, stall_timeout_s=20, open_timeout_s=60)


# ---------------------------------------------------------------- choosing


def test_the_reader_is_chosen_by_what_is_named(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.mp4", n=3)
    with open_live_source(clip, realtime=True, input_config=InputConfig(rotate=180)) as source:
        assert isinstance(source, RealtimeFile)
        assert source.info.rotation == 180
    with mjpeg_server(Script()) as address, open_live_source(f" {address} ", config=QUICK) as source:
        assert isinstance(source, StreamSource)
    for camera in (7, "7", "/dev/video7"):
        with pytest.raises(VideoOpenError, match="camera 7"):
            open_live_source(camera, config=QUICK)


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("{clip}", r"a\.mp4 is a file: play it .* --realtime, or analyse it with fertrack process"),
        ("absent.mp4", "is neither a camera's number, a stream's address nor a file"),
        ("", "nothing is neither"),
        ("ftp://host/x", "has to begin with"),
    ],
)
def test_what_is_not_live_is_refused(tmp_path: Path, location: str, sentence: str) -> None:
    clip = make_video(tmp_path / "a.mp4", n=2)
    with pytest.raises(VideoOpenError, match=sentence):
        open_live_source(location.replace("{clip}", str(clip)))


@pytest.mark.parametrize("realtime", [False, True])
@pytest.mark.parametrize(
    "location",
    [
        "kamera:Geheim7xyz@127.0.0.1:9/v.mjpg",
        "http:/kamera:Geheim7xyz@127.0.0.1:9/v.mjpg",
        "rtsp//kamera:Geheim7/x@yz@127.0.0.1:9/v.mjpg",
        "Geheim7xyz@127.0.0.1/v.mjpg",
        "127.0.0.1/v.mjpg?token=Geheim7xyz",
    ],
)
def test_a_mistyped_address_does_not_give_its_password_away(location: str, realtime: bool) -> None:
    with pytest.raises(VideoOpenError, match=r"v\.mjpg") as refused:
        open_live_source(location, realtime=realtime)
    assert not any(secret in str(refused.value) for secret in ("kamera:", "Geheim7", "yz@"))
    with pytest.raises(VideoOpenError) as refused:
        expand_inputs([location])
    assert "Geheim7" not in str(refused.value)


def test_a_folder_is_not_called_a_file(tmp_path: Path) -> None:
    with pytest.raises(VideoOpenError, match="is a folder: name a camera"):
        open_live_source(tmp_path)


def test_the_shortest_wait_may_not_be_longer_than_the_longest() -> None:
    with pytest.raises(ConfigError, match=r"stream\.backoff_start_s = 5 is more than stream\.backoff_max_s = 1"):
        StreamConfig(backoff_start_s=5, backoff_max_s=1)
    with pytest.raises(ValidationError):
        StreamConfig.model_validate({"transport": "carrier pigeon"})


# ---------------------------------------------------------------- a file in real time


def test_a_file_is_played_at_its_pace_and_ends(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.mkv", vfr_pts=[500, 600, 620, 900], time_base=Fraction(1, 1000), b_frames=0)
    with RealtimeFile(clip) as source:
        assert isinstance(source, VideoSource)
        assert source.status.state == "connecting"
        started_s = time.monotonic()
        frames = []
        for frame in source:
            frames.append((frame, time.monotonic() - started_s))
            assert source.status.state == "live"
        assert started_s <= source.started_monotonic_s <= time.monotonic()
    assert [number_of(frame.image) for frame, _ in frames] == [0, 1, 2, 3]
    assert [frame.index for frame, _ in frames] == [0, 1, 2, 3]
    for (frame, came_s), due_s in zip(frames, (0, 0.1, 0.12, 0.4), strict=True):
        assert frame.timestamp_s >= due_s - 1e-3  # never early; late on a busy machine
        assert came_s >= due_s - 1e-3
    assert frames[0][0].timestamp_s == 0
    assert source.status.state == "ended"
    assert "has ended" in source.status.message
    assert source.info.time_base == Fraction(1, 90_000)
    with pytest.raises(ValueError, match="was read before"):
        iter(source)


def test_closing_ends_the_playing_at_once(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.mkv", vfr_pts=[0, 60_000], time_base=Fraction(1, 1000), b_frames=0)
    source = RealtimeFile(clip)
    threading.Timer(0.2, source.close).start()
    started_s = time.monotonic()
    assert len(list(source)) == 1
    assert time.monotonic() - started_s < 5
    assert "was closed" in source.status.message


def test_a_late_reader_gets_the_newest_picture_behind_a_buffer(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.mp4", n=30, fps=30)
    with Buffered(RealtimeFile(clip), 1, "drop_oldest") as source:
        read = []
        for frame in source:
            read.append(number_of(frame.image))
            time.sleep(0.1)
    assert read == sorted(read)
    assert source.dropped > 5
    assert len(read) + source.dropped == 30


# ---------------------------------------------------------------- cameras


def test_a_missing_camera_is_named_and_the_others_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(fertrack.sources.stream.camera, "_DEVICES", tmp_path)
    with pytest.raises(VideoOpenError, match=r"there is no camera 77, and no other one on this machine: plug one in"):
        CameraSource(77)
    for number, name, order in ((0, "Integrated", 0), (1, "Integrated", 1), (10, "USB", 0), (2, "Lid", 0)):
        folder = tmp_path / f"video{number}"
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "index").write_text(f"{order}\n")
    (tmp_path / "video3").mkdir()  # vanishing
    assert cameras() == {0: "Integrated", 2: "Lid", 10: "USB"}
    with pytest.raises(VideoOpenError, match=r"no camera 77: choose one of 0 \(Integrated\), 2 \(Lid\), 10 \(USB\)$"):
        CameraSource(77)
    with pytest.raises(ValueError, match="0 or more"):
        CameraSource(-1)


def test_a_camera_that_cannot_be_opened_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fertrack.sources.stream.camera, "refuse_missing_camera", lambda index: None)
    with pytest.raises(VideoOpenError, match="camera 77 cannot be opened: close other programs that use it"):
        CameraSource(77, QUICK)


def test_a_camera_is_asked_for_size_and_rate() -> None:
    asked: list[tuple[int, float]] = []

    class Driver:
        def set(self, option: int, value: float) -> bool:
            asked.append((option, value))
            return True

    ask_camera(Driver(), StreamConfig())
    assert asked == [(cv2.CAP_PROP_BUFFERSIZE, 1)]
    asked.clear()
    ask_camera(Driver(), StreamConfig(camera_width=1280, camera_height=720, camera_fps=25))
    assert asked[0] == (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))  # drivers want the format first
    assert {(cv2.CAP_PROP_FRAME_WIDTH, 1280), (cv2.CAP_PROP_FRAME_HEIGHT, 720), (cv2.CAP_PROP_FPS, 25)} < set(asked)


class PluggedCamera(CameraSource):
    """A camera whose driver is a video file: it is unplugged when the file ends."""

    def __init__(self, clip: Path, config: StreamConfig) -> None:
        self.clip = clip
        super().__init__(0, config)

    def _connect(self, lifeline: Lifeline) -> Connection:
        def driver() -> cv2.VideoCapture:
            return cv2.VideoCapture(str(self.clip))

        return CameraConnection(driver, self._name, lifeline, self._config.stall_timeout_s)


def test_an_unplugged_camera_comes_back(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.avi", n=4, codec="mjpeg", pix_fmt="yuvj420p")
    with PluggedCamera(clip, QUICK) as source:
        last = -1
        for frame in itertools.islice(source, 200):
            assert frame.index == last + 1
            last = frame.index
            if source.status.reconnects == 3:
                break
        assert source.info.name == source.info.path == "camera 0"
        assert (source.info.width, source.info.height) == (128, 96)
    assert source.status.state == "ended"
    assert not [thread for thread in threading.enumerate() if thread.name == "fertrack-camera"]


class SlowDriver:
    """What OpenCV's capture is like when the camera hangs."""

    def __init__(self, released: threading.Event) -> None:
        self.released = released

    def isOpened(self) -> bool:
        return True

    def get(self, _: int) -> float:
        return 30.0

    def grab(self) -> bool:
        return not self.released.wait(20)

    def release(self) -> None:
        pass


def test_a_camera_that_hangs_is_given_up_and_can_be_closed() -> None:
    released = threading.Event()
    closing = threading.Event()
    lifeline = Lifeline(closing, 0.3)
    connection = CameraConnection(lambda: SlowDriver(released), "camera 0", lifeline, 1.0)
    with pytest.raises(TimeoutError, match=r"no picture for 0\.3 s"):
        connection.read()
    lifeline.extend(60)
    threading.Timer(0.2, closing.set).start()
    with pytest.raises(SourceClosedError):
        connection.read()
    connection.close()  # does not wait for the driver
    released.set()


# ---------------------------------------------------------------- waiting


def test_waits_double_up_to_the_longest_and_are_never_short() -> None:
    backoff = Backoff(0.5, 10.0, random.Random(1))
    waits = [backoff.next_wait_s() for _ in range(200)]
    for wait_s, longest_s in zip(waits, itertools.chain([0.5, 1, 2, 4, 8], itertools.repeat(10)), strict=False):
        assert longest_s / 2 <= wait_s <= longest_s
    assert len({round(wait_s, 6) for wait_s in waits}) > 150  # jitter


def test_only_a_connection_that_worked_starts_the_waits_anew() -> None:
    backoff = Backoff(1.0, 60.0)
    for _ in range(6):
        backoff.next_wait_s()
    backoff.worked_for(0.5)
    assert backoff.next_wait_s() >= 30
    backoff.worked_for(3.0)
    assert backoff.next_wait_s() <= 1


# ---------------------------------------------------------------- time


def test_arrival_times_strictly_increase_in_whole_ticks() -> None:
    clock = ArrivalClock(100.0)
    times = [clock.stamp(moment_s) for moment_s in (100.0, 100.0, 99.0, 100.5, 100.5, 100.500001, 101.0)]
    assert times[0] == 0
    assert all(later > earlier for earlier, later in itertools.pairwise(times))
    assert times[3] == 0.5
    assert times[-1] == 1.0
    assert all((time_s * 90_000) == pytest.approx(round(time_s * 90_000), abs=1e-6) for time_s in times)


def test_the_pacer_goes_by_the_pictures_times_and_starts_anew_where_they_jump() -> None:
    pacer = Pacer()
    now_s = time.monotonic()
    first_s = pacer.due_s(1000.0)
    assert first_s == pytest.approx(now_s, abs=0.5)
    assert pacer.due_s(1000.5) == pytest.approx(first_s + 0.5)
    assert pacer.due_s(1002.0) == pytest.approx(first_s + 2.0)
    late = pacer.due_s(3.0)  # the sender's clock began again
    assert late == pytest.approx(time.monotonic(), abs=0.5)
    assert pacer.due_s(3.25) == pytest.approx(late + 0.25)
    assert pacer.due_s(3.25 + 3600) == pytest.approx(time.monotonic(), abs=0.5)
    assert pacer.due_s(None) == pytest.approx(time.monotonic(), abs=0.5)


# ---------------------------------------------------------------- size


def shown(image: np.ndarray) -> StampedFrame:
    return StampedFrame(0.0, 0.0, image)


@pytest.mark.parametrize(
    ("size", "bars"),
    [((256, 96), (slice(0, 24), slice(None))), ((96, 96), (slice(None), slice(0, 16))), ((64, 48), None)],
)
def test_other_sizes_are_shown_whole(size: tuple[int, int], bars: tuple[slice, slice] | None) -> None:
    letterbox = Letterbox(shown(picture(0, (128, 96))))
    boxed = letterbox.fit(shown(picture(5, size)))
    assert boxed.shape == (96, 128, 3)
    assert boxed.flags.c_contiguous
    if bars:
        assert not boxed[bars].any()
        assert not boxed[::-1, ::-1][bars].any()
    inner = boxed[boxed.any(axis=(1, 2))][:, boxed.any(axis=(0, 2))]
    assert number_of(inner) == 5
    assert inner.shape[1] / inner.shape[0] == pytest.approx(size[0] / size[1], rel=0.03)


def test_pictures_are_turned_as_asked() -> None:
    letterbox = Letterbox(shown(picture(0)), 90)
    assert (letterbox.width, letterbox.height, letterbox.rotation) == (96, 128, 90)
    assert np.array_equal(letterbox.fit(shown(picture(3))), np.rot90(picture(3), -1))


def test_only_so_many_sizes_are_told() -> None:
    letterbox = Letterbox(shown(picture(0)))

    def told() -> Iterator[bool]:
        for width in range(200, 240):
            yield letterbox.is_new_size(shown(picture(0, (width, 96))))

    assert sum(told()) == 7
    assert not letterbox.is_new_size(shown(picture(0)))
