from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fertrack.storage.queries.faces import frame_ends
from fertrack.storage.queries.segments import Segments
from fertrack.types import Float64Array

HAPPY, SAD, UNCERTAIN = 3, 4, -1


def spans(labels: list[int], times: list[float], *, gap_s: float = 0.5, track: list[int] | None = None) -> Segments:
    """Episodes of frames that last 0.1 s each."""
    start_s = np.array(times, np.float64)
    return rows_of(labels, start_s, track=track).joined(gap_s)


def rows_of(labels: list[int], start_s: Float64Array, *, track: list[int] | None = None) -> Segments:
    return Segments.of(
        group=np.array(track or [1] * len(labels), np.int64),
        label=np.array(labels, np.int64),
        frame=np.arange(len(labels)),
        start_s=start_s,
        end_s=start_s + 0.1,
        probability=np.linspace(0.5, 0.9, len(labels)),
    )


def as_tuples(found: Segments) -> list[tuple[int, int, float, float, int]]:
    columns = (found.group, found.label, found.start_s.round(6), found.end_s.round(6), found.frames)
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
    assert len(spans([HAPPY, HAPPY], [0.0, 0.6], gap_s=0.5)) == 1
    assert len(spans([HAPPY, HAPPY], [0.0, 0.61], gap_s=0.5)) == 2


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


def of_times(*rows: tuple[int, int, float, float]) -> Segments:
    """Segments of the given group, label, start and end."""
    table = np.array(rows, np.float64).reshape(-1, 4)
    plain = Segments.plain(table[:, 0].astype(np.int64), table[:, 2], table[:, 3])
    return replace(plain, label=table[:, 1].astype(np.int64))


def test_seconds_add_up_per_group_and_label() -> None:
    rows = of_times((0, HAPPY, 0.0, 0.5), (0, UNCERTAIN, 0.5, 0.75), (1, SAD, 0.0, 1.0), (1, SAD, 2.0, 4.0))
    seconds = rows.seconds_by_label(3)
    assert seconds.shape == (3, 8)
    assert seconds[0].tolist() == [0, 0, 0, 0.5, 0, 0, 0, 0.25]
    assert seconds[1, SAD] == 3.0
    assert seconds[2].sum() == 0.0
    assert of_times().seconds_by_label(0).shape == (0, 8)


def test_shares_are_of_frames_where_no_time_passes() -> None:
    still = replace(of_times((0, HAPPY, 1.0, 1.0), (0, SAD, 1.0, 1.0)), frames=np.array([1, 3]))
    assert still.label_shares(1)[0, [HAPPY, SAD]].tolist() == [0.25, 0.75]
    film = of_times((0, HAPPY, 1.0, 3.0), (0, SAD, 3.0, 5.0))
    assert film.label_shares(2)[:, [HAPPY, SAD]].tolist() == [[0.5, 0.5], [0.0, 0.0]]


def test_segments_end_where_they_are_clipped_and_go_where_nothing_is_left() -> None:
    rows = of_times((0, HAPPY, 0.0, 2.0), (0, SAD, 2.0, 3.0), (1, SAD, 5.0, 6.0))
    clipped = rows.clipped(1.0, 2.0)
    assert as_tuples(clipped) == [(0, HAPPY, 1.0, 2.0, 0)]
    assert rows.clipped(-np.inf, np.inf).duration_s.tolist() == [2.0, 1.0, 1.0]


def test_closing_fills_gaps_whatever_the_labels_and_hides_overlaps() -> None:
    rows = of_times((0, HAPPY, 0.0, 9.0), (0, SAD, 1.0, 2.0), (0, SAD, 9.5, 10.0), (1, SAD, 3.0, 4.0))
    assert as_tuples(rows.closed()) == [(0, -1, 0.0, 9.0, 0), (0, -1, 9.5, 10.0, 0), (1, -1, 3.0, 4.0, 0)]
    assert as_tuples(rows.closed(0.5)) == [(0, -1, 0.0, 10.0, 0), (1, -1, 3.0, 4.0, 0)]
    assert as_tuples(rows.closed().gaps()) == [(0, -1, 9.0, 9.5, 0)]
    assert not len(of_times().closed())
    assert not len(of_times().gaps())


def test_uncertain_time_within_an_episode_is_told_from_time_without_a_face() -> None:
    labels, times = [HAPPY, UNCERTAIN, HAPPY, HAPPY], np.array([0.0, 0.1, 0.2, 0.5])
    (episode,) = (rows_of(labels, times).joined(0.3),)
    assert episode.certain_s.tolist() == pytest.approx([0.3])
    assert episode.uncertain_s.tolist() == pytest.approx([0.1])
    assert episode.duration_s.tolist() == pytest.approx([0.6])
    assert episode.apex_s.tolist() == [0.5]
    assert not len(episode.lasting(0.61))
    assert len(episode.lasting(0.6)) == 1
