"""The generated pages of the guide, and the examples that pages show. ``make guide`` writes the former."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from fertrack.cli.groups import PANELS
from fertrack.cli.main import app
from fertrack.guide.pages import TOPICS
from fertrack.tuning.symptoms import OTHER_SYMPTOMS, SYMPTOMS
from tests.support.paths import REPOSITORY
from tests.test_import_rules import picture

__all__ = ["GENERATED", "GUIDE", "HAND_WRITTEN", "blocks", "commands", "generated", "homes", "page"]

GUIDE = REPOSITORY / "fertrack" / "guide"
GENERATED = ("commands", "trouble")
HAND_WRITTEN = tuple(topic for topic in TOPICS if topic not in GENERATED)


def page(topic: str) -> str:
    return (GUIDE / f"{topic}.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(command: Any = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its words: ``("stats timing", ...)``."""
    command = typer.main.get_command(app) if command is None else command
    children = getattr(command, "commands", None)
    if children is None:
        yield prefix, command
        return
    for name, child in children.items():
        yield from commands(child, f"{prefix} {name}".strip())


def homes() -> dict[str, list[str]]:
    """The hand-written pages on which each command stands: in the table below the heading "Commands"."""
    found: dict[str, list[str]] = {name: [] for name, _ in commands()}
    for topic in HAND_WRITTEN:
        section = page(topic).partition("\n## Commands\n")[2].partition("\n## ")[0]
        for row in re.findall(r"^\| `fertrack ([^`]*)`", section, re.MULTILINE):
            words = re.split(r" (?=[A-Z\[<'-]|$)", row)[0]
            found.setdefault(words, []).append(topic)
    return found


def commands_page() -> str:
    lines = [
        "# Every command",
        "",
        "Each begins with `fertrack`; `--help` behind it lists its options, the page named says more.",
    ]
    pages = homes()
    for panel, names in PANELS.items():
        lines += ["", f"## {panel}", ""]
        for words, command in commands():
            if words.split()[0] in names:
                first = re.split(r"(?<=[.;:]) |\n\n", " ".join((command.help or "").split()))[0].rstrip(".;:")
                home = ", ".join(f"[{topic}]({topic}.md)" for topic in pages[words])
                lines.append(f"- `{words}` {first[0].lower()}{first[1:]} ({home})")
    return "\n".join(lines) + "\n"


def trouble_page() -> str:
    def table(symptoms: Any) -> list[str]:
        rows = [f"| {each.seen} | {each.cause} | {each.change} |" for each in symptoms]
        return ["| what you see | likely cause | what to change |", "|---|---|---|", *rows]

    return "\n".join(
        [
            "# When something looks wrong",
            "",
            "Generated from the table that `fertrack diagnose` uses (`make guide`).",
            "",
            f"`fertrack diagnose last` looks for these {len(SYMPTOMS)} symptoms in a stored run. It tries the settings "
            "on the stored estimates before anything is changed, and tells those that help from those that do not, or "
            "that would cause another problem.",
            "",
            *table(SYMPTOMS),
            "",
            "No stored run shows these:",
            "",
            *table(OTHER_SYMPTOMS),
            "",
        ]
    )


def generated() -> dict[Path, str]:
    """Each page that is generated, or has a generated part, as it should be."""
    architecture = re.sub(
        r"(?<=```text\n) *\d+  .*?(?=```)", lambda _: picture(), page("architecture"), count=1, flags=re.DOTALL
    )
    return {
        GUIDE / "commands.md": commands_page(),
        GUIDE / "trouble.md": trouble_page(),
        GUIDE / "architecture.md": architecture,
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path}\n")
