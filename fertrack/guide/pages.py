"""Topics of the manual, and the text of each page."""

from __future__ import annotations

import difflib
from pathlib import Path

__all__ = ["TOPICS", "read_page", "title_of"]

_FOLDER = Path(__file__).parent

TOPICS = (
    "start",
    "process",
    "batches",
    "footage",
    "report",
    "live",
    "streams",
    "desktop",
    "ask",
    "stimuli",
    "sql",
    "people",
    "rights",
    "numbers",
    "exports",
    "codings",
    "improve",
    "accuracy",
    "training",
    "weights",
    "model-export",
    "machine",
    "speed",
    "python",
    "trouble",
    "commands",
    "architecture",
    "recipes",
    "contributing",
)
"""Every page, in the order in which a newcomer would need them."""


def read_page(topic: str) -> str:
    """Markdown of a page.

    Raises:
        ValueError: there is no such topic; names the nearest one, or all.
    """
    name = topic.strip().lower().replace("_", "-").removesuffix(".md")
    if name not in TOPICS:
        close = difflib.get_close_matches(name, TOPICS, n=1)
        meant = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(TOPICS)}"
        raise ValueError(f"no page {topic!r} in the guide: {meant}")
    return (_FOLDER / f"{name}.md").read_text(encoding="utf-8")


def title_of(topic: str) -> str:
    """First heading of a page."""
    return read_page(topic).split("\n", maxsplit=1)[0].removeprefix("# ")
