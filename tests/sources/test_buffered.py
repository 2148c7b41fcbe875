"""Reading ahead in a thread: nothing lost, nothing leaked, no way to hang it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pytest

from fertrack.errors import VideoReadError
from fertrack.protocols import VideoSource
from fertrack.sources import Buffered, FileSource
from fertrack.types import Frame, VideoInfo
from tests.support.video_factory import damage, make_video, number_of

PIXEL = np.zeros((1, 1, 3), np.uint8)


class CountingSource:
    """Gives ``n`` frames as fast as it is asked, and remembers how many; raises ``error`` after them."""

    def __init__(self, n: int = 1000, error: BaseException | None = None, delay_s: float = 0.0) -> None:
        self.info = VideoInfo("counting", 1, 1)
        self.decode_failures = 0
        self.dropped = 0
        self.notes: list[str] = []
        self.n, self.error, self.delay_s = n, error, delay_s
        self.given = 0
        self.closed = threading.Event()
        self.readers: set[str] = set()

    def __iter__(self) -> Iterator[Frame]:
        for i in range(self.n):
            self.readers.add(threading.current_thread().name)
            if self.closed.wait(self.delay_s) if self.delay_s else self.closed.is_set():
                return
            self.given += 1
            yield Frame(i, i / 10, PIXEL)
        self.decode_failures = 2
        self.notes.append("a note at the end")
        if self.error:
            raise self.error

    def close(self) -> None:
        self.closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def settled(source: CountingSource) -> int:
    """Frames given once the thread has filled its queue."""
    previous = -1
    while source.given != previous:
        previous = source.given
        time.sleep(0.05)
    return source.given


def test_it_gives_what_the_source_gives(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", n=40, gop=1, b_frames=0)
    damage(path, [3])
    plain = FileSource(path)
    expected = list(plain)
    with Buffered(FileSource(path), 4) as buffered:
        assert isinstance(buffered, VideoSource)
        frames = list(buffered)
    assert [(f.index, f.timestamp_s) for f in frames] == [(f.index, f.timestamp_s) for f in expected]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, expected, strict=True))
    assert [number_of(frame.image) for frame in frames] == [i for i in range(40) if i != 3]
    assert (buffered.info, buffered.notes) == (plain.info, plain.notes)
    assert (buffered.decode_failures, buffered.dropped) == (1, 0)


def test_counters_and_notes_of_the_source_are_complete_at_the_end() -> None:
    buffered = Buffered(CountingSource(5))
    assert [frame.index for frame in buffered] == [0, 1, 2, 3, 4]
    assert buffered.decode_failures == 2
    assert buffered.notes == ["a note at the end"]


@pytest.mark.parametrize("size", [1, 3])
def test_waiting_reads_no_further_ahead_than_its_size_and_loses_nothing(size: int) -> None:
    source = CountingSource(50)
    indices = []
    with Buffered(source, size) as buffered:
        for frame in buffered:
            if not indices:
                assert settled(source) == 1 + size + 1  # handed out, queued, in the thread's hand
            indices.append(frame.index)
    assert indices == list(range(50))
    assert buffered.dropped == 0
    assert source.readers == {"fertrack-read"}


def test_dropping_keeps_the_newest_and_counts_the_rest() -> None:
    source = CountingSource(100)
    with Buffered(source, 3, "drop_oldest") as buffered:
        frames = iter(buffered)
        fetched = [next(frames).index]
        assert settled(source) == 100  # the source is never held up
        fetched += [frame.index for frame in frames]
    assert fetched[-2:] == [98, 99]
    assert 3 <= len(fetched) <= 4  # one while the thread ran, and at most three that were held
    assert buffered.dropped == 100 - len(fetched)


def test_an_error_comes_after_the_frames_before_it() -> None:
    error = VideoReadError("the camera was unplugged")
    source = CountingSource(7, error)
    indices = []

    def consume_slowly() -> None:
        for frame in Buffered(source, 2):
            indices.append(frame.index)
            time.sleep(0.002)

    with pytest.raises(VideoReadError) as raised:
        consume_slowly()
    assert raised.value is error
    assert indices == list(range(7))
    assert source.closed.is_set()


def test_stopping_early_ends_the_thread_and_closes_the_source() -> None:
    source = CountingSource()
    buffered = Buffered(source, 2)
    for frame in buffered:
        if frame.index == 3:
            break
    del frame  # the loop variable kept the generator's last frame
    deadline = time.monotonic() + 5
    while not source.closed.is_set() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert source.closed.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "fertrack-read"]


def test_closing_while_the_thread_waits_for_room() -> None:
    source = CountingSource()
    buffered = Buffered(source, 2)
    frames = iter(buffered)
    next(frames)
    assert settled(source) == 4
    started = time.monotonic()
    buffered.close()
    buffered.close()
    assert time.monotonic() - started < 1
    assert list(frames) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "fertrack-read"]


def test_closing_from_another_thread_wakes_a_waiting_consumer() -> None:
    buffered = Buffered(CountingSource(delay_s=30.0))  # no frame comes
    closer = threading.Timer(0.1, buffered.close)
    closer.start()
    started = time.monotonic()
    assert list(buffered) == []
    assert time.monotonic() - started < 5
    closer.join()


def test_closing_from_the_reading_thread_does_not_wait_for_itself() -> None:
    class SelfClosing(CountingSource):
        def __iter__(self) -> Iterator[Frame]:
            yield Frame(0, 0.0, PIXEL)
            buffered.close()
            yield Frame(1, 0.1, PIXEL)

    buffered = Buffered(SelfClosing())
    assert [frame.index for frame in buffered] in ([], [0])  # closed before or after the first was fetched


def test_closing_before_reading() -> None:
    source = CountingSource()
    buffered = Buffered(source)
    buffered.close()
    assert list(buffered) == []
    assert source.given == 0


def test_a_source_that_does_not_end_is_reported_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()

    class Stuck(CountingSource):
        def __iter__(self) -> Iterator[Frame]:
            yield Frame(0, 0.0, PIXEL)
            release.wait(10)

    monkeypatch.setattr("fertrack.sources.buffered._JOIN_S", 0.05)
    with Buffered(Stuck()) as buffered:
        next(iter(buffered))
    assert "has not ended" in caplog.text
    release.set()


def test_misuse() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Buffered(CountingSource(), 0)
    with pytest.raises(ValueError, match="got 'newest'"):
        Buffered(CountingSource(), 1, "newest")
    buffered = Buffered(CountingSource(1))
    assert len(list(buffered)) == 1
    with pytest.raises(ValueError, match="was read before"):
        iter(buffered)


def test_each_frame_says_how_many_waited_behind_it() -> None:
    buffered = Buffered(CountingSource(6), 3)
    depths = []
    for frame in buffered:
        depths.append(frame.waiting)
        time.sleep(0.05)  # slower than the source: it stays as far ahead as it may
    assert len(depths) == 6
    assert max(depths[1:]) == 2
    assert depths[-2:] == [1, 0], "the source has ended"
    assert Frame(0, 0.0, PIXEL).waiting == -1, "nothing reads ahead"
