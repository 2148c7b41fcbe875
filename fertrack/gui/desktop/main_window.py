"""The main window: what is open, the menus, and what follows what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QSettings
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QFileDialog,
    QMainWindow,
    QMessageBox,
    QTextBrowser,
    QVBoxLayout,
)

from fertrack.config import Settings, load_settings, to_toml
from fertrack.gui.desktop.analysis import Analysis
from fertrack.gui.desktop.jobs import Jobs, Problem
from fertrack.gui.desktop.layout import Parts, style_sheet
from fertrack.gui.desktop.menus import make_menus
from fertrack.gui.desktop.player import Player
from fertrack.gui.desktop.run_actions import (
    Labelled,
    LabelSettings,
    label_stretch,
    next_uncertain,
    on_database,
    rescore_run,
    restore_labels,
    segment_at,
    write_file,
)
from fertrack.gui.desktop.run_view import RunView, load_run, recent_runs
from fertrack.gui.desktop.statement import ABOUT, StatementDialog
from fertrack.gui.theme import Theme, system_theme
from fertrack.reporting.exports.registry import FORMATS
from fertrack.storage.people.corrections import GivenLabel

__all__ = ["DesktopWindow"]


class DesktopWindow(QMainWindow):
    """Sidebar to the left, stage in the middle, persons and numbers to the right, timeline and log below.

    Args:
        database: path or URL of the database.
        out: folder of new outputs.
        settings: of new analyses.
        theme: colours; the desktop's if None.

    Attributes:
        run: the run that is open; None: none is.
        analysis: analyses videos.
        player: plays the open run.
        parts: the panels.
    """

    def __init__(self, database: str, out: Path, settings: Settings, theme: Theme | None = None) -> None:
        super().__init__()
        self.run: RunView | None = None
        self._database, self._out, self._settings = database, out, settings
        ini, user = QSettings.Format.IniFormat, QSettings.Scope.UserScope
        self._remembered = QSettings(ini, user, "fertrack", "desktop")
        self._playing = False
        self._undoable: list[tuple[int, tuple[GivenLabel, ...]]] = []
        theme = theme or system_theme()
        self.setStyleSheet(style_sheet(theme))
        self.setWindowTitle("fertrack")
        self.setAcceptDrops(True)
        self.resize(1180, 760)
        self.setMinimumSize(900, 560)

        self.jobs, self.writing = Jobs(self), Jobs(self)
        self.player, self.analysis = Player(self), Analysis(self)
        self.parts = Parts(theme)
        self.parts.put_into(self)
        self.people, self.docks = self.parts.people, self.parts.docks
        self._details = ""
        self._at_s = 0.0
        self._connect()
        make_menus(self, self)
        if (geometry := self._remembered.value("geometry")) is not None:
            self.restoreGeometry(geometry)
        if (state := self._remembered.value("state")) is not None:
            self.restoreState(state)
        self.show_recent()

    # ---- what is open ----

    def show_recent(self) -> None:
        """List the stored runs anew."""
        self.jobs.ask(lambda: recent_runs(self._database), self.parts.sidebar.show_runs)

    def open_run(self, number: int) -> None:
        """Open a stored run."""
        self._say(f"opening run {number} …")
        self.jobs.ask(lambda: load_run(self._database, number), self._show_run)

    def open_video(self, path: str) -> None:
        """Analyse a video, after purpose and consent are stated."""
        if self.analysis.is_running:
            self._say("a video is being analysed: stop it first")
            return
        stated = self._statement()
        if stated is None:
            return
        preset = self.parts.sidebar.preset.currentText()
        settings = self._settings
        if preset != "default":
            settings = load_settings([preset], base=to_toml(settings))
        privacy = settings.privacy.model_copy(update={"purpose": stated[0], "consent": stated[1]})
        self._close_run()
        self.parts.stage.image.show_text("Loading the networks …")
        self.parts.sidebar.show_progress(-1.0, f"Analysing {Path(path).name} …")
        self.parts.log.add("info", "analysis", f"{path} with the preset {preset}")
        self.analysis.start(path, self._database, self._out, settings.model_copy(update={"privacy": privacy}))

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's name
        """End everything in order; what was analysed is kept."""
        self._remembered.setValue("geometry", self.saveGeometry())
        self._remembered.setValue("state", self.saveState())
        self.analysis.stop()
        self.player.close()
        self.analysis.wait()
        self.jobs.close()
        self.writing.close()
        self.parts.log.close_log()
        super().closeEvent(event)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802 - Qt's name
        """Take files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802 - Qt's name
        """Analyse the first file dropped."""
        if urls := event.mimeData().urls():
            self.open_video(urls[0].toLocalFile())

    # ---- what happens ----

    def _show_run(self, run: RunView, *, again: bool = False) -> None:
        self.run = run
        self.setWindowTitle(f"{run.title} – run {run.number} – fertrack")
        self.parts.show_run(run)
        if again:
            self.player.refresh(run)
            return
        self._undoable.clear()
        self.parts.stage.set_usable(usable=bool(len(run.time_s)))
        corrected = f", {run.corrected} faces corrected" if run.corrected else ""
        self._say(f"run {run.number} ({run.status}): {len(run.persons)} persons{corrected}")
        for note in run.notes:
            self.parts.log.add("note", f"run {run.number}", note)
        self._playing = False
        self.parts.stage.show_playing(playing=False)
        self.player.open(run, run.path)

    def _close_run(self) -> None:
        self.run = None
        self.player.pause()
        self.parts.show_run(None)

    def _show_played(self) -> None:
        shown = self.player.take()
        if shown is None or self.run is None:
            return
        self.parts.stage.image.show_image(shown.image)
        self.parts.show_time(self.run, shown.time_s)
        self._at_s = shown.time_s

    def _show_analysed(self) -> None:
        shown = self.analysis.take()
        if shown is not None and self.run is None:
            self.parts.stage.image.show_image(shown.image)

    def toggle(self) -> None:
        """Play or pause."""
        if self.run is None:
            return
        self._playing = not self._playing
        self.parts.stage.show_playing(playing=self._playing)
        (self.player.play if self._playing else self.player.pause)()

    def step(self, frames: int) -> None:
        """Pause, and go by analysed frames."""
        self._pause()
        self.player.step(frames)

    def _pause(self) -> None:
        self._playing = False
        self.parts.stage.show_playing(playing=False)
        self.player.pause()

    def _analysed(self, run: int, sentence: str) -> None:
        self.parts.sidebar.show_idle(sentence)
        self.parts.log.add("info", "analysis", sentence)
        self.show_recent()
        self.open_run(run)

    def _fail(self, problem: Problem) -> None:
        if not self.analysis.is_running:
            self.parts.sidebar.show_idle()
        self._details = problem.details
        self.parts.message.setText(f"{problem.sentence}   (copy the details)")
        self.parts.message.show()
        self.parts.log.add("error", "window", problem.sentence)
        self.show_recent()

    def _say(self, text: str) -> None:
        self.parts.message.hide()
        self.statusBar().showMessage(text)
        self.parts.log.add("info", "window", text)

    def _change_people(self, action: Callable[..., str]) -> None:
        self.jobs.ask(on_database(self._database, action), self._changed)

    def _changed(self, sentence: str) -> None:
        self._say(sentence)
        if self.run is not None:
            number = self.run.number
            self.jobs.ask(lambda: load_run(self._database, number), lambda run: self._show_run(run, again=True))

    def label(self, label: int) -> None:
        """Label the stretch in which the selected person is seen now."""
        run, people = self.run, self.people.selected()
        if run is None or not people:
            return
        stretch = segment_at(people[0], self._at_s)
        if stretch is None:
            self._say(f"{people[0].name} is not seen at this time: select who is, or go elsewhere")
            return
        self._pause()
        self.jobs.ask(lambda: label_stretch(self._database, run, people[0], stretch, label), self._labelled)

    def _labelled(self, done: Labelled) -> None:
        if self.run is not None:
            self._undoable.append((self.run.number, done.before))
        self._changed(done.sentence)

    def rescore(self, chosen: LabelSettings | None) -> None:
        """Make the labels of the open run anew with these settings; None: with those it was made with."""
        if self.run is not None:
            number = self.run.number
            self.jobs.ask(lambda: rescore_run(self._database, number, chosen), self._changed)

    def save_config(self, path: str = "") -> None:
        """Write the settings of the open run as a file for ``--config``; asks where if no path is given."""
        run = self.run
        if run is None:
            return
        path = path or QFileDialog.getSaveFileName(self, "Save the settings", str(self._out / "mine.toml"))[0]
        if path:
            text = to_toml(run.settings)
            self.writing.ask(
                lambda: Path(path).write_text(text, encoding="utf-8"), lambda _: self._say(f"saved {path}")
            )

    def undo_label(self) -> None:
        """Take the last label back."""
        run = self.run
        if run is None or not self._undoable:
            self._say("there is no label of this session to take back")
            return
        _, before = self._undoable.pop()
        self.jobs.ask(lambda: restore_labels(self._database, run, before), self._changed)

    def go_to_uncertain(self) -> None:
        """Go to the next uncertain stretch of the selected person."""
        if people := self.people.selected():
            stretch = next_uncertain(people[0], self._at_s)
            if stretch is None:
                self._say(f"no estimate of {people[0].name} is uncertain")
            else:
                self._pause()
                self.player.seek(stretch.start_s)

    def write(self, kind: str, path: str = "") -> None:
        """Write the report, a video or an export of the open run; asks where if no path is given."""
        run = self.run
        if run is None:
            self._say("open a run first")
            return
        stem = f"run{run.number}.{Path(run.title).stem}"
        if not path and kind in FORMATS:
            path = QFileDialog.getExistingDirectory(self, "Folder of the export", str(self._out))
        elif not path:
            suffix = ".html" if kind == "html" else ".mp4"
            suggested = str(self._out / f"{stem}.{kind}{suffix}".replace(".html.html", ".html"))
            path, _ = QFileDialog.getSaveFileName(self, "Write", suggested)
        if path:
            self._say(f"writing {kind} …")
            self.writing.ask(lambda: write_file(self._database, run.number, Path(path), kind), self._say)

    # ---- asking ----

    def _statement(self) -> tuple[str, str] | None:
        """Purpose and consent, as the command line or the dialog states them; None: the user does not go on."""
        privacy = self._settings.privacy
        if privacy.purpose:
            return privacy.purpose, privacy.consent
        last = [str(self._remembered.value(name) or "") for name in ("purpose", "consent")]
        dialog = StatementDialog(last[0], last[1], self)
        if not dialog.exec():
            return None
        stated = dialog.purpose.text().strip(), dialog.consent.text().strip()
        self._remembered.setValue("purpose", stated[0])
        self._remembered.setValue("consent", stated[1])
        return stated

    def ask_video(self) -> None:
        """Ask for a video and analyse it."""
        path, _ = QFileDialog.getOpenFileName(self, "Open a video or picture")
        if path:
            self.open_video(path)

    def ask_folder(self) -> None:
        """Ask for a folder of pictures and analyse it."""
        if path := QFileDialog.getExistingDirectory(self, "Open a folder of pictures"):
            self.open_video(path)

    def _copy_details(self) -> None:
        QGuiApplication.clipboard().setText(self._details)
        self.parts.message.hide()

    def open_guide(self) -> None:
        """Show the guide's page about this window."""
        from fertrack.guide.pages import read_page

        page = QTextBrowser()
        page.setMarkdown(read_page("desktop"))
        dialog = QDialog(self)
        dialog.setWindowTitle("The desktop application")
        QVBoxLayout(dialog).addWidget(page)
        dialog.resize(680, 560)
        dialog.show()

    def show_about(self) -> None:
        """Say what is estimated and what is not."""
        QMessageBox.about(self, "fertrack", ABOUT)

    # ---- how it is put together ----

    def _connect(self) -> None:
        self.parts.message.clicked.connect(self._copy_details)
        self.parts.sidebar.open_wanted.connect(self.ask_video)
        self.parts.sidebar.folder_wanted.connect(self.ask_folder)
        self.parts.sidebar.stop_wanted.connect(self.analysis.stop)
        self.parts.sidebar.run_chosen.connect(self.open_run)
        self.parts.stage.toggled.connect(self.toggle)
        self.parts.stage.bar.sought.connect(self.player.seek)
        self.parts.stage.bar.stepped.connect(self.step)
        self.parts.timeline.sought.connect(self.player.seek)
        self.people.wanted.connect(self._change_people)
        self.parts.labels.wanted.connect(self.rescore)
        self.parts.labels.save_wanted.connect(self.save_config)
        self.player.ready.connect(self._show_played)
        self.player.ended.connect(self._pause)
        self.analysis.ready.connect(self._show_analysed)
        self.analysis.progressed.connect(self._show_progress)
        self.analysis.ended.connect(self._analysed)
        for part in (self.jobs, self.writing, self.player, self.analysis):
            part.failed.connect(self._fail)

    def _show_progress(self, share: float, frames: int, faces: int, fps: float) -> None:
        self.parts.sidebar.show_progress(share, f"{frames} frames, {faces} faces, {fps:.0f} frames a second")
