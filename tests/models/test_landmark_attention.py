"""The landmark-attention head: windows where the landmarks are, in the crop the network is given."""

import numpy as np
import onnxruntime
import pytest
import torch

from fertrack.imaging.alignment import DEFAULT_TEMPLATE, align_faces, aligned_landmarks
from fertrack.models.networks.feature_orthogonal import orthogonal_loss
from fertrack.models.networks.landmark_attention import Attention, LandmarkAttention, landmark_windows, window_centres

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_the_point_between_the_eyes_stands_in_for_the_nose() -> None:
    centres = window_centres(torch.from_numpy(DEFAULT_TEMPLATE.copy())[None])[0]
    assert centres.tolist() == [[70, 96], [154, 96], [112, 96], [84, 164], [140, 164]]


def test_a_window_is_ten_cells_around_the_rounded_point() -> None:
    rows, columns = torch.arange(28.0), torch.arange(28.0)
    middle = torch.stack([rows[:, None].expand(28, 28), columns.expand(28, 28)])[None]
    windows = landmark_windows(middle, torch.tensor([[[70.0, 96.0], [154.0, 164.0]]]))
    assert windows.shape == (1, 2, 2, 10, 10)
    # 70 / 8 = 8.75 -> 9: columns 4 to 13; 96 / 8 = 12: rows 7 to 16. y is not x.
    assert windows[0, 0, 1, 0].tolist() == list(range(4, 14))
    assert windows[0, 0, 0, :, 0].tolist() == list(range(7, 17))
    # 154 / 8 = 19.25 -> 19: columns 14 to 23; 164 / 8 = 20.5 -> 20 (half to even): rows 15 to 24.
    assert windows[0, 1, 1, 0].tolist() == list(range(14, 24))
    assert windows[0, 1, 0, :, 0].tolist() == list(range(15, 25))


@pytest.mark.parametrize(
    ("point", "columns", "rows"),
    [((-50.0, 500.0), (0, 9), (18, 27)), ((223.0, 0.0), (18, 27), (0, 9)), ((float("nan"), 1.0), (9, 18), (0, 9))],
)
def test_at_the_border_a_window_moves_inwards(point: tuple, columns: tuple, rows: tuple) -> None:
    grid = torch.arange(28.0)
    middle = torch.stack([grid[:, None].expand(28, 28), grid.expand(28, 28)])[None]
    window = landmark_windows(middle, torch.tensor([[point]]))[0, 0]
    assert (window[1, 0, 0].item(), window[1, 0, -1].item()) == columns
    assert (window[0, 0, 0].item(), window[0, -1, 0].item()) == rows


def test_windows_belong_to_their_own_face() -> None:
    middle = torch.arange(3.0)[:, None, None, None].expand(3, 4, 28, 28)
    windows = landmark_windows(middle, torch.rand(3, 5, 2) * 224)
    assert [windows[n].unique().tolist() for n in range(3)] == [[0.0], [1.0], [2.0]]


def test_windows_follow_the_landmarks_of_the_aligned_crop_not_of_the_frame() -> None:
    """The known defect: the picture was aligned, the landmark windows came from before the alignment."""
    frame = np.full((480, 640, 3), 40, np.uint8)
    # A turned, small face: the left mouth corner is marked by a bright spot.
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * 0.6
    points = (DEFAULT_TEMPLATE @ turn.T + (260, 120)).astype(np.float32)
    x, y = points[3].round().astype(int)
    frame[y - 4 : y + 5, x - 4 : x + 5] = 255
    crops = align_faces(frame, points[None])
    landmarks = torch.from_numpy(aligned_landmarks(points[None]))
    cells = torch.from_numpy(crops[..., 0].astype(np.float32)).reshape(1, 1, 28, 8, 28, 8).mean((3, 5))
    brightest = landmark_windows(cells, window_centres(landmarks)).amax((2, 3, 4))[0]
    assert brightest.argmax().item() == 3
    assert brightest[3] > 150
    unaligned = landmark_windows(cells, window_centres(torch.from_numpy(points)[None])).amax((2, 3, 4))[0]
    assert unaligned[3] < 60  # the same windows at the frame's landmarks miss it


