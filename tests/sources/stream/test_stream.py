"""Streams over HTTP: pictures as they come, and back again after everything that can happen to a connection."""

from __future__ import annotations

import itertools
import logging
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from fertrack.errors import VideoOpenError
from fertrack.protocols import VideoSource
from fertrack.sources import InputConfig, StreamConfig, StreamSource, StreamStatus
from fertrack.types import Frame
from tests.support.stream_servers import Script, closed_port, folder_server, mjpeg_server, mute_server
from tests.support.video_factory import make_video, number_of

SECRET = "geheim"
# It waits but briefly between two attempts, and as long as a busy machine takes for each picture.
QUICK = StreamConfig(longest_lag_s=30, backoff_start_s=0.04, backoff_max_s=0.2, stall_timeout_s=20, open_timeout_s=60)
# Silence is soon a loss: for streams that fall silent.
BRIEF = QUICK.model_copy(update={"stall_timeout_s": 1.0})
# What does not answer is soon given up: for those who never do.
SOON = StreamConfig(open_timeout_s=0.6, stall_timeout_s=0.6)


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    """Every socket and thread that a test opens is closed soon after it."""
    process = psutil.Process()
    before = {connection.fd for connection in process.net_connections()}
    yield
    deadline = time.monotonic() + 20
    while left := [c for c in process.net_connections() if c.fd not in before]:
        assert time.monotonic() < deadline, f"still open: {left}"
        time.sleep(0.02)
    for thread in threading.enumerate():
        if thread.name.startswith("fertrack"):
            thread.join(20)  # an attempt to connect that was given up may take a moment
            assert not thread.is_alive(), thread


def take(frames: Iterator[Frame], count: int) -> list[Frame]:
    return list(itertools.islice(frames, count))


def until_reconnected(source: StreamSource, frames: Iterator[Frame], times: int = 1) -> list[Frame]:
    read = []
    for frame in itertools.islice(frames, 3000):
        read.append(frame)
        if source.status.reconnects >= times:
            return read
    raise AssertionError(f"ended: {source.status}")


# ---------------------------------------------------------------- what comes


@pytest.mark.parametrize("with_length", [True, False])
def test_pictures_come_in_order_with_the_times_of_their_arrival(with_length: bool) -> None:
    sent_s: list[float] = []
    script = Script(fps=50, with_length=with_length, on_sent=lambda: sent_s.append(time.monotonic()))
    before_s = time.monotonic()
    with mjpeg_server(script) as address, StreamSource(address, QUICK) as source:
        assert isinstance(source, VideoSource)
        reading = iter(source)
        frames = take(reading, 30)
        after_s = time.monotonic()
        assert source.status.state == "live"
        assert [number_of(frame.image) for frame in frames] == list(range(30))
        assert [frame.index for frame in frames] == list(range(30))
        times = [frame.timestamp_s for frame in frames]
        assert times[0] == 0
        assert all(later > earlier for earlier, later in itertools.pairwise(times))
        assert times[-1] == pytest.approx(sent_s[29] - sent_s[0], abs=0.4)  # the server's pace, not a nominal rate
        assert before_s < source.started_monotonic_s < source.started_monotonic_s + times[-1] < after_s
        assert (
            abs(source.started_at.timestamp() - (time.time() - (time.monotonic() - source.started_monotonic_s))) < 0.1
        )
        ticks = [time_s / source.info.time_base for time_s in times]
        assert ticks == pytest.approx([round(tick) for tick in ticks], abs=1e-6)
        assert (source.info.width, source.info.height, source.info.codec) == (128, 96, "mjpeg")
        assert (source.info.fps, source.info.frame_count, source.info.has_audio) == (0, 0, False)
        assert source.info.path == source.info.name == address
        assert source.decode_failures == source.dropped == 0
    assert source.status.state == "ended"
    assert source.notes == []


def test_rate_rotation_and_end_are_those_asked_for() -> None:
    options = InputConfig(rate_hz=10, rotate=90, to_s=1.0)
    with mjpeg_server(Script(fps=100)) as address, StreamSource(address, QUICK, options) as source:
        frames = list(source)
    assert frames[0].image.shape == (128, 96, 3)
    assert (source.info.width, source.info.height, source.info.rotation) == (96, 128, 90)
    assert 4 <= len(frames) <= 11
    assert frames[-1].timestamp_s < 1.0
    assert max(np.diff([frame.index for frame in frames])) > 1  # those in between were read, and left out


def test_it_is_read_once() -> None:
    with mjpeg_server(Script()) as address, StreamSource(address, QUICK) as source:
        frames = iter(source)
        take(frames, 1)
        with pytest.raises(ValueError, match="was read before"):
            iter(source)


