"""How live a live run is: a clip sent as a stream over loopback, displayed, analysed, stored, cut off and found again.

A process of its own sends the clip in a loop at a fixed rate, so what is measured is what somebody with a network
camera gets: the sender's work is not in it, but for the share of the machine that it takes.

- Steady: display and results a second, age of the displayed result, latency from the capture of a frame until its
  result is drawn, and from the moment a picture was sent until it is displayed; the first minute beside the last.
- Memory: of this process, at the end of the first minute and of the last.
- Outages: the sender breaks the connection off and refuses new ones for a while, again and again.
- The end: threads, child processes and sockets that are left.
"""

from __future__ import annotations

import datetime
import gc
import platform
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from fertrack.benchmarks.loopback.clip import number_in
from fertrack.benchmarks.loopback.sender import LoopbackSender, Protocol
from fertrack.config import Settings
from fertrack.errors import EvaluationError
from fertrack.live.latency import Meter
from fertrack.live.session import LiveSession
from fertrack.live.state import LiveSummary, Percentiles
from fertrack.pipeline.scheduler import available_cores

__all__ = ["LiveBenchmark", "Part", "as_json", "measure_live", "to_markdown"]

_SETTLING_S = 5.0
_BACK_S = 60.0
_MB = 1e6
_NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Part:
    """Some minutes of a run. Milliseconds, and times a second; None is what was not measured."""

    display_fps: float
    results_hz: float
    age_ms: Percentiles | None
    latency_ms: Percentiles | None
    rss_mb: float | None


@dataclass(frozen=True, slots=True)
class LiveBenchmark:
    """What one protocol came to.

    Attributes:
        protocol: "mjpeg", "udp" or "rtsp".
        clip: name of the clip.
        size: width and height of the pictures, px.
        source_fps: pictures sent a second.
        minutes: of steady running, after five seconds to settle.
        steady: all of it.
        each_minute: the same in as many equal parts as it ran for full minutes.
        sent_to_displayed_ms: from the moment a picture was sent until it was displayed.
        faces: mean number in an analysed frame.
        budget: what the analysis was allowed at the end.
        disconnects: times the connection was broken off.
        reconnects: times it was found again.
        back_s: seconds from breaking it off until a new picture was displayed, the sender's pause included: median and
            longest; None if it was never broken off.
        left: threads, children and sockets that were not there before.
        summary: what the run said of itself.
        date: of the measurement.
        machine: on what.
        load: mean number of processes that wanted to run, over the last minute before the measurement.
        targets: whether each was reached; None where the measurement cannot tell.
    """

    protocol: str
    clip: str
    size: tuple[int, int]
    source_fps: float
    minutes: float
    steady: Part
    each_minute: tuple[Part, ...]
    sent_to_displayed_ms: Percentiles | None
    faces: float
    budget: str
    disconnects: int
    reconnects: int
    back_s: tuple[float, float] | None
    left: tuple[str, ...]
    summary: LiveSummary
    date: str = ""
    machine: str = ""
    load: float = 0.0
    targets: dict[str, bool | None] = field(default_factory=dict)

    @property
    def first(self) -> Part:
        """The first minute."""
        return self.each_minute[0]

    @property
    def last(self) -> Part:
        """The last minute."""
        return self.each_minute[-1]


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
        fps: pictures sent a second.
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
        session = LiveSession(settings, sender.address, out=Path(folder), fixed=fixed)
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
        summary=summary,
        date=f"{datetime.date.today():%Y-%m-%d}",
        machine=f"{available_cores()} cores, {platform.machine()}, Python {platform.python_version()}",
        load=load,
    )
    result.targets.update(_targets(result))
    return result


