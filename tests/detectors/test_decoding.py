"""Each detector's decoder against closed forms, and the adapters whose weights are not here against a stub session."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fertrack.detectors import centerface, retinaface, retinaface_mobilenet, yunet
from fertrack.detectors.centerface_graph import OUTPUTS, prepare
from fertrack.detectors.session import fingerprint, open_session, run
from fertrack.errors import ModelError, WeightsError
from fertrack.models.weights import find_weights

# --- CenterFace


def centerface_maps(rows: int = 8, columns: int = 16) -> list[np.ndarray]:
    return [np.zeros((channels, rows, columns), np.float32) for channels in (1, 2, 2, 10)]


def test_centerface_cell_becomes_box_and_landmarks() -> None:
    heat, size, offset, points = centerface_maps()
    heat[0, 5, 9] = 0.8
    size[:, 5, 9] = np.log([6.0, 4.0])  # cells: height, width
    offset[:, 5, 9] = (0.25, -0.5)  # y, x
    points[:, 5, 9] = (0.4, 0.3, 0.4, 0.7, 0.6, 0.5, 0.8, 0.35, 0.8, 0.65)  # y, x of each
    found = centerface.decode([heat, size, offset, points], 0.5)
    x1, y1 = (9 - 0.5 + 0.5) * 4 - 8, (5 + 0.25 + 0.5) * 4 - 12
    np.testing.assert_allclose(found.xyxy, [[x1, y1, x1 + 16, y1 + 24]], rtol=1e-6)
    relative = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    np.testing.assert_allclose(found.landmarks[0], [x1, y1] + relative * [16, 24], rtol=1e-6)
    assert found.score.tolist() == pytest.approx([0.8])


def test_centerface_looks_only_at_cells_from_the_threshold_on() -> None:
    maps = centerface_maps()
    maps[0][0, 0, :4] = (0.34, 0.35, 0.36, 0.9)
    assert centerface.decode(maps, float(np.float32(0.35))).score.tolist() == pytest.approx([0.35, 0.36, 0.9])
    assert len(centerface.decode(centerface_maps(), 0.35).score) == 0


def test_centerface_sizes_without_bound_do_not_overflow() -> None:
    maps = centerface_maps()
    maps[0][:] = 1
    maps[1][:] = 1e9
    assert np.isfinite(centerface.decode(maps, 0.35).xyxy).all()


@pytest.fixture(scope="module")
def centerface_graphs() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The file as it was exported, its shapes freed and nothing else, and the graph that is run."""
    content = find_weights("centerface").read_bytes()
    plain = onnx.load_model_from_string(content)
    constants = {constant.name for constant in plain.graph.initializer}
    pixels = [value for value in plain.graph.input if value.name not in constants]
    del plain.graph.input[:]
    plain.graph.input.extend(pixels)
    for value in (*plain.graph.input, *plain.graph.output):
        for axis in (0, 2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}.{axis}"
    return plain, onnx.load_model_from_string(prepare(content))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 320), (160, 64), (352, 640), (416, 96)])
