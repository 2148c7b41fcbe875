"""Layout of the main window: its parts, where they are, and their colours."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QDockWidget,
    QLabel,
    QMainWindow,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from fertrack.gui.desktop.event_log import EventLog
from fertrack.gui.desktop.lanes import Timeline
from fertrack.gui.desktop.person_panel import PeoplePanel
from fertrack.gui.desktop.probabilities import Probabilities
from fertrack.gui.desktop.run_view import RunView
from fertrack.gui.desktop.sidebar import LabelControls, Sidebar
from fertrack.gui.desktop.stage import Stage
from fertrack.gui.theme import Theme
from fertrack.types import LABELS

__all__ = ["AURORA_DARK", "AURORA_LIGHT", "ColourKey", "Parts", "style_sheet"]

_PRESETS = ("default", "fast", "accurate")

AURORA_DARK = ("#0e1014", "#1a1630", "#0d221f")
AURORA_LIGHT = ("#f4f5f7", "#ece8f7", "#e3f3ec")
"""From one corner of the window to the other; text has the contrast of AA on each."""


def style_sheet(theme: Theme) -> str:
    """Style sheet of the main window; sizes are those of the system's font."""
    page = theme.page
    first, second, third = AURORA_DARK if theme == Theme.named("dark") else AURORA_LIGHT
    aurora = f"qlineargradient(x1: 0, y1: 0, x2: 1, y2: 1, stop: 0 {first}, stop: 0.55 {second}, stop: 1 {third})"
    return f"""{theme.style_sheet()}
        QMainWindow, QDialog {{ background: {aurora}; }}
        QMainWindow > QWidget, QDockWidget, QLabel, QCheckBox, QStatusBar, QMenuBar {{ background: transparent; }}
        QDockWidget::title {{ padding: 6px 4px; font-weight: 600; }}
        QMenuBar::item {{ padding: 5px 10px; background: transparent; }}
        QMenuBar::item:selected, QMenu::item:selected {{ background: {page["note-back"]}; color: {page["text"]}; }}
        QMenu {{ background: {page["surface"]}; border: 1px solid {page["rule"]}; padding: 4px; }}
        QMenu::item {{ padding: 5px 24px; }}
        QTableWidget, QListWidget, QPlainTextEdit, QTextBrowser {{
            background: {page["surface"]}; border: 1px solid {page["rule"]}; border-radius: 8px;
            gridline-color: {page["rule"]};
        }}
        QTableWidget::item:selected, QListWidget::item:selected, QListWidget::item:hover {{
            background: {page["note-back"]}; color: {page["text"]};
        }}
        QHeaderView::section {{
            background: {page["surface"]}; color: {page["muted"]}; border: none; padding: 5px; font-weight: 600;
        }}
        QComboBox, QDoubleSpinBox {{
            background: {page["surface"]}; border: 1px solid {page["muted"]}; border-radius: 7px; padding: 5px 8px;
        }}
        QProgressBar {{
            background: {page["surface"]}; border: 1px solid {page["rule"]}; border-radius: 6px; text-align: center;
        }}
        QProgressBar::chunk {{ background: {page["accent"]}; border-radius: 5px; }}
        QTabBar::tab {{ padding: 6px 12px; background: transparent; color: {page["muted"]}; }}
        QTabBar::tab:selected {{ color: {page["text"]}; border-bottom: 2px solid {page["accent"]}; }}
        QToolTip {{ background: {page["surface"]}; color: {page["text"]}; border: 1px solid {page["muted"]}; }}
    """


