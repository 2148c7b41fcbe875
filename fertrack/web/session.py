"""What the page needs of a live session: the shape it is programmed against, so that it can be shown anything alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from fertrack.types import Image

__all__ = ["Budget", "Person", "Session", "State", "Status", "Summary", "View"]


class Status(Protocol):
    """How the connection to the camera or stream is."""

    @property
    def state(self) -> str:
        """One of "connecting", "live", "reconnecting" and "ended"."""

    @property
    def attempt(self) -> int:
        """Attempts made to connect since it was live."""

    @property
    def message(self) -> str:
        """Why, in one sentence; empty if all is well."""


class Budget(Protocol):
    """What the display rate leaves for the analysis."""

    @property
    def detect_every(self) -> int:
        """Faces are searched in every n-th frame."""

    @property
    def long_side(self) -> int:
        """Longer side of the picture they are searched in, px."""

    @property
    def classify_hz(self) -> float:
        """Estimates per second and face."""

    @property
    def fixed(self) -> bool:
        """Whether the three stay as they are."""


class Person(Protocol):
    """One person and the estimates of the last minute. Times are seconds since the source's first frame."""

    @property
    def track(self) -> int:
        """ID of the track that shows them."""

    @property
    def person(self) -> int:
        """Number by which they are renamed."""

    @property
    def name(self) -> str:
        """Name they were given; empty if none."""

    @property
    def label(self) -> str:
        """An expression, or "uncertain"."""

    @property
    def certain(self) -> bool:
        """Whether the label reached its threshold."""

    @property
    def probability(self) -> float:
        """The label's, calibrated, 0 to 1."""

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Of all seven expressions."""

    @property
    def visible(self) -> bool:
        """Whether they are in the newest result."""

    @property
    def last_seen_s(self) -> float:
        """When they were last found, s."""

    @property
    def strip(self) -> Sequence[tuple[float, str, float]]:
        """Time in s, label and probability of each estimate of the last 60 s, in order."""


class State(Protocol):
    """Everything that the page shows besides the picture."""

    @property
    def status(self) -> Status:
        """The connection."""

    @property
    def running(self) -> bool:
        """False once the session ends."""

    @property
    def recording(self) -> str | None:
        """Path of the file being recorded."""

    @property
    def display_fps(self) -> float:
        """Pictures shown per second."""

    @property
    def results_hz(self) -> float:
        """Analysed pictures per second."""

    @property
    def latency_ms(self) -> object:
        """From capture to the drawn result, ms: ``p50``, ``p95``, ``p99`` as keys or attributes."""

    @property
    def age_ms(self) -> float:
        """Age of the result drawn now, ms."""

    @property
    def dropped(self) -> int:
        """Frames that were captured and not analysed."""

    @property
    def frames(self) -> int:
        """Frames captured."""

    @property
    def reconnects(self) -> int:
        """Times the connection was made again."""

    @property
    def budget(self) -> Budget:
        """What the analysis does per second."""

    @property
    def persons(self) -> Sequence[Person]:
        """Who is there or was lately."""


class View(Protocol):
    """One displayed picture."""

    @property
    def number(self) -> int:
        """Counts displayed pictures; grows."""

    @property
    def image(self) -> Image:
        """uint8 (H, W, 3), BGR, with boxes and labels drawn."""


class Summary(Protocol):
    """What an ended session leaves."""

    @property
    def run(self) -> int | None:
        """Its number in the database."""

    @property
    def database(self) -> str:
        """Where it is stored; empty if it is not."""

    @property
    def recordings(self) -> Sequence[str]:
        """Paths of the recorded files."""


class Session(Protocol):
    """A running live session. Every method may be called from any thread."""

    @property
    def summary(self) -> Summary | None:
        """What it left, once it has ended."""

    @property
    def error(self) -> BaseException | None:
        """Why it ended, if it failed."""

    def view(self, after: int = -1, timeout_s: float = 1.0) -> View | None:
        """The newest picture after a display number, waiting for one if need be."""

    def state(self) -> State:
        """A snapshot of the numbers; cheap."""

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether the session has ended, waiting for that; 0 does not wait."""

    def stop(self) -> None:
        """Ask it to end."""

    def start_recording(self, path: Path | None = None) -> Path:
        """Record from now on."""

    def stop_recording(self) -> None:
        """Finish the recorded file."""

    def rename(self, person: int, name: str) -> None:
        """Give a person a name."""
