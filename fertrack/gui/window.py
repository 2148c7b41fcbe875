"""The live window: polls the session on a timer, in its own thread, and waits for nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import wraps
from typing import Any

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QImage, QKeySequence, QPixmap, QResizeEvent, QShortcut
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from fertrack.errors import FertrackError
from fertrack.gui.card import PersonCard
from fertrack.gui.figures import connection, figures
from fertrack.gui.theme import Theme, system_theme
from fertrack.live.session import LiveSession
from fertrack.live.state import LivePerson
from fertrack.types import Image

__all__ = ["ImageView", "LiveWindow"]

IMAGE_EVERY_MS = 20
"""Interval between looks for a new image."""

NUMBERS_EVERY_MS = 250
"""How often numbers and persons are shown anew."""


class ImageView(QLabel):
    """The live image, as large as its place allows."""

    def __init__(self) -> None:
        super().__init__("Waiting for the first image …")
        self.setObjectName("picture")
        self.setAccessibleName("Live image, with a box and an expression estimate at each face")
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setMinimumSize(QSize(320, 180))
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)  # else it only ever grows
        self._shown = QPixmap()

    def show_image(self, image: Image) -> None:
        """Show an image, uint8 (H, W, 3), BGR."""
        height, width = image.shape[:2]
        self._shown = QPixmap.fromImage(
            QImage(image.data, width, height, image.strides[0], QImage.Format.Format_BGR888)
        )
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Fit the image into its new place."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if not self._shown.isNull():
            keep = Qt.AspectRatioMode.KeepAspectRatio
            smooth = Qt.TransformationMode.SmoothTransformation
            self.setPixmap(self._shown.scaled(self.size(), keep, smooth))


def _guarded(slot: Callable[[LiveWindow], None]) -> Callable[[LiveWindow], None]:
    """A slot whose failure closes the window and is raised by ``show``; Qt would only print it, and call on."""

    @wraps(slot)
    def guarded(window: LiveWindow, *_: Any) -> None:
        try:
            slot(window)
        except Exception as error:  # whatever a slot may raise
            window.fail(error)

    return guarded


class LiveWindow(QMainWindow):
    """Image and numbers to the left, a card per person to the right.

    Args:
        session: a started session; the window closes when it has ended.
        theme: colours; the desktop's if not given.

    Attributes:
        failure: what broke the window, if anything did.
        left: emitted once, when the window has closed.
    """

    left = Signal()

    def __init__(self, session: LiveSession, theme: Theme | None = None) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self._session = session
        self._theme = theme or system_theme()
        self._number = -1
        self._cards: dict[int, PersonCard] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="fertrack-window")
        self._saving: Future[object] | None = None
        self.setWindowTitle("fertrack live")
        self.setStyleSheet(self._theme.style_sheet())
        self.resize(1180, 760)

        self.banner = _label("banner")
        self.problem = _label("problem")
        self.picture = ImageView()
        self.record = QPushButton("● Start recording")
        self.record.clicked.connect(self._toggle_recording)
        self.stop = QPushButton("Stop and save (q)")
        self.stop.setObjectName("grave")
        self.stop.clicked.connect(self.stop_session)
        self.recording = _label("muted")
        self.nobody = _label("muted")
        self.nobody.setText("No face yet.")
        self.nobody.show()
        self.values: dict[str, QLabel] = {}
        self.setCentralWidget(self._laid_out())
        QShortcut(QKeySequence("q"), self, self.stop_session)

        self._pictures = QTimer(self, interval=IMAGE_EVERY_MS)
        self._pictures.timeout.connect(self._show_image)
        self._numbers = QTimer(self, interval=NUMBERS_EVERY_MS)
        self._numbers.timeout.connect(self._show_numbers)
        self._pictures.start()
        self._numbers.start()
        self._show_numbers()

    def stop_session(self) -> None:
        """Ask the session to end; the window closes when everything is saved."""
        self.stop.setEnabled(False)
        self.stop.setText("Stopping and saving …")
        self._session.stop()

    def fail(self, error: Exception) -> None:
        """Close because something in the window broke."""
        self.failure = self.failure or error
        self._leave()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's name
        """Closing the window ends the session; it disappears when that is done."""
        if self._session.wait(0) or self.failure is not None:
            super().closeEvent(event)
            return
        event.ignore()
        self.stop_session()

    def _laid_out(self) -> QWidget:
        notice = _label("muted")
        notice.setText("◉ Expression estimation is on. What people must be told: fertrack privacy notice")
        notice.show()
        buttons = QHBoxLayout()
        buttons.addWidget(self.record)
        buttons.addWidget(self.stop)
        buttons.addStretch(1)
        left = QVBoxLayout()
        left.addWidget(notice)
        left.addWidget(self.banner)
        left.addWidget(self.picture, 1)
        left.addLayout(buttons)
        left.addWidget(self.recording)
        left.addWidget(self.problem)
        left.addWidget(self._figures())

        people = QWidget()
        self._people = QVBoxLayout(people)
        self._people.addWidget(self.nobody)
        self._people.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidget(people)
        scroll.setWidgetResizable(True)
        scroll.setMinimumWidth(400)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setAccessibleName("People")

        whole = QWidget()
        row = QHBoxLayout(whole)
        row.addLayout(left, 3)
        row.addWidget(scroll, 2)
        return whole

    def _figures(self) -> QFrame:
        frame = QFrame()
        frame.setObjectName("figures")
        grid = QGridLayout(frame)
        for row, (name, _) in enumerate(figures(self._session.state())):
            what, value = _label("muted"), _label("heading")
            what.setText(name)
            what.show()
            value.show()
            value.setAccessibleName(name)
            grid.addWidget(what, row, 0)
            grid.addWidget(value, row, 1)
            self.values[name] = value
        grid.setColumnStretch(1, 1)
        return frame

    @_guarded
    def _show_image(self) -> None:
        view = self._session.view(self._number, 0.0)
        if view is not None:
            self._number = view.number
            self.picture.show_image(view.image)

    @_guarded
    def _show_numbers(self) -> None:
        if self._session.wait(0):
            self._leave()
            return
        self._see_whether_saved()
        state = self._session.state()
        self.setWindowTitle(f"{state.source} – fertrack live" if state.source else "fertrack live")
        _say(self.banner, connection(state))
        for name, value in figures(state):
            self.values[name].setText(value)
        self._show_recording(state.recording)
        self._show_people(state.persons, state.time_s)

    def _show_recording(self, path: str | None) -> None:
        is_on = path is not None
        self.record.setText("■ Stop recording" if is_on else "● Start recording")
        if (self.record.objectName() == "on") != is_on:
            self.record.setObjectName("on" if is_on else "")
            self.record.style().polish(self.record)  # the style sheet goes by the name
        _say(self.recording, f"Recording to {path}" if is_on else "")

    def _show_people(self, persons: tuple[LivePerson, ...], now_s: float) -> None:
        there = {person.person for person in persons}
        for number in self._cards.keys() - there:
            self._cards.pop(number).deleteLater()
        for person in persons:
            if person.person not in self._cards:
                card = self._cards[person.person] = PersonCard(self._theme, self._rename)
                self._people.insertWidget(self._people.count() - 1, card)
            self._cards[person.person].show_person(person, now_s)
        self.nobody.setVisible(not persons)

    @_guarded
    def _toggle_recording(self) -> None:
        if self._session.state().recording is None:
            self._attempt(self._session.start_recording)
        else:  # a long recording takes its time to be completed; the image goes on meanwhile
            self.record.setEnabled(False)
            self._saving = self._worker.submit(self._session.stop_recording)
        self._show_recording(self._session.state().recording)

    def _see_whether_saved(self) -> None:
        if self._saving is not None and self._saving.done():
            saved, self._saving = self._saving, None
            self.record.setEnabled(True)
            self._attempt(saved.result)

    def _rename(self, person: int, name: str) -> bool:
        return self._attempt(lambda: self._session.rename(person, name))

    def _attempt(self, action: Callable[[], object]) -> bool:
        """Ask the session for something; a refusal is shown."""
        try:
            action()
        except (FertrackError, ValueError) as error:
            _say(self.problem, str(error))
            return False
        _say(self.problem, "")
        return True

    def _leave(self) -> None:
        self._pictures.stop()
        self._numbers.stop()
        self._worker.shutdown(wait=False)
        self.hide()
        self.left.emit()


def _label(name: str) -> QLabel:
    """A label for text of any kind, hidden until it has some."""
    label = QLabel()
    label.setObjectName(name)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.hide()
    return label


def _say(label: QLabel, text: str) -> None:
    label.setText(text)
    label.setVisible(bool(text))
