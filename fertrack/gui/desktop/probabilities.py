"""Numbers of everybody in the image: label, smoothed and single-frame probabilities."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from fertrack.gui.desktop.run_view import RunView
from fertrack.gui.theme import Theme
from fertrack.imaging.palette import person_colour
from fertrack.types import EXPRESSIONS, UNCONFIRMED, label_name

__all__ = ["Probabilities"]


class Probabilities(QWidget):
    """A block per person in the image. The wide bar is the smoothed probability, the line the frame's own."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._people: list[tuple[str, int, str, list[float], list[float]]] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Probabilities of the persons in the image")
        self.setToolTip("Bar: smoothed over time. Line: of this frame alone, calibrated")

    def show_moment(self, run: RunView | None, time_s: float) -> None:
        """Show who is seen at a time."""
        people = []
        for row in run.faces_at(time_s).tolist() if run is not None else ():
            assert run is not None
            track = int(run.faces.track[row])
            if track == UNCONFIRMED:
                continue
            label, share = label_name(int(run.faces.label[row])), float(run.faces.probability[row])
            people.append(
                (
                    run.names.get(track, f"ID {track}"),
                    run.numbers.get(track, track),
                    f"{label} {100 * share:.0f} %",
                    run.faces.smoothed[row].tolist(),
                    run.faces.probabilities[row].tolist(),
                )
            )
        grew = len(people) != len(self._people)
        self._people = people
        self.setAccessibleDescription("; ".join(f"{name}: {estimate}" for name, _, estimate, _, _ in people))
        if grew:
            self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Eight rows a person."""
        return QSize(260, max(1, len(self._people)) * (len(EXPRESSIONS) + 2) * self._row_px())

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """The same: the area around it scrolls."""
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw it."""
        with QPainter(self) as painter:
            page, row_px = self._theme.page, self._row_px()
            if not self._people:
                painter.setPen(QColor(page["muted"]))
                painter.drawText(
                    QRectF(0, 0, self.width(), row_px), Qt.AlignmentFlag.AlignLeft, "Nobody in this image."
                )
            text_px = 1.2 * self.fontMetrics().horizontalAdvance("happiness") + 12
            percent_px = self.fontMetrics().horizontalAdvance("100 %") + 8
            bars_px = max(20.0, self.width() - text_px - percent_px - 8)
            for block, (name, number, estimate, smoothed, own) in enumerate(self._people):
                top = block * (len(EXPRESSIONS) + 2) * row_px
                painter.fillRect(QRectF(0, top + 3, 6, row_px - 6), QColor(person_colour(number)))
                painter.setPen(QColor(page["text"]))
                font = self.font()
                font.setBold(True)
                painter.setFont(font)
                heading = QRectF(12, top, self.width() - 12, row_px)
                painter.drawText(heading, Qt.AlignmentFlag.AlignVCenter, f"{name}: {estimate}")
                painter.setFont(self.font())
                for row, (label, share, single) in enumerate(zip(EXPRESSIONS, smoothed, own, strict=True), start=1):
                    y = top + row * row_px
                    middle = y + row_px / 2
                    painter.setPen(QColor(page["text"]))
                    painter.drawText(QRectF(12, y, text_px, row_px), Qt.AlignmentFlag.AlignVCenter, label)
                    painter.fillRect(QRectF(text_px, middle - 4, bars_px, 8), QColor(page["rule"]))
                    fill = QBrush(QColor(self._theme.expressions[label]))
                    painter.fillRect(QRectF(text_px, middle - 4, bars_px * share, 8), fill)
                    painter.fillRect(QRectF(text_px + bars_px * single - 1, middle - 6, 2, 12), QColor(page["text"]))
                    place = QRectF(text_px + bars_px, y, percent_px, row_px)
                    right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    painter.drawText(place, right, f"{100 * share:.0f} %")

    def _row_px(self) -> int:
        return self.fontMetrics().height() + 3
