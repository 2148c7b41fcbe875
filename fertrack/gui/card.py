"""The card of one person: name, estimate, probabilities, last minute."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout

from fertrack.gui.chart import Chart
from fertrack.gui.figures import estimate
from fertrack.gui.theme import Theme
from fertrack.imaging.palette import person_colour
from fertrack.live.state import LivePerson
from fertrack.storage.people.plain_text import MAX_NAME

__all__ = ["PersonCard"]


class PersonCard(QFrame):
    """Shows a person, and asks for a name.

    Args:
        theme: colours.
        rename: called with the person's number and the wanted name; gives whether that worked.
    """

    def __init__(self, theme: Theme, rename: Callable[[int, str], bool]) -> None:
        super().__init__()
        self.setObjectName("card")
        self._ask_rename = rename
        self._person = 0
        self.name = QLabel()
        self.name.setObjectName("heading")
        self.name.setTextFormat(Qt.TextFormat.PlainText)
        self.name.setWordWrap(True)
        self.rename = QPushButton("Rename")
        self.rename.clicked.connect(self._begin_naming)
        self.naming = QLineEdit()
        self.naming.setMaxLength(MAX_NAME)
        self.naming.setAccessibleName("New name")
        self.naming.returnPressed.connect(self._finish_naming)
        self.naming.hide()
        escape = QShortcut(QKeySequence(Qt.Key.Key_Escape), self.naming, self._end_naming)
        escape.setContext(Qt.ShortcutContext.WidgetShortcut)
        self.estimate = QLabel()
        self.estimate.setTextFormat(Qt.TextFormat.PlainText)
        self.estimate.setObjectName("heading")
        self.chart = Chart(theme)

        head = QHBoxLayout()
        head.addWidget(self.name, 1)
        head.addWidget(self.naming, 1)
        head.addWidget(self.rename)
        column = QVBoxLayout(self)
        column.addLayout(head)
        column.addWidget(self.estimate)
        column.addWidget(self.chart)

    def show_person(self, person: LivePerson, now_s: float) -> None:
        """Show this."""
        self._person = person.person
        self.name.setText(person.name)
        self.name.setStyleSheet(f"border-left: 6px solid {person_colour(person.person)}; padding-left: 6px;")
        self.rename.setAccessibleName(f"Rename {person.name}")
        self.estimate.setText(estimate(person, now_s))
        self.estimate.setAccessibleName(f"Expression estimate: {self.estimate.text()}")
        self.chart.show_person(person, now_s)

    def _begin_naming(self) -> None:
        if self.naming.isVisible():
            self._finish_naming()
            return
        self.naming.setText(self.name.text())
        self.name.hide()
        self.naming.show()
        self.rename.setText("Save")
        self.naming.setFocus()
        self.naming.selectAll()

    def _finish_naming(self) -> None:
        wanted = " ".join(self.naming.text().split())
        if wanted and self._ask_rename(self._person, wanted):
            self.name.setText(wanted)
            self._end_naming()

    def _end_naming(self) -> None:
        self.naming.hide()
        self.name.show()
        self.rename.setText("Rename")
        self.rename.setFocus()
