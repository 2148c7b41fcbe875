"""Takes a name out of every free text of the database: notes, markers, paths, what a run was for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from fertrack.storage.answer_models import Marker
from fertrack.storage.models import Correction, PersonAction, Rescore, Run, Source

__all__ = ["ERASED", "name_pattern", "scrub_names"]

ERASED = "[erased]"
"""What stands where a name stood."""

_TEXT = re.compile(r'^(?P<key>\s*\w+ = )(?P<text>"(?:[^"\\]|\\.)*")\s*$')
_FREE_TEXT_KEYS = ("purpose", "consent")


def name_pattern(names: Sequence[str]) -> re.Pattern[str] | None:
    """What finds these names as whole words, in any case, also as ``ann_lee`` or ``Ann-Lee``; None without names.

    >>> name_pattern(["Ann Lee"]).sub("...", "ann_lee.mp4, Ann Lee's, Annie Lee")
    "....mp4, ...'s, Annie Lee"
    """
    words = [r"[\s_.\-]+".join(map(re.escape, name.split())) for name in sorted(names, key=len, reverse=True)]
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(words)})(?![^\W_])", re.IGNORECASE) if words else None


def scrub_names(connection: sa.Connection, names: Sequence[str]) -> int:
    """Replace names by ``ERASED`` in all free texts, in one writing transaction; returns how many texts had one.

    Settings keep working: in them only free texts and parts of longer texts, such as paths, are replaced.
    """
    pattern = name_pattern(names)
    if pattern is None:
        return 0

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(ERASED, value)
        if isinstance(value, list):
            return [clean(item) for item in value]
        return value

    def clean_toml(value: Any) -> Any:
        return "\n".join(_clean_line(line, pattern) for line in value.split("\n"))

    changed = 0
    for model, columns in (
        (Source, ("name", "path")),
        (Run, ("notes", "error", "purpose", "consent")),
        (Marker, ("label", "note")),
        (PersonAction, ("sentence",)),
    ):
        changed += _replace(connection, model, columns, clean)
    changed += sum(_replace(connection, model, ("config_toml",), clean_toml) for model in (Run, Rescore))
    for author in connection.scalars(sa.select(Correction.author).distinct()).all():
        if pattern.search(author):
            theirs = Correction.author == author
            connection.execute(sa.update(Correction).where(theirs).values(author=clean(author)))
            changed += 1
    return changed


def _replace(connection: sa.Connection, model: Any, columns: Sequence[str], clean: Callable[[Any], Any]) -> int:
    rows = connection.execute(sa.select(model.id, *(getattr(model, name) for name in columns))).mappings().all()
    changed = 0
    for row in rows:
        new = {name: clean(row[name]) for name in columns}
        different = {name: value for name, value in new.items() if value != row[name]}
        if different:
            connection.execute(sa.update(model).where(model.id == row["id"]).values(**different))
            changed += len(different)
    return changed


def _clean_line(line: str, pattern: re.Pattern[str]) -> str:
    found = _TEXT.match(line)
    if found is None:
        return line
    text = found["text"][1:-1]
    if pattern.fullmatch(text) and found["key"].split("=")[0].strip() not in _FREE_TEXT_KEYS:
        return line  # a choice such as preset = "fast", of somebody who is called Fast
    return f'{found["key"]}"{pattern.sub(ERASED, text)}"'
