"""RTSP and MPEG-TS over UDP: pictures as they come, and back again after what can happen to a connection."""

from __future__ import annotations

import itertools
import logging
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av.logging
import psutil
import pytest

from fertrack.benchmarks.loopback.clip import StreamClip, encode_clip, number_in
from fertrack.benchmarks.loopback.rtsp import RtspServer
from fertrack.benchmarks.loopback.show import Show
from fertrack.benchmarks.loopback.udp import UdpSender
from fertrack.errors import VideoOpenError
from fertrack.sources import StreamConfig, StreamSource
from fertrack.sources.stream.cancellation import Lifeline
from fertrack.sources.stream.udp_body import UdpBody
from fertrack.types import Frame
from tests.support.stream_servers import closed_port
from tests.support.video_factory import make_video, number_of

SECRET = "ge@heim"
# It waits but briefly between two attempts, and as long as a busy machine takes for each picture.
QUICK = StreamConfig(longest_lag_s=30, backoff_start_s=0.04, backoff_max_s=0.2, stall_timeout_s=20, open_timeout_s=60)
# Silence is soon a loss: for streams that fall silent.
BRIEF = QUICK.model_copy(update={"stall_timeout_s": 1.5, "open_timeout_s": 10.0})


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    process = psutil.Process()
    before = {connection.fd for connection in process.net_connections()}
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("fertrack"):
            thread.join(20)
            assert not thread.is_alive(), thread
    assert not [connection for connection in process.net_connections() if connection.fd not in before]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], StreamClip]:
    path = make_video(tmp_path_factory.mktemp("clip") / "a.mp4", n=60, size=(320, 240), b_frames=0)
    return {size: encode_clip(path, "h264", fps=60, size=size, numbered=True) for size in ((320, 240), (320, 120))}


@pytest.fixture
def show(clips: dict[tuple[int, int], StreamClip]) -> Show:
    return Show(clips[320, 240])


def take(frames: Iterator[Frame], count: int) -> list[Frame]:
    return list(itertools.islice(frames, count))


def until_reconnected(source: StreamSource, frames: Iterator[Frame], times: int = 1) -> Frame:
    for frame in itertools.islice(frames, 3000):
        if source.status.reconnects >= times:
            return frame
    raise AssertionError(f"did not come back: {source.status}")


# ---------------------------------------------------------------- RTSP


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp_pictures_come_in_order(show: Show, transport: str) -> None:
    config = QUICK.model_copy(update={"transport": transport})
    with RtspServer(show) as server:
        with StreamSource(server.address, config) as source:
            frames = iter(source)
            read = take(frames, 40)
            numbers = [number_in(frame.image) for frame in read]
            assert numbers == [(numbers[0] + step) % 60 for step in range(40)]
            assert [frame.index for frame in read] == list(range(40))
            assert all(b.timestamp_s > a.timestamp_s for a, b in itertools.pairwise(read))
            assert (source.info.codec, source.info.width, source.info.height) == ("h264", 320, 240)
            assert source.info.path == server.address
            assert source.decode_failures == 0
        deadline = time.monotonic() + 20  # the server has to hear of it before it ends itself
        while server.requests[-1] != "TEARDOWN" and transport == "tcp":
            assert time.monotonic() < deadline, server.requests
            time.sleep(0.01)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp_survives_cuts_stalls_and_another_size(
    show: Show, clips: dict[tuple[int, int], StreamClip], transport: str
) -> None:
    config = BRIEF.model_copy(update={"transport": transport})
    with RtspServer(show) as server, StreamSource(server.address, config) as source:
        frames = iter(source)
        take(frames, 5)
        show.cut(0.3)
        until_reconnected(source, frames)
        show.stall(2.5)
        until_reconnected(source, frames, 2)
        show.change(clips[320, 120])  # on the same connection
        assert any(not frame.image[:50].any() and not frame.image[-50:].any() for frame in take(frames, 100))
        assert any("320x120 are shown with black bars at 320x240" in note for note in source.notes)
        assert source.status.state == "live"
    assert any("lost and made again 2 times" in note for note in source.notes)


def test_rtsp_account_is_shown_nowhere_not_even_in_ffmpegs_log(show: Show, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "libav")
    level = av.logging.get_level()
    av.logging.set_level(av.logging.DEBUG)
    try:
        with RtspServer(show, account=f"ana:{SECRET}") as server:
            location = server.address.replace("//", f"//ana:{SECRET}@") + f"?token={SECRET}"
            with StreamSource(location, QUICK) as source:
                frames = iter(source)
                take(frames, 5)
                show.cut()
                until_reconnected(source, frames)
                shown = f"{source.info} {source.status} {source.notes}"
            for wrong in (server.address, location.replace(f":{SECRET}@", ":other@")):
                with pytest.raises(VideoOpenError, match="answers 401: give name and password") as refused:
                    StreamSource(wrong, QUICK)
                shown += f"{refused.value!r} {refused.value.__cause__!r} {refused.value.__context__!r}"
    finally:
        av.logging.set_level(level)
    assert [record for record in caplog.records if record.name.startswith("libav")]
    assert SECRET not in shown + caplog.text


