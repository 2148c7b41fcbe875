"""Menus of the main window: everything it can do, each with its shortcut."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QDockWidget, QMainWindow, QMenu

from fertrack.gui.desktop.analysis import Analysis
from fertrack.gui.desktop.person_panel import PeoplePanel
from fertrack.gui.desktop.player import Player
from fertrack.reporting.exports.registry import FORMATS
from fertrack.types import EXPRESSIONS, UNCERTAIN, label_name

__all__ = ["make_menus"]


class Commands(Protocol):
    """Commands that the menus give to the window."""

    player: Player
    analysis: Analysis
    people: PeoplePanel
    docks: list[QDockWidget]

    def ask_video(self) -> None:
        """Ask for a video and analyse it."""

    def ask_folder(self) -> None:
        """Ask for a folder of pictures and analyse it."""

    def write(self, kind: str) -> None:
        """Write the report, a video or an export."""

    def toggle(self) -> None:
        """Play or pause."""

    def step(self, frames: int) -> None:
        """Go by frames."""

    def label(self, label: int) -> None:
        """Label the stretch shown."""

    def go_to_uncertain(self) -> None:
        """Go to the next uncertain stretch."""

    def undo_label(self) -> None:
        """Take the last label back."""

    def open_guide(self) -> None:
        """Show the page about the window."""

    def show_about(self) -> None:
        """Say what is estimated."""


def make_menus(window: QMainWindow, commands: Commands) -> None:
    """Give the window its menus."""
    file = window.menuBar().addMenu("&File")
    _add(file, "&Open and analyse …", "Ctrl+O", commands.ask_video)
    _add(file, "Open &folder of pictures …", "Ctrl+Shift+O", commands.ask_folder)
    _add(file, "&Stop the analysis and keep it", "Esc", commands.analysis.stop)
    file.addSeparator()
    _add(file, "Write &report …", "Ctrl+R", partial(commands.write, "html"))
    _add(file, "Write annotated &video …", "", partial(commands.write, "video"))
    _add(file, "Write &anonymised video …", "", partial(commands.write, "anonymised"))
    exports = file.addMenu("&Export")
    for each in FORMATS:
        _add(exports, each, "", partial(commands.write, each))
    file.addSeparator()
    _add(file, "&Quit", "Ctrl+Q", window.close)

    play = window.menuBar().addMenu("&Play")
    _add(play, "&Play or pause", "Space", commands.toggle)
    _add(play, "One frame &back", "Left", partial(commands.step, -1))
    _add(play, "One frame &on", "Right", partial(commands.step, 1))

    person = window.menuBar().addMenu("P&erson")
    _add(person, "&Rename …", "F2", commands.people.ask_name)
    _add(person, "&Merge the selected", "", commands.people.merge_selected)
    _add(person, "&Split here", "", commands.people.split_here)
    _add(person, "&Undo the last change", "", commands.people.undo_last)

    correct = window.menuBar().addMenu("&Correct")
    for label, name in enumerate(EXPRESSIONS):
        _add(correct, f"This stretch is &{label + 1} {name}", str(label + 1), partial(commands.label, label))
    _add(correct, f"This stretch is &0 {label_name(UNCERTAIN)}", "0", partial(commands.label, UNCERTAIN))
    _add(correct, "&Next uncertain stretch", "N", commands.go_to_uncertain)
    _add(correct, "&Undo the last label", "Ctrl+Z", commands.undo_label)

    view = window.menuBar().addMenu("&View")
    overlay = _add(view, "&Boxes and labels", "B", lambda: commands.player.show_overlay(shown=overlay.isChecked()))
    overlay.setCheckable(True)
    overlay.setChecked(True)
    _add(view, "&Full screen", "F11", partial(_switch_full_screen, window))
    for dock in commands.docks:
        view.addAction(dock.toggleViewAction())

    about = window.menuBar().addMenu("&Help")
    _add(about, "&Guide to this window", "F1", commands.open_guide)
    _add(about, "&What is estimated", "", commands.show_about)


def _add(menu: QMenu, text: str, keys: str, done: Callable[[], object]) -> QAction:
    action = QAction(text, menu)
    if keys:
        action.setShortcut(keys)
    action.triggered.connect(lambda *_: done())
    menu.addAction(action)
    return action


def _switch_full_screen(window: QMainWindow) -> None:
    window.setWindowState(window.windowState() ^ Qt.WindowState.WindowFullScreen)
