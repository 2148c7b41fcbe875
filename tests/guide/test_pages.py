"""The guide: every page short, linked and listed; every command on one page; generated pages up to date."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import fertrack
from fertrack.cli.groups import DefaultGroup
from fertrack.cli.main import app, run
from fertrack.guide.pages import TOPICS, read_page, title_of
from fertrack.tuning.symptoms import SYMPTOMS
from tests.support.guide_pages import GENERATED, GUIDE, HAND_WRITTEN, blocks, commands, generated, homes, page
from tests.support.paths import REPOSITORY

MAX_WORDS = 900
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = {"README": README, **{topic: page(topic) for topic in TOPICS}}
ODD = re.compile(r"\b(likest|surest|commonest|how-manyth|the less the better|told apart from|of itself says)\b")


def test_every_page_is_listed_and_every_topic_has_a_page() -> None:
    assert sorted(path.stem for path in GUIDE.glob("*.md")) == sorted(TOPICS)
    assert all(title_of(topic) for topic in TOPICS)
    assert set(GENERATED) < set(TOPICS)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read_in_five_minutes(name: str) -> None:
    assert len(PAGES[name].split()) <= MAX_WORDS


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    folder = REPOSITORY if name == "README" else GUIDE
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGES[name]):
        assert (folder / target).exists(), f"{name} links to {target}, which is not there"


@pytest.mark.parametrize("name", PAGES)
def test_files_that_are_named_exist(name: str) -> None:
    for named in re.findall(r"`((?:fertrack|tests|configs|reports)/[\w./-]+\w\.(?:py|md|toml))`", PAGES[name]):
        assert (REPOSITORY / named).exists(), f"{name} names {named}, which is not there"


def test_every_command_stands_on_exactly_one_page() -> None:
    assert {name: pages for name, pages in homes().items() if len(pages) != 1} == {}
    assert homes().keys() == {name for name, _ in commands()}


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.stem)
def test_generated_pages_are_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generated()[path], "run 'make guide'"


def test_the_table_of_troubles_is_that_of_diagnose() -> None:
    for symptom in SYMPTOMS:
        assert f"| {symptom.seen} | {symptom.cause} | {symptom.change} |" in PAGES["trouble"]


def shown_commands(text: str) -> Iterator[str]:
    """Command lines in shell blocks and between backticks, without comments."""
    for block in blocks(text, "sh"):
        yield from (line.partition("  #")[0].strip() for line in block.splitlines() if line.startswith("fertrack "))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"`(fertrack [^`]+)`", prose)


@pytest.mark.parametrize("name", PAGES)
def test_every_command_shown_is_one(name: str) -> None:
    """Names, options and values are those of the program; placeholders such as RUN count as values."""
    for shown in shown_commands(PAGES[name]):
        words = [word.strip("[]") for word in shlex.split(shown.partition(" > ")[0])[1:] if word != "..."]
        command: Any = typer.main.get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        if isinstance(command, DefaultGroup) and words and words[0] in {"last", "all", "RUN"}:
            command = next(iter(command.commands.values()))
        options = {text for each in command.params for text in (*each.opts, *each.secondary_opts)} | {"--help"}
        wrong = [word for word in words if word.startswith("--") and word not in options]
        if hasattr(command, "commands") and words and not words[0].startswith("-"):  # a run, or a placeholder
            wrong += [words[0]] * (words[0] not in {"last", "all", "COMMAND", "RUN", "tr"})
        assert not wrong, f"{name} shows {shown!r}, and there is no {wrong[0]}"


def test_every_command_that_messages_and_docstrings_name_is_one() -> None:
    """Between backticks or quotes: a remedy can be typed as it stands."""
    root: Any = typer.main.get_command(app)
    wrong = []
    for path in (REPOSITORY / "fertrack").rglob("*.py"):
        for words in re.findall(r"[`']fertrack ([a-z][a-z-]*(?: [a-z][a-z-]*)?)", path.read_text(encoding="utf-8")):
            first, _, second = words.partition(" ")
            command = root.commands.get(first)
            is_strict_group = hasattr(command, "commands") and not isinstance(command, DefaultGroup)
            if command is None or (is_strict_group and second and second not in command.commands):
                wrong.append(f"{path.relative_to(REPOSITORY)}: fertrack {words}")
    assert wrong == []


@pytest.mark.parametrize("name", PAGES)
def test_every_option_named_exists(name: str) -> None:
    """``section.option``, alone or with a value, between backticks."""
    settings = fertrack.Settings()
    for section, option in re.findall(r"`(?:--set )?'?([a-z]+)\.([a-z_]+)\b(?: ?=[^`]*)?`", PAGES[name]):
        if section in type(settings).model_fields:
            assert option in type(getattr(settings, section)).model_fields, f"{name}: {section}.{option}"


def test_the_guide_lists_its_pages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["guide"]) == 0
    shown = capsys.readouterr().out
    for topic in TOPICS:
        assert re.search(rf"^{topic} +{re.escape(title_of(topic))}$", shown, re.MULTILINE)


def test_a_page_is_printed_as_it_is_into_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["guide", "ask"]) == 0
    assert capsys.readouterr().out == page("ask")
    assert read_page("Model_Export.md") == page("model-export")


@pytest.mark.parametrize(
    ("topic", "said"), [("traning", "did you mean 'training'?"), ("zzz", "there are start, process")]
)
def test_an_unknown_topic_names_the_nearest(topic: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["guide", topic]) == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize("height", [20, 10_000])
def test_a_terminal_gets_it_drawn_and_a_long_page_in_a_pager(
    height: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    import fertrack.cli.guide as command

    paged: list[str] = []
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(command, "out_console", lambda: Console(width=80, height=height))
    monkeypatch.setattr("pydoc.pager", paged.append)
    assert run(["guide", "streams"]) == 0
    shown = paged[0] if paged else capsys.readouterr().out
    assert bool(paged) == (height == 20)
    assert "When a source fails" in shown
    assert "##" not in shown


@pytest.mark.parametrize("name", ["README", *HAND_WRITTEN])
def test_the_guide_is_written_in_plain_english(name: str) -> None:
    assert not ODD.findall(PAGES[name])


def test_messages_and_the_report_point_to_pages_that_exist() -> None:
    package = REPOSITORY / "fertrack"
    files = [*package.rglob("*.py"), *package.rglob("*.j2"), *package.rglob("*.js")]
    named = {
        topic for path in files for topic in re.findall(r"fertrack guide ([a-z-]+)", path.read_text(encoding="utf-8"))
    }
    assert named <= set(TOPICS)
    assert {"numbers", "people", "rights", "trouble", "weights"} <= named
