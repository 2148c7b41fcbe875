"""The scripts of the composed scenes: what happens to faces in real videos, one thing at a time."""

from __future__ import annotations

from fertrack.evaluation.tracking.scenes import Key, Pillar, Role, Scene, Shot

__all__ = ["FAST", "SCENES"]


def _stay(who: str, until_s: float, x: float, y: float, face_px: float = 84.0) -> Role:
    return Role(who, (Key(0.0, x, y, face_px), Key(until_s, x, y, face_px)))


def _go(who: str, *keys: tuple[float, float, float, float]) -> Role:
    return Role(who, tuple(Key(*key) for key in keys))


SCENES: tuple[Scene, ...] = (
    Scene(
        "side_by_side",
        "three people stand side by side",
        (
            Shot(
                5.0,
                (
                    _stay("earrings", 5.0, 130, 180),
                    _stay("sweater", 5.0, 320, 170, 90),
                    _stay("glasses", 5.0, 510, 190),
                ),
            ),
        ),
    ),
    Scene(
        "crossing",
        "one person walks past another, close in front",
        (
            Shot(
                5.0,
                (
                    _go("glasses", (0, 480, 175, 80), (5, 160, 175, 80)),
                    _go("redhead", (0, 150, 180, 92), (5, 500, 180, 92)),
                ),
                ground=2,
            ),
        ),
        meets_px=80,
    ),
    Scene(
        "crossing_small",
        "the same with faces of 42 px",
        (
            Shot(
                5.0,
                (
                    _go("sweater", (0, 430, 178, 42), (5, 210, 178, 42)),
                    _go("surprised", (0, 210, 180, 46), (5, 430, 180, 46)),
                ),
                ground=3,
            ),
        ),
        meets_px=42,
    ),
    Scene(
        "crossing_three",
        "two walk in opposite directions past a third who stands",
        (
            Shot(
                6.0,
                (
                    _stay("bun", 6.0, 320, 180, 76),
                    _go("outdoors", (0, 570, 175, 80), (6, 70, 175, 80)),
                    _go("earrings", (0, 60, 185, 86), (1, 60, 185, 86), (6, 580, 185, 86)),
                ),
                ground=4,
            ),
        ),
        meets_px=76,
    ),
    Scene(
        "swap_sides",
        "two people meet, half cover each other for a second, and go on to each other's side",
        (
            Shot(
                7.0,
                (
                    _go("neutral", (0, 470, 180, 84), (3, 345, 180, 84), (4, 335, 180, 84), (7, 170, 180, 84)),
                    _go("laughing", (0, 170, 182, 88), (3, 295, 182, 88), (4, 305, 182, 88), (7, 470, 182, 88)),
                ),
                ground=5,
            ),
        ),
        meets_px=84,
    ),
    Scene(
        "turn_back",
        "two people meet, one goes behind the other, and both turn back",
        (
            Shot(
                6.0,
                (
                    _go("sweater", (0, 480, 178, 80), (3, 330, 178, 80), (6, 480, 178, 80)),
                    _go("redhead", (0, 160, 182, 90), (3, 310, 182, 90), (6, 160, 182, 90)),
                ),
                ground=6,
            ),
        ),
        meets_px=80,
    ),
    Scene(
        "behind_pillar",
        "somebody walks behind a pillar and is hidden for half a second; another stands by",
        (
            Shot(
                6.0,
                (
                    _stay("glasses", 6.0, 110, 180, 80),
                    _go("earrings", (0, 250, 180, 80), (6, 590, 180, 80)),
                ),
                ground=7,
                pillars=(Pillar(370, 470),),
            ),
        ),
    ),
    Scene(
        "back_after_half_second",
        "somebody steps out of the frame and is back after 0.5 s",
        (
            Shot(
                5.5,
                (
                    _stay("neutral", 5.5, 180, 180),
                    _go("surprised", (0, 480, 180, 84), (1.5, 480, 180, 84), (2.2, 690, 180, 84)),
                    _go("surprised", (2.7, 690, 180, 84), (3.4, 480, 180, 84), (5.5, 480, 180, 84)),
                ),
                ground=8,
            ),
        ),
    ),
    Scene(
        "back_after_3_seconds",
        "somebody leaves on the right and is back from the right after 3 s; another stays",
        (
            Shot(
                8.0,
                (
                    _stay("sweater", 8.0, 200, 185),
                    _go("redhead", (0, 470, 180, 88), (1.4, 470, 180, 88), (2.2, 690, 180, 88)),
                    _go("redhead", (5.2, 690, 180, 88), (6.0, 470, 180, 88), (8.0, 450, 180, 88)),
                ),
                ground=9,
            ),
        ),
    ),
    Scene(
        "back_after_10_seconds",
        "somebody leaves on the right, another enters there, and the first is back from the left after 10 s",
        (
            Shot(
                14.0,
                (
                    _stay("glasses", 14.0, 320, 185),
                    _go("outdoors", (0, 510, 180, 84), (1.0, 510, 180, 84), (1.8, 690, 180, 84)),
                    _go("bun", (4.0, 690, 180, 84), (5.0, 520, 180, 84), (14.0, 510, 180, 84)),
                    _go("outdoors", (11.8, -50, 180, 84), (12.6, 130, 180, 84), (14.0, 130, 180, 84)),
                ),
                ground=10,
            ),
        ),
    ),
    Scene(
        "hard_cuts",
        "three shots: another two people in the very places of the first two, then the first two again",
        (
            Shot(2.6, (_stay("earrings", 2.6, 190, 180, 90), _stay("sweater", 2.6, 450, 180, 86)), ground=11),
            Shot(2.6, (_stay("surprised", 2.6, 195, 178, 90), _stay("glasses", 2.6, 455, 182, 86)), ground=12),
            Shot(2.6, (_stay("sweater", 2.6, 190, 180, 90), _stay("earrings", 2.6, 450, 180, 86)), ground=13),
        ),
    ),
    Scene(
        "covered_then_turns_back",
        "one person steps before another, who is gone behind, and turns back out of that place",
        (
            Shot(
                6.0,
                (
                    _stay("bun", 2.7, 320, 180, 80),
                    _go("glasses", (0, 80, 180, 84), (2.1, 320, 180, 84), (2.8, 320, 180, 84), (6, 90, 180, 84)),
                ),
                ground=15,
            ),
        ),
    ),
    Scene(
        "covered_then_goes_on",
        "the same, standing before the other for longer and going on",
        (
            Shot(
                6.0,
                (
                    _stay("surprised", 3.2, 320, 180, 80),
                    _go("neutral", (0, 80, 180, 84), (2.2, 315, 180, 84), (3.7, 322, 180, 84), (6, 560, 180, 84)),
                ),
                ground=16,
            ),
        ),
    ),
    Scene(
        "overtaken",
        "two walk the same way; one draws level, covers the other, who is gone behind, and walks on",
        (
            Shot(
                6.0,
                (
                    _go("sweater", (0, 200, 180, 80), (3.4, 370, 180, 80)),
                    _go("laughing", (0, 60, 180, 84), (2.6, 328, 180, 84), (6, 502, 180, 84)),
                ),
                ground=17,
            ),
        ),
    ),
    Scene(
        "scale_changes",
        "one person comes near (40 to 150 px) while another goes away, and they pass each other",
        (
            Shot(
                7.0,
                (
                    _go("surprised", (0, 440, 180, 120), (7, 250, 180, 44)),
                    _go("neutral", (0, 200, 170, 44), (7, 420, 180, 150)),
                ),
                ground=14,
            ),
        ),
        meets_px=81,
    ),
)
"""All composed scenes."""

FAST = ("crossing", "back_after_half_second", "hard_cuts")
"""Those that the tests run again."""
