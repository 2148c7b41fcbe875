"""What weights there are: the classifier's bundle and the detectors' files, with licence, hash and state."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fertrack.errors import FertrackError, ModelError, WeightsError
from fertrack.models.bundle import load_bundle
from fertrack.models.weights import KNOWN, find_weights

__all__ = ["InventoryEntry", "inventory"]


@dataclass(frozen=True, slots=True)
class InventoryEntry:
    """One weights file.

    Attributes:
        name: name used in the configuration and by ``fertrack models pull``.
        role: "detector" or "expression classifier".
        state: "present", "verified", "hash differs", "no pinned hash" or "missing".
        path: where it is; empty if missing.
        mb: size, megabytes.
        licence: SPDX identifier or short text.
        training_data: what it was trained on, with its terms.
        sha256: expected hash; empty if none is pinned.
    """

    name: str
    role: str
    state: str
    path: str
    mb: float
    licence: str
    training_data: str
    sha256: str

    def as_dict(self) -> dict[str, object]:
        """The entry as a plain dict."""
        return {name: getattr(self, name) for name in self.__slots__}


def inventory(*, check_hashes: bool = False) -> list[InventoryEntry]:
    """List every known weights file.

    Args:
        check_hashes: read each file that is present and compare its SHA-256.
    """
    return [_bundle_entry(check_hashes), *(_detector_entry(name, check_hashes) for name in KNOWN)]