def test_another_programs_mjpeg(tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("the ffmpeg command is not installed")
    clip = make_video(tmp_path / "a.mp4", n=300)
    port = closed_port()
    command = ["ffmpeg", "-v", "quiet", "-re", "-i", str(clip), "-q:v", "2", "-f", "mpjpeg", "-listen", "1"]
    with subprocess.Popen([*command, f"http://127.0.0.1:{port}/"], stdin=subprocess.DEVNULL) as sender:
        config = QUICK.model_copy(update={"retry_first": True, "give_up_s": 60.0})
        with StreamSource(f"http://127.0.0.1:{port}/", config) as source:
            frames = take(iter(source), 20)
        sender.kill()
    assert [number_of(frame.image) for frame in frames] == list(range(20))


# ---------------------------------------------------------------- what happens to connections


def test_twenty_disconnects_are_survived(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fertrack")
    config = QUICK.model_copy(update={"backoff_max_s": 0.06})
    with mjpeg_server(Script(cut_after=3, fps=500)) as address, StreamSource(address, config) as source:
        frames = until_reconnected(source, iter(source), 20)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert len(frames) == 61
    assert all(later > earlier for earlier, later in itertools.pairwise(frame.timestamp_s for frame in frames))
    messages = [record.getMessage() for record in caplog.records]
    assert sum("connecting again" in message for message in messages) == 20  # once per outage
    assert sum("is live again" in message for message in messages) == 20
    levels = {record.levelname for record in caplog.records if "again" in record.getMessage()}
    assert levels == {"WARNING"}, "who is told of a loss is told of its end"
    assert any("lost and made again 20 times" in note for note in source.notes)


def test_a_stall_is_noticed_and_the_stream_comes_back() -> None:
    script = Script(stall_after=5, stalled_connections=1)
    config = BRIEF.model_copy(update={"backoff_start_s": 0.2})
    with mjpeg_server(script) as address, StreamSource(address, config) as source:
        frames = iter(source)
        read = take(frames, 5)
        seen: list[StreamStatus] = []

        def watch() -> None:
            while source.status.state == "live":
                time.sleep(0.005)
            seen.append(source.status)

        watcher = threading.Thread(target=watch)
        watcher.start()
        read += until_reconnected(source, frames)
        watcher.join()
        assert seen[0].state == "reconnecting"
        assert seen[0].attempt == 1
        assert "does not send a picture in time" in seen[0].message
        assert source.status.state == "live"
        assert source.status.attempt == 0
        gap_s = read[5].timestamp_s - read[4].timestamp_s
        assert gap_s > 1.0  # the outage is a gap
        assert number_of(read[5].image) == 0
    (told,) = [float(found[1]) for note in source.notes if (found := re.search(r"once; ([\d.]+) s are missing", note))]
    assert told == pytest.approx(gap_s, abs=0.11), "it began with the last picture, not when that was noticed"


def test_an_outage_that_is_not_over_at_the_end_is_noted() -> None:
    with mjpeg_server(Script(cut_after=2)) as address:
        source = StreamSource(address, QUICK)
        frames = iter(source)
        take(frames, 2)
    threading.Timer(1.0, source.close).start()
    assert list(frames) == []
    (note,) = source.notes
    assert re.search(r"lost and not made again; the last \d+\.\d s are missing", note)


def test_a_reader_may_take_its_time() -> None:
    with mjpeg_server(Script()) as address, StreamSource(address, BRIEF) as source:
        time.sleep(1.3)
        frames = iter(source)
        take(frames, 2)
        time.sleep(1.3)
        take(frames, 2)
        assert source.status.reconnects == 0
        assert source.status.state == "live"


def test_a_restart_with_another_size_is_shown_with_black_bars() -> None:
    script = Script(size=(128, 96), cut_after=4)
    with mjpeg_server(script) as address, StreamSource(address, QUICK) as source:
        frames = iter(source)
        take(frames, 4)
        script.size = (128, 48)
        frame = until_reconnected(source, frames)[-1]
        assert frame.image.shape == (96, 128, 3)
        assert not frame.image[:20].any()
        assert not frame.image[-20:].any()
        assert number_of(frame.image[24:72]) == 0
        assert sum("128x48 are shown with black bars at 128x96" in note for note in source.notes) == 1


def test_garbage_ends_the_connection_not_the_source() -> None:
    script = Script(cut_after=3)
    with mjpeg_server(script) as address, StreamSource(address, BRIEF) as source:
        frames = iter(source)
        take(frames, 3)
        script.garbage = bytes(range(256)) * 40
        recovered = threading.Timer(1.0, lambda: setattr(script, "garbage", b""))
        recovered.start()
        until_reconnected(source, frames)
        recovered.join()
    assert script.connections < 20


def test_damaged_pictures_are_counted_and_skipped() -> None:
    script = Script(damaged=(3, 4))
    with mjpeg_server(script) as address, StreamSource(address, QUICK) as source:
        reading = iter(source)
        frames = take(reading, 10)
        assert [number_of(frame.image) for frame in frames] == [0, 1, 2, 5, 6, 7, 8, 9, 10, 11]
        assert source.decode_failures == 2
        assert source.status.reconnects == 0


def test_a_server_that_is_gone_is_tried_again_at_a_bounded_rate_until_closed() -> None:
    config = StreamConfig(backoff_start_s=0.1, backoff_max_s=0.2)
    with mjpeg_server(Script(cut_after=1)) as address:
        source = StreamSource(address, config)
        frames = iter(source)
        take(frames, 1)
    seen: list[StreamStatus] = []

    def close() -> None:
        seen.append(source.status)
        source.close()

    closing = threading.Timer(1.2, close)
    closing.start()
    started_s = time.monotonic()
    assert list(frames) == []
    took_s = time.monotonic() - started_s
    assert took_s < 10
    closing.join()
    assert source.status.state == "ended"
    assert seen[0].state == "reconnecting"
    assert "refuses the connection" in seen[0].message
    assert 3 <= seen[0].attempt <= took_s / 0.05 + 1  # each wait is at least half of backoff_start_s


def test_a_server_that_always_fails_after_one_picture_is_not_asked_in_a_tight_loop() -> None:
    script = Script(cut_after=1, fps=1000)
    config = StreamConfig(backoff_start_s=0.05, backoff_max_s=0.4)
    started_s = time.monotonic()
    with mjpeg_server(script) as address, StreamSource(address, config) as source:
        threading.Timer(1.5, source.close).start()
        list(source)
    took_s = time.monotonic() - started_s
    assert 3 < script.connections <= took_s / 0.2 + 5  # 0.05, 0.1, 0.2, 0.4, 0.4 ..., halved at most
    waits = np.diff(script.times)
    assert waits[-1] > 0.15


def test_giving_up_ends_the_source_with_a_note() -> None:
    with mjpeg_server(Script(cut_after=2)) as address:
        source = StreamSource(address, QUICK.model_copy(update={"give_up_s": 0.5}))
        frames = iter(source)
        take(frames, 2)
    assert list(frames) == []
    assert source.status.state == "ended"
    assert [note for note in source.notes if "was given up after 0.5 s" in note and "refuses" in note]


# ---------------------------------------------------------------- waits that must end


@pytest.mark.parametrize("scheme", ["http", "https", "rtsp"])
def test_a_server_that_says_nothing_is_refused_in_time(scheme: str) -> None:
    started_s = time.monotonic()
    with mute_server() as port, pytest.raises(VideoOpenError, match="does not send a picture in time"):
        StreamSource(f"{scheme}://127.0.0.1:{port}/x", SOON)
    assert time.monotonic() - started_s < 10


@pytest.mark.parametrize("scheme", ["http", "https", "rtsp", "udp"])
def test_waiting_for_the_first_picture_can_be_ended(scheme: str) -> None:
    closing = threading.Event()
    threading.Timer(0.2, closing.set).start()
    started_s = time.monotonic()
    config = StreamConfig(open_timeout_s=6)
    with mute_server() as port, pytest.raises(VideoOpenError, match="was closed before its first picture"):
        StreamSource(f"{scheme}://127.0.0.1:{port}/x", config, closing=closing)
    assert time.monotonic() - started_s < 5


def test_close_ends_a_blocked_read_at_once() -> None:
    with mjpeg_server(Script(stall_after=2)) as address:
        source = StreamSource(address, StreamConfig(stall_timeout_s=60))
        frames = iter(source)
        take(frames, 2)
        threading.Timer(0.3, source.close).start()
        started_s = time.monotonic()
        assert list(frames) == []
        assert time.monotonic() - started_s < 20
        assert source.status.state == "ended"
        source.close()


def test_closed_before_it_is_read(tmp_path: Path) -> None:
    with mjpeg_server(Script()) as address:
        source = StreamSource(address, QUICK)
        source.close()
        assert list(source) == []


# ---------------------------------------------------------------- addresses that cannot be opened


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (Script(status=404), r"answers 404 .*: there is nothing under this path"),
        (Script(status=503), r"answers 503 .*: the server refuses or is overloaded"),
        (Script(account="ana:geheim"), r"answers 401 .*: give name and password"),
        (Script(content_type="text/html"), "answers with a web page"),
        (Script(content_type="image/jpeg"), "is a single picture"),
        (Script(content_type="audio/mpeg"), "is sound without pictures"),
        (Script(garbage=b"\x13" * 5000), "sends nothing that|does not send a picture"),
        (Script(content_type="video/mp4", garbage=b"\x13" * 100_000), "sends nothing that|does not send a picture"),
        (Script(cut_after=0, stall_after=0), "does not send a picture in time"),
    ],
)
def test_the_first_attempt_fails_loudly(script: Script, sentence: str) -> None:
    config = SOON if "does not send" in sentence else QUICK
    with mjpeg_server(script) as address, pytest.raises(VideoOpenError, match=sentence) as refused:
        StreamSource(address, config)
    assert str(refused.value).startswith(address)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("http://127.0.0.1:{closed}/x", "refuses the connection"),
        ("rtsp://127.0.0.1:{closed}/x", "refuses the connection"),
        ("http://no-such-host.invalid/x", "no host of this name is known"),
        ("rtsp://no-such-host.invalid/x", "no host of this name is known"),
        ("ftp://127.0.0.1/x", "has to begin with rtsp://, .* or udp://"),
        ("clip.mp4", "is not the address of a stream"),
        ("http:///x", "names no host"),
        ("http://127.0.0.1:port/x", "names no host"),
        ("udp://@", "names no port"),
        ("udp://192.0.2.1:1234", "names no address of this machine"),
        ("udp://no-such-host.invalid:1234", "names no address of this machine"),
    ],
)
def test_what_is_no_address_is_refused(address: str, sentence: str) -> None:
    with pytest.raises(VideoOpenError, match=sentence):
        StreamSource(address.replace("{closed}", str(closed_port())), QUICK)


