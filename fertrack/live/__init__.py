"""Live: a camera, a stream or a file in real time, through the same frame loop as a file, with delay that cannot grow.

::

    source -> Capture (newest frame only) -> LiveFeed -> Pipeline.run(live=True) -> database, persons, latest result
                        │                                                                              │
                        └────────────> Display: newest frame + latest result, boxes moved on <─────────┘
                                          └─> view(), Recorder

Reading order::

    config      settings of live runs
    options     ``LiveOptions``: wishes of one run
    session     ``LiveSession``: start, view, state, record, stop
    run         before, during and after the frame loop
    resources   opened before the run, closed after it
    capture     newest frame of a source, read in its own thread
    budget      how often and how closely to analyse
    display     newest frame with the latest result drawn
    people      one entry per person, kept up to date
    monitor     meters, notices and state of a run
    latency     latencies and rates, recent and total
    state       the values that sessions show to others
    strip       last minute of a person in half-second columns
    recorder    recordings of what is displayed
    outlets/    results for other programs: LSL, JSON lines
    results     ``open_live``: results only, for embedding
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fertrack.live.budget import Budget, BudgetController
    from fertrack.live.options import LiveOptions
    from fertrack.live.results import LiveResults, open_live
    from fertrack.live.session import LiveSession
    from fertrack.live.state import LivePerson, LiveState, LiveSummary, LiveView

__all__ = [
    "Budget",
    "BudgetController",
    "LiveOptions",
    "LivePerson",
    "LiveResults",
    "LiveSession",
    "LiveState",
    "LiveSummary",
    "LiveView",
    "open_live",
]

_HOME = {
    "Budget": "budget",
    "BudgetController": "budget",
    "LiveOptions": "options",
    "LivePerson": "state",
    "LiveResults": "results",
    "LiveSession": "session",
    "LiveState": "state",
    "LiveSummary": "state",
    "LiveView": "state",
    "open_live": "results",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
