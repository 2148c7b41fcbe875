"""The stage: the image, the seek bar, and the buttons of the player."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPixmap, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from fertrack.gui.desktop.run_view import RunView
from fertrack.gui.theme import Theme
from fertrack.types import LABELS

__all__ = ["SeekBar", "Stage", "clock"]


def clock(time_s: float) -> str:
    """A time for people: ``1:02.35``, ``1:00:00.00``.

    >>> clock(62.349), clock(3600.0)
    ('1:02.35', '1:00:00.00')
    """
    hundredths = round(time_s * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{head}:{rest // 100:02}.{rest % 100:02}"


class SeekBar(QWidget):
    """The whole video as a bar: what the first persons showed in colour, cuts as lines. Click, drag or use the arrows.

    Attributes:
        sought: emitted with the time asked for, seconds.
        stepped: emitted with a number of frames.
    """

    sought = Signal(float)
    stepped = Signal(int)

    _LANES = 4

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._run: RunView | None = None
        self._at_s = 0.0
        self.setMinimumHeight(34)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Position in the video")
        self.setToolTip("Click to go there; arrow keys go by frames, page keys by ten seconds")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_run(self, run: RunView | None) -> None:
        """Show the episodes and cuts of a run."""
        self._run = run
        self.update()

    def show_time(self, time_s: float) -> None:
        """Move the mark."""
        self._at_s = time_s
        self.setAccessibleDescription(clock(time_s))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw it."""
        with QPainter(self) as painter:
            painter.fillRect(self.rect(), QColor(self._theme.page["surface"]))
            run = self._run
            if run is None or run.end_s <= 0.0:
                return
            shown = run.persons[: self._LANES]
            lane_px = (self.height() - 4) / max(1, len(shown))
            scale = self.width() / run.end_s
            for lane, person in enumerate(shown):
                for each in person.segments:
                    place = QRectF(each.start_s * scale, 2 + lane * lane_px, 1, lane_px - 1)
                    place.setWidth(max(1.0, (each.end_s - each.start_s) * scale))
                    painter.fillRect(place, QColor(self._theme.expressions[LABELS[each.label]]))
            for cut_s in run.cuts_s:
                painter.fillRect(QRectF(cut_s * scale, 0, 1, self.height()), QColor(self._theme.page["text"]))
            painter.fillRect(QRectF(self._at_s * scale - 1, 0, 3, self.height()), QColor(self._theme.page["accent"]))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Go there."""
        self._seek(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Follow a drag."""
        self._seek(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Step, or jump."""
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        jumps = {Qt.Key.Key_PageUp: -10.0, Qt.Key.Key_PageDown: 10.0}
        if event.key() in steps:
            self.stepped.emit(steps[Qt.Key(event.key())])
        elif event.key() in jumps and self._run is not None:
            self.sought.emit(min(max(0.0, self._at_s + jumps[Qt.Key(event.key())]), self._run.end_s))
        else:
            super().keyPressEvent(event)

    def _seek(self, event: QMouseEvent) -> None:
        if self._run is not None and event.buttons() & Qt.MouseButton.LeftButton:
            share = min(max(0.0, event.position().x() / max(1, self.width())), 1.0)
            self.sought.emit(share * self._run.end_s)


class _ImageView(QLabel):
    """The image, as large as its place allows."""

    def __init__(self) -> None:
        super().__init__("Open a video to begin: Ctrl+O, or drop one here")
        self.setObjectName("picture")
        self.setAccessibleName("Image of the video, with a box and an expression estimate at each face")
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setMinimumSize(QSize(320, 180))
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)  # else it only ever grows
        self._shown = QPixmap()

    def show_image(self, image: QImage) -> None:
        self._shown = QPixmap.fromImage(image)
        self._fit()

    def show_text(self, text: str) -> None:
        self._shown = QPixmap()
        self.setText(text)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if not self._shown.isNull():
            keep, smooth = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
            self.setPixmap(self._shown.scaled(self.size(), keep, smooth))


class Stage(QWidget):
    """Image, seek bar and buttons.

    Attributes:
        image: where the image is shown.
        bar: the seek bar.
        play: the button that plays and pauses.
        toggled: emitted when it is pressed.
    """

    toggled = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.image = _ImageView()
        self.bar = SeekBar(theme)
        self.time = QLabel("0:00.00")
        self.time.setObjectName("muted")
        self.play = self._button("▶ Play", "Play or pause (Space)", self.toggled.emit)
        back = self._button("◀", "One frame back (Left)", lambda: self.bar.stepped.emit(-1))
        on = self._button("▶", "One frame on (Right)", lambda: self.bar.stepped.emit(1))
        back.setAccessibleName("One frame back")
        on.setAccessibleName("One frame on")
        buttons = QHBoxLayout()
        for each in (self.play, back, on, self.time):
            buttons.addWidget(each)
        buttons.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.image, 1)
        column.addWidget(self.bar)
        column.addLayout(buttons)
        self.show_playing(playing=False)
        self.set_usable(usable=False)

    def set_usable(self, *, usable: bool) -> None:
        """Let the buttons be used, or not."""
        for each in self.findChildren(QPushButton):
            each.setEnabled(usable)
        self.bar.setEnabled(usable)

    def show_playing(self, *, playing: bool) -> None:
        """Show on the button whether it plays or pauses next."""
        self.play.setText("❚❚ Pause" if playing else "▶ Play")

    def show_time(self, time_s: float, end_s: float) -> None:
        """Where the player is."""
        self.time.setText(f"{clock(time_s)} of {clock(end_s)}")
        self.bar.show_time(time_s)

    @staticmethod
    def _button(text: str, tip: str, pressed: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.clicked.connect(lambda _=False: pressed())
        return button
