"""What every classifier adapter promises.

Adapters are found by folder: every module of ``fertrack/classifiers`` that has a ``build``.
"""

import importlib
import pkgutil
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np
import pytest

import fertrack.classifiers
from fertrack.protocols import Classifier
from fertrack.types import EXPRESSIONS
from tests.support.classifier_bundles import BUNDLES


def adapters() -> list[ModuleType]:
    modules = [
        importlib.import_module(f"fertrack.classifiers.{found.name}")
        for found in pkgutil.iter_modules(fertrack.classifiers.__path__)
    ]
    return [module for module in modules if hasattr(module, "build")]


@pytest.fixture(scope="module", params=adapters(), ids=lambda module: module.__name__.rpartition(".")[2])
def classifier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    name = request.param.__name__.rpartition(".")[2]
    bundle = BUNDLES[name](tmp_path_factory.mktemp(name))
    return request.param.build(request.param.Options(), bundle)


@pytest.fixture(scope="module")
def crops(classifier: Classifier) -> np.ndarray:
    """Smooth random pictures with some contrast, the same at every run."""
    rng = np.random.default_rng(7)
    side = classifier.crop_size
    coarse = rng.integers(0, 256, (17, 8, 8, 3))
    up = np.repeat(np.repeat(coarse, -(-side // 8), axis=1), -(-side // 8), axis=2)[:, :side, :side]
    return up.astype(np.uint8)


def test_there_is_an_adapter() -> None:
    assert {adapter.__name__.rpartition(".")[2] for adapter in adapters()} == set(BUNDLES)


def test_it_has_what_the_seam_asks_for(classifier: Classifier) -> None:
    assert isinstance(classifier, Classifier)
    assert classifier.template.dtype == np.float32
    assert classifier.template.shape == (5, 2)
    assert not classifier.template.flags.writeable
    assert (classifier.template >= 0).all()
    assert (classifier.template <= classifier.crop_size).all()
    assert "sha256:" in classifier.fingerprint


def test_template_is_left_to_right_and_top_to_bottom_as_seen(classifier: Classifier) -> None:
    left_eye, right_eye, nose, left_mouth, right_mouth = classifier.template
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_one_row_of_finite_float32_per_crop(classifier: Classifier, crops: np.ndarray) -> None:
    logits = classifier.logits(crops)
    assert logits.dtype == np.float32
    assert logits.shape == (len(crops), len(EXPRESSIONS))
    assert np.isfinite(logits).all()
    assert len(np.unique(logits, axis=0)) > 1  # it looks at them


def test_no_crops_give_no_rows(classifier: Classifier, crops: np.ndarray) -> None:
    logits = classifier.logits(crops[:0])
    assert logits.shape == (0, len(EXPRESSIONS))
    assert logits.dtype == np.float32


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 16])
def test_a_faces_bits_do_not_depend_on_its_company(classifier: Classifier, crops: np.ndarray, size: int) -> None:
    whole = classifier.logits(crops)
    parts = np.concatenate([classifier.logits(crops[i : i + size]) for i in range(0, len(crops), size)])
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(classifier.logits(crops[::-1])[::-1], whole)


def test_bits_do_not_depend_on_the_calling_thread(classifier: Classifier, crops: np.ndarray) -> None:
    expected = classifier.logits(crops)
    gate = threading.Barrier(3)

    def look(_: int) -> np.ndarray:
        gate.wait()
        return classifier.logits(crops)

    with ThreadPoolExecutor(3) as pool:
        for logits in pool.map(look, range(3)):
            np.testing.assert_array_equal(logits, expected)


def test_the_input_is_left_alone(classifier: Classifier, crops: np.ndarray) -> None:
    given = crops.copy()
    given.flags.writeable = False
    classifier.logits(given)
    np.testing.assert_array_equal(given, crops)


@pytest.mark.parametrize("level", [0, 255])
def test_a_blank_crop_is_no_crash(classifier: Classifier, level: int) -> None:
    side = classifier.crop_size
    assert np.isfinite(classifier.logits(np.full((1, side, side, 3), level, np.uint8))).all()


def test_wrong_crops_are_refused(classifier: Classifier) -> None:
    side = classifier.crop_size
    with pytest.raises(TypeError):
        classifier.logits(np.zeros((1, side, side, 3), np.float32))
    with pytest.raises(ValueError, match="crops"):
        classifier.logits(np.zeros((1, side + 1, side, 3), np.uint8))
