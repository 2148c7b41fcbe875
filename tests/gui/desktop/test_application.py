"""The desktop application, drawn off screen: open, play, name, correct, write, analyse, fail, close."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fertrack.config import load_settings, to_toml
from fertrack.errors import ConfigError
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig
from fertrack.storage.engine import open_database
from fertrack.storage.people.corrections import corrections
from tests.support.storage_scenes import INFO, RECORD, result, store
from tests.support.video_factory import make_video

try:
    from PySide6.QtCore import QPointF, QSettings, Qt
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QApplication
except ImportError as missing:
    pytest.skip(f"Qt cannot be loaded: {missing}", allow_module_level=True)

from fertrack.gui import desktop
from fertrack.gui.desktop import main_window, run_actions, run_view
from fertrack.gui.desktop.layout import AURORA_DARK, AURORA_LIGHT
from fertrack.gui.desktop.main_window import DesktopWindow
from fertrack.gui.desktop.statement import StatementDialog
from fertrack.gui.theme import Theme
from tests.imaging.test_palette import contrast

FRAMES, FPS = 30, 10
AS_MADE = Calibrator(CalibrationConfig(), ClassifierCalibration.uncalibrated("test")).record


@pytest.fixture(scope="module", autouse=True)
def application() -> Iterator[QApplication]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QT_QPA_PLATFORM", "offscreen")
        yield QApplication.instance() or QApplication(["test"])


@pytest.fixture(autouse=True)
def remembered(tmp_path: Path) -> None:
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "remembered"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mp4", FRAMES, FPS, (320, 240))


@pytest.fixture
def stored(tmp_path: Path, clip: Path) -> str:
    """A run of the clip: two people, one of them uncertain from 1 to 2 s."""
    path = tmp_path / "fertrack.db"
    info = replace(INFO, name="clip.mp4", width=320, height=240, fps=float(FPS), path=str(clip))
    frames = [
        result(i, i / FPS, [(1, "happiness", 0.8), (2, "uncertain" if 10 <= i < 20 else "neutral", 0.6)])
        for i in range(FRAMES)
    ]
    with open_database(path, create=True) as database:
        store(
            database,
            frames,
            info=info,
            record=replace(RECORD, config_toml=to_toml(load_settings()), calibration=AS_MADE),
        )
    return str(path)


@pytest.fixture
def window(stored: str, tmp_path: Path) -> Iterator[DesktopWindow]:
    settings = load_settings((), ["privacy.purpose=trial", "linking.method=off", "video.enabled=false"])
    window = DesktopWindow(stored, tmp_path / "out", settings, Theme.named("light"))
    window.show()
    yield window
    window.close()
    window.deleteLater()


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it never happened"
        QTest.qWait(5)


def opened(window: DesktopWindow, run: int = 1) -> DesktopWindow:
    window.open_run(run)
    until(lambda: window.run is not None and window.run.number == run)
    return window


def log_of(window: DesktopWindow) -> str:
    return "\n".join(window.parts.log.lines())


def test_a_run_is_opened_from_the_list_and_sought_in(window: DesktopWindow) -> None:
    until(lambda: window.parts.sidebar.runs.count() == 1)
    item = window.parts.sidebar.runs.item(0)
    assert item is not None
    assert item.text().startswith("1 · clip.mp4 · ")
    window.parts.sidebar.runs.itemActivated.emit(item)
    until(lambda: window.run is not None)
    assert window.parts.people.table.rowCount() == 2
    bar, timeline = window.parts.stage.bar, window.parts.timeline
    middle = QPointF(bar.width() / 2, bar.height() / 2).toPoint()
    QTest.mouseClick(bar, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, middle)
    until(lambda: abs(window._at_s - 1.5) < 0.11)
    at_s = window._at_s
    QTest.keyClick(bar, Qt.Key.Key_Right)
    until(lambda: window._at_s == pytest.approx(at_s + 0.1))
    QTest.keyClick(bar, Qt.Key.Key_Left)
    until(lambda: window._at_s == pytest.approx(at_s))
    QTest.keyClick(bar, Qt.Key.Key_PageUp)
    until(lambda: window._at_s == 0.0)
    assert "ID 2: " in window.parts.numbers.accessibleDescription()
    whole_s = timeline.to_s - timeline.from_s
    timeline.zoom(0.5, 1.0)
    assert timeline.to_s - timeline.from_s == pytest.approx(whole_s / 2)
    assert not window.grab().isNull()


def test_steps_are_those_of_the_analysed_frames(window: DesktopWindow, stored: str, clip: Path) -> None:
    info = replace(INFO, name="clip.mp4", width=320, height=240, fps=float(FPS), path=str(clip))
    with open_database(stored) as database:
        every_third = [result(i, i / FPS, [(1, "anger", 0.8)]) for i in range(0, FRAMES, 3)]
        store(database, every_third, info=info, record=replace(RECORD, config_toml=to_toml(load_settings())))
    opened(window, 2)
    for frames, at_s in ((1, 0.3), (1, 0.6), (-1, 0.3), (1, 0.6)):
        window.step(frames)
        until(lambda at_s=at_s: window._at_s == pytest.approx(at_s))  # type: ignore[misc]


def test_it_plays_to_the_end_and_stops(window: DesktopWindow) -> None:
    opened(window)
    window.player.seek(2.5)
    until(lambda: window._at_s >= 2.5)
    window.toggle()
    assert "Pause" in window.parts.stage.play.text()
    until(lambda: "Play" in window.parts.stage.play.text())
    assert window._at_s == pytest.approx(2.9)


def test_persons_are_named_merged_cut_and_all_is_undone(window: DesktopWindow) -> None:
    people = opened(window).parts.people
    people.table.selectRow(0)
    people.rename_to("Ada")
    until(lambda: window.run is not None and window.run.persons[0].name == "Ada")
    people.table.selectAll()
    people.merge_selected()
    until(window.parts.message.isVisible)
    assert "cannot be one person" in window.parts.message.text(), "both are in every frame"
    window.parts.message.click()
    assert "StorageError" in QApplication.clipboard().text()
    people.table.clearSelection()
    people.table.selectRow(1)
    people.show_time(1.5)
    people.split_here()
    until(lambda: window.run is not None and len(window.run.persons) == 3)
    people.undo_last()
    until(lambda: window.run is not None and len(window.run.persons) == 2)


def test_a_stretch_is_labelled_and_taken_back(window: DesktopWindow, stored: str) -> None:
    opened(window).parts.people.table.selectRow(1)
    window.go_to_uncertain()
    until(lambda: window._at_s == pytest.approx(1.0))
    window.label(5)
    until(lambda: window.run is not None and window.run.corrected == 10)
    with open_database(stored) as database, database.run(1) as run:
        table = corrections(run)
    assert set(table["corrected"]) == {"anger"}
    assert (table["frame_index"].min(), table["frame_index"].max(), set(table["track"])) == (10, 19, {2})
    window.go_to_uncertain()
    until(lambda: "no estimate of ID 2 is uncertain" in log_of(window))
    window.undo_label()
    until(lambda: window.run is not None and window.run.corrected == 0)
    window.undo_label()
    assert "no label of this session" in log_of(window)


def test_settings_make_the_labels_anew_and_back(window: DesktopWindow, tmp_path: Path) -> None:
    controls = opened(window).parts.labels
    before = window.run
    assert before is not None
    controls.half_life.setValue(2.0)
    controls.temperature.setValue(0.5)
    controls.prior.setValue(0.0)
    controls.thresholds.setChecked(False)
    until(lambda: window.run is not before)
    assert window.run is not None
    assert window.run.settings.smoothing.half_life_s == 2.0
    assert window.run.settings.calibration.temperature == 0.5
    assert not (window.run.faces.label < 0).any(), "nobody is uncertain without thresholds"
    window.save_config(str(tmp_path / "mine.toml"))
    until(lambda: "saved " in log_of(window))  # the file is there before its text is
    assert load_settings([tmp_path / "mine.toml"]).smoothing.half_life_s == 2.0
    changed = window.run
    controls.reset.click()
    until(lambda: window.run is not changed)
    assert window.run.settings.smoothing.half_life_s == controls.half_life.value() == 0.25
    assert window.run.settings.calibration.temperature is None


@pytest.mark.parametrize(("kind", "name"), [("html", "r.html"), ("csv", ""), ("video", "v.mp4")])
def test_reports_exports_and_videos_are_written(window: DesktopWindow, tmp_path: Path, kind: str, name: str) -> None:
    opened(window)
    target = tmp_path / "written" / name
    (tmp_path / "written").mkdir()
    window.write(kind, str(target))
    until(lambda: any(word in log_of(window) for word in (" written: ", "exported: ", "error")))
    assert "error" not in log_of(window)
    assert list((tmp_path / "written").iterdir())


def test_a_video_is_analysed_and_opened(window: DesktopWindow, clip: Path) -> None:
    window.open_video(str(clip))
    until(lambda: window.run is not None and window.run.number == 2)
    assert "run 2 (complete): 30 frames, 0 faces" in log_of(window)
    assert window.parts.sidebar.open.isEnabled()
    until(lambda: window.parts.sidebar.runs.count() == 2)


def test_it_can_be_closed_while_a_video_is_analysed(window: DesktopWindow, tmp_path: Path, stored: str) -> None:
    window.open_video(str(make_video(tmp_path / "long.mp4", 2000, 25, (320, 240))))
    until(lambda: "frames a second" in window.parts.sidebar.status.text())
    window.close()
    assert not window.analysis.is_running
    with open_database(stored) as database, database.run(2) as run:
        assert run.facts.status == "interrupted"
        assert 0 < run.facts.summary.frames < 2000


def test_what_cannot_be_read_is_a_sentence_and_the_window_stays_usable(window: DesktopWindow, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    window.open_video(str(tmp_path / "text.mp4"))
    until(window.parts.message.isVisible)
    assert "text.mp4" in window.parts.message.text()
    opened(window)
    assert not window.parts.message.isVisible()


def test_a_video_that_is_gone_is_said(window: DesktopWindow, clip: Path) -> None:
    clip.unlink()
    window.open_run(1)
    until(window.parts.message.isVisible)
    assert "clip.mp4" in window.parts.message.text()


def test_nothing_is_asked_of_the_database_on_the_interface_thread(
    window: DesktopWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def noted(*args: object, **options: object) -> object:
        threads.append(threading.current_thread())
        return open_database(*args, **options)  # type: ignore[arg-type]

    for module in (run_actions, run_view):
        monkeypatch.setattr(module, "open_database", noted)
    opened(window).parts.people.rename_to("Ada")
    until(lambda: window.run is not None and window.run.persons[0].name == "Ada")
    window.label(0)
    until(lambda: window.run is not None and window.run.corrected > 0)
    assert len(threads) >= 4
    assert threading.main_thread() not in threads


def test_the_log_is_filtered_and_copied(window: DesktopWindow) -> None:
    log = window.parts.log
    log.add("info", "test", "an apple")
    log.add("info", "test", "a pear")
    log.filter.setText("PEAR")
    assert [line.split("\t")[3] for line in log.lines()] == ["a pear"]
    log.copy()
    assert QApplication.clipboard().text().endswith("test\ta pear")


def test_purpose_and_consent_are_asked_checked_and_remembered(
    stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialog = StatementDialog("", "")
    dialog.purpose.setText("job interviews of applicants")
    dialog._check()
    assert "privacy.override" in dialog.problem.text()
    assert not dialog.result()
    dialog.purpose.setText("usability study")
    dialog._check()
    assert dialog.result() == StatementDialog.DialogCode.Accepted

    proposed, answers = [], [0, 1, 0, 0]

    class Stating(StatementDialog):
        def exec(self) -> int:
            proposed.append(self.purpose.text())
            self.purpose.setText("usability study")
            return answers.pop(0)

    monkeypatch.setattr(main_window, "StatementDialog", Stating)
    window = DesktopWindow(stored, tmp_path, load_settings(), Theme.named("dark"))
    assert [window._statement() for _ in range(3)] == [None, ("usability study", ""), None]
    assert proposed == ["", "", "usability study"]
    window.open_video("not-opened.mp4")
    assert not window.analysis.is_running
    window.close()


@pytest.mark.parametrize(("name", "grounds"), [("dark", AURORA_DARK), ("light", AURORA_LIGHT)])
def test_text_can_be_read_on_every_part_of_the_aurora(name: str, grounds: tuple[str, ...]) -> None:
    page = Theme.named(name).page
    for ground in (*grounds, page["surface"], page["note-back"]):
        assert contrast(page["text"], ground) >= 4.5
        assert contrast(page["muted"], ground) >= 4.5


def test_every_control_has_a_name_and_a_tip(window: DesktopWindow) -> None:
    from PySide6.QtWidgets import QComboBox, QListWidget, QPushButton, QTableWidget

    for button in window.findChildren(QPushButton):
        assert button.toolTip(), button.text()
        assert button.accessibleName() or button.text() or button is window.parts.message
    for kind in (QTableWidget, QListWidget, QComboBox):
        for part in window.findChildren(kind):
            assert part.accessibleName(), part


def test_the_guide_is_shown(window: DesktopWindow) -> None:
    window.open_guide()
    shown = [each for each in QApplication.topLevelWidgets() if each.windowTitle() == "The desktop application"]
    assert shown
    for each in shown:
        each.close()


def test_without_a_screen_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fertrack.gui.check_ready", lambda: (_ for _ in ()).throw(ConfigError("there is no screen")))
    with pytest.raises(ConfigError, match="no screen"):
        desktop.run_application("a.db", tmp_path, load_settings())


def test_the_command_opens_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from fertrack.cli.main import run
    from fertrack.gui.__main__ import main as module_main

    seen = []

    def shown(database: str, out: Path, settings: object, video: str = "") -> int:
        seen.append((database, out, video))
        return 0

    monkeypatch.setattr(desktop, "run_application", shown)
    monkeypatch.setattr("fertrack.gui.__main__.run_application", shown)
    assert run(["gui", "clip.mp4", "-o", str(tmp_path)]) == 0
    assert module_main(["clip.mp4"]) == 0
    assert seen == [
        (str(tmp_path / "fertrack.db"), tmp_path, "clip.mp4"),
        ("fertrack-out/fertrack.db", Path("fertrack-out"), "clip.mp4"),
    ]
    assert sys.modules["PySide6"]
