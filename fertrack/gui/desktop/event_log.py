"""Log of what happened: time, level, source, sentence; filtered by a word, copied as text."""

from __future__ import annotations

import datetime as dt
import logging

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLineEdit,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

__all__ = ["EventLog"]

MAX_ROWS = 5000
"""Older lines are dropped."""


class _Relay(QObject, logging.Handler):
    """Brings what the program logs, in whatever thread, to the interface thread."""

    logged = Signal(str, str, str)

    def __init__(self) -> None:
        QObject.__init__(self)
        logging.Handler.__init__(self, logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:  # type: ignore[override]  # QObject's emit is of signals' own
        self.logged.emit(record.levelname.lower(), record.name.removeprefix("fertrack."), record.getMessage())


class EventLog(QWidget):
    """A table of lines, newest last."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Show only lines with …")
        self.filter.setAccessibleName("Filter of the event log")
        self.filter.textChanged.connect(self._apply_filter)
        self.table = QTableWidget(0, 4)
        self.table.setHorizontalHeaderLabels(["Time", "Level", "Source", "What happened"])
        self.table.setAccessibleName("Event log")
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setSectionResizeMode(3, QHeaderView.ResizeMode.Stretch)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        QShortcut(QKeySequence(QKeySequence.StandardKey.Copy), self.table, self.copy)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.filter)
        column.addWidget(self.table)
        self._relay = _Relay()
        self._relay.logged.connect(self.add)
        logging.getLogger("fertrack").addHandler(self._relay)

    def add(self, level: str, source: str, text: str) -> None:
        """Add a line."""
        row = self.table.rowCount()
        if row >= MAX_ROWS:
            self.table.removeRow(0)
            row -= 1
        self.table.insertRow(row)
        for column, value in enumerate((f"{dt.datetime.now():%H:%M:%S}", level, source, text)):
            item = QTableWidgetItem(value)
            item.setToolTip(text)
            self.table.setItem(row, column, item)
        self._hide_or_show(row)
        self.table.scrollToBottom()

    def lines(self) -> list[str]:
        """The lines that are shown, as text."""
        shown = [row for row in range(self.table.rowCount()) if not self.table.isRowHidden(row)]
        return ["\t".join(self._text(row, column) for column in range(4)) for row in shown]

    def copy(self) -> None:
        """Copy the selected lines, or all that are shown."""
        rows = sorted({index.row() for index in self.table.selectedIndexes()})
        text = ["\t".join(self._text(row, column) for column in range(4)) for row in rows] or self.lines()
        QGuiApplication.clipboard().setText("\n".join(text))

    def close_log(self) -> None:
        """Take no more lines from the program."""
        logging.getLogger("fertrack").removeHandler(self._relay)

    def _apply_filter(self) -> None:
        for row in range(self.table.rowCount()):
            self._hide_or_show(row)

    def _hide_or_show(self, row: int) -> None:
        word = self.filter.text().casefold()
        self.table.setRowHidden(row, all(word not in self._text(row, column).casefold() for column in range(4)))

    def _text(self, row: int, column: int) -> str:
        item = self.table.item(row, column)
        return item.text() if item is not None else ""
