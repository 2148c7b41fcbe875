"""Quaternion layers against the multiplication table, and the transformer made of them."""

import numpy as np
import pytest
import torch

from fertrack.models.networks.quaternion import QuaternionConv2d, QuaternionDense, hamilton_matrix
from fertrack.models.networks.quaternion_transformer import QuaternionAttention, QuaternionTransformer, token_grid

pytestmark = pytest.mark.usefixtures("one_torch_thread")

# e_a * e_b = sign * e_c for the units 1, i, j, k: i*j = k, j*k = i, k*i = j, squares -1.
TABLE = {
    (0, 0): (1, 0), (0, 1): (1, 1), (0, 2): (1, 2), (0, 3): (1, 3),
    (1, 0): (1, 1), (1, 1): (-1, 0), (1, 2): (1, 3), (1, 3): (-1, 2),
    (2, 0): (1, 2), (2, 1): (-1, 3), (2, 2): (-1, 0), (2, 3): (1, 1),
    (3, 0): (1, 3), (3, 1): (1, 2), (3, 2): (-1, 1), (3, 3): (-1, 0),
}  # fmt: skip


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Plain quaternion multiplication of two (4,) arrays by the table of the units."""
    product = np.zeros(4)
    for (m, n), (sign, unit) in TABLE.items():
        product[unit] += sign * a[m] * b[n]
    return product


def parts(x: torch.Tensor) -> np.ndarray:
    """A vector (4A,) as quaternions (A, 4)."""
    return x.detach().double().numpy().reshape(4, -1).T


def test_the_table_is_that_of_quaternions() -> None:
    i, j, k = np.eye(4)[1:]
    np.testing.assert_array_equal(multiply(i, j), k)
    np.testing.assert_array_equal(multiply(j, i), -k)
    np.testing.assert_array_equal(multiply(multiply(i, j), k), [-1, 0, 0, 0])


def test_a_dense_layer_multiplies_quaternions() -> None:
    torch.manual_seed(3)
    layer = QuaternionDense(12, 8)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(12)
    weights, inputs = layer.weight.detach().double().numpy(), parts(x)
    expected = np.array([sum(multiply(weights[:, a, b], inputs[b]) for b in range(3)) for a in range(2)])
    np.testing.assert_allclose(parts(layer(x)), expected + parts(layer.bias), atol=1e-5)


def test_a_convolution_multiplies_quaternions_at_every_place() -> None:
    torch.manual_seed(4)
    layer = QuaternionConv2d(8, 12)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(1, 8, 4, 5)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))[0]
    weights = layer.weight.detach().double().numpy()
    found = layer(x)[0]
    assert found.shape == (12, 4, 5)
    for row, column in ((0, 0), (2, 3), (3, 4)):
        expected = parts(layer.bias)
        for a in range(3):
            for b in range(2):
                for dy in range(3):
                    for dx in range(3):
                        here = parts(padded[:, row + dy, column + dx])[b]
                        expected[a] += multiply(weights[:, a, b, dy, dx], here)
        np.testing.assert_allclose(parts(found[:, row, column]), expected, atol=1e-5)


def test_the_norm_of_a_product_is_the_product_of_the_norms() -> None:
    weight, x = torch.randn(4, 1, 1, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    product = hamilton_matrix(weight) @ x
    assert product.norm().item() == pytest.approx(weight.norm().item() * x.norm().item(), rel=1e-12)


def test_weights_are_a_quarter_of_a_real_layers() -> None:
    def count(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    assert 4 * (count(QuaternionDense(48, 96)) - 96) == count(torch.nn.Linear(48, 96)) - 96
    assert 4 * (count(QuaternionConv2d(48, 96)) - 96) == count(torch.nn.Conv2d(48, 96, 3)) - 96


def test_fresh_weights_keep_the_variance_through_relu() -> None:
    torch.manual_seed(5)
    x = torch.randn(400, 512)
    for _ in range(4):
        x = torch.relu(QuaternionDense(512, 512)(x))
    assert 0.7 < x.pow(2).mean().item() < 1.4


def test_sizes_that_are_no_whole_quaternions_are_refused() -> None:
    with pytest.raises(ValueError, match="inputs must be a positive multiple of 4"):
        QuaternionDense(6, 8)
    with pytest.raises(ValueError, match="outputs must be"):
        QuaternionConv2d(8, 2)
    with pytest.raises(ValueError, match="kernel must be odd"):
        QuaternionConv2d(8, 8, 2)
    with pytest.raises(ValueError, match="no multiple of 5 heads"):
        QuaternionAttention(48, 5)
    with pytest.raises(ValueError, match="must be the width 48"):
        QuaternionTransformer(16, 4, hidden=(96,))


def test_attention_is_softmax_attention_over_all_tokens() -> None:
    torch.manual_seed(6)
    attention = QuaternionAttention(16, 2)
    x = torch.randn(2, 5, 16)
    query, key, value = attention.query(x), attention.key(x), attention.value(x)
    heads = []
    for head in (slice(0, 8), slice(8, 16)):
        scores = query[..., head] @ key[..., head].transpose(1, 2) / 8**0.5
        heads.append(torch.softmax(scores, dim=-1) @ value[..., head])
    torch.testing.assert_close(attention(x), attention.output(torch.cat(heads, dim=-1)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("tokens", "grid"), [(1024, (32, 32)), (512, (16, 32)), (64, (8, 8)), (7, (1, 7))])
def test_the_grid_is_as_square_as_can_be(tokens: int, grid: tuple[int, int]) -> None:
    assert token_grid(tokens) == grid


def test_the_published_transformer_has_the_published_size() -> None:
    with torch.device("meta"):  # shapes without memory
        paper = QuaternionTransformer()
        landmark = QuaternionTransformer(512, head=(2048, 512))
    counts = [sum(parameter.numel() for parameter in net.parameters()) for net in (paper, landmark)]
    assert 25.5e6 < counts[0] < 26.5e6  # "about 26 M, about 25 M of them in the first layer of the head"
    assert paper.dense[0].weight.numel() == 12_288 * 2_048
    assert landmark.dense[0].weight.numel() == 512 * 48 * 2048 / 4
    assert paper(torch.empty(2, 1024, 49, device="meta")).shape == (2, 7)
    assert sum(isinstance(m, QuaternionConv2d) for m in paper.layers[0].modules()) == 4


def small() -> QuaternionTransformer:
    torch.manual_seed(7)
    return QuaternionTransformer(16, 9, width=16, heads=2, layers=2, hidden=(32, 16), head=(32, 16)).eval()


def test_the_transformer_learns() -> None:
    net = small().train()
    tokens, labels = torch.randn(14, 16, 9), torch.arange(14) % 7
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(net(tokens), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert losses[-1] < 0.5 * losses[0]


def test_tokens_are_told_apart_by_their_place() -> None:
    net = small()
    tokens = torch.randn(1, 16, 9)
    with torch.no_grad():
        assert not torch.allclose(net(tokens), net(tokens.flip(1)), atol=1e-4)


def test_dropout_is_off_when_it_classifies() -> None:
    net = small()
    tokens = torch.randn(3, 16, 9)
    with torch.no_grad():
        torch.testing.assert_close(net(tokens), net(tokens), atol=0, rtol=0)


def test_other_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match=r"tokens must be \(N, 16, 9\), got \(2, 9, 16\)"):
        small()(torch.zeros(2, 9, 16))
