"""A live session's numbers in words, for the window."""

from __future__ import annotations

from fertrack.live.state import BudgetState, LivePerson, LiveState

__all__ = ["budget", "connection", "estimate", "figures"]


def connection(state: LiveState) -> str:
    """Sentence about the connection, else about the analysis; empty while all is well."""
    status = state.status
    why = f": {status.message}" if status.message else ""
    if status.state == "connecting":
        return f"Connecting …{why}"
    if status.state == "reconnecting":
        return f"Reconnecting …{f', attempt {status.attempt}' if status.attempt else ''}{why}"
    if status.state == "ended":
        return f"The source has ended{why}. Saving …"
    return state.notice


def figures(state: LiveState) -> list[tuple[str, str]]:
    """Measured values by name."""
    latency = state.latency_ms
    return [
        ("Display", f"{state.display_fps:.1f} fps"),
        ("Results", f"{state.results_hz:.1f} per s"),
        ("Age of result", f"{state.age_ms.p50:.0f} ms" if state.age_ms else "–"),
        (
            "Latency, median · 95 % · 99 %",
            f"{latency.p50:.0f} · {latency.p95:.0f} · {latency.p99:.0f} ms" if latency else "–",
        ),
        ("Dropped frames", f"{state.dropped} of {state.frames}"),
        ("Reconnected", "once" if state.reconnects == 1 else f"{state.reconnects} times"),
        ("Budget", budget(state.budget)),
    ]


def budget(state: BudgetState) -> str:
    """Sentence about the analysis budget: how often, at which size.

    >>> budget(BudgetState(3, 640, 10.0, False))
    'faces searched in 1 frame in 3 at 640 px, new estimates 10 times a second'
    """
    often = "every frame" if state.detect_every == 1 else f"1 frame in {state.detect_every}"
    size = f" at {state.long_side} px" if state.long_side else ""
    rate = f"{state.classify_hz:.2g} times a second" if state.classify_hz else "with each search"
    return f"faces searched in {often}{size}, new estimates {rate}{'; fixed' if state.fixed else ''}"


def estimate(person: LivePerson, now_s: float) -> str:
    """The expression estimate of a person in words."""
    if not person.visible:
        return f"not in the frame · last seen {max(0.0, now_s - person.last_seen_s):.0f} s ago"
    if person.certain:
        return f"{person.label} · {100 * person.probability:.0f} %"
    likeliest = max(person.probabilities, key=person.probabilities.__getitem__)
    return f"uncertain · nearest: {likeliest} {100 * person.probabilities[likeliest]:.0f} %"
