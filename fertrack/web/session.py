"""What the page needs of a live session: the part of ``fertrack.live.LiveSession`` that it calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fertrack.live.state import LiveState, LiveSummary, LiveView

__all__ = ["Session"]


class Session(Protocol):
    """A running live session. Every method may be called from any thread."""

    @property
    def summary(self) -> LiveSummary | None:
        """What it left, once it has ended."""

    def view(self, after: int = -1, timeout_s: float = 1.0) -> LiveView | None:
        """The newest picture after a display number, waiting for one if need be."""

    def state(self) -> LiveState:
        """A snapshot of the numbers; cheap."""

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether the session has ended, waiting for that; 0 does not wait."""

    def stop(self) -> None:
        """Ask it to end."""

    def start_recording(self, path: Path | None = None) -> Path:
        """Record from now on."""

    def stop_recording(self) -> object:
        """Finish the recorded file."""

    def rename(self, person: int, name: str) -> None:
        """Give a person a name."""
