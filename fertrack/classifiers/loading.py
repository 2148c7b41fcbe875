"""Loader of a stranger's weights as a classifier: ``load_emotion_model``."""

from __future__ import annotations

from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from fertrack.classifiers import build_classifier
from fertrack.classifiers.config import ClassificationConfig
from fertrack.models.bundle import ClassifierBundle, load_bundle
from fertrack.models.describe import card_for
from fertrack.protocols import Classifier
from fertrack.types import Device

__all__ = ["load_emotion_model"]


def load_emotion_model(
    path: str | Path,
    preset: str = "",
    *,
    trust_code: bool = False,
    device: Device = "cpu",
    threads: int = 1,
    **facts: Any,
) -> Classifier:
    """Load an expression classifier from a file of weights.

    PyTorch state dicts (``.pt``, ``.pth``) and ``.safetensors`` of the networks in ``fertrack.models``, ONNX, Keras
    (``.keras``, ``.h5``, ``.hdf5``), and, because they are programs only with ``trust_code``, TorchScript and
    TensorFlow SavedModels. With ``head``, a PyTorch feature head stands in front and the network is given its tokens.

    Args:
        path: "default", a bundle's folder, or a weights file.
        preset: constants the model was trained with: "rafdb", "imagenet" or "fer2013". Without one, the file must have
            a card beside it (``fertrack models describe``).
        trust_code: whether a program may be run. It can do anything that you can do.
        device: what it runs on.
        threads: CPU threads for one face.
        facts: what differs from the preset, or is not in it: ``labels``, ``size_px``, ``head``, ``architecture``,
            ``output``, ``rename``, ``licence``, ``training_data``, ``name``; see ``fertrack.models.describe.card_for``.

    Returns:
        A classifier: ``logits(crops)`` takes uint8 (N, S, S, 3) BGR crops aligned to its ``template``.

    Raises:
        TypeError: ``facts`` without a preset, or a fact that there is not.
        ConfigError: an unknown preset, a device that is not available, or a program that may not be run.
        WeightsError: a file is missing, holds more than arrays, or its hash differs.
        ModelError: it is of another network, or does not take or answer what was said.
        FertrackError: what it needs is not installed.

    Example:
        >>> classifier = load_emotion_model("qvit.keras", "rafdb", head=Path("orf.pth"))  # doctest: +SKIP
        >>> classifier.logits(crops).shape  # doctest: +SKIP
        (1, 7)
    """
    _check_facts(facts)
    options = ClassificationConfig(bundle=str(path), trust_code=trust_code, device=device, threads=threads)
    if not preset:
        if facts:
            raise TypeError(f"{', '.join(facts)} can only be given together with a preset")
        return build_classifier(options, load_bundle(path))
    weights = Path(path).expanduser()
    if facts.get("head") is not None:
        facts["head"] = Path(facts["head"]).expanduser()
    return build_classifier(options, ClassifierBundle(weights.parent, card_for(weights, preset, **facts)))


def _check_facts(facts: dict[str, Any]) -> None:
    known = [name for name, given in signature(card_for).parameters.items() if given.kind is Parameter.KEYWORD_ONLY]
    unknown = [name for name in facts if name not in known]
    if unknown:
        raise TypeError(
            f"load_emotion_model() got an unexpected keyword argument {unknown[0]!r}; the facts are {', '.join(known)}"
        )
