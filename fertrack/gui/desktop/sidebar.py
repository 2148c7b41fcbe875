"""Sidebar: open and analyse, the detector, recent runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from fertrack.gui.desktop.run_view import Listed

__all__ = ["Sidebar"]


class Sidebar(QWidget):
    """Panel of all that can be opened, and of the analysis under way.

    Args:
        presets: names of the ways to analyse, the first is the default.

    Attributes:
        open_wanted: a video is to be analysed.
        folder_wanted: a folder of pictures is to be analysed.
        stop_wanted: the analysis is to end.
        run_chosen: emitted with the number of a stored run.
    """

    open_wanted = Signal()
    folder_wanted = Signal()
    stop_wanted = Signal()
    run_chosen = Signal(int)

    def __init__(self, presets: Sequence[str]) -> None:
        super().__init__()
        self.open = _button("Open and analyse …", "A video or picture (Ctrl+O)", self.open_wanted.emit)
        self.folder = _button("Folder of pictures …", "All pictures of a folder, as one video", self.folder_wanted.emit)
        self.preset = QComboBox()
        self.preset.addItems(list(presets))
        self.preset.setAccessibleName("Preset of the analysis")
        self.preset.setToolTip("fast: faces are searched in every third frame. accurate: at a higher resolution")
        self.progress = QProgressBar()
        self.progress.setAccessibleName("Progress of the analysis")
        self.progress.hide()
        self.status = QLabel()
        self.status.setObjectName("muted")
        self.status.setWordWrap(True)
        self.stop = _button("Stop and keep", "End the analysis; what was done is kept (Esc)", self.stop_wanted.emit)
        self.stop.hide()
        self.runs = QListWidget()
        self.runs.setAccessibleName("Recent runs")
        self.runs.setWordWrap(True)
        self.runs.itemActivated.connect(self._choose)
        self.runs.itemClicked.connect(self._choose)
        heading = QLabel("Recent runs")
        heading.setObjectName("heading")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for each in (self.open, self.folder, self.preset, self.progress, self.status, self.stop, heading):
            column.addWidget(each)
        column.addWidget(self.runs, 1)

    def show_runs(self, runs: Sequence[Listed]) -> None:
        """List the stored runs, as given."""
        self.runs.clear()
        for run in runs:
            item = QListWidgetItem(run.title)
            item.setData(Qt.ItemDataRole.UserRole, run.run)
            item.setToolTip(run.path)
            self.runs.addItem(item)

    def show_progress(self, share: float, text: str) -> None:
        """An analysis is under way; a share below 0 is not known."""
        self.progress.setRange(0, 0 if share < 0.0 else 1000)
        self.progress.setValue(round(1000 * max(0.0, share)))
        self.status.setText(text)
        self.progress.show()
        self.stop.show()
        for each in (self.open, self.folder, self.preset):
            each.setEnabled(False)

    def show_idle(self, text: str = "") -> None:
        """No analysis is under way."""
        self.status.setText(text)
        self.progress.hide()
        self.stop.hide()
        for each in (self.open, self.folder, self.preset):
            each.setEnabled(True)

    def _choose(self, item: QListWidgetItem) -> None:
        self.run_chosen.emit(int(item.data(Qt.ItemDataRole.UserRole)))


def _button(text: str, tip: str, pressed: Callable[[], object]) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.clicked.connect(lambda _=False: pressed())
    return button
