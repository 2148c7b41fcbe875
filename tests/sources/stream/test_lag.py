"""Live pictures stay new, and say how old they are, however slowly they are decoded or taken."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fertrack.benchmarks.loopback.clip import StreamClip, encode_clip, number_in
from fertrack.benchmarks.loopback.rtsp import RtspServer
from fertrack.benchmarks.loopback.show import Show
from fertrack.benchmarks.loopback.udp import UdpSender
from fertrack.sources import StreamConfig, StreamSource
from fertrack.sources.stream.connection import StreamConnection
from fertrack.sources.stream.packets import ArrivedPacket, LivePackets
from tests.support.stream_servers import Script, mjpeg_server
from tests.support.video_factory import make_video, number_of

LAG_S = 0.2
BRISK = StreamConfig(longest_lag_s=LAG_S, stall_timeout_s=20, open_timeout_s=60)


# ---------------------------------------------------------------- what is left out, by the clock


@dataclass(frozen=True)
class Parcel:
    number: int
    is_keyframe: bool
    size: int = 1000


class Stream:
    """Packets on demand, a clock that is set by hand, and who takes them."""

    def __init__(self, longest_lag_s: float = 1.0) -> None:
        self.now_s = 100.0
        self._given = threading.Semaphore(0)
        self._parcels: list[Parcel | Exception] = []
        self._taken = threading.Semaphore(0)
        self.packets: LivePackets[Parcel] = LivePackets(self._come(), longest_lag_s, clock_s=lambda: self.now_s)
        self.packets.start()

    def come(self, numbers: range, keys: Callable[[int], bool], size: int = 1000) -> None:
        """Packets arrive now."""
        for number in numbers:
            self._give(Parcel(number, keys(number), size))

    def end(self, error: Exception | None = None) -> None:
        self._parcels.append(error or StopIteration())
        self._given.release()
        self.packets.join()

    def take(self) -> int | None:
        arrived = self.arrived()
        return None if arrived is None else arrived.packet.number

    def arrived(self) -> ArrivedPacket[Parcel] | None:
        return self.packets.take(self._nothing_waits)

    def _nothing_waits(self) -> float:
        raise TimeoutError("nothing waits")

    def _give(self, parcel: Parcel) -> None:
        self._parcels.append(parcel)
        self._given.release()
        assert self._taken.acquire(timeout=60)  # it has been put by the time that the next is asked for

    def _come(self) -> Iterator[Parcel]:
        asked = False
        while True:
            if asked:
                self._taken.release()
            self._given.acquire()
            parcel, asked = self._parcels.pop(0), True
            if isinstance(parcel, StopIteration):
                return
            if isinstance(parcel, Exception):
                raise parcel
            yield parcel


def every(number: int) -> bool:
    return True


def never(number: int) -> bool:
    return False


def test_nothing_is_left_out_while_decoding_keeps_up() -> None:
    stream = Stream()
    stream.come(range(20), every)
    stream.now_s += 0.9
    assert [stream.take() for _ in range(20)] == list(range(20))
    stream.end()
    assert stream.take() is None
    assert stream.packets.dropped == 0


def test_mjpeg_goes_on_with_the_newest_picture() -> None:
    stream = Stream()
    stream.come(range(20), every)
    stream.now_s += 1.1
    arrived = stream.arrived()
    assert arrived is not None
    assert (arrived.packet.number, arrived.after_gap, arrived.arrived_s) == (19, True, 100.0)
    assert stream.packets.dropped == 19
    stream.end()


def test_h264_goes_on_with_the_newest_key_picture() -> None:
    stream = Stream()
    stream.come(range(25), lambda number: number % 10 == 0)
    stream.now_s += 1.1
    assert [stream.take() for _ in range(5)] == [20, 21, 22, 23, 24]
    assert stream.packets.dropped == 20
    stream.end()


def test_without_a_newer_key_picture_all_is_decoded_but_few_are_shown() -> None:
    stream = Stream()
    stream.come(range(100), never)
    stream.now_s += 2.0
    shown = []
    for _ in range(100):
        arrived = stream.arrived()
        assert arrived is not None
        assert not arrived.after_gap
        stream.now_s += 0.01
        if stream.packets.is_due(arrived.arrived_s):
            shown.append(stream.now_s)
    assert shown[-1] == pytest.approx(103.0)  # the newest one always
    assert 4 <= len(shown) <= 6  # five a second
    assert stream.packets.dropped == 100 - len(shown)
    stream.end()


def test_what_is_much_too_old_is_not_shown_at_all() -> None:
    stream = Stream()
    stream.come(range(3), never)
    stream.now_s += 3.1
    shown = [stream.packets.is_due(arrived.arrived_s) for arrived in (stream.arrived() for _ in range(3)) if arrived]
    assert shown == [False, False, True]
    stream.end()


def test_a_decoder_that_never_catches_up_waits_for_the_next_key_picture() -> None:
    stream = Stream()
    number = 0
    while True:  # ten packets a second come, five can be decoded
        stream.come(range(number, number + 2), never)
        number += 2
        stream.now_s += 0.2
        try:
            arrived = stream.arrived()
        except TimeoutError:
            break
        assert arrived is not None
        stream.packets.is_due(arrived.arrived_s)
        assert stream.now_s - arrived.arrived_s < 3.5
    stream.come(range(number, number + 3), lambda each: each == number + 2)
    arrived = stream.arrived()
    assert arrived is not None
    assert (arrived.packet.number, arrived.after_gap) == (number + 2, True)
    stream.end()


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_what_waits_is_bounded_though_nobody_takes_it(size: int) -> None:
    stream = Stream(longest_lag_s=60.0)
    stream.come(range(2500), lambda number: number == 0, size=size)
    assert stream.packets.dropped == 2500  # all: there is no key picture from which the rest could be decoded
    stream.come(range(2500, 2501), every)
    assert stream.take() == 2500
    stream.end()


def test_what_ends_it_is_told_once_what_came_before_is_taken() -> None:
    stream = Stream()
    stream.come(range(2), every)
    stream.end(ConnectionError("gone"))
    assert [stream.take(), stream.take()] == [0, 1]
    with pytest.raises(ConnectionError, match="gone"):
        stream.take()
    assert stream.take() is None


# ---------------------------------------------------------------- real streams, slow readers and decoders


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> StreamClip:
    path = make_video(tmp_path_factory.mktemp("clip") / "a.mp4", n=300, size=(160, 120), b_frames=0)
    return encode_clip(path, "h264", fps=60, numbered=True)


def test_a_slow_reader_of_mjpeg_gets_new_pictures() -> None:
    sent_s: list[float] = []
    script = Script(fps=60, on_sent=lambda: sent_s.append(time.monotonic()))
    with mjpeg_server(script) as address, StreamSource(address, BRISK) as source:
        ages, honest = [], []
        for frame in itertools.islice(source, 15):
            number = number_of(frame.image)
            ages.append(time.monotonic() - sent_s[number])
            stamped_s = source.started_monotonic_s + frame.timestamp_s
            honest.append(stamped_s - sent_s[number])
            time.sleep(0.25)
        sent = len(sent_s)
    assert np.median(ages) < LAG_S + 0.25
    assert np.median(honest) < 0.5  # when it came, not when it was decoded
    assert source.dropped > sent // 2
    assert source.dropped + 15 <= sent + 1


@pytest.mark.parametrize("server", [RtspServer, UdpSender])
def test_a_slow_decoder_of_h264_does_not_fall_behind(
    server: type[RtspServer] | type[UdpSender], clip: StreamClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = StreamConnection._decode

    def slowly(self: StreamConnection, arrived: object) -> None:
        time.sleep(0.05)  # a third of what comes
        decode(self, arrived)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(StreamConnection, "_decode", slowly)
    sent_s: dict[int, float] = {}
    sent_count = itertools.count()
    show = Show(clip)
    show.on_sent = lambda number: sent_s.update({number: time.monotonic(), -1: next(sent_count)})
    ages, honest = [], []
    with server(show) as sender, StreamSource(sender.address, BRISK) as source:
        for frame in source:
            now_s, sent = time.monotonic(), sent_s[number_in(frame.image)]
            ages.append(now_s - sent)
            honest.append(source.started_monotonic_s + frame.timestamp_s - sent)
            if frame.timestamp_s > 6.0:  # without leaving out, it would be four seconds behind by now
                break
    late = ages[len(ages) // 2 :]
    assert np.percentile(late, 80) < 3 * LAG_S + 1.0  # a busy machine holds single pictures up
    assert np.percentile(honest, 80) < 0.6
    assert source.dropped > sent_s[-1] // 4
    assert source.status.reconnects == 0


def test_a_reader_that_rests_finds_the_newest_picture(clip: StreamClip) -> None:
    sent_s: dict[int, float] = {}
    show = Show(clip)
    show.on_sent = lambda number: sent_s.update({number: time.monotonic()})
    with UdpSender(show) as sender, StreamSource(sender.address, BRISK) as source:
        frames = iter(source)
        list(itertools.islice(frames, 2))
        time.sleep(2.5)
        frame = next(frames)
        assert time.monotonic() - sent_s[number_in(frame.image)] < 2.0, "not what came while it rested"
        assert source.dropped > 30


def test_another_longest_lag_keeps_every_picture(tmp_path: Path) -> None:
    config = BRISK.model_copy(update={"longest_lag_s": 30.0})
    with mjpeg_server(Script(fps=60)) as address, StreamSource(address, config) as source:
        frames = iter(source)
        next(frames)
        time.sleep(1.0)
        assert [number_of(frame.image) for frame in itertools.islice(frames, 30)] == list(range(1, 31))
        assert source.dropped == 0
