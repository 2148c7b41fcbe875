"""The contract of every embedder: ``fertrack.protocols.Embedder``.

Adapters are found by folder: every module of ``fertrack/embedders`` needs an entry in ``EMBEDDERS``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fertrack.embedders
from fertrack.embedders import can_recognise, dlib
from fertrack.embedders.appearance import AppearanceEmbedder
from fertrack.embedders.subprocess import SubprocessEmbedder
from fertrack.protocols import Embedder
from fertrack.types import Image

EMBEDDERS: dict[str, Callable[[], Embedder]] = {
    "appearance": AppearanceEmbedder,
    "dlib": dlib.build,
    "subprocess": SubprocessEmbedder,
}


@pytest.fixture(scope="module", params=EMBEDDERS)
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    if request.param != "appearance" and not can_recognise():
        pytest.skip("face recognition is not installed: fertrack[reid]")
    built = EMBEDDERS[request.param]()
    yield built
    close = getattr(built, "close", None)
    if close is not None:
        close()


@pytest.fixture(scope="module")
def crops(embedder: Embedder) -> Image:
    coarse = np.random.default_rng(5).integers(0, 256, (4, 10, 10, 3))
    repeats = -(-embedder.crop_size // 10)
    large = np.repeat(np.repeat(coarse, repeats, axis=1), repeats, axis=2)
    return large[:, : embedder.crop_size, : embedder.crop_size].astype(np.uint8)


def test_every_embedder_is_here() -> None:
    assert {module.name for module in pkgutil.iter_modules(fertrack.embedders.__path__)} == set(EMBEDDERS)


def test_it_has_what_the_seam_asks_for(embedder: Embedder) -> None:
    assert isinstance(embedder, Embedder)
    assert embedder.fingerprint
    assert isinstance(embedder.recognises, bool)
    assert embedder.template.shape == (5, 2)
    assert embedder.template.dtype == np.float32
    assert ((embedder.template > 0) & (embedder.template < embedder.crop_size)).all()
    left_eye, right_eye, nose, left_mouth, right_mouth = embedder.template
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]


def test_one_vector_a_crop_in_order(embedder: Embedder, crops: Image) -> None:
    vectors = embedder.embed(crops)
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, embedder.embed(crops[:1]).shape[1])
    assert np.isfinite(vectors).all()
    backwards = embedder.embed(np.ascontiguousarray(crops[::-1]))
    np.testing.assert_allclose(backwards[::-1], vectors, atol=1e-6)


def test_no_crops_give_no_vectors(embedder: Embedder, crops: Image) -> None:
    assert embedder.embed(crops[:0]).shape[0] == 0


def test_equal_crops_are_alike_and_others_are_less(embedder: Embedder, crops: Image) -> None:
    one, again, other = embedder.embed(crops[[0, 0, 1]])
    assert np.linalg.norm(one - again) == 0.0
    assert np.linalg.norm(one - other) > 0.05


def test_crops_are_left_alone(embedder: Embedder, crops: Image) -> None:
    read_only = crops.copy()
    read_only.flags.writeable = False
    embedder.embed(read_only)
    np.testing.assert_array_equal(read_only, crops)


def test_two_threads_at_once_give_the_same_vectors(embedder: Embedder, crops: Image) -> None:
    expected = embedder.embed(crops)
    with ThreadPoolExecutor(2) as pool:
        for vectors in pool.map(embedder.embed, [crops, crops]):
            np.testing.assert_array_equal(vectors, expected)
