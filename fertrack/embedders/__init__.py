"""Face embedders, one adapter a file: vectors whose distances tell people apart.

Reading order::

    appearance  colours of face, hair and collar; needs no network
    dlib        dlib's face recognition network
    subprocess  an embedder in a process of its own, for live runs
"""

from __future__ import annotations

from fertrack.protocols import Embedder

__all__ = ["build_embedder", "can_recognise"]


def can_recognise() -> bool:
    """Whether face recognition is installed (extra ``[reid]``), checked without loading it."""
    from fertrack.embedders.dlib import is_available

    return is_available()


def build_embedder(*, recognise: bool, in_subprocess: bool = False) -> Embedder:
    """Build an embedder.

    Args:
        recognise: the face recognition network; else the stand-in that compares looks.
        in_subprocess: run the network in a process of its own, so that other threads go on; close it in the end.

    Raises:
        ConfigError: face recognition is not installed.
        WeightsError: its weights are not the expected file.
        ModelError: they cannot be read.
    """
    if recognise and in_subprocess:
        from fertrack.embedders.subprocess import SubprocessEmbedder

        return SubprocessEmbedder()
    if recognise:
        from fertrack.embedders.dlib import build

        return build()
    from fertrack.embedders.appearance import AppearanceEmbedder

    return AppearanceEmbedder()
