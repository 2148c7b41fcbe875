"""State of a live source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["StreamStatus"]


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """A snapshot of a live source; taken from any thread.

    Attributes:
        state: ``"connecting"`` before the first frame, ``"live"`` while frames come, ``"reconnecting"`` during an
            outage, ``"ended"`` once there will be no more.
        attempt: tries to connect since the first one or since the connection was lost; 0 while live.
        message: a sentence for people; names no credentials.
        reconnects: times that the source came back after an outage.
    """

    state: Literal["connecting", "live", "reconnecting", "ended"]
    attempt: int = 0
    message: str = ""
    reconnects: int = 0
