"""Groups of commands: the panels of ``fertrack --help``, and groups with one command for the ordinary case."""

from __future__ import annotations

import difflib
import re
from typing import Any

from typer.core import TyperGroup

__all__ = ["PANELS", "DefaultGroup", "PanelledGroup"]

PANELS: dict[str, tuple[str, ...]] = {
    "Analyse": ("demo", "process", "live", "gui", "report", "timeline", "render"),
    "Ask": ("runs", "stats", "episodes", "moments", "markers", "export"),
    "People": ("person", "privacy"),
    "Improve": ("diagnose", "rescore", "import-labels", "evaluate"),
    "Models": ("models",),
    "Machine": ("doctor", "config", "db", "guide"),
}
"""Top-level commands and groups by panel, both in the order in which ``fertrack --help`` shows them."""

_MOVED = {
    "bias": "models bias",
    "calibrate": "models calibrate",
    "train": "models train",
    "notice": "privacy notice",
    "purge": "privacy purge",
}
"""Commands that older notes and scripts call by the name on the left."""


class PanelledGroup(TyperGroup):
    """The top level: its commands in the panels of ``PANELS``, whatever the order of registration."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        order = [name for names in PANELS.values() for name in names if name in self.commands]
        self.commands = {name: self.commands[name] for name in [*order, *(self.commands.keys() - set(order))]}
        for panel, names in PANELS.items():
            for name in names:
                if name in self.commands:
                    self.commands[name].rich_help_panel = panel  # type: ignore[attr-defined]  # typer's commands have it

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, as any group does; a name that has moved is wrong usage, and its sentence says where to."""
        if args[0] in _MOVED:
            ctx.fail(f"'fertrack {args[0]}' is 'fertrack {_MOVED[args[0]]}'")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; where an option of the configuration was typed as a flag, say how it is written."""
        try:
            return super().invoke(ctx)
        except Exception as error:  # typer's own class for it is not public
            message = getattr(error, "message", None)
            if isinstance(message, str) and hasattr(error, "format_message"):
                error.message = _with_nearest(message)  # type: ignore[attr-defined]  # such errors have it
            unknown, where = getattr(error, "option_name", ""), getattr(error, "ctx", None)
            if unknown and hasattr(error, "possibilities") and where is not None and _takes_settings(where.command):
                error.message += _as_setting(unknown)  # type: ignore[attr-defined]  # such errors have it
            raise


def _with_nearest(message: str) -> str:
    """The sentence about a value that is none of an option's choices, with the nearest of them.

    >>> _with_nearest("Value error, 'elann' is not one of 'csv', 'elan'.")
    "there is no 'elann': did you mean 'elan'?"
    """
    found = re.search(r"'([^']*)' is not one of (.*)", message, re.DOTALL)
    if not found:
        return message
    near = difflib.get_close_matches(found[1].lower(), re.findall(r"'([^']*)'", found[2]), n=1)
    return f"there is no {found[1]!r}: did you mean {near[0]!r}?" if near else found[0]


def _takes_settings(command: Any) -> bool:
    return any("--set" in parameter.opts for parameter in command.params)


def _as_setting(flag: str) -> str:
    """Sentence on how an option typed as ``--fps`` is written as a setting; empty if there is none."""
    from fertrack.config import Settings

    name = flag.lstrip("-").replace("-", "_")
    sections = [
        section
        for section, field in Settings.model_fields.items()
        if name in getattr(field.annotation, "model_fields", {})
    ]
    return f". Write {' or '.join(f'--set {section}.{name}=VALUE' for section in sections)}." if sections else ""


class DefaultGroup(TyperGroup):
    """A group whose first command runs when a RUN, or nothing, stands where a sub-command would: ``stats last``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the first command's name in front of arguments that begin with a run, or with one of its options."""
        if not args and not self.no_args_is_help:
            args = [next(iter(self.commands))]
        elif args and args[0] not in self.commands and self._is_run_or_option(args[0], ctx):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)

    @staticmethod
    def _is_run_or_option(word: str, ctx: Any) -> bool:
        if word.startswith("-"):
            return word not in ctx.help_option_names
        return word in ("last", "all") or word.isdecimal() or "=" in word