def to_markdown(results: list[LiveBenchmark]) -> str:
    """A page about measurements of one clip."""
    first = results[0]
    lines = [
        f"# Live: {first.clip} at {first.size[0]}x{first.size[1]}, {first.source_fps:g} pictures a second",
        "",
        f"{first.date}, {first.machine}; load before it {', '.join(f'{each.load:.1f}' for each in results)}. "
        "The sender runs on the same machine.",
        "",
        "| | " + " | ".join(each.protocol for each in results) + " |",
        "|---" * (len(results) + 1) + "|",
    ]
    rows: list[tuple[str, Callable[[LiveBenchmark], str]]] = [
        ("steady running", lambda each: f"{each.minutes:g} min"),
        ("faces in a frame", lambda each: f"{each.faces:.1f}"),
        ("displayed a second", lambda each: f"{each.steady.display_fps:.1f}"),
        ("results a second", lambda each: f"{each.steady.results_hz:.1f}"),
        ("age of a displayed result, p50 / p95 / p99 ms", lambda each: _ms(each.steady.age_ms)),
        ("latency, capture to result drawn, ms", lambda each: _ms(each.steady.latency_ms)),
        ("picture sent to picture displayed, ms", lambda each: _ms(each.sent_to_displayed_ms)),
        ("latency in the first minute", lambda each: _ms(each.first.latency_ms)),
        ("latency in the last minute", lambda each: _ms(each.last.latency_ms)),
        ("memory after the first and the last minute, MB", lambda e: f"{_mb(e.first.rss_mb)}, {_mb(e.last.rss_mb)}"),
        ("budget at the end", lambda each: each.budget),
        ("disconnects, reconnects", lambda each: f"{each.disconnects}, {each.reconnects}"),
        (
            "seconds until displayed again, median, longest",
            lambda e: f"{e.back_s[0]:.1f}, {e.back_s[1]:.1f}" if e.back_s else _NOT_MEASURED,
        ),
        ("left at the end", lambda each: ", ".join(each.left) or "nothing"),
    ]
    lines += [f"| {name} | " + " | ".join(show(each) for each in results) + " |" for name, show in rows]
    lines += ["", "| target | " + " | ".join(each.protocol for each in results) + " |"]
    lines.append("|---" * (len(results) + 1) + "|")
    for target in first.targets:
        lines.append(f"| {target} | " + " | ".join(_reached(e.targets[target]) for e in results) + " |")
    for each in results:
        if len(each.each_minute) > 1:
            lines += ["", *_minutes(each)]
    return "\n".join(lines) + "\n"


def _minutes(result: LiveBenchmark) -> list[str]:
    lines = [
        f"| {result.protocol}, minute | displayed a second | results a second | age, p50 / p95 / p99 ms |"
        " latency, p50 / p95 / p99 ms | memory, MB |",
        "|---:|---:|---:|---|---|---:|",
    ]
    for number, part in enumerate(result.each_minute, start=1):
        lines.append(
            f"| {number} | {part.display_fps:.1f} | {part.results_hz:.1f} | {_ms(part.age_ms)} |"
            f" {_ms(part.latency_ms)} | {_mb(part.rss_mb)} |"
        )
    return lines


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
            self._look()

    def cut(self, down_s: float) -> float:
        """Break the connection off; seconds until a new picture is displayed."""
        before = self._session.state().reconnects
        started_s = time.monotonic()
        self._sender.cut(down_s)
        while self._session.state().reconnects == before:
            self._look()
            if time.monotonic() - started_s > _BACK_S:
                raise EvaluationError(f"the stream was not found again within {_BACK_S:g} s")
        self._look()
        back_s = time.monotonic() - started_s
        self.watch(0.5)
        return back_s

    def _look(self) -> None:
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


def _targets(result: LiveBenchmark) -> dict[str, bool | None]:
    """Whether each target was reached; None where there is nothing to tell it by, which is no success.

    A first minute is comparable with a last one only where they are two; nothing displayed, and no result, is 0 a
    second.
    """
    age = result.steady.age_ms
    is_long = len(result.each_minute) > 1
    first, last = result.first, result.last
    latency = memory = None
    if is_long and first.latency_ms is not None and last.latency_ms is not None:
        latency = abs(last.latency_ms.p50 - first.latency_ms.p50) <= 0.1 * first.latency_ms.p50
    if is_long and first.rss_mb is not None and last.rss_mb is not None:
        memory = abs(last.rss_mb - first.rss_mb) <= 30.0
    return {
        "display ≥ 25 fps": result.steady.display_fps >= 25.0,
        "results ≥ 10 Hz": result.steady.results_hz >= 10.0,
        "p95 age ≤ 150 ms": age.p95 <= 150.0 if age is not None else None,
        "latency of the last minute = the first's ± 10 %": latency,
        "memory ± 30 MB": memory,
        "every disconnect survived": result.reconnects >= result.disconnects if result.disconnects else None,
        "nothing left": not result.left,
    }


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


def _ms(found: Percentiles | None) -> str:
    return str(found) if found is not None else _NOT_MEASURED


def _mb(found: float | None) -> str:
    return f"{found:.0f}" if found is not None else _NOT_MEASURED


def _reached(target: bool | None) -> str:
    return _NOT_MEASURED if target is None else "yes" if target else "no"


def as_json(results: list[LiveBenchmark]) -> list[dict[str, object]]:
    """The same as plain values."""
    return [asdict(each) for each in results]
