"""Results of the live benchmark: the record, the targets, and the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from fertrack.live.state import LiveSummary, Percentiles

__all__ = ["LiveBenchmark", "Part", "as_json", "targets_of", "to_markdown"]

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
    """Result of one protocol.

    Attributes:
        protocol: "mjpeg", "udp" or "rtsp".
        clip: name of the clip.
        size: width and height of the images, px.
        source_fps: images sent a second.
        minutes: of steady running, after five seconds to settle.
        steady: all of it.
        each_minute: the same in as many equal parts as it ran for full minutes.
        sent_to_displayed_ms: from the moment an image was sent until it was displayed.
        faces: mean number in an analysed frame.
        budget: what the analysis was allowed at the end.
        disconnects: times the connection was broken off.
        reconnects: times it was found again.
        back_s: seconds from breaking it off until a new image was displayed, the sender's pause included: median and
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


def targets_of(result: LiveBenchmark) -> dict[str, bool | None]:
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
        "display ≥ 29 fps": result.steady.display_fps >= 29.0,
        "results ≥ 28 Hz": result.steady.results_hz >= 28.0,
        "p95 age ≤ 110 ms": age.p95 <= 110.0 if age is not None else None,
        "latency of the last minute = the first's ± 10 %": latency,
        "memory ± 30 MB": memory,
        "every disconnect survived": result.reconnects >= result.disconnects if result.disconnects else None,
        "nothing left": not result.left,
    }


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


def _ms(found: Percentiles | None) -> str:
    return str(found) if found is not None else _NOT_MEASURED


def _mb(found: float | None) -> str:
    return f"{found:.0f}" if found is not None else _NOT_MEASURED


def _reached(target: bool | None) -> str:
    return _NOT_MEASURED if target is None else "yes" if target else "no"


def as_json(results: list[LiveBenchmark]) -> list[dict[str, object]]:
    """The same as plain values."""
    return [asdict(each) for each in results]
