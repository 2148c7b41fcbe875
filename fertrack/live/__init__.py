"""Live: a camera, a stream or a file in real time, through the same frame loop as a file, with delay that cannot grow.

::

    source -> Capture (newest frame only) -> LiveFeed -> Pipeline.run(live=True) -> database, persons, latest result
                        │                                                                              │
                        └────────────> Display: newest frame + latest result, boxes moved on <─────────┘
                                          └─> view(), Recorder

Reading order::

    config      options of a live run
    session     ``LiveSession``: start, view, state, record, stop
    run         the frame loop, from the first frame to the last row
    resources   opened before the run, closed after it
    capture     newest frame of a source, read in its own thread
    budget      how often and how closely to analyse
    display     newest frame with the latest result drawn
    people      one entry per person, kept up to date
    monitor     meters and notices of a run
    watchdog    warning when results arrive too slowly to track
    latency     latencies and rates, recent and total
    state       the values that sessions show to others
    strip       last minute of a person in half-second columns
    recorder    recording of what is displayed
    recordings  all recordings of one run
    completion  re-identification, names and recordings at the end
    results     ``open_live``: results only, for embedding
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fertrack.live.budget import Budget, BudgetController
    from fertrack.live.results import LiveResults, open_live
    from fertrack.live.session import LiveSession
    from fertrack.live.state import LivePerson, LiveState, LiveSummary, LiveView

__all__ = [
    "Budget",
    "BudgetController",
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
