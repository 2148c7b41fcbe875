"""The last minute in columns."""

from __future__ import annotations

from fertrack.live.strip import NOBODY, strip_columns
from fertrack.types import EXPRESSIONS


def test_the_strip_is_the_last_minute() -> None:
    estimates = [
        (0.0, "fear", 0.9),
        (40.0, "anger", 0.5),
        (90.0, "", 0.0),
        (99.0, "uncertain", 0.3),
        (99.3, "anger", 1.0),
    ]
    labels, percent = strip_columns(estimates, 100.2)
    assert len(labels) == len(percent) == 120
    anger, uncertain = EXPRESSIONS.index("anger"), -1
    # The columns begin at multiples of half a second: from 40.5 s to 100.5 s.
    assert labels[:99] == [anger] * 99
    assert percent[:99] == [50] * 99
    assert labels[99:117] == [NOBODY] * 18
    assert labels[117:] == [uncertain, anger, anger]  # 0.3 s of the half second outweigh 0.2 s
    assert percent[117:] == [30, 100, 100]


def test_a_strip_of_nothing() -> None:
    assert strip_columns([], 3.0)[0] == [NOBODY] * 120
    assert strip_columns([(5.0, "fear", 1.0)], 5.0)[0] == [NOBODY] * 120  # has lasted no time yet


def test_a_column_stays_what_it_is_while_it_moves() -> None:
    estimates = [(0.1 * i, EXPRESSIONS[i % 7], 0.5) for i in range(300)]
    before, after = strip_columns(estimates[:200], 20.0)[0], strip_columns(estimates, 21.0)[0]
    assert before[2:-1] == after[:-3]