def test_attention_weighs_channels_and_places_between_none_and_all() -> None:
    torch.manual_seed(1)
    attention = Attention(32)
    x = torch.rand(2, 32, 10, 10) + 0.5
    share = attention(x) / x
    assert ((share > 0) & (share < 1)).all()
    # A product of a share per channel and a share per place: ratios of two places are the same in each channel.
    ratios = share[:, :, 0, 0] / share[:, :, 5, 5]
    torch.testing.assert_close(ratios, ratios[:, :1].expand_as(ratios), atol=1e-4, rtol=1e-4)


class SmallTrunk(torch.nn.Module):
    """As many channels as ResNet-50, next to no work."""

    middle_channels, channels = 512, 2048

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 512, 8, 8)
        self.second = torch.nn.Conv2d(512, 2048, 4, 4, groups=512)

    def middle(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.first(pixels))

    def deep(self, middle: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(middle))


@pytest.fixture(scope="module")
def net() -> LandmarkAttention:
    torch.manual_seed(2)
    return LandmarkAttention(trunk=SmallTrunk()).eval()


def test_sub_features_are_global_and_local_together(net: LandmarkAttention) -> None:
    pixels = torch.randn(2, 3, 224, 224)
    landmarks = torch.from_numpy(DEFAULT_TEMPLATE.copy()).expand(2, 5, 2)
    with torch.no_grad():
        found = net.features(pixels, landmarks)
        deep = net.trunk.deep(net.trunk.middle(pixels))
        assert [tuple(part.shape) for part in found.maps] == [(2, 128, 7, 7)] * 3
        for number, (part, pooled) in enumerate(zip(found.maps, found.pooled, strict=True), start=1):
            torch.testing.assert_close(part[:, :64], getattr(net, f"conv2_{number}")(deep))
            assert part[:, 64:].min() >= 0  # after ReLU
            assert pooled.shape == (2, 128)
        assert net.fc.in_features == 384
        torch.testing.assert_close(net(pixels, landmarks), found.logits)
        assert net.tokens(pixels, landmarks).shape == (2, 512, 49)
        assert 0 < orthogonal_loss(found.pooled).item() <= 1


def test_where_the_landmarks_are_changes_the_local_half_only(net: LandmarkAttention) -> None:
    pixels = torch.randn(1, 3, 224, 224)
    here = torch.from_numpy(DEFAULT_TEMPLATE.copy())[None]
    with torch.no_grad():
        one, two = net.features(pixels, here), net.features(pixels, here + 24)
    torch.testing.assert_close(one.maps[0][:, :64], two.maps[0][:, :64])
    assert not torch.allclose(one.maps[0][:, 64:], two.maps[0][:, 64:], atol=1e-3)


def test_pooling_by_matrix_is_adaptive_average_pooling(net: LandmarkAttention) -> None:
    x = torch.randn(2, 3, 10, 10)
    torch.testing.assert_close(net._pool(x), torch.nn.functional.adaptive_avg_pool2d(x, 7), atol=1e-6, rtol=1e-5)


def test_everything_learns() -> None:
    torch.manual_seed(3)
    net = LandmarkAttention(trunk=SmallTrunk())
    net(torch.randn(2, 3, 224, 224), torch.from_numpy(DEFAULT_TEMPLATE.copy()).expand(2, 5, 2)).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.fixture(scope="module")
def as_onnx(net: LandmarkAttention) -> bytes:
    """Made here and not in the test, because the exporter's progress bar starts a thread that stays."""
    pytest.importorskip("onnxscript")
    from fertrack.model_export.onnx import from_module

    return from_module(AtTheTemplate(net).eval(), (3, 224, 224))


def test_it_can_be_exported(net: LandmarkAttention, as_onnx: bytes) -> None:
    pixels = torch.randn(2, 3, 224, 224)
    session = onnxruntime.InferenceSession(as_onnx, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"crops": pixels.numpy()})
    with torch.no_grad():
        expected = AtTheTemplate(net)(pixels).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


class AtTheTemplate(torch.nn.Module):
    """The network for crops whose landmarks lie where the template has them."""

    def __init__(self, network: LandmarkAttention) -> None:
        super().__init__()
        self.network = network
        self.landmarks = torch.nn.Buffer(torch.from_numpy(DEFAULT_TEMPLATE.copy())[None])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.network(pixels, self.landmarks.expand(pixels.shape[0], 5, 2))
