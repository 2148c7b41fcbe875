"""Inventory of weights: the classifier's bundle, detectors and face recognition, with licence, hash and state."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fertrack.errors import WeightsError
from fertrack.models.bundle import SHIPPED, load_bundle
from fertrack.models.weights import KNOWN, KnownWeights, expected_sha256, locate, verify

__all__ = ["InventoryEntry", "inventory"]


@dataclass(frozen=True, slots=True)
class InventoryEntry:
    """One weights file.

    Attributes:
        name: name used in the configuration and by ``fertrack models pull``.
        role: "expression classifier", "detector" or "face recognition".
        state: "verified", "hash differs", "no known hash", "present" (not read) or "missing".
        is_default: whether fertrack needs it without any option being set.
        path: where it is; empty if missing.
        size: for people.
        licence: of the weights.
        training_data: what they were trained on, and under what terms.
        sha256: expected hash; empty where none is known.
    """

    name: str
    role: str
    state: str
    is_default: bool
    path: str
    size: str
    licence: str
    training_data: str
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        """The entry as a plain dict."""
        return asdict(self)


def inventory(*, check_hashes: bool = False) -> list[InventoryEntry]:
    """List the classifiers' bundles that come with fertrack and every known weights file.

    Args:
        check_hashes: read each file that is present and compare its SHA-256.
    """
    return [*map(_shipped_bundle, SHIPPED), *(_known_file(known, check_hashes) for known in KNOWN.values())]


def _shipped_bundle(shipped: str) -> InventoryEntry:
    try:
        bundle = load_bundle(shipped)  # reads the file and compares its hash
    except WeightsError as error:
        return InventoryEntry(
            shipped, "expression classifier", "hash differs", shipped == "default", str(error), "", "", "", ""
        )
    card, path = bundle.card, bundle.model_path
    return InventoryEntry(
        name=f"{shipped} ({card.name} {card.version})",
        role="expression classifier",
        state="verified",
        is_default=shipped == "default",
        path=str(path),
        size=f"{path.stat().st_size / 1e6:.1f} MB",
        licence=card.licence,
        training_data=card.training_data,
        sha256=card.sha256,
    )


def _known_file(known: KnownWeights, check_hash: bool) -> InventoryEntry:
    path = locate(known.name)
    expected = expected_sha256(known, path) if path else known.sha256
    if path is None:
        state = "missing"
    elif not check_hash:
        state = "present"
    elif not expected:
        state = "no known hash"
    else:
        try:
            verify(known, path)
            state = "verified"
        except WeightsError:
            state = "hash differs"
    return InventoryEntry(
        name=known.name,
        role=known.role,
        state=state,
        is_default=bool(known.package) and known.role == "detector",
        path=str(path or ""),
        size=known.size_text,
        licence=known.licence,
        training_data=known.training_data,
        sha256=expected,
    )
