"""A clip sent as a stream over loopback: ``python -m fertrack.benchmarks live CLIP``.

It is displayed, analysed, stored, cut off and found again.

A process of its own sends the clip in a loop at a fixed rate, so what is measured is what somebody with a network
camera gets: the sender's work is not in it, but for the share of the machine that it takes.

- Steady: display and results a second, age of the displayed result, latency from the capture of a frame until its
  result is drawn, and from the moment an image was sent until it is displayed; the first minute beside the last.
- Memory: of this process, at the end of the first minute and of the last.
- Outages: the sender breaks the connection off and refuses new ones for a while, again and again.
- The end: threads, child processes and sockets that are left.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from fertrack.benchmarks.live_page import LiveBenchmark, Part, as_json, targets_of, to_markdown
from fertrack.benchmarks.loopback.clip import number_in
from fertrack.benchmarks.loopback.sender import PROTOCOLS, LoopbackSender, Protocol, frame_size
from fertrack.config import Settings, load_settings
from fertrack.errors import EvaluationError
from fertrack.live.latency import Meter
from fertrack.live.options import LiveOptions
from fertrack.live.session import LiveSession
from fertrack.pipeline.scheduler import available_cores

__all__ = ["main", "measure_live"]

_SETTLING_S = 5.0
_BACK_S = 60.0
_MB = 1e6


def measure_live(
    clip: Path,
    protocol: Protocol,
    *,
    minutes: float = 1.0,
    disconnects: int = 0,
    down_s: float = 0.5,
    fps: float = 30.0,
    size: tuple[int, int] | None = None,
    seconds: float = 10.0,
    settings: Settings | None = None,
    fixed: bool = False,
    on_progress: Callable[[str], None] = lambda _sentence: None,
) -> LiveBenchmark:
    """Send a clip over loopback, and watch it.

    Args:
        clip: a video; sent in a loop.
        protocol: how.
        minutes: of steady running.
        disconnects: how often the connection is broken off after that.
        down_s: for how long the sender then refuses new ones, seconds; over UDP, where there are none, for how long it
            is silent, at least a second longer than ``stream.stall_timeout_s``.
        fps: images sent a second.
        size: width and height, px; None: the clip's.
        seconds: most of the clip that is sent.
        settings: all options.
        fixed: adapt nothing.
        on_progress: told what is being done.

    Raises:
        EvaluationError: the sender could not be started, or the stream did not come back.
        FertrackError: the run failed.
    """
    settings = settings or Settings()
    if protocol == "udp":  # without a connection, only silence tells that it was lost
        down_s = max(down_s, settings.stream.stall_timeout_s + 1.0)
    load = psutil.getloadavg()[0]
    before = _resources()
    with (
        tempfile.TemporaryDirectory() as folder,
        LoopbackSender(clip, protocol, fps=fps, size=size, seconds=seconds, numbered=True) as sender,
    ):
        session = LiveSession(settings, sender.address, LiveOptions(out=Path(folder), fixed=fixed))
        with session:
            watcher = _Watcher(session, sender)
            watcher.watch(_SETTLING_S)
            begun_s = time.monotonic()
            on_progress(f"{protocol}: {minutes:g} min of steady running")
            watcher.watch(60.0 * minutes)
            ended_s = time.monotonic()
            budget = session.state().budget
            back_s = []
            for number in range(disconnects):
                on_progress(f"{protocol}: disconnect {number + 1} of {disconnects}")
                back_s.append(watcher.cut(down_s))
        if session.error is not None:
            raise session.error
    summary = session.summary
    if summary is None or watcher.shape is None:
        raise EvaluationError(f"{protocol}: the run came to nothing")
    count = max(1, int(minutes))
    starts_s = [ended_s - (ended_s - begun_s) / count * (count - number) for number in range(count)]
    result = LiveBenchmark(
        protocol=protocol,
        clip=clip.name,
        size=watcher.shape,
        source_fps=fps,
        minutes=minutes,
        steady=_part(session, watcher, begun_s, ended_s),
        each_minute=tuple(
            _part(session, watcher, start_s, end_s)
            for start_s, end_s in zip(starts_s, [*starts_s[1:], ended_s], strict=True)
        ),
        sent_to_displayed_ms=watcher.sent_to_displayed.between(begun_s, ended_s).percentiles,
        faces=summary.faces / max(1, summary.analysed),
        budget=f"one frame in {budget.detect_every}, detector input {budget.long_side or 'own'} px, "
        f"estimates {f'{budget.classify_hz:g} a second' if budget.classify_hz else 'with every look'}",
        disconnects=disconnects,
        reconnects=summary.reconnects,
        back_s=(sorted(back_s)[len(back_s) // 2], max(back_s)) if back_s else None,
        left=_left_since(before),
        summary=replace(summary, database=""),  # a temporary file
        date=f"{datetime.date.today():%Y-%m-%d}",
        machine=f"{available_cores()} cores, {platform.machine()}, Python {platform.python_version()}",
        load=load,
    )
    result.targets.update(targets_of(result))
    return result


class _Watcher:
    """Looks at a session as a viewer does, and takes note of memory."""

    def __init__(self, session: LiveSession, sender: LoopbackSender) -> None:
        self.shape: tuple[int, int] | None = None
        self.sent_to_displayed = Meter()
        self.rss_mb = Meter()
        self._session = session
        self._sender = sender
        self._number = -1
        self._process = psutil.Process()
        self._next_sample_s = 0.0

    def watch(self, seconds: float) -> None:
        """Look for so long."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self._sample()

    def cut(self, down_s: float) -> float:
        """Break the connection off; seconds until a new image is displayed."""
        before = self._session.state().reconnects
        started_s = time.monotonic()
        self._sender.cut(down_s)
        while self._session.state().reconnects == before:
            self._sample()
            if time.monotonic() - started_s > _BACK_S:
                raise EvaluationError(f"the stream was not found again within {_BACK_S:g} s")
        self._sample()
        back_s = time.monotonic() - started_s
        self.watch(0.5)
        return back_s

    def _sample(self) -> None:
        view = self._session.view(self._number, 0.5)
        now_s = time.monotonic()
        if view is not None:
            self._number = view.number
            self.shape = (view.image.shape[1], view.image.shape[0])
            sent_s = self._sender.sent_s.get(number_in(view.image))
            if sent_s is not None:
                self.sent_to_displayed.add(now_s, (now_s - sent_s) * 1e3)
        if self._session.ended:
            raise self._session.error or EvaluationError("the run ended by itself")
        if now_s >= self._next_sample_s:
            self.rss_mb.add(now_s, self._process.memory_info().rss / _MB)
            self._next_sample_s = now_s + 1.0


