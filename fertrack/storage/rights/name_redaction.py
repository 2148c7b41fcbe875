"""Takes a name out of every free text of the database: notes, markers, what a run was for, names of its files.

Folders keep their names: somebody's home folder is called like them, and holds other people's files too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import sqlalchemy as sa

from fertrack.storage.answer_models import Marker, MarkerImport
from fertrack.storage.models import Correction, PersonAction, Rescore, Run, Source

__all__ = ["ERASED", "is_in_file_name", "name_pattern", "scrub_names"]

ERASED = "[erased]"
"""What stands where a name stood."""

_TEXT = re.compile(r'^(?P<key>\s*\w+ = )(?P<text>"(?:[^"\\]|\\.)*")\s*$')
_FOLDERS = re.compile(r"^.*[/\\](?=[^/\\])")  # all up to a path's last part
_FREE_TEXT_KEYS = ("purpose", "consent")


def name_pattern(names: Sequence[str]) -> re.Pattern[str] | None:
    """Pattern of these names as whole words, in any case, also ``ann_lee`` or ``Ann-Lee``; None without names.

    >>> name_pattern(["Ann Lee"]).sub("...", "ann_lee.mp4, Ann Lee's, Annie Lee")
    "....mp4, ...'s, Annie Lee"
    """
    words = [r"[\s_.\-]+".join(map(re.escape, name.split())) for name in sorted(names, key=len, reverse=True)]
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(words)})(?![^\W_])", re.IGNORECASE) if words else None


def is_in_file_name(pattern: re.Pattern[str] | None, path: str) -> bool:
    """Whether a file is called like somebody, whatever its folders are called.

    >>> pattern = name_pattern(["Ada"])
    >>> is_in_file_name(pattern, "/videos/ada/talk.mp4"), is_in_file_name(pattern, "/videos/ada.mp4")
    (False, True)
    """
    return pattern is not None and pattern.search(_FOLDERS.sub("", path)) is not None


def scrub_names(connection: sa.Connection, names: Sequence[str], runs: Collection[int]) -> int:
    """Replace names by ``ERASED`` in free texts, in one writing transaction; returns how many texts had one.

    Notes and the like are looked through in all runs, names of files only in the given ones: a file of another run is
    not about the person, and would not be found again. Settings keep working: in them only free texts and parts of
    longer texts, such as files' names, are replaced.

    Args:
        connection: in a writing transaction.
        names: what the person is called.
        runs: those that the person is in.
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

    def clean_file(value: Any) -> Any:
        found = _FOLDERS.match(value)
        folders = found[0] if found else ""
        return folders + pattern.sub(ERASED, value[len(folders) :])

    def clean_theirs(value: Any) -> Any:
        return "\n".join(_clean_line(line, clean, clean_file, pattern) for line in value.split("\n"))

    def clean_others(value: Any) -> Any:
        return "\n".join(_clean_line(line, clean, None, pattern) for line in value.split("\n"))

    of_runs = sa.select(Run.source_id).where(Run.id.in_(list(runs)))

    changed = 0
    for model, columns in (
        (Run, ("notes", "error", "purpose", "consent")),
        (Marker, ("label", "note")),
        (MarkerImport, ("file_name",)),
        (PersonAction, ("sentence",)),
    ):
        changed += _replace(connection, model, columns, clean)
    changed += _replace(connection, Source, ("name", "path"), clean_file, Source.id.in_(of_runs))
    for table, run in ((Run, Run.id), (Rescore, Rescore.run_id)):
        is_theirs = run.in_(list(runs))
        changed += _replace(connection, table, ("config_toml",), clean_theirs, is_theirs)
        changed += _replace(connection, table, ("config_toml",), clean_others, sa.not_(is_theirs))
    for author in connection.scalars(sa.select(Correction.author).distinct()).all():
        if pattern.search(author):
            theirs = Correction.author == author
            connection.execute(sa.update(Correction).where(theirs).values(author=clean(author)))
            changed += 1
    return changed


def _replace(
    connection: sa.Connection,
    model: Any,
    columns: Sequence[str],
    clean: Callable[[Any], Any],
    condition: sa.ColumnElement[bool] | None = None,
) -> int:
    statement = sa.select(model.id, *(getattr(model, name) for name in columns))
    rows = connection.execute(statement if condition is None else statement.where(condition)).mappings().all()
    changed = 0
    for row in rows:
        new = {name: clean(row[name]) for name in columns}
        different = {name: value for name, value in new.items() if value != row[name]}
        if different:
            connection.execute(sa.update(model).where(model.id == row["id"]).values(**different))
            changed += len(different)
    return changed


def _clean_line(
    line: str, clean: Callable[[Any], Any], clean_file: Callable[[Any], Any] | None, pattern: re.Pattern[str]
) -> str:
    """A line of settings without the names; of those that are no free text only what ``clean_file`` takes away."""
    found = _TEXT.match(line)
    if found is None:
        return line
    text = found["text"][1:-1]
    if found["key"].split("=")[0].strip() in _FREE_TEXT_KEYS:
        return f'{found["key"]}"{clean(text)}"'
    if clean_file is None or pattern.fullmatch(text):  # a choice such as preset = "fast", of somebody called Fast
        return line
    return f'{found["key"]}"{clean_file(text)}"'