def test_rtsp_close_ends_a_blocked_read_at_once(show: Show) -> None:
    with RtspServer(show) as server:
        source = StreamSource(server.address, QUICK.model_copy(update={"stall_timeout_s": 60}))
        frames = iter(source)
        take(frames, 3)
        show.stall(60)
        threading.Timer(0.5, source.close).start()
        started_s = time.monotonic()
        list(frames)
        assert time.monotonic() - started_s < 20
        assert source.status.state == "ended"


def test_rtsp_close_ends_connecting_at_once(show: Show) -> None:
    """The server answers everything and sends nothing: FFmpeg waits, and cannot be told to stop."""
    config = BRIEF.model_copy(update={"open_timeout_s": 6.0})
    with RtspServer(show) as server:
        source = StreamSource(server.address, config)
        frames = iter(source)
        take(frames, 3)
        show.stall(60)

        def close_while_connecting() -> None:
            while server.requests.count("PLAY") < 2:
                time.sleep(0.01)
            time.sleep(0.2)
            closed_s.append(time.monotonic())
            source.close()

        closed_s: list[float] = []
        closing = threading.Thread(target=close_while_connecting)
        closing.start()
        take(frames, 1000)
        assert time.monotonic() - closed_s[0] < 5
        assert source.status.state == "ended"
        closing.join()


def test_what_is_no_rtsp_server_is_refused() -> None:
    with pytest.raises(VideoOpenError, match="refuses the connection"):
        StreamSource(f"rtsp://127.0.0.1:{closed_port()}/x", QUICK)


# ---------------------------------------------------------------- UDP


def test_udp_pictures_come_in_order_and_come_back(show: Show, clips: dict[tuple[int, int], StreamClip]) -> None:
    with UdpSender(show) as sender, StreamSource(sender.address, BRIEF) as source:
        frames = iter(source)
        read = take(frames, 40)
        numbers = [number_in(frame.image) for frame in read]
        assert numbers == [(numbers[0] + step) % 60 for step in range(40)]
        show.cut(2.5)
        until_reconnected(source, frames)
        show.change(clips[320, 120])
        assert any(not frame.image[:50].any() for frame in take(frames, 100))
        show.stall(60)
        threading.Timer(0.4, source.close).start()
        started_s = time.monotonic()
        list(frames)
        assert time.monotonic() - started_s < 10
        assert source.status.state == "ended"


def test_another_programs_transport_stream_with_losses(tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("the ffmpeg command is not installed")
    clip = make_video(tmp_path / "a.mp4", n=300, b_frames=0, gop=10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["ffmpeg", "-v", "quiet", "-re", "-i", str(clip), "-c", "copy", "-f", "mpegts"]
    with subprocess.Popen([*command, f"udp://127.0.0.1:{port}?pkt_size=1316"], stdin=subprocess.DEVNULL) as sender:
        with (
            StreamSource(f"udp://@:{port}", QUICK) as source,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise,
        ):
            frames = iter(source)
            read = take(frames, 20)
            for _ in range(50):
                noise.sendto(bytes(range(256)) * 5, ("127.0.0.1", port))
            read += take(frames, 60)
        sender.kill()
    numbers = [number_of(frame.image) for frame in read]
    assert numbers[:20] == list(range(numbers[0], numbers[0] + 20))
    assert numbers[-20:] == list(range(numbers[-20], numbers[-20] + 20))  # whole again after the garbage
    assert source.status.reconnects == 0


def test_a_udp_port_in_use_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(VideoOpenError, match=f"port {port} is in use by another program"):
            StreamSource(f"udp://127.0.0.1:{port}", QUICK)


def test_udp_groups_can_be_joined(show: Show) -> None:
    group = "239.255.77.77"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    content = b"".join(picture.content for picture in show.clip.pictures)
    over = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            while not over.wait(0.01):
                sender.sendto(content[:1316], (group, port))

    body = UdpBody(f"udp://{group}:{port}?localaddr=127.0.0.1", Lifeline(threading.Event(), 5))
    thread = threading.Thread(target=send)
    thread.start()
    try:
        assert body.read(1000) + body.read(1000) == content[:1316]
    finally:
        over.set()
        thread.join()
        body.close()
