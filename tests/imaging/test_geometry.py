"""Boxes, similarity transforms and face measures against closed forms and slow references."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fertrack.imaging import geometry
from fertrack.imaging.alignment import DEFAULT_TEMPLATE

Array = npt.NDArray[Any]
anything = hnp.arrays(
    np.float64, st.tuples(st.integers(0, 6), st.just(4)), elements=st.floats(allow_nan=True, allow_infinity=True)
)
corner = st.floats(-1000, 1000)
side = st.floats(0.5, 1000)


@st.composite
def proper_boxes(draw: st.DrawFn) -> Array:
    rows = draw(st.lists(st.tuples(corner, corner, side, side), max_size=6))
    return np.array([(x, y, x + w, y + h) for x, y, w, h in rows]).reshape(-1, 4)


def slow_iou(a: Array, b: Array) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return float(width * height / union)


def umeyama_1991(points: Array, template: Array) -> Array:
    """The paper's own steps, eqs. 34-43, with a singular value decomposition."""
    mean_x, mean_y = points.mean(axis=0), template.mean(axis=0)
    variance_x = ((points - mean_x) ** 2).sum(axis=1).mean()
    covariance = (template - mean_y).T @ (points - mean_x) / len(points)
    u, d, vt = np.linalg.svd(covariance)
    s = np.diag([1.0, -1.0 if np.linalg.det(u) * np.linalg.det(vt) < 0 else 1.0])
    rotation = u @ s @ vt
    scale = (d * np.diag(s)).sum() / variance_x
    return np.hstack([scale * rotation, (mean_y - scale * rotation @ mean_x)[:, None]])


