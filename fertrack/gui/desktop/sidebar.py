"""Sidebar: open and analyse, recent runs; and the settings from which labels are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from fertrack.gui.desktop.run_actions import LabelSettings
from fertrack.gui.desktop.run_view import Listed, RunView

__all__ = ["LabelControls", "Sidebar"]

_SETTLE_MS = 400
"""A change takes effect when nothing was changed for so long."""


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


class LabelControls(QWidget):
    """Settings from which labels are made. A change takes effect at once, on the stored faces; nothing is run again.

    Attributes:
        wanted: emitted with ``LabelSettings``, or None for those the run was made with.
        save_wanted: the settings are to be saved as a file for ``--config``.
    """

    wanted = Signal(object)
    save_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._showing = False
        self.half_life = _number(60.0, 0.05, "Time after which an estimate counts half, seconds; 0: no smoothing")
        self.hysteresis = _number(1.0, 0.01, "A label stays until another is more probable by more than this")
        self.temperature = _number(20.0, 0.1, "Above 1: less sure, below 1: surer; 0: the classifier's own")
        self.prior = _number(1.0, 0.05, "How much rare expressions are made up for; below 0: the classifier's own")
        self.prior.setMinimum(-0.05)
        for control in (self.temperature, self.prior):
            control.setSpecialValueText("classifier's own")  # at the minimum
        self.thresholds = QCheckBox("Call unsure estimates uncertain")
        self.thresholds.setToolTip("By the classifier's threshold of each expression")
        form = QFormLayout(self)
        for name, control in (
            ("&Half-life, s", self.half_life),
            ("H&ysteresis", self.hysteresis),
            ("&Temperature", self.temperature),
            ("P&rior strength", self.prior),
        ):
            form.addRow(name, control)
            control.setAccessibleName(name.replace("&", ""))
            control.valueChanged.connect(self._settle)
        form.addRow(self.thresholds)
        self.thresholds.toggled.connect(self._settle)
        self.reset = _button("As the run was made", "Take back all changes of labels", self._ask_original)
        self.save = _button("Save as config …", "A file for fertrack process --config", self.save_wanted.emit)
        form.addRow(self.reset)
        form.addRow(self.save)
        self._timer = QTimer(self, interval=_SETTLE_MS, singleShot=True)
        self._timer.timeout.connect(lambda: self.wanted.emit(self.chosen()))
        self.setEnabled(False)

    def show_run(self, run: RunView | None) -> None:
        """Show the settings of a run."""
        self.setEnabled(run is not None)
        if run is None or self._timer.isActive():
            return
        shown = LabelSettings.of(run.settings)
        self._showing = True
        self.half_life.setValue(shown.half_life_s)
        self.hysteresis.setValue(shown.hysteresis_margin)
        self.temperature.setValue(shown.temperature or 0.0)
        self.prior.setValue(self.prior.minimum() if shown.prior_strength is None else shown.prior_strength)
        self.thresholds.setChecked(shown.use_thresholds)
        self._showing = False

    def chosen(self) -> LabelSettings:
        """The settings as they are shown."""
        return LabelSettings(
            half_life_s=self.half_life.value(),
            hysteresis_margin=self.hysteresis.value(),
            temperature=max(0.05, self.temperature.value()) if self.temperature.value() > 0.0 else None,
            prior_strength=self.prior.value() if self.prior.value() >= 0.0 else None,
            use_thresholds=self.thresholds.isChecked(),
        )

    def _settle(self) -> None:
        if not self._showing:
            self._timer.start()

    def _ask_original(self) -> None:
        self._timer.stop()
        self.wanted.emit(None)


def _number(most: float, step: float, tip: str) -> QDoubleSpinBox:
    control = QDoubleSpinBox()
    control.setRange(0.0, most)
    control.setSingleStep(step)
    control.setDecimals(2)
    control.setToolTip(tip)
    control.setKeyboardTracking(False)
    return control


def _button(text: str, tip: str, pressed: Callable[[], object]) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.clicked.connect(lambda _=False: pressed())
    return button