def test_centerface_rewritten_gives_what_the_file_gives(
    centerface_graphs: tuple[onnx.ModelProto, onnx.ModelProto], height: int, width: int
) -> None:
    pixels = np.random.default_rng(height).uniform(0, 255, (2, 3, height, width)).astype(np.float32)
    pixels[1, :, height // 3 :] = 0  # a border inside the picture
    before, after = (
        run(open_session(graph.SerializeToString(), 1, "graph", tuple(OUTPUTS)), pixels, "graph")
        for graph in centerface_graphs
    )
    for ours, theirs in zip(after, before, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_centerface_rewritten_is_valid_free_of_size_and_smaller(
    centerface_graphs: tuple[onnx.ModelProto, onnx.ModelProto],
) -> None:
    before, after = centerface_graphs
    onnx.checker.check_model(after, full_check=True)
    (pixels,) = after.graph.input
    assert [dim.dim_param or dim.dim_value for dim in pixels.type.tensor_type.shape.dim] == ["n", 3, "height", "width"]
    values = [
        sum(np.prod(c.dims) for c in graph.initializer if len(c.dims) == 4) for graph in (before.graph, after.graph)
    ]
    assert 0.9 < values[1] / values[0] < 0.97  # without its dead channels


def test_centerface_strips_reach_as_far_as_the_layers_see(
    centerface_graphs: tuple[onnx.ModelProto, onnx.ModelProto],
) -> None:
    _, after = centerface_graphs
    constants = {constant.name: numpy_helper.to_array(constant) for constant in after.graph.initializer}
    assert [constants[f"strip{strip}.first.margin"].item() for strip in (1, 2, 3)] == [-5] * 3
    assert [constants[f"strip{strip}.end.margin"].item() for strip in (0, 1, 2)] == [2] * 3


def test_centerface_takes_the_file_at_a_path_too(tmp_path: Path) -> None:
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(find_weights("centerface").read_bytes())
    given, found = centerface.build(weights=copy), centerface.build()
    assert given.fingerprint == found.fingerprint
    assert found.fingerprint.startswith("centerface sha256:09189dea")


def test_centerface_refuses_another_network(tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(stub_model(["score"]))
    with pytest.raises(ModelError, match=r"centerface: these are the weights of another network \(outputs score"):
        centerface.build(weights=other)


# --- YuNet


def yunet_maps(height: int, width: int) -> dict[str, np.ndarray]:
    return {
        f"{kind}_{stride}": np.zeros((height // stride * (width // stride), channels), np.float32)
        for kind, channels in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
        for stride in (8, 16, 32)
    }


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_yunet_cell_becomes_box_and_landmarks(stride: int) -> None:
    maps = yunet_maps(96, 160)
    cell = 2 * (160 // stride) + 3  # row 2, column 3
    maps[f"cls_{stride}"][cell], maps[f"obj_{stride}"][cell] = 0.9, 0.4
    maps[f"bbox_{stride}"][cell] = (0.5, 0.25, np.log(3), np.log(2))
    maps[f"kps_{stride}"][cell] = np.arange(10) / 10
    found = yunet.decode(maps, 160, 0.5)
    centre = np.array([3.5, 2.25]) * stride
    half = np.array([1.5, 1.0]) * stride
    np.testing.assert_allclose(found.xyxy[0], [*(centre - half), *(centre + half)], rtol=1e-6)
    np.testing.assert_allclose(found.landmarks[0], ([3, 2] + np.arange(10).reshape(5, 2) / 10) * stride, rtol=1e-6)
    assert found.score.tolist() == pytest.approx([0.6])
    assert len(yunet.decode(maps, 160, 0.61).score) == 0


# --- RetinaFace MobileNet-0.25


def test_mobilenet_anchors_follow_one_another_from_fine_to_coarse() -> None:
    counts = [2 * (64 // stride) * (96 // stride) for stride in (8, 16, 32)]
    score = np.zeros(sum(counts), np.float32)
    box, landmarks = np.zeros((len(score), 4), np.float32), np.zeros((len(score), 10), np.float32)
    fine = 2 * (1 * 12 + 5)  # row 1, column 5, first anchor
    coarse = counts[0] + counts[1] + 2 * (1 * 3 + 2) + 1  # row 1, column 2, second anchor
    score[[fine, coarse]] = (0.9, 0.8)
    found = retinaface_mobilenet.decode(score, box, landmarks, (64, 96), 0.5)
    assert found.xyxy.tolist() == [[36, 4, 52, 20], [80 - 256, 48 - 256, 80 + 256, 48 + 256]]
    assert found.score.tolist() == pytest.approx([0.9, 0.8])


def test_mobilenet_refuses_a_wrong_number_of_anchors() -> None:
    with pytest.raises(ModelError, match="100 anchors came out where 252 are expected"):
        retinaface_mobilenet.decode(np.zeros(100), np.zeros((100, 4)), np.zeros((100, 10)), (64, 96), 0.5)


def test_mobilenet_weights_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"retinaface-mobilenet.onnx, about 1.7 MB.*fertrack models convert"):
        retinaface_mobilenet.build()


# --- RetinaFace ResNet-50, whose weights are not here: a session that gives outputs of the same shapes


def resnet_outputs(height: int, width: int) -> list[np.ndarray]:
    """The nine outputs as documented: strides 32, 16, 8; (N, rows, columns, channels); nothing found."""
    outputs = []
    for stride in (32, 16, 8):
        rows, columns = -(-height // stride), -(-width // stride)
        outputs += [np.zeros((1, rows, columns, channels), np.float32) for channels in (4, 8, 20)]
        outputs[-3][..., :2] = 1  # background of both anchors
    return outputs


class StubSession:
    """Stands in for the ONNX Runtime session of the ResNet-50 network."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="data")]

    def run(self, names: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert names is None
        pixels = feed["data"]
        self.seen.append(pixels)
        outputs = resnet_outputs(*pixels.shape[1:3])
        score, box, landmarks = outputs[3:6]  # stride 16
        score[0, 4, 7, 3] = 0.97  # face, second anchor (64 px) of row 4, column 7
        score[0, 4, 7, 1] = 0.03
        box[0, 4, 7, 4:] = (0.25, -0.5, np.log(1.5), 0)
        landmarks[0, 4, 7, 10:] = (-0.2, -0.1, 0.2, -0.1, 0, 0.1, -0.15, 0.3, 0.15, 0.3)
        outputs[0][0, 1, 1, 2] = 0.95  # stride 32, first anchor (512 px): overlaps little with the other
        return outputs


def resnet(session: StubSession, **options: float) -> retinaface.RetinaFace:
    return retinaface.RetinaFace(retinaface.Options(**options), session, "retinaface sha256:0")  # type: ignore[arg-type] # a stand-in


def test_resnet_sees_rgb_with_the_channels_last() -> None:
    session = StubSession()
    image = np.zeros((360, 640, 3), np.uint8)
    image[:] = (10, 20, 30)
    resnet(session).detect([image])
    (pixels,) = session.seen
    assert pixels.shape == (1, 352, 640, 3)
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous
    assert pixels[0, 0, 0].tolist() == [30, 20, 10]


def test_resnet_outputs_become_boxes_and_landmarks_of_the_frame() -> None:
    image = np.zeros((1280, 1280, 3), np.uint8)  # scale 0.5
    (found,) = resnet(StubSession()).detect([image])
    assert found.score.tolist() == pytest.approx([0.97, 0.95])
    anchor_x, anchor_y = 7 * 16 + 8, 4 * 16 + 8
    centre_x, centre_y = anchor_x + 16, anchor_y - 32
    expected = [centre_x - 48, centre_y - 32, centre_x + 48, centre_y + 32]
    np.testing.assert_allclose(found.xyxy[0], 2 * np.array(expected), rtol=1e-5)
    relative = np.array([[-0.2, -0.1], [0.2, -0.1], [0, 0.1], [-0.15, 0.3], [0.15, 0.3]])
    np.testing.assert_allclose(found.landmarks[0], 2 * ([anchor_x, anchor_y] + 64 * relative), rtol=1e-5)
    assert found.xyxy[1].tolist() == [0, 0, 2 * (40 + 256), 2 * (40 + 256)]


def test_resnet_announces_its_smallest_anchor() -> None:
    assert resnet(StubSession()).smallest_face_px(1280, 960) == pytest.approx(32)


def test_resnet_threshold_and_batch() -> None:
    images = [np.zeros((64, 96, 3), np.uint8), np.zeros((1280, 1280, 3), np.uint8)]
    assert [len(found) for found in resnet(StubSession(), score_threshold=0.96).detect(images)] == [1, 1]


def test_resnet_refuses_outputs_of_another_network() -> None:
    outputs = resnet_outputs(64, 64)
    outputs[1], outputs[2] = outputs[2], outputs[1]
    with pytest.raises(ModelError, match=r"outputs of shapes \(1, 2, 2, 4\), \(1, 2, 2, 20\), \(1, 2, 2, 8\)"):
        retinaface.decode(outputs, 0.5)


def stub_model(outputs: list[str]) -> bytes:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("pixels", *outputs)]
    nodes = [helper.make_node("Identity", ["pixels"], [name]) for name in outputs]
    graph = helper.make_graph(nodes, "stub", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def test_resnet_takes_a_file_with_nine_outputs_at_a_path_or_where_its_package_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    kept = tmp_path / ".deepface" / "weights" / "retinaface.onnx"
    with pytest.raises(WeightsError, match=r"retinaface.onnx, about 118 MB\); get them with: fertrack models pull"):
        retinaface.build()
    kept.parent.mkdir(parents=True)
    kept.write_bytes(stub_model([f"output{index}" for index in range(9)]))
    expected = fingerprint("retinaface", kept.read_bytes())
    assert retinaface.build().fingerprint == retinaface.build(weights=kept).fingerprint == expected
    kept.write_bytes(stub_model(["one", "two"]))
    with pytest.raises(ModelError, match="expected one input and 9 outputs"):
        retinaface.build()
