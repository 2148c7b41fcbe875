"""Messages of errors: the reason, not the system's number of it."""

from __future__ import annotations

import ast
import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest

from fertrack.config import load_settings
from fertrack.errors import ConfigError, MissingExtraError, install_hint, reason_of
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


def installed_from(monkeypatch: pytest.MonkeyPatch, origin: object) -> None:
    """The package as pip installs it from a place; None: from a package index."""
    record = None if origin is None else json.dumps(origin)
    read_text = {"direct_url.json": record}.get
    monkeypatch.setattr("importlib.metadata.distribution", lambda _: SimpleNamespace(read_text=read_text))


def test_the_hint_to_an_extra_works_for_where_fertrack_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_from(monkeypatch, None)
    assert install_hint("web") == "pip install 'fertrack[web]'"
    checkout = tmp_path / "my clone"
    checkout.mkdir()
    place: dict[str, object] = {"url": checkout.as_uri(), "dir_info": {}}
    installed_from(monkeypatch, place)
    assert install_hint("web", "gui") == f"pip install '{checkout}[web,gui]'"
    installed_from(monkeypatch, place | {"dir_info": {"editable": True}})
    assert install_hint("web") == f"pip install -e '{checkout}[web]'"
    checkout.rmdir()
    assert install_hint("web") == "pip install 'fertrack[web]'", "the checkout is gone"
    vcs = {"vcs": "git", "commit_id": "abc"}
    installed_from(monkeypatch, {"url": "https://host/fertrack.git", "vcs_info": vcs})
    assert install_hint("web") == "pip install 'fertrack[web] @ git+https://host/fertrack.git@abc'"


def test_no_message_words_that_hint_by_itself() -> None:
    for path in PACKAGE.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        documented = [node for node in nodes if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
        docstrings = {ast.get_docstring(node, clean=False) for node in documented}
        texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        told = [text for text in texts if "pip install 'fertrack[" in text and text not in docstrings]
        assert not told or path.name == "errors.py", f"{path} says {told}: use install_hint"


def test_a_missing_extra_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    installed_from(monkeypatch, None)
    error = MissingExtraError("the window needs Qt", "gui")
    assert error.hint == "pip install 'fertrack[gui]'"
    assert str(error) == "the window needs Qt: pip install 'fertrack[gui]'"
    other = MissingExtraError("TensorRT is not installed", "export", hint="pip install tensorrt")
    assert str(other).endswith(": pip install tensorrt")
    copy = pickle.loads(pickle.dumps(other))  # errors of worker processes arrive pickled
    assert (str(copy), copy.hint, copy.extra) == (str(other), other.hint, other.extra)
