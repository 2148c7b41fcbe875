"""Messages of errors: the reason, not the system's number of it."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

import pytest

from fertrack.config import load_settings
from fertrack.errors import ConfigError, MissingExtraError, reason_of
from tests.support.paths import REPOSITORY

PACKAGE = REPOSITORY / "fertrack"
OF_THE_SYSTEM = {"OSError", "FFmpegError", "FileNotFoundError", "PermissionError", "ConnectionError"}


def names_in(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_an_error_of_the_system_is_told_without_its_number(path: Path) -> None:
    """``f"{error}"`` of an OSError reads "[Errno 2] No such file or directory: 'x'"; ``reason_of`` gives the words."""
    told = []
    for handler in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(handler, ast.ExceptHandler) and handler.type and names_in(handler.type) & OF_THE_SYSTEM:
            told += [
                node.lineno
                for node in ast.walk(handler)
                if isinstance(node, ast.FormattedValue)
                and isinstance(node.value, ast.Name)
                and node.value.id == handler.name
            ]
    assert not told, f"{path}: line {told} shows the error itself: use reason_of"


def test_reasons_are_words() -> None:
    with pytest.raises(OSError, match="Errno") as caught:
        Path("/nothing/here").read_text()
    assert reason_of(caught.value) == "No such file or directory"
    assert reason_of(OSError("it is full")) == "it is full"
    assert reason_of(MemoryError()) == "MemoryError"


def test_a_config_file_that_cannot_be_read_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text("")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(tmp_path / "mine.toml"))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(ConfigError, match=r"mine\.toml cannot be read as TOML: Permission denied$"):
        load_settings([tmp_path / "mine.toml"])


def test_a_missing_extra_names_the_command_that_installs_it() -> None:
    error = MissingExtraError("the window needs Qt", "gui")
    assert error.hint == "pip install 'fertrack[gui]'"
    assert str(error) == "the window needs Qt: pip install 'fertrack[gui]'"
    other = MissingExtraError("TensorRT is not installed", "export", hint="pip install tensorrt")
    assert str(other).endswith(": pip install tensorrt")
    copy = pickle.loads(pickle.dumps(other))  # errors of worker processes arrive pickled
    assert (str(copy), copy.hint, copy.extra) == (str(other), other.hint, other.extra)
