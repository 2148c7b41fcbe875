"""A clip as a live stream over loopback: in order, at its pace, with the accidents asked for, and gone at the end."""

from __future__ import annotations

import io
import itertools
import os
import threading
import time
from pathlib import Path

import pytest

from fertrack.benchmarks.loopback.clip import NUMBERS, draw_number, encode_clip, number_in
from fertrack.benchmarks.loopback.mjpeg import MjpegServer
from fertrack.benchmarks.loopback.sender import PROTOCOLS, LoopbackSender, Protocol, main
from fertrack.benchmarks.loopback.show import Show
from fertrack.errors import EvaluationError
from fertrack.sources import StreamConfig, StreamSource
from tests.support.video_factory import make_video

QUICK = StreamConfig(longest_lag_s=30, backoff_start_s=0.04, backoff_max_s=0.2, stall_timeout_s=2.0, open_timeout_s=60)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clip") / "a.mp4", n=40, size=(162, 122), b_frames=0, pix_fmt="yuv444p")


@pytest.mark.parametrize("codec", ["mjpeg", "h264"])
def test_a_clip_is_encoded_as_cameras_do(clip: Path, codec: str) -> None:
    encoded = encode_clip(clip, codec, fps=10, seconds=2, numbered=True)
    assert (encoded.codec, encoded.width, encoded.height, encoded.fps) == (codec, 162, 122, 10)
    assert len(encoded.pictures) == 20
    keys = [number for number, picture in enumerate(encoded.pictures) if picture.key]
    assert keys == (list(range(20)) if codec == "mjpeg" else [0, 10])


def test_numbers_are_drawn_and_read(clip: Path) -> None:
    image = draw_number(encode_source(clip), 2749)
    assert number_in(image) == 2749 < NUMBERS
    assert number_in(draw_number(image, 5, wanted=False)) == 2749


def encode_source(clip: Path) -> object:
    from fertrack.sources import open_source

    with open_source(clip) as source:
        return next(iter(source)).image


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_another_process_sends_the_clip(clip: Path, protocol: Protocol) -> None:
    with LoopbackSender(clip, protocol, fps=50, numbered=True) as sender:
        assert sender.address.partition("://")[0] == {"mjpeg": "http"}.get(protocol, protocol)
        with StreamSource(sender.address, QUICK) as source:
            frames = iter(source)
            numbers = [number_in(frame.image) for frame in itertools.islice(frames, 30)]
            assert numbers == [(numbers[0] + step) % 40 for step in range(30)]
            seen_s = time.monotonic()
            while numbers[-1] not in sender.sent_s and time.monotonic() < seen_s + 20:
                time.sleep(0.01)  # a picture can be there before the line that says so
            assert seen_s - sender.sent_s[numbers[-1]] < 5
            sender.cut(3.5)
            assert next(frame for frame in frames if source.status.reconnects)
    with pytest.raises(EvaluationError, match="the sender has ended"):
        sender.stall(1)


def test_a_sender_that_cannot_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(EvaluationError, match=r"could not be started: .*absent\.mp4 does not exist"),
        LoopbackSender(tmp_path / "absent.mp4", "mjpeg"),
    ):
        pass


class Output(io.StringIO):
    """Tells when the sender is ready."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = threading.Event()

    def flush(self) -> None:
        if "ready" in self.getvalue():
            self.ready.set()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_commands_are_obeyed_until_they_end(clip: Path, protocol: Protocol) -> None:
    reading, writing = os.pipe()
    output = Output()
    status: list[int] = []
    with os.fdopen(reading) as commands, os.fdopen(writing, "w", buffering=1) as controls:
        arguments = [str(clip), "--protocol", protocol, "--fps", "50", "--size", "160x120", "--numbered"]
        thread = threading.Thread(target=lambda: status.append(main(arguments, commands, output)))
        thread.start()
        assert output.ready.wait(100)
        address = next(line for line in output.getvalue().splitlines() if "ready" in line).split()[1]
        with StreamSource(address, QUICK) as source:
            frames = iter(source)
            assert next(frames).image.shape == (120, 160, 3)
            controls.write("cut 0\nstall 3.5\nsize 160x60\n")
            boxed = (frame for frame in itertools.islice(frames, 2000) if not frame.image[:25].any())
            assert next(boxed)
            assert source.status.reconnects >= 1
        controls.close()
        thread.join(60)
    assert status == [0]
    assert "sent 0 " in output.getvalue()


def test_a_clip_that_is_missing_ends_it_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "absent.mp4")], io.StringIO(), io.StringIO()) == 1
    assert "does not exist" in capsys.readouterr().err


def test_a_server_that_is_down_refuses_and_comes_back(clip: Path) -> None:
    show = Show(encode_clip(clip, "mjpeg", fps=50))
    with MjpegServer(show) as server, StreamSource(server.address, QUICK) as source:
        frames = iter(source)
        next(frames)
        show.cut(0.4)
        assert show.down
        frame = next(frame for frame in frames if source.status.reconnects)
        assert frame.timestamp_s > 0.3
        assert not show.down
    assert show.over
