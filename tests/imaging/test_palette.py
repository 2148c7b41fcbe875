"""The colours: every expression has one, and they can be told apart."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from fertrack.imaging import palette
from fertrack.types import EXPRESSIONS

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
THEMES = {"light": (palette.LIGHT, palette.PAGE_LIGHT), "dark": (palette.DARK, palette.PAGE_DARK)}


def linear_rgb(colour: str) -> npt.NDArray[np.float64]:
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def oklab(linear: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    to_lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return to_lab @ np.cbrt(to_lms @ np.clip(linear, 0, 1))


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio."""
    low, high = sorted(float(linear_rgb(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_every_label_has_a_colour_and_nothing_else_has(theme: str) -> None:
    colours, _ = THEMES[theme]
    assert set(colours) == {*EXPRESSIONS, "uncertain"}


def test_both_themes_colour_the_same_parts_of_the_page() -> None:
    assert set(palette.PAGE_LIGHT) == set(palette.PAGE_DARK)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("theme", THEMES)
def test_expressions_can_be_told_apart(theme: str, vision: str) -> None:
    colours, _ = THEMES[theme]
    lab = {name: oklab(VISION[vision] @ linear_rgb(colours[name])) for name in EXPRESSIONS}
    distances = {
        (one, other): float(np.linalg.norm(lab[one] - lab[other])) for one, other in itertools.combinations(lab, 2)
    }
    # 0.02 is about the least difference one can see side by side; 0.1 can be told apart from a key.
    assert min(distances.values()) > 0.1, min(distances, key=distances.__getitem__)


@pytest.mark.parametrize("theme", THEMES)
def test_expressions_stand_out_from_the_card(theme: str) -> None:
    colours, page = THEMES[theme]
    for name in EXPRESSIONS:
        assert contrast(colours[name], page["surface"]) >= 3.0, name


def test_an_expression_has_the_same_hue_in_both_themes() -> None:
    for name in set(EXPRESSIONS) - {"neutral"}:
        (_, a, b), (_, c, d) = (oklab(linear_rgb(colours[name])) for colours in (palette.LIGHT, palette.DARK))
        turn = abs(np.degrees(np.arctan2(b, a) - np.arctan2(d, c)) + 180) % 360 - 180
        assert abs(turn) < 30, name


@pytest.mark.parametrize("vision", VISION)
def test_persons_can_be_told_apart(vision: str) -> None:
    lab = [oklab(VISION[vision] @ linear_rgb(colour)) for colour in palette.PERSONS]
    assert min(float(np.linalg.norm(one - other)) for one, other in itertools.combinations(lab, 2)) > 0.08


def test_persons_stand_out_in_light_and_dark() -> None:
    for page in (palette.PAGE_LIGHT, palette.PAGE_DARK):
        assert min(contrast(colour, page["surface"]) for colour in palette.PERSONS) >= 3.0


@pytest.mark.parametrize("theme", THEMES)
def test_text_can_be_read(theme: str) -> None:
    _, page = THEMES[theme]
    pairs = [(text, back) for text in ("text", "muted", "accent") for back in ("page", "surface")]
    pairs += [("ok", "page"), ("bad", "bad-back"), ("text", "bad-back"), ("text", "note-back")]
    for text, back in pairs:
        assert contrast(page[text], page[back]) >= 4.5, (text, back)
