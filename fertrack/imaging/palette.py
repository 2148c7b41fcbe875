"""One colour per expression and per person, for every chart, table and key: the only place where they are written.

Found by a search in Oklab (Ottosson, 2020) that kept a familiar hue for each expression, the same in both themes, and
pushed all pairs apart under normal vision and under simulated protanopia, deuteranopia and tritanopia (Machado,
Oliveira and Fernandes, 2009), with a contrast of at least 3:1 against the card behind them. A person's colour is the
same on any ground, since a video has no theme. ``tests/imaging/test_palette.py`` measures all of it.
"""

from __future__ import annotations

__all__ = ["DARK", "LIGHT", "PAGE_DARK", "PAGE_LIGHT", "PERSONS", "UNCERTAIN_NAME", "person_colour"]

UNCERTAIN_NAME = "uncertain"
"""Name under which the undecided share has its colour; drawn hatched, so that it is never taken for an expression."""

PAGE_LIGHT: dict[str, str] = {
    "page": "#f4f5f7",
    "surface": "#ffffff",
    "text": "#1b1f26",
    "muted": "#586173",
    "rule": "#dfe3e8",
    "accent": "#2948ad",
    "ok": "#1d6b3a",
    "bad": "#a31d33",
    "bad-back": "#fdf0f1",
    "note-back": "#eff3fb",
}
"""The page itself in the light theme and on paper; ``surface`` is the card behind charts and tables."""

PAGE_DARK: dict[str, str] = {
    "page": "#0e1014",
    "surface": "#171a21",
    "text": "#e7eaef",
    "muted": "#a3acba",
    "rule": "#2b313b",
    "accent": "#8fb2ff",
    "ok": "#7fd6a0",
    "bad": "#ff9aa7",
    "bad-back": "#2c181c",
    "note-back": "#182133",
}
"""The same in the dark theme."""

LIGHT: dict[str, str] = {
    "surprise": "#18a0b8",
    "fear": "#8000a0",
    "disgust": "#005820",
    "happiness": "#a06810",
    "sadness": "#1850ff",
    "anger": "#d87868",
    "neutral": "#686868",
    UNCERTAIN_NAME: "#a9b1bc",
}
"""Colours on the light surface."""

DARK: dict[str, str] = {
    "surprise": "#08f0ff",
    "fear": "#885098",
    "disgust": "#20c008",
    "happiness": "#f8e088",
    "sadness": "#1858f8",
    "anger": "#c03028",
    "neutral": "#989098",
    UNCERTAIN_NAME: "#5a6372",
}
"""Colours on the dark surface."""

PERSONS = ("#3868b8", "#d87000", "#789868", "#c81880", "#b040ff", "#00a0d0", "#706820")
"""Colours of persons, by their number: in boxes of the video, charts and cards, in either theme. Then they repeat."""


def person_colour(number: int) -> str:
    """Colour of a person, ``#rrggbb``.

    Args:
        number: the one in ``P3``; of a track that is nobody's, its ID.

    >>> person_colour(1) == person_colour(8) == PERSONS[0]
    True
    """
    return PERSONS[(number - 1) % len(PERSONS)]
