"""How the commands are grouped: the panels of --help, one command for the ordinary case, help that comes quickly."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer.main

from fertrack.cli.groups import PANELS
from fertrack.cli.main import app, run
from fertrack.cli.options import Gap, MinDuration, episode_rule
from fertrack.storage.config import LONGEST_GAP_S, SHORTEST_EPISODE_S

ROOT = typer.main.get_command(app)
MAX_PARAMETERS = 15
MORE_PARAMETERS = {"process": 18, "live": 17, "moments": 18}  # lists of videos too; outlets; a question of many parts


def commands(command: object = ROOT, prefix: str = "") -> Iterator[tuple[str, object]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield prefix, command
        return
    for name, child in children.items():
        yield from commands(child, f"{prefix} {name}".strip())


def test_every_command_stands_in_a_panel() -> None:
    names = [name for panel in PANELS.values() for name in panel]
    assert list(ROOT.commands) == names  # type: ignore[attr-defined]  # a group has them
    assert len(names) <= 24
    assert names[:6] == ["demo", "process", "live", "gui", "report", "timeline"]


@pytest.mark.parametrize(("old", "new"), [("bias", "models bias"), ("purge", "privacy purge")])
def test_a_command_that_moved_says_where_it_is(old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([old, "list"]) == 2
    assert f"'fertrack {old}' is 'fertrack {new}'" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_help_shows_the_panels_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    titles = [shown.index(f"─ {panel} ─") for panel in PANELS]
    assert titles == sorted(titles)
    assert "─ Commands ─" not in shown


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_no_command_takes_more_than_fifteen_parameters(name: str, command: object) -> None:
    parameters = [each for each in command.params if each.name != "help"]  # type: ignore[attr-defined]  # commands have them
    assert len(parameters) <= MORE_PARAMETERS.get(name, MAX_PARAMETERS)


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_examples_in_help_are_shown_as_typed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Rich turns ``:anger:`` into a picture, whatever the markup mode."""
    assert run([*name.split(), "--help"]) == 0
    assert not [sign for sign in capsys.readouterr().out if ord(sign) > 0x2FFF]


def test_the_defaults_named_in_help_are_those_of_the_queries() -> None:
    for option, value in ((MinDuration, SHORTEST_EPISODE_S), (Gap, LONGEST_GAP_S)):
        assert f"[default: {value:g}]" in option.__metadata__[0].help
    assert episode_rule(None, None) == {}
    assert episode_rule(0.0, None) == {"min_duration_s": 0.0}


def test_help_loads_no_library_that_it_does_not_show() -> None:
    """``python -X importtime`` says 0.2 s of CPU time on a slow core; each of these would add as much again."""
    probe = (
        "import sys\nfrom fertrack.cli.main import run\nrun(['--help'])\n"
        "heavy = {'cv2', 'av', 'onnxruntime', 'sqlalchemy', 'pandas', 'scipy', 'numpy', 'pydantic', 'torch'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or None)"
    )
    finished = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"--help loads {finished.stderr}"


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("fertrack pro", "process"), ("fertrack stats tr", "transitions"), ("fertrack process --ano", "--anonymise")],
)
def test_the_shell_completes_commands_and_options(typed: str, completed: str) -> None:
    """What ``fertrack --install-completion`` makes Bash ask."""
    words = typed.split()
    asked = {"_FERTRACK_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    command = [sys.executable, "-c", "from fertrack.__main__ import main; main()"]
    finished = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=False)
    assert completed in finished.stdout.split()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "last", "--format", "elann"], "there is no 'elann': did you mean 'elan'?"),
        (["runs", "--format", "jsn"], "there is no 'jsn': did you mean 'json'?"),
        (["export", "last", "--format", "qqq"], "'qqq' is not one of"),
    ],
)
def test_a_misspelt_choice_names_the_nearest(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())
