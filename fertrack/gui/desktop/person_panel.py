"""Persons of the run, and what can be done with them: the same actions as ``fertrack person``."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHeaderView,
    QInputDialog,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from fertrack.gui.desktop.run_view import RunView, ShownPerson
from fertrack.gui.desktop.stage import clock
from fertrack.imaging.palette import person_colour
from fertrack.storage.people.actions import merge, rename, split, undo

__all__ = ["PeoplePanel"]

_COLUMNS = ("Person", "Seen", "Mostly")


class PeoplePanel(QWidget):
    """A row per person, and buttons.

    Attributes:
        wanted: emitted with an action on the open database, which gives a sentence; whoever listens runs it.
        chosen: emitted with the row of a person that was selected.
    """

    wanted = Signal(object)
    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._run: RunView | None = None
        self._at_s = 0.0
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.setAccessibleName("Persons")
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.itemSelectionChanged.connect(self._choose)
        self.rename = _button("Rename …", "Give the selected person a name", self.ask_name)
        self.merge = _button("Merge", "The selected persons are one: the first of them stays", self.merge_selected)
        self.split = _button("Split here", "From the time shown on, this is somebody else", self.split_here)
        self.undo = _button("Undo", "Take back the last change of persons", self.undo_last)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        buttons = QGridLayout()
        for place, each in enumerate((self.rename, self.merge, self.split, self.undo)):
            buttons.addWidget(each, place // 2, place % 2)
        column.addLayout(buttons)
        self._enable()

    def show_run(self, run: RunView | None) -> None:
        """Show the persons of a run; the selection stays."""
        rows = self.selected_rows()
        self._run = run
        persons = run.persons if run is not None else ()
        self.table.setRowCount(len(persons))
        for row, person in enumerate(persons):
            most = max(person.shares, key=person.shares.__getitem__)
            seen = f"{clock(person.first_s)} to {clock(person.last_s)}"
            for column, text in enumerate((person.name, seen, f"{most} {100 * person.shares[most]:.0f} %")):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                if column == 0:
                    item.setData(Qt.ItemDataRole.DecorationRole, QColor(person_colour(person.number)))
                self.table.setItem(row, column, item)
        if persons and not rows:
            self.table.selectRow(0)
        self._enable()

    def show_time(self, time_s: float) -> None:
        """The time at which "Split here" cuts."""
        self._at_s = time_s

    def selected_rows(self) -> list[int]:
        """Rows of the selected persons, in order."""
        return sorted({index.row() for index in self.table.selectedIndexes()})

    def selected(self) -> list[ShownPerson]:
        """The selected persons, in order."""
        persons = self._run.persons if self._run is not None else ()
        return [persons[row] for row in self.selected_rows() if row < len(persons)]

    def ask_name(self) -> None:
        """Ask for a name in a dialog."""
        if people := self.selected():
            name, given = QInputDialog.getText(self, "Rename", f"Name of {people[0].name}:")
            if given:
                self.rename_to(name)

    def rename_to(self, name: str) -> None:
        """Name the first selected person."""
        if (people := self.selected()) and self._run is not None:
            run, who = self._run.number, _reference(people[0])
            self.wanted.emit(lambda db: rename(db, run, who, name))

    def merge_selected(self) -> None:
        """Merge the selected persons."""
        if len(people := self.selected()) > 1 and self._run is not None:
            run, first, *others = self._run.number, *map(_reference, people)
            self.wanted.emit(lambda db: merge(db, run, first, others))

    def split_here(self) -> None:
        """Cut the track of the selected person at the time shown."""
        if (people := self.selected()) and self._run is not None:
            run, who, at_s = self._run.number, _reference(people[0]), self._at_s
            self.wanted.emit(lambda db: split(db, run, who, at_s=at_s))

    def undo_last(self) -> None:
        """Take back the last change."""
        if self._run is not None:
            run = self._run.number
            self.wanted.emit(lambda db: undo(db, run))

    def _choose(self) -> None:
        self._enable()
        if rows := self.selected_rows():
            self.chosen.emit(rows[0])

    def _enable(self) -> None:
        count = len(self.selected_rows())
        for button, usable in ((self.rename, count == 1), (self.split, count == 1), (self.merge, count > 1)):
            button.setEnabled(usable)
        self.undo.setEnabled(self._run is not None)


def _reference(person: ShownPerson) -> str:
    """Reference that means this person alone, whatever they are called."""
    return f"ID {person.tracks[0]}"


def _button(text: str, tip: str, pressed: Callable[[], object]) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.clicked.connect(lambda _=False: pressed())
    return button
