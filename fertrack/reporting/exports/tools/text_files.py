"""Several text files of one export: all free, then all written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fertrack.files import check_free, replacing

__all__ = ["write_texts"]


def write_texts(folder: Path, texts: Mapping[str, str], *, overwrite: bool, only: str = "") -> list[Path]:
    """Write each text under its name, UTF-8, line ends as given; or ``only`` the one of that name.

    Raises:
        OutputExistsError: a file is already there and ``overwrite`` is False; none is written.
        ReportError: a file could not be written.
    """
    texts = {name: text for name, text in texts.items() if only in {"", name}}
    paths = [folder / name for name in texts]
    for path in paths:
        check_free(path, overwrite=overwrite)
    for path, text in zip(paths, texts.values(), strict=True):
        with replacing(path, overwrite=overwrite) as file:
            file.write(text)
    return paths
