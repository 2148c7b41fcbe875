"""Lanes of the persons over time. The wheel zooms, dragging with the right button moves, a click goes there."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from fertrack.gui.desktop.run_view import RunView
from fertrack.gui.desktop.stage import clock
from fertrack.gui.theme import Theme
from fertrack.imaging.palette import person_colour
from fertrack.types import LABELS

__all__ = ["Timeline"]

_MIN_SHOWN_S = 1.0
_ZOOM = 1.25


class Timeline(QWidget):
    """A lane per person; hatched where the estimate is uncertain.

    Attributes:
        sought: emitted with the time clicked on, seconds.
    """

    sought = Signal(float)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._run: RunView | None = None
        self._at_s = 0.0
        self.from_s, self.to_s = 0.0, 1.0
        self._drag_px: float | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Timeline of the persons")
        self.setToolTip("Click goes there; the wheel zooms, the right button drags")

    def show_run(self, run: RunView | None) -> None:
        """Show a run, all of it; one that is only read again keeps the zoom."""
        again = run is not None and self._run is not None and run.number == self._run.number
        self._run = run
        if not again:
            self.from_s, self.to_s = 0.0, max(_MIN_SHOWN_S, run.end_s if run else 0.0)
        if run is not None:
            self.setAccessibleDescription("; ".join(_in_words(person.name, person.shares) for person in run.persons))
        self.updateGeometry()
        self.update()

    def show_time(self, time_s: float) -> None:
        """Move the mark; what is shown follows it."""
        self._at_s = time_s
        if not self.from_s <= time_s <= self.to_s:
            self._move_to(time_s - 0.1 * (self.to_s - self.from_s))
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """A row per person, and one for the times."""
        lanes = len(self._run.persons) if self._run is not None else 1
        return QSize(400, (max(1, lanes) + 1) * self._row_px())

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """The same: the area around it scrolls."""
        return self.sizeHint()

    def zoom(self, factor: float, around_s: float) -> None:
        """Show more (factor over 1) or less of the time around a moment."""
        if self._run is None:
            return
        span = min(max(_MIN_SHOWN_S, (self.to_s - self.from_s) * factor), max(_MIN_SHOWN_S, self._run.end_s))
        share = (around_s - self.from_s) / (self.to_s - self.from_s)
        self.from_s, self.to_s = around_s - share * span, around_s - share * span + span
        self._move_to(self.from_s)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw it."""
        run = self._run
        with QPainter(self) as painter:
            painter.fillRect(self.rect(), QColor(self._theme.page["surface"]))
            if run is None:
                return
            row_px, names_px = self._row_px(), self._names_px()
            for row, person in enumerate(run.persons):
                top = row * row_px
                painter.fillRect(QRectF(0, top + 4, 6, row_px - 8), QColor(person_colour(person.number)))
                painter.setPen(QColor(self._theme.page["text"]))
                name = self.fontMetrics().elidedText(person.name, Qt.TextElideMode.ElideRight, names_px - 16)
                painter.drawText(QRectF(12, top, names_px - 12, row_px), Qt.AlignmentFlag.AlignVCenter, name)
                for each in person.segments:
                    if each.end_s > self.from_s and each.start_s < self.to_s:
                        left, right = max(names_px, self._x(each.start_s)), self._x(each.end_s)
                        fill = QColor(self._theme.expressions[LABELS[each.label]])
                        hatched = each.label < 0
                        pattern = Qt.BrushStyle.BDiagPattern if hatched else Qt.BrushStyle.SolidPattern
                        painter.fillRect(
                            QRectF(left, top + 3, max(1.0, right - left), row_px - 6), QBrush(fill, pattern)
                        )
            bottom = len(run.persons) * row_px
            painter.setPen(QColor(self._theme.page["muted"]))
            place = QRectF(names_px, bottom, self.width() - names_px, row_px)
            painter.drawText(place, Qt.AlignmentFlag.AlignLeft, clock(max(0.0, self.from_s)))
            painter.drawText(place, Qt.AlignmentFlag.AlignRight, clock(self.to_s))
            for cut_s in run.cuts_s:
                if self.from_s <= cut_s <= self.to_s:
                    painter.fillRect(QRectF(self._x(cut_s), 0, 1, bottom), QColor(self._theme.page["text"]))
            if self.from_s <= self._at_s <= self.to_s:
                painter.fillRect(QRectF(self._x(self._at_s) - 1, 0, 2, bottom), QColor(self._theme.page["accent"]))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Go there, or begin to drag."""
        if event.button() == Qt.MouseButton.RightButton:
            self._drag_px = event.position().x()
        elif self._run is not None and event.position().x() >= self._names_px():
            self.sought.emit(min(max(0.0, self._time(event.position().x())), self._run.end_s))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Follow a drag."""
        if self._drag_px is not None and event.buttons() & Qt.MouseButton.RightButton:
            moved_s = self._time(self._drag_px) - self._time(event.position().x())
            self._drag_px = event.position().x()
            self._move_to(self.from_s + moved_s)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 - Qt's name
        """Zoom around the pointer."""
        if event.angleDelta().y():
            self.zoom(1 / _ZOOM if event.angleDelta().y() > 0 else _ZOOM, self._time(event.position().x()))
            event.accept()

    def _move_to(self, from_s: float) -> None:
        span = self.to_s - self.from_s
        last = max(0.0, (self._run.end_s if self._run is not None else 0.0) - span)
        self.from_s = min(max(0.0, from_s), last)
        self.to_s = self.from_s + span
        self.update()

    def _names_px(self) -> int:
        return 14 * self.fontMetrics().averageCharWidth()

    def _row_px(self) -> int:
        return self.fontMetrics().height() + 10

    def _x(self, time_s: float) -> float:
        names_px = self._names_px()
        return names_px + (time_s - self.from_s) / (self.to_s - self.from_s) * (self.width() - names_px)

    def _time(self, x: float) -> float:
        names_px = self._names_px()
        return self.from_s + (x - names_px) / max(1, self.width() - names_px) * (self.to_s - self.from_s)


def _in_words(name: str, shares: dict[str, float]) -> str:
    most = sorted((label for label in shares if shares[label] >= 0.005), key=lambda label: -shares[label])
    return f"{name}: " + ", ".join(f"{label} {100 * shares[label]:.0f} %" for label in most)
