from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fertrack.storage.queries.spans import Spans, find_spans, frame_ends, label_seconds

HAPPY, SAD, UNCERTAIN = 3, 4, -1


def spans(labels: list[int], times: list[float], *, gap_s: float = 0.5, track: list[int] | None = None) -> Spans:
    """Spans of frames that last 0.1 s each."""
    start_s = np.array(times, np.float64)
    return find_spans(
        track=np.array(track or [1] * len(labels), np.int64),
        label=np.array(labels, np.int64),
        start_s=start_s,
        end_s=start_s + 0.1,
        probability=np.linspace(0.5, 0.9, len(labels)),
        max_gap_s=gap_s,
    )


def as_tuples(found: Spans) -> list[tuple[int, int, float, float, int]]:
    columns = (found.track, found.label, found.start_s.round(6), found.end_s.round(6), found.frames)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_consecutive_frames_are_one_episode_to_the_end_of_the_last_frame() -> None:
    found = spans([HAPPY] * 3, [1.0, 1.1, 1.2])
    assert as_tuples(found) == [(1, HAPPY, 1.0, 1.3, 3)]
    assert found.mean.tolist() == pytest.approx([0.7])
    assert found.peak.tolist() == pytest.approx([0.9])


def test_another_expression_ends_an_episode_at_once_however_short_it_is() -> None:
    found = spans([HAPPY, HAPPY, SAD, HAPPY], [0.0, 0.1, 0.2, 0.3], gap_s=9.0)
    assert as_tuples(found) == [(1, HAPPY, 0.0, 0.2, 2), (1, SAD, 0.2, 0.3, 1), (1, HAPPY, 0.3, 0.4, 1)]


def test_uncertain_frames_are_bridged_up_to_the_gap_and_never_counted() -> None:
    labels, times = [HAPPY, UNCERTAIN, UNCERTAIN, HAPPY], [0.0, 0.1, 0.2, 0.3]
    assert as_tuples(spans(labels, times, gap_s=0.2)) == [(1, HAPPY, 0.0, 0.4, 2)]
    assert as_tuples(spans(labels, times, gap_s=0.19)) == [(1, HAPPY, 0.0, 0.1, 1), (1, HAPPY, 0.3, 0.4, 1)]
    assert as_tuples(spans([UNCERTAIN] * 4, times)) == []


def test_time_without_a_face_is_bridged_up_to_the_gap() -> None:
    assert len(spans([HAPPY, HAPPY], [0.0, 0.6], gap_s=0.5).track) == 1
    assert len(spans([HAPPY, HAPPY], [0.0, 0.61], gap_s=0.5).track) == 2


def test_tracks_do_not_mix_and_need_not_be_in_order() -> None:
    found = spans([HAPPY, SAD, HAPPY, SAD], [0.1, 0.0, 0.0, 0.1], track=[2, 1, 2, 1])
    assert as_tuples(found) == [(1, SAD, 0.0, 0.2, 2), (2, HAPPY, 0.0, 0.2, 2)]


def test_nothing_gives_nothing() -> None:
    assert as_tuples(spans([], [])) == []
    assert len(spans([], []).mean) == len(spans([], []).peak) == 0


@given(st.lists(st.integers(-1, 6), max_size=60), st.floats(0.0, 1.0))
def test_every_certain_frame_is_in_exactly_one_episode(labels: list[int], gap_s: float) -> None:
    times = [index / 10 for index in range(len(labels))]
    found = spans(labels, times, gap_s=gap_s)
    assert found.frames.sum() == sum(label != UNCERTAIN for label in labels)
    assert (np.diff(found.start_s) > 0).all()
    assert (found.start_s[1:] >= found.end_s[:-1] - 1e-9).all()
    for label, start_s, end_s in zip(found.label.tolist(), found.start_s, found.end_s, strict=True):
        inside = {labels[i] for i, time_s in enumerate(times) if start_s <= time_s < end_s - 1e-9}
        assert inside <= {label, UNCERTAIN}


def test_a_frame_lasts_until_the_next() -> None:
    assert frame_ends(np.array([0.0, 0.04, 0.08, 0.2])).tolist() == pytest.approx([0.04, 0.08, 0.2, 0.24])


def test_a_pause_of_the_source_is_nobodys_time() -> None:
    live = np.array([0.0, 0.04, 0.08, 60.0, 60.04])
    assert frame_ends(live).tolist() == pytest.approx([0.04, 0.08, 1.08, 60.04, 60.08])
    slides = np.array([0.0, 5.0, 10.0, 100.0])
    assert frame_ends(slides).tolist() == pytest.approx([5.0, 10.0, 30.0, 105.0])


def test_the_only_frame_lasts_as_long_as_the_frame_rate_says() -> None:
    assert frame_ends(np.array([2.0]), fps=25.0).tolist() == [2.04]
    assert frame_ends(np.array([2.0]), fps=0.0).tolist() == [2.0]
    assert frame_ends(np.empty(0)).tolist() == []


def test_label_seconds_adds_up_time_per_group_and_label() -> None:
    seconds = label_seconds(
        np.array([0, 0, 1, 1]), np.array([HAPPY, UNCERTAIN, SAD, SAD]), np.array([0.5, 0.25, 1.0, 2.0]), groups=3
    )
    assert seconds.shape == (3, 8)
    assert seconds[0].tolist() == [0, 0, 0, 0.5, 0, 0, 0, 0.25]
    assert seconds[1, SAD] == 3.0
    assert seconds[2].sum() == 0.0
    assert label_seconds(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), groups=0).shape == (0, 8)
