"""The three orthogonal heads, their loss, and the one layout in which maps become tokens."""

import math

import numpy as np
import pytest
import torch

from fertrack.models.networks.feature_orthogonal import FeatureOrthogonal, four_stack, orthogonal_loss, to_tokens
from fertrack.models.networks.resnet50 import ResNet50

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def plain_trunk() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3, 2, 1), torch.nn.ReLU())


def net() -> FeatureOrthogonal:
    torch.manual_seed(1)
    return FeatureOrthogonal(plain_trunk(), 12, channels=8).eval()


def test_a_head_is_a_1x1_convolution_and_logits_come_from_the_pooled_vectors() -> None:
    head, pixels = net(), torch.randn(2, 3, 14, 14)
    with torch.no_grad():
        found = head.features(pixels)
        shared = head.trunk(pixels)
        for number, (made, pooled) in enumerate(zip(found.maps, found.pooled, strict=True), start=1):
            layer = getattr(head, f"conv2_{number}")
            expected = torch.einsum("oc,nchw->nohw", layer.weight[:, :, 0, 0], shared) + layer.bias[:, None, None]
            torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(pooled, expected.mean((2, 3)), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.logits, head.fc(torch.cat(found.pooled, 1)))
        torch.testing.assert_close(head(pixels), found.logits, atol=0, rtol=0)
    assert found.logits.shape == (2, 7)
    assert head.tokens(pixels).shape == (2, 32, 49)


def test_resnet50_gives_what_the_paper_gives() -> None:
    with torch.device("meta"):
        trunk = ResNet50()
        assert trunk.middle(torch.empty(1, 3, 224, 224)).shape == (1, 512, 28, 28)
        assert FeatureOrthogonal(trunk, 2048).tokens(torch.empty(1, 3, 224, 224)).shape == (1, 1024, 49)
    # torchvision's ResNet-50 has 25,557,032 parameters, 2,049,000 of them in its classifier.
    assert sum(parameter.numel() for parameter in trunk.parameters()) == 25_557_032 - 2_049_000
    names = set(trunk.state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer1.0.downsample.1.bias", "layer4.2.conv3.weight"} <= names
    assert len([name for name in names if not name.endswith("num_batches_tracked")]) == 5 * 53  # 53 convolutions
    assert [trunk.layer2[0].conv1.stride, trunk.layer2[0].conv2.stride] == [(1, 1), (2, 2)]  # version 1.5


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        ([[9.0, 0, 0]] * 3, 1.0),
        ([[40.0, 0, 0], [0, 40.0, 0], [0, 0, 40.0]], 0.0),
        ([[40.0, 0, 0], [40.0, 0, 0], [0, 0, 40.0]], 1 / 3),
    ],
)
def test_the_orthogonal_loss_is_the_mean_cosine(vectors: list, expected: float) -> None:
    pooled = [torch.tensor([vector]) for vector in vectors]
    assert orthogonal_loss(pooled).item() == pytest.approx(expected, abs=1e-5)


def test_the_orthogonal_loss_by_hand() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(0, 2, (3, 4, 5))
    total = 0.0
    for sample in range(4):
        soft = [np.exp(v[sample]) / np.exp(v[sample]).sum() for v in vectors]
        unit = [s / math.sqrt((s * s).sum()) for s in soft]
        total += (unit[0] @ unit[1] + unit[0] @ unit[2] + unit[1] @ unit[2]) / 3
    found = orthogonal_loss([torch.tensor(v) for v in vectors]).item()
    assert found == pytest.approx(total / 4, rel=1e-9)


def test_following_the_loss_makes_the_features_differ() -> None:
    head, pixels = net(), torch.randn(4, 3, 14, 14)
    optimiser = torch.optim.SGD(head.parameters(), 1.0)
    before = orthogonal_loss(head.features(pixels).pooled)
    for _ in range(30):
        optimiser.zero_grad()
        orthogonal_loss(head.features(pixels).pooled).backward()
        optimiser.step()
    assert orthogonal_loss(head.features(pixels).pooled).item() < before.item() - 0.1


def test_the_real_part_is_the_mean_and_the_order_is_kept() -> None:
    maps = [torch.full((1, 2, 3, 3), float(k)) for k in (1, 2, 6)]
    stack = four_stack(maps)
    assert stack.shape == (1, 8, 3, 3)
    assert stack[0, :, 0, 0].tolist() == [3, 3, 1, 1, 2, 2, 6, 6]


def test_a_token_is_one_channel_read_row_by_row() -> None:
    # Value = 1000 * map + 100 * channel + 10 * row + column: where each number ends up can be read off.
    channel, row, column = (torch.arange(n) for n in (5, 7, 7))
    one = 100.0 * channel[:, None, None] + 10 * row[:, None] + column
    maps = [(one + 1000 * number)[None] for number in (1, 2, 3)]
    tokens = to_tokens(four_stack(maps))[0]
    assert tokens.shape == (20, 49)
    for token in range(20):
        number, c = divmod(token, 5)
        base = (2000 if number == 0 else 1000 * number) + 100 * c
        np.testing.assert_allclose(tokens[token], base + 10 * (np.arange(49) // 7) + np.arange(49) % 7, rtol=1e-6)


def test_inference_gives_the_tokens_that_training_on_dumped_channel_last_features_gives() -> None:
    """The known defect: maps kept channel-first at inference were read as if they were channel-last.

    For 128 channels both give 512 tokens of 49, so nothing complained. The published training data are arrays
    (N, 7, 7, C): concatenated on channels, channels moved to the front, flattened.
    """
    maps = [np.random.default_rng(k).normal(0, 1, (2, 128, 7, 7)).astype(np.float32) for k in range(3)]
    dumped = [np.moveaxis(part, 1, 3) for part in maps]
    trained_on = np.concatenate([np.mean(dumped, axis=0), *dumped], axis=3).transpose(0, 3, 1, 2).reshape(2, 512, 49)
    ours = to_tokens(four_stack([torch.from_numpy(part) for part in maps])).numpy()
    np.testing.assert_allclose(ours, trained_on, atol=1e-6)

    # The scramble, as it happened: channel-first maps handled as if their last axis were the channels.
    scrambled = np.concatenate([np.mean(maps, axis=0), *maps], axis=3).transpose(0, 3, 1, 2).reshape(2, 512, 49)
    assert scrambled.shape == ours.shape
    assert np.abs(scrambled - ours).max() > 1


def test_channel_last_maps_are_refused() -> None:
    last = [torch.zeros(2, 7, 7, 128)] * 3
    with pytest.raises(ValueError, match="must be channel-first"):
        four_stack(last)
    with pytest.raises(ValueError, match="channel-first stack"):
        to_tokens(torch.zeros(2, 7, 7, 512))
    with pytest.raises(ValueError, match="three maps of one shape"):
        four_stack([torch.zeros(2, 8, 7, 7)] * 2)
    with pytest.raises(ValueError, match="three tensors of one shape"):
        orthogonal_loss([torch.zeros(2, 8), torch.zeros(2, 8), torch.zeros(2, 9)])
