"""One colour per expression, for every chart, table and key: the only place where these colours are written.

Found by a search in CIE LCh that kept a familiar hue for each expression and pushed all pairs apart under normal vision
and under simulated protanopia, deuteranopia and tritanopia (Machado, Oliveira and Fernandes, 2009), with a contrast of
at least 3:1 against the card behind them. ``tests/test_reporting_palette.py`` measures both.
"""

from __future__ import annotations

__all__ = ["DARK", "LIGHT", "PAGE_DARK", "PAGE_LIGHT", "UNCERTAIN_NAME"]

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
    "surprise": "#0594e5",
    "fear": "#800b5b",
    "disgust": "#003c0c",
    "happiness": "#c68816",
    "sadness": "#2450c7",
    "anger": "#c5124d",
    "neutral": "#908a92",
    UNCERTAIN_NAME: "#a9b1bc",
}
"""Colours on the light surface."""

DARK: dict[str, str] = {
    "surprise": "#6ffaff",
    "fear": "#b1829c",
    "disgust": "#9dc193",
    "happiness": "#ffe138",
    "sadness": "#007bff",
    "anger": "#c92600",
    "neutral": "#6b6761",
    UNCERTAIN_NAME: "#5a6372",
}
"""Colours on the dark surface."""
