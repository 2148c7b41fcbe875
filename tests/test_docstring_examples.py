"""Examples in docstrings run and give what they show."""

from __future__ import annotations

import doctest
import importlib
import re

import pytest

from tests.support.paths import REPOSITORY

PACKAGE = REPOSITORY / "fertrack"
EXAMPLE = re.compile(r"^ *>>> (?!.*\+SKIP)", re.MULTILINE)
MODULES = [
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if EXAMPLE.search(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.failed == 0
    assert result.attempted > 0
