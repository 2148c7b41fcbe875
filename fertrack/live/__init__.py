"""Live: a camera, a stream or a file in real time, through the same frame loop as a file, with delay that cannot grow.

::

    source -> Capture (newest frame only) -> LiveFeed -> Pipeline.run(live=True) -> database, persons, latest result
                        │                                                                              │
                        └────────────> Display: newest frame + latest result, boxes moved on <─────────┘
                                          └─> view(), Recorder

===================  =========================================================================================
``LiveSession``      one live run: start, view, state, record, stop
``open_live``        results only, for embedding: ``for result in fertrack.open_live(0): ...``
``BudgetController`` chooses how often and how closely to look, from what it costs
===================  =========================================================================================
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
    "LiveResults": "results",
    "LiveSession": "session",
    "open_live": "results",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'fertrack.live' has no attribute {name!r}")
    return getattr(import_module(f"fertrack.live.{_HOME.get(name, 'state')}"), name)
