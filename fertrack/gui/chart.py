"""A person's probabilities as bars, and beside each bar the lane of its expression in the last minute."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from fertrack.gui.theme import Theme
from fertrack.live.state import LivePerson
from fertrack.live.strip import NOBODY, strip_columns
from fertrack.types import EXPRESSIONS

__all__ = ["Chart"]

_LANES = (*EXPRESSIONS, "uncertain")
_MARKS = 4  # a line every 15 s


class Chart(QWidget):
    """Eight rows: the seven expressions and "uncertain". The place says which one it is; the colour only repeats it."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._person: LivePerson | None = None
        self._labels: list[int] = []
        self._percent: list[int] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Eight rows, and one for the times under the strip."""
        return QSize(20 * self.fontMetrics().averageCharWidth(), 9 * self._row_px())

    def show_person(self, person: LivePerson, now_s: float) -> None:
        """Draw this."""
        self._person = person
        self._labels, self._percent = strip_columns(person.strip, now_s)
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in person.probabilities.items())
        self.setAccessibleDescription(f"{shares}. {self._strip_in_words()}")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw it."""
        if self._person is None:
            return
        with QPainter(self) as painter:
            text_px = self.fontMetrics().horizontalAdvance("happiness") * 1.2 + 24
            percent_px = self.fontMetrics().horizontalAdvance("100 %") + 10
            strip_px = 0.4 * self.width()
            bars_px = max(16.0, self.width() - text_px - percent_px - strip_px - 12)
            for row, name in enumerate(_LANES):
                top = row * self._row_px()
                self._paint_row(painter, name, QRectF(0, top, text_px, self._row_px()), bars_px, percent_px)
            self._paint_strip(painter, QRectF(self.width() - strip_px, 0, strip_px, 8 * self._row_px()))

    def _paint_row(self, painter: QPainter, name: str, place: QRectF, bars_px: float, percent_px: float) -> None:
        person = self._person
        assert person is not None
        is_current = person.visible and person.label == name
        font = self.font()
        font.setBold(is_current)
        painter.setFont(font)
        painter.setPen(QColor(self._theme.page["text" if person.visible else "muted"]))
        swatch = QRectF(0, place.center().y() - 5, 10, 10)
        painter.fillRect(swatch, self._fill(name))
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(place.adjusted(16, 0, 0, 0), left, name)
        if name not in person.probabilities:
            return
        share = person.probabilities[name]
        track = QRectF(place.right(), place.center().y() - 4, bars_px, 8)
        painter.fillRect(track, QColor(self._theme.page["rule"]))
        painter.fillRect(QRectF(track.left(), track.top(), bars_px * share, 8), self._fill(name))
        number = QRectF(track.right(), place.top(), percent_px - 4, place.height())
        painter.drawText(number, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"{100 * share:.0f} %")

    def _paint_strip(self, painter: QPainter, place: QRectF) -> None:
        rule = QColor(self._theme.page["rule"])
        for mark in range(_MARKS + 1):
            x = min(place.right() - 1, place.left() + place.width() * mark / _MARKS)
            painter.fillRect(QRectF(x, 0, 1, place.height()), rule)
        painter.setFont(self.font())
        painter.setPen(QColor(self._theme.page["muted"]))
        times = place.translated(0, place.height())
        top = Qt.AlignmentFlag.AlignTop
        painter.drawText(times, Qt.AlignmentFlag.AlignLeft | top, "60 s ago")
        painter.drawText(times, Qt.AlignmentFlag.AlignRight | top, "now")
        lane_px = place.height() / len(_LANES)
        for row in range(len(_LANES)):
            painter.fillRect(QRectF(place.left(), (row + 1) * lane_px - 1, place.width(), 1), rule)
        column_px = place.width() / len(self._labels)
        for column, (label, percent) in enumerate(zip(self._labels, self._percent, strict=True)):
            if label == NOBODY:
                continue
            row = label % len(_LANES)  # -1, uncertain, is the last lane
            tall = max(2.0, (lane_px - 6) * percent / 100)
            x = place.left() + column * column_px
            painter.fillRect(QRectF(x, (row + 1) * lane_px - 3 - tall, column_px, tall), self._fill(_LANES[row]))

    def _fill(self, name: str) -> QBrush:
        hatched = name == "uncertain"
        pattern = Qt.BrushStyle.BDiagPattern if hatched else Qt.BrushStyle.SolidPattern
        return QBrush(QColor(self._theme.expressions[name]), pattern)

    def _strip_in_words(self) -> str:
        names = ["not seen" if label == NOBODY else _LANES[label] for label in self._labels]
        shares = {name: names.count(name) / len(names) for name in dict.fromkeys(names)}
        ordered = sorted(shares, key=shares.__getitem__, reverse=True)
        return "Last 60 seconds: " + ", ".join(f"{name} {100 * shares[name]:.0f} %" for name in ordered)

    def _row_px(self) -> int:
        return self.fontMetrics().height() + 4
