"""A sink that hands each result of a live run to the outlets, with the time of its capture."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from fertrack.live.outlets.config import OutletConfig
from fertrack.live.outlets.updates import EventWatch, LiveEvent, Outlet, Update
from fertrack.live.people import PeopleSink
from fertrack.types import UNCONFIRMED, FrameResult, Image, RunSummary

__all__ = ["OutletSink", "open_outlets"]

logger = logging.getLogger(__name__)


def open_outlets(config: OutletConfig, source: str) -> list[Outlet]:
    """The outlets that are asked for.

    Args:
        config: which.
        source: name of the source, for receivers.

    Raises:
        ConfigError: the port cannot be used.
        MissingExtraError: pylsl is not installed.
    """
    found: list[Outlet] = []
    try:
        if config.jsonl or config.jsonl_port:
            from fertrack.live.outlets.jsonl import JsonLinesOutlet

            found.append(JsonLinesOutlet(stdout=config.jsonl, port=config.jsonl_port))
        if config.lsl:
            from fertrack.live.outlets.lsl import LslOutlet

            found.append(LslOutlet(config.lsl_slots, source))
    except BaseException:
        for outlet in found:
            outlet.close()
        raise
    return found


class OutletSink:
    """Hands every result to the outlets.

    Args:
        outlets: open; closed with the sink.
        people: who is there; must have taken each result before.
        captured_at: ``time.monotonic`` at the capture of a frame, by its index.
        outages: how often the source has come back after an outage.

    Attributes:
        name: "outlet".
        needs_image: False.
    """

    name = "outlet"
    needs_image = False

    def __init__(
        self,
        outlets: Sequence[Outlet],
        people: PeopleSink,
        captured_at: Callable[[int], float],
        outages: Callable[[], int] = int,
    ) -> None:
        self.notes: list[str] = []
        self.work_ms: tuple[float, ...] = ()
        self._outlets = outlets
        self._people = people
        self._captured_at = captured_at
        self._outages = outages
        self._outages_told = outages()
        self._watch = EventWatch()
        self._last_s = 0.0
        self._last_at_s = time.monotonic()

    def write(self, result: FrameResult, image: Image | None = None) -> None:
        """Send one result."""
        away_s, outages = result.timestamp_s - self._last_s, self._outages()
        self._last_s, self._last_at_s = result.timestamp_s, self._captured_at(result.frame_index)
        persons = self._people.persons(result.timestamp_s)
        events = self._watch.take(persons, result.timestamp_s)
        if outages > self._outages_told:
            self._outages_told = outages
            events.insert(0, LiveEvent("outage", result.timestamp_s, 0, "", UNCONFIRMED, duration_s=away_s))
        visible = [each for each in persons if each.visible]
        update = Update(self._last_at_s, result, visible, events)
        for outlet in self._outlets:
            outlet.send(update)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def finish(self, summary: RunSummary) -> None:
        """Send the ends of what is going on, and collect notes."""
        update = Update(self._last_at_s, None, [], self._watch.finish(self._last_s))
        for outlet in self._outlets:
            outlet.send(update)
            outlet.close()
            self.notes += outlet.notes

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the outlets."""
        for outlet in self._outlets:
            outlet.close()