class TestIou:
    @given(proper_boxes(), proper_boxes())
    def test_equals_pairwise_definition(self, a: Array, b: Array) -> None:
        expected = np.array([[slow_iou(p, q) for q in b] for p in a]).reshape(len(a), len(b))
        np.testing.assert_allclose(geometry.iou_matrix(a, b), expected, atol=1e-12)

    @given(proper_boxes())
    def test_box_with_itself_is_one(self, a: Array) -> None:
        np.testing.assert_allclose(np.diag(geometry.iou_matrix(a, a)), 1.0)

    @given(anything, anything)
    def test_any_floats_give_a_number_in_range_without_warning(self, a: Array, b: Array) -> None:
        iou = geometry.iou_matrix(a, b)
        assert iou.shape == (len(a), len(b))
        assert ((iou >= 0) & (iou <= 1 + 1e-12)).all()

    @pytest.mark.parametrize(
        "bad",
        [
            (np.nan, 0, 10, 10),
            (0, 0, np.inf, 10),
            (5, 5, 5, 9),
            (5, 5, 9, 5),
            (9, 9, 1, 1),
            (0, 0, 1e308, 1e308),
        ],
    )
    def test_improper_box_overlaps_nothing_and_spares_the_others(self, bad: tuple[float, ...]) -> None:
        good = (0.0, 0.0, 10.0, 10.0)
        np.testing.assert_array_equal(
            geometry.iou_matrix(np.array([bad, good]), np.array([good, bad])), [[0, 0], [1, 0]]
        )
        assert geometry.is_proper_box(np.array([bad, good])).tolist() == [False, True]

    def test_blocks_give_the_same_as_one_piece(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rng = np.random.default_rng(3)
        low = rng.uniform(0, 50, (37, 2))
        boxes = np.hstack([low, low + rng.uniform(1, 30, (37, 2))])
        whole = geometry.iou_matrix(boxes, boxes[:11])
        monkeypatch.setattr(geometry, "_IOU_BLOCK_CELLS", 50)
        np.testing.assert_array_equal(geometry.iou_matrix(boxes, boxes[:11]), whole)

    def test_empty_sides(self) -> None:
        assert geometry.iou_matrix(np.empty((0, 4)), np.ones((3, 4))).shape == (0, 3)
        assert geometry.iou_matrix(np.ones((3, 4)), np.empty((0, 4))).shape == (3, 0)

    def test_wrong_shape_is_refused_by_name(self) -> None:
        with pytest.raises(ValueError, match=r"b must be \(N, 4\), got \(3, 5\)"):
            geometry.iou_matrix(np.ones((1, 4)), np.ones((3, 5)))


class TestUvsr:
    def test_worked_example(self) -> None:
        np.testing.assert_allclose(geometry.xyxy_to_uvsr(np.array([[10, 20, 50, 100]])), [[30, 60, 3200, 0.5]])

    @given(proper_boxes())
    def test_round_trip(self, boxes: Array) -> None:
        np.testing.assert_allclose(geometry.uvsr_to_xyxy(geometry.xyxy_to_uvsr(boxes)), boxes, atol=1e-6)

    @pytest.mark.parametrize("area_ratio", [(0, 1), (-5, 1), (5, 0), (5, -1), (0, 0)])
    def test_state_without_extent_is_a_point(self, area_ratio: tuple[float, float]) -> None:
        np.testing.assert_array_equal(geometry.uvsr_to_xyxy(np.array([[3, 4, *area_ratio]])), [[3, 4, 3, 4]])

    def test_zero_height_gives_no_warning(self) -> None:
        assert geometry.xyxy_to_uvsr(np.array([[0, 0, 4, 0]]))[0, 3] == np.inf


class TestSimilarity:
    @given(
        hnp.arrays(np.float64, (3, 5, 2), elements=st.floats(-500, 500, width=32)),
    )
    def test_equals_the_papers_decomposition(self, points: Array) -> None:
        matrices = geometry.similarity_transform(points, DEFAULT_TEMPLATE)
        for face, matrix in zip(points, matrices, strict=True):
            if np.isnan(matrix).any() or np.ptp(face, axis=0).max() < 1e-3:
                continue
            template = DEFAULT_TEMPLATE.astype(np.float64)
            plane = [np.ascontiguousarray(p - p.mean(axis=0)).view(complex)[:, 0] for p in (face, template)]
            if abs(np.vdot(*plane)) < 1e-6 * np.linalg.norm(plane[0]) * np.linalg.norm(plane[1]):
                continue  # every rotation fits equally badly: there is no best one to agree on
            mapped = face @ matrix[:, :2].T + matrix[:, 2]
            reference = umeyama_1991(face, template)
            np.testing.assert_allclose(mapped, face @ reference[:, :2].T + reference[:, 2], atol=1e-5)

    @given(st.floats(-np.pi, np.pi), st.floats(0.01, 100), corner, corner)
    def test_recovers_a_known_motion(self, angle: float, scale: float, dx: float, dy: float) -> None:
        c, s = scale * np.cos(angle), scale * np.sin(angle)
        known = np.array([[[c, -s, dx], [s, c, dy]]])
        template = DEFAULT_TEMPLATE.astype(np.float64)
        moved = geometry.transform_points(known, template[None])
        back = geometry.similarity_transform(moved, template)
        np.testing.assert_allclose(geometry.transform_points(back, moved)[0], template, atol=1e-6)

    def test_mirrored_face_is_not_reflected(self) -> None:
        mirrored = DEFAULT_TEMPLATE[None].astype(np.float64) * (-1, 1)
        matrix = geometry.similarity_transform(mirrored, DEFAULT_TEMPLATE)[0]
        assert np.linalg.det(matrix[:, :2]) > 0

    def test_undefined_rows_are_nan_and_spare_the_others(self) -> None:
        good = DEFAULT_TEMPLATE.astype(np.float64)
        points = np.stack([good, np.full((5, 2), 777.3), good * np.nan, np.full((5, 2), np.inf), good + 5])
        matrices = geometry.similarity_transform(points, good)
        assert np.isnan(matrices).all(axis=(1, 2)).tolist() == [False, True, True, True, False]
        np.testing.assert_allclose(matrices[4], [[1, 0, -5], [0, 1, -5]], atol=1e-9)

    def test_no_faces(self) -> None:
        matrices = geometry.similarity_transform(np.empty((0, 5, 2)), DEFAULT_TEMPLATE)
        assert matrices.shape == (0, 2, 3)
        assert geometry.transform_points(matrices, np.empty((0, 5, 2))).shape == (0, 5, 2)

    @pytest.mark.parametrize(
        ("src", "dst"), [((5, 2), (5, 2)), ((1, 4, 2), (5, 2)), ((1, 5, 3), (5, 3)), ((1, 1, 2), (1, 2))]
    )
    def test_wrong_shapes_are_refused(self, src: tuple[int, ...], dst: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="must be"):
            geometry.similarity_transform(np.ones(src), np.ones(dst))

    def test_transform_points_wants_one_transform_a_face(self) -> None:
        with pytest.raises(ValueError, match="transforms must be"):
            geometry.transform_points(np.ones((2, 3)), np.ones((2, 5, 2)))
        with pytest.raises(ValueError, match=r"points must be \(2, K, 2\)"):
            geometry.transform_points(np.ones((2, 2, 3)), np.ones((3, 5, 2)))


class TestFaceMeasures:
    face = np.array([[(0, 0), (30, 40), (20, 30), (0, 50), (30, 90)]], dtype=np.float32)

    def test_worked_example(self) -> None:
        assert geometry.eye_distance_px(self.face)[0] == pytest.approx(50)
        assert geometry.eye_line_angle_deg(self.face)[0] == pytest.approx(np.degrees(np.arctan2(40, 30)))
        assert geometry.eye_mouth_distance_px(self.face)[0] == pytest.approx(50)

    def test_angle_is_positive_when_the_right_eye_is_lower(self) -> None:
        level = np.array([[(0, 0), (10, 0), (5, 5), (0, 9), (10, 9)]], dtype=np.float32)
        lower_right = level + np.array([[(0, 0), (0, 2), (0, 0), (0, 0), (0, 0)]], dtype=np.float32)
        assert geometry.eye_line_angle_deg(level)[0] == 0
        assert geometry.eye_line_angle_deg(lower_right)[0] > 0

    def test_no_faces_and_wrong_shape(self) -> None:
        assert geometry.eye_distance_px(np.empty((0, 5, 2))).shape == (0,)
        with pytest.raises(ValueError, match=r"landmarks must be \(N, 5, 2\), got \(5, 2\)"):
            geometry.eye_distance_px(self.face[0])