def _part(session: LiveSession, watcher: _Watcher, start_s: float, end_s: float) -> Part:
    meters = session.meters
    at_end = watcher.rss_mb.between(max(start_s, end_s - 10.0), end_s + 1.0)
    return Part(
        display_fps=meters["display"].between(start_s, end_s).rate,
        results_hz=meters["results"].between(start_s, end_s).rate,
        age_ms=meters["age"].between(start_s, end_s).percentiles,
        latency_ms=meters["latency"].between(start_s, end_s).percentiles,
        rss_mb=at_end.percentiles.p50 if at_end.percentiles else None,
    )


def _resources() -> tuple[set[str], set[int], set[int]]:
    """Names of threads, children, and sockets' descriptors of this process."""
    process = psutil.Process()
    gc.collect()
    threads = {f"thread {thread.name}" for thread in threading.enumerate()}
    return threads, {child.pid for child in process.children()}, {each.fd for each in process.net_connections()}


def _left_since(before: tuple[set[str], set[int], set[int]]) -> tuple[str, ...]:
    threads, children, sockets = _resources()
    left = sorted(threads - before[0])
    left += [f"child process {pid}" for pid in sorted(children - before[1])]
    left += [f"socket {descriptor}" for descriptor in sorted(sockets - before[2])]
    return tuple(left)


def main(arguments: Sequence[str]) -> int:
    """Measure with each protocol, print the page, and write ``DATE-live-CLIP.md`` and ``.json`` where asked to."""
    parser = argparse.ArgumentParser(prog="python -m fertrack.benchmarks live", description=__doc__)
    parser.add_argument("clip", type=Path, help="a video with faces; sent in a loop")
    parser.add_argument("--protocol", action="append", choices=PROTOCOLS, help="may be repeated [mjpeg, udp]")
    parser.add_argument("--minutes", type=float, default=1.0, help="of steady running, each")
    parser.add_argument("--disconnects", type=int, default=3, help="times the connection is broken off, each")
    parser.add_argument("--fps", type=float, default=30.0, help="frames sent a second")
    parser.add_argument("--size", type=frame_size, default=None, metavar="WxH", help="the clip's own where not given")
    parser.add_argument("--seconds", type=float, default=10.0, help="most of the clip that is sent")
    parser.add_argument("--fixed", action="store_true", help="adapt nothing to the machine's speed")
    parser.add_argument("--out", type=Path, default=None, help="folder for the page")
    parser.add_argument("--config", action="append", default=[], metavar="FILE")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--strict", action="store_true", help="end with 1 where a target is missed")
    given = parser.parse_args(arguments)
    settings = load_settings(given.config, given.overrides)
    results = [
        measure_live(
            given.clip,
            protocol,
            minutes=given.minutes,
            disconnects=given.disconnects,
            fps=given.fps,
            size=given.size,
            seconds=given.seconds,
            settings=settings,
            fixed=given.fixed,
            on_progress=_say,
        )
        for protocol in given.protocol or ("mjpeg", "udp")
    ]
    page, plain = to_markdown(results), json.dumps(as_json(results), indent=2) + "\n"
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        stem = given.out / f"{results[0].date}-live-{given.clip.stem}"
        stem.with_suffix(".json").write_text(plain, encoding="utf-8")
        stem.with_suffix(".md").write_text(page, encoding="utf-8")
    sys.stdout.write(plain if given.json else page)
    missed = [f"{each.protocol}: {name}" for each in results for name, met in each.targets.items() if met is False]
    if missed:
        sys.stderr.write(f"missed: {'; '.join(missed)}\n")
    return 1 if missed and given.strict else 0


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
