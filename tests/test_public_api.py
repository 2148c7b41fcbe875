"""What is public is listed, importable and documented; the commands and the options are too."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import version

import pytest

import fertrack
from fertrack.cli.main import run
from fertrack.config import Settings, load_settings, to_toml
from tests.support.guide_pages import commands, homes
from tests.support.paths import REPOSITORY

MODULES = [
    found.name for found in pkgutil.walk_packages(fertrack.__path__, "fertrack.") if found.name != "fertrack.__main__"
]


def test_all_is_exactly_what_can_be_imported() -> None:
    assert fertrack.__all__ == sorted(fertrack.__all__, key=lambda name: (not name.isupper(), name))
    assert set(dir(fertrack)) == set(fertrack.__all__)
    for name in fertrack.__all__:
        assert getattr(fertrack, name).__name__ if name != "EXPRESSIONS" else fertrack.EXPRESSIONS
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = fertrack.nonsense


def test_the_package_tells_its_version() -> None:
    assert fertrack.__version__ == version("fertrack")


@pytest.mark.parametrize("module", MODULES)
def test_every_module_lists_what_it_offers(module: str) -> None:
    loaded = importlib.import_module(module)
    assert loaded.__doc__, f"{module} has no docstring"
    for name in getattr(loaded, "__all__", ()):
        assert hasattr(loaded, name), f"{module}.__all__ names {name}, which is not there"


@pytest.mark.parametrize("command", [name for name, _ in commands()])
def test_every_command_has_help_and_stands_on_one_page_of_the_guide(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command.split(), "--help"]) == 0
    assert len(capsys.readouterr().out.strip().splitlines()) > 3
    assert len(homes()[command]) == 1


def test_default_toml_lists_every_option_with_its_real_default() -> None:
    shipped = (REPOSITORY / "configs" / "default.toml").read_text(encoding="utf-8")
    assert shipped == to_toml(Settings(), comments=True), "run 'make config'"
    assert load_settings([REPOSITORY / "configs" / "default.toml"]) == Settings()


def test_every_option_says_what_it_does() -> None:
    for section, table in Settings.model_fields.items():
        assert table.description, section
        for name, option in type(getattr(Settings(), section)).model_fields.items():
            assert option.description, f"{section}.{name}"