def test_a_source_may_be_waited_for() -> None:
    port = closed_port()
    config = QUICK.model_copy(update={"retry_first": True})
    address = f"http://127.0.0.1:{port}/video"

    def serve() -> None:
        time.sleep(0.4)
        with mjpeg_server(Script(), port):
            served.wait(100)

    served = threading.Event()
    server = threading.Thread(target=serve)
    server.start()
    with StreamSource(address, config) as source:
        assert len(take(iter(source), 3)) == 3
        assert source.status.reconnects == 0
    served.set()
    server.join()
    given_up = config.model_copy(update={"give_up_s": 0.3})
    with pytest.raises(VideoOpenError, match="refuses the connection"):
        StreamSource(address, given_up)


# ---------------------------------------------------------------- credentials


@pytest.mark.parametrize("digest", [False, True])
def test_an_account_opens_the_stream_and_is_shown_nowhere(digest: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    script = Script(account=f"ana:{SECRET}", digest=digest, cut_after=3)
    with mjpeg_server(script) as address:
        location = address.replace("//", f"//ana:{SECRET}@") + f"?token={SECRET}&w=640"
        with StreamSource(location, QUICK) as source:
            until_reconnected(source, iter(source))
            shown = [source.info, source.status, source.notes, vars(source)["_address"]]
        script.account = "ana:other"
        with pytest.raises(VideoOpenError, match="answers 401") as refused:
            StreamSource(location, QUICK)
        assert refused.value.__cause__ is None
        assert refused.value.__context__ is None
    everything = f"{shown} {source.status} {source.notes} {refused.value} {caplog.text}"
    assert SECRET not in everything
    assert "w=640" in source.info.path


def test_an_account_is_not_passed_on_to_another_host() -> None:
    elsewhere = Script()
    with mjpeg_server(elsewhere) as target:
        script = Script(redirect=target.replace("127.0.0.1", "localhost"))
        with mjpeg_server(script) as address, StreamSource(address.replace("//", "//ana:geheim@"), QUICK) as source:
            assert len(take(iter(source), 3)) == 3
        elsewhere.account = "ana:geheim"
        with mjpeg_server(script) as address, pytest.raises(VideoOpenError, match="answers 401"):
            StreamSource(address.replace("//", "//ana:geheim@"), QUICK)


# ---------------------------------------------------------------- HLS, and files on a server


def hls(folder: Path, seconds: int, *, live: bool) -> Path:
    clip = make_video(folder / "a.mp4", n=seconds * 30, gop=15, b_frames=0)
    options = {"hls_time": "0.5", "hls_list_size": "0", "hls_segment_filename": str(folder / "part%d.ts")}
    with av.open(str(clip)) as source, av.open(str(folder / "v.m3u8"), "w", format="hls", options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    if live:
        text = (folder / "v.m3u8").read_text()
        (folder / "v.m3u8").write_text(text.replace("#EXT-X-ENDLIST\n", ""))
    return folder / "v.m3u8"


def test_hls_is_played_at_its_own_pace_to_its_end(tmp_path: Path) -> None:
    hls(tmp_path, 1, live=False)
    with folder_server(tmp_path, account="ana:geheim") as (address, asked):
        location = address.replace("//", "//ana:geheim@") + "/v.m3u8?token=geheim"
        with StreamSource(location, QUICK) as source:
            frames = list(source)
    assert [number_of(frame.image) for frame in frames] == list(range(30))
    assert frames[-1].timestamp_s == pytest.approx(29 / 30, abs=0.3)
    assert source.status.state == "ended"
    assert source.notes == []
    assert any(line.startswith("/v.m3u8?token=geheim Basic") for line in asked)
    assert any(line.startswith("/part1.ts Basic") for line in asked)


def test_live_hls_is_followed_and_its_silence_is_a_loss(tmp_path: Path) -> None:
    playlist = hls(tmp_path, 3, live=True)
    whole = playlist.read_text()
    playlist.write_text(whole[: whole.index("#EXTINF", whole.index("part3.ts"))])
    with folder_server(tmp_path) as (address, _), StreamSource(f"{address}/v.m3u8", BRIEF) as source:
        frames = iter(source)
        first = take(frames, 15)
        playlist.write_text(whole)
        later = take(frames, 30)
        numbers = [number_of(frame.image) for frame in first + later]
        assert numbers == list(range(numbers[0], numbers[0] + 45))
        until_reconnected(source, frames)  # nothing is added any more: lost, and read again from its last parts


def test_hls_parts_on_another_host_are_fetched_without_the_account(tmp_path: Path) -> None:
    playlist = hls(tmp_path, 1, live=False)
    with folder_server(tmp_path) as (elsewhere, asked), folder_server(tmp_path, "ana:geheim") as (address, _):
        playlist.write_text(playlist.read_text().replace("part", f"{elsewhere}/part"))
        with StreamSource(address.replace("//", "//ana:geheim@") + "/v.m3u8", QUICK) as source:
            assert len(list(source)) == 30
    assert asked
    assert not any("Basic" in line for line in asked)


def test_hls_may_not_read_this_machines_files(tmp_path: Path) -> None:
    playlist = hls(tmp_path, 1, live=False)
    secret = tmp_path / "part0.ts"
    playlist.write_text(playlist.read_text().replace("part0.ts", f"file://{secret}"))
    with folder_server(tmp_path) as (address, _), pytest.raises(VideoOpenError):
        StreamSource(f"{address}/v.m3u8", SOON)


def test_a_file_on_a_server_is_played_at_its_own_pace_to_its_end(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", n=15, fps=30, faststart=True)
    with folder_server(tmp_path) as (address, _), StreamSource(f"{address}/a.mp4", QUICK) as source:
        frames = list(source)
    assert [number_of(frame.image) for frame in frames] == list(range(15))
    assert frames[-1].timestamp_s == pytest.approx(14 / 30, abs=0.3)
    assert source.status.state == "ended"


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.ts"), "w") as container:
        stream = container.add_stream("mp2", rate=48000, layout="mono")
        for number in range(40):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), format="s16", layout="mono")
            sound.rate, sound.pts = 48000, number * 1152
            container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with (
        folder_server(tmp_path) as (address, _),
        pytest.raises(VideoOpenError, match=r"has no video in it: give the address of a stream with pictures"),
    ):
        StreamSource(f"{address}/a.ts", QUICK)


def test_a_certificate_that_cannot_be_checked(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=camera", "-days", "2", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    script = Script(tls=(certificate, key), stall_after=3, stalled_connections=2)
    with mjpeg_server(script) as address:
        with pytest.raises(VideoOpenError, match=r"certificate .* stream\.tls_verify = false"):
            StreamSource(address, QUICK)
        with StreamSource(address, QUICK.model_copy(update={"tls_verify": False})) as source:
            frames = iter(source)
            assert len(take(frames, 3)) == 3
            threading.Timer(0.2, source.close).start()
            started_s = time.monotonic()
            list(frames)
            assert time.monotonic() - started_s < 10
    with mjpeg_server(Script()) as address, pytest.raises(VideoOpenError, match="does not speak TLS"):
        StreamSource(address.replace("http:", "https:"), QUICK)