class ColourKey(QWidget):
    """Key of the expressions' colours; "uncertain" is hatched."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Colours of the expressions")

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """One line."""
        return QSize(300, self.fontMetrics().height() + 6)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw it."""
        with QPainter(self) as painter:
            place_px = self.width() / len(LABELS)
            for place, name in enumerate(LABELS):
                pattern = Qt.BrushStyle.BDiagPattern if name == "uncertain" else Qt.BrushStyle.SolidPattern
                left = place * place_px
                middle = self.height() / 2
                painter.fillRect(
                    QRectF(left, middle - 5, 10, 10), QBrush(QColor(self._theme.expressions[name]), pattern)
                )
                painter.setPen(QColor(self._theme.page["text"]))
                text = self.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, int(place_px - 20))
                painter.drawText(
                    QRectF(left + 15, 0, place_px - 16, self.height()), Qt.AlignmentFlag.AlignVCenter, text
                )


class Parts:
    """Parts of the main window.

    Attributes:
        sidebar: open, analyse, recent runs.
        stage: image, seek bar, buttons.
        people: persons and what can be done with them.
        numbers: probabilities of everybody in the image.
        labels: settings from which labels are made.
        timeline: lanes of the persons.
        log: what happened.
        message: the last failure; a click copies its details.
        docks: the panels around the stage.
    """

    def __init__(self, theme: Theme) -> None:
        self.sidebar, self.stage = Sidebar(_PRESETS), Stage(theme)
        self.people, self.numbers = PeoplePanel(), Probabilities(theme)
        self.labels = LabelControls()
        self.timeline, self.log = Timeline(theme), EventLog()
        self._key = ColourKey(theme)
        self.message = QPushButton()
        self.message.setObjectName("grave")
        self.message.setToolTip("Copies the details")
        self.message.hide()
        self.docks: list[QDockWidget] = []

    def put_into(self, window: QMainWindow) -> None:
        """Arrange them: runs to the left, persons to the right, timeline and log below."""
        window.setCentralWidget(_stacked(self.message, self.stage))
        left, right = Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea
        bottom = Qt.DockWidgetArea.BottomDockWidgetArea
        for title, widget, area in (
            ("Runs", self.sidebar, left),
            ("Persons", self.people, right),
            ("In this image", _scrolled(self.numbers), right),
            ("Labels", _scrolled(self.labels), right),
            ("Timeline", _stacked(_scrolled(self.timeline), self._key), bottom),
            ("Event log", self.log, bottom),
        ):
            dock = QDockWidget(title, window)
            dock.setObjectName(title)
            dock.setWidget(widget)
            window.addDockWidget(area, dock)
            self.docks.append(dock)
        for first, second in ((2, 3), (4, 5)):
            window.tabifyDockWidget(self.docks[first], self.docks[second])
            self.docks[first].raise_()
        window.resizeDocks(self.docks[:2], [240, 300], Qt.Orientation.Horizontal)
        window.resizeDocks(self.docks[4:5], [190], Qt.Orientation.Vertical)
        window.statusBar().addPermanentWidget(QLabel("Estimates of expressions, not of feelings"))

    def show_run(self, run: RunView | None) -> None:
        """Show a run in all of them; None: nothing is open."""
        self.stage.bar.show_run(run)
        self.timeline.show_run(run)
        self.people.show_run(run)
        self.labels.show_run(run)
        if run is None:
            self.numbers.show_moment(None, 0.0)
            self.stage.set_usable(usable=False)

    def show_time(self, run: RunView, time_s: float) -> None:
        """Show a moment of a run in all of them."""
        self.stage.show_time(time_s, run.end_s)
        self.timeline.show_time(time_s)
        self.people.show_time(time_s)
        self.numbers.show_moment(run, time_s)


def _stacked(*widgets: QWidget) -> QWidget:
    whole = QWidget()
    column = QVBoxLayout(whole)
    column.setContentsMargins(0, 0, 0, 0)
    for each in widgets:
        column.addWidget(each)
    column.setStretchFactor(widgets[-1] if isinstance(widgets[-1], Stage) else widgets[0], 1)
    return whole


def _scrolled(widget: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidget(widget)
    area.setWidgetResizable(True)
    area.setMinimumHeight(80)
    return area
