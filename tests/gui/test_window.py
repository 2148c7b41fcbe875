"""The window of a live session, drawn off screen: picture, cards, buttons, keys, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fertrack.errors import ConfigError, MissingExtraError, VideoWriteError
from fertrack.imaging import palette
from fertrack.types import EXPRESSIONS
from tests.support.live_session_fake import FakeSession

try:
    from PySide6.QtCore import Qt, QTimer
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QApplication
except ImportError as missing:
    pytest.skip(f"Qt cannot be loaded: {missing}", allow_module_level=True)

from fertrack.gui import show
from fertrack.gui.theme import Theme
from fertrack.gui.window import ImageView, LiveWindow

KEY = Qt.Key


@pytest.fixture(scope="module", autouse=True)
def application() -> Iterator[QApplication]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QT_QPA_PLATFORM", "offscreen")
        yield QApplication.instance() or QApplication(["test"])


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


@pytest.fixture
def window(session: FakeSession) -> Iterator[LiveWindow]:
    window = LiveWindow(session, Theme.named("light"))
    window.show()
    QTest.qWaitForWindowExposed(window)
    yield window
    session.stop()
    until(lambda: not window.isVisible())
    window.deleteLater()
    assert window.failure is None


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it never happened"
        QTest.qWait(10)


def colour_at(widget: Any, x: int, y: int) -> str:
    image = widget.grab().toImage()
    ratio = image.devicePixelRatio()
    return image.pixelColor(int(x * ratio), int(y * ratio)).name()


def cards(window: LiveWindow) -> list[Any]:
    return list(window._cards.values())


def keep(window: LiveWindow, name: str) -> None:
    """Keep a picture for people to look at, where a folder for it is named."""
    folder = os.environ.get("FERTRACK_SCREENSHOTS")
    if folder:
        window.grab().save(str(Path(folder) / f"window-{name}.png"))


def test_the_picture_moves_and_the_numbers_change(window: LiveWindow) -> None:
    until(lambda: not window.picture.pixmap().isNull())
    first, numbers = window.picture.grab().toImage(), window.values["Display"].text()
    until(lambda: window.picture.grab().toImage() != first)
    until(lambda: window.values["Display"].text() != numbers)
    assert window.values["Budget"].text() == (
        "faces searched in 1 frame in 3 at 640 px, new estimates 10 times a second"
    )
    assert window.values["Latency, median · 95 % · 99 %"].text().endswith("· 120 · 150 ms")
    assert window.windowTitle() == "camera 0 – fertrack live"


def test_the_picture_keeps_its_colours_and_its_shape() -> None:
    view = ImageView()
    view.resize(400, 400)
    blue = np.zeros((90, 160, 3), np.uint8)
    blue[..., 0] = 255
    view.show_image(blue)
    assert colour_at(view, 200, 200) == "#0000ff"
    assert (view.pixmap().width(), view.pixmap().height()) == (400, 225)
    view.show()
    view.resize(800, 500)
    assert (view.pixmap().width(), view.pixmap().height()) == (800, 450)
    view.deleteLater()


def test_a_card_says_what_and_how_sure(window: LiveWindow, session: FakeSession) -> None:
    first, second = cards(window)
    assert first.name.text() == "P1"
    assert first.estimate.text().startswith("happiness · ")
    assert second.estimate.text() == "uncertain · nearest: sadness 31 %"
    described = first.chart.accessibleDescription()
    assert all(name in described for name in EXPRESSIONS)
    assert "Last 60 seconds: " in described
    session.labels = {2: "fear"}
    until(lambda: [card.name.text() for card in cards(window)] == ["P2"])
    session.labels = {}
    until(window.nobody.isVisible)


@pytest.mark.parametrize("name", ["light", "dark"])
def test_the_chart_is_drawn_in_the_colours_of_the_report(session: FakeSession, name: str) -> None:
    session.began_s -= 75
    session.names[1] = "Ana-María Fernández de la Vega y Something"
    session.labels = {1: "happiness", 2: "uncertain"}
    session.connect("reconnecting", attempt=2, message="no picture for 5 s")
    session.start_recording(Path("/home/somebody/a rather long folder name/live 2026-03-04 15-06-07.mp4"))
    theme = Theme.named(name)
    window = LiveWindow(session, theme)
    window.show()
    until(lambda: not window.picture.pixmap().isNull())
    keep(window, name)
    chart = cards(window)[0].chart
    row_px = chart.height() / 9
    happiness = EXPRESSIONS.index("happiness")
    lane = [colour_at(chart, chart.width() - 3, round((row + 1) * row_px - row_px * 0.3)) for row in range(8)]
    colours = palette.DARK if name == "dark" else palette.LIGHT
    assert lane[happiness] == colours["happiness"]
    assert lane.count(colours["happiness"]) == 1
    assert colour_at(chart, 5, round((happiness + 0.5) * row_px)) == colours["happiness"]
    assert colour_at(window, 3, 300) == theme.page["page"]
    session.stop()
    until(lambda: not window.isVisible())
    window.deleteLater()


def test_a_person_is_renamed_by_keyboard(window: LiveWindow, session: FakeSession) -> None:
    card = cards(window)[1]
    card.rename.setFocus()
    QTest.keyClick(card.rename, KEY.Key_Space)
    assert card.naming.isVisible()
    QTest.qWait(300)  # numbers keep coming; what is being typed stays
    QTest.keyClicks(card.naming, "quiet Quentin")  # q in a name is only a letter
    QTest.keyClick(card.naming, KEY.Key_Return)
    assert session.names[2] == "quiet Quentin"
    assert card.name.text() == "quiet Quentin"
    assert not card.naming.isVisible()
    assert session.stops == 0
    QTest.mouseClick(card.rename, Qt.MouseButton.LeftButton)
    QTest.keyClicks(card.naming, "nobody")
    QTest.keyClick(card.naming, KEY.Key_Escape)
    assert not card.naming.isVisible()
    assert session.names[2] == "quiet Quentin"


def test_a_refused_name_is_said(window: LiveWindow, session: FakeSession) -> None:
    card = cards(window)[0]
    del session.names[1]
    session.labels = {}
    card.rename.click()
    card.naming.setText("x")
    card.rename.click()  # now it says Save
    assert window.problem.text() == "nobody is person 1"
    assert window.problem.isVisible()
    assert card.naming.isVisible()


def test_recording_shows_where_and_says_why_not(window: LiveWindow, session: FakeSession) -> None:
    window.record.click()
    assert window.record.text() == "■ Stop recording"
    assert window.recording.text() == "Recording to /tmp/study/live <1>.mp4"
    window.record.click()
    until(lambda: window.record.isEnabled() and window.record.text() == "● Start recording")
    assert session.recording is None
    assert not window.recording.isVisible()
    session.refuse_recording = True
    window.record.click()
    assert window.problem.text() == "live.mp4 exists: move it away first"
    session.refuse_recording = False
    window.record.click()
    assert not window.problem.isVisible()


def test_the_window_goes_on_while_a_recording_is_completed(
    window: LiveWindow, session: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slowly() -> None:
        session.recording = None
        go_on.wait(60)
        raise VideoWriteError("the disk is full")

    monkeypatch.setattr(session, "stop_recording", slowly)
    window.record.click()
    began_s = time.monotonic()
    window.record.click()
    assert time.monotonic() - began_s < 30, "the window waited"
    assert not window.record.isEnabled(), "no second recording meanwhile"
    views = session.views
    until(lambda: session.views > views + 2)
    go_on.set()
    until(window.record.isEnabled)
    assert window.problem.text() == "the disk is full"


def test_a_lost_connection_is_said_until_it_is_back(window: LiveWindow, session: FakeSession) -> None:
    assert not window.banner.isVisible()
    session.connect("reconnecting", attempt=3, message="no picture for 5 s")
    until(lambda: window.banner.text() == "Reconnecting …, attempt 3: no picture for 5 s")
    session.connect("ended", attempt=0, message="")
    until(lambda: window.banner.text() == "The source has ended. Saving …")
    session.connect("connecting")
    until(lambda: window.banner.text() == "Connecting …")
    session.connect("live")
    until(lambda: not window.banner.isVisible())


def showing(session: FakeSession, *steps: Callable[[LiveWindow], object]) -> None:
    """``show`` a session, and do something with its window every 300 ms."""

    def begin() -> None:
        (window,) = (widget for widget in QApplication.topLevelWidgets() if isinstance(widget, LiveWindow))
        for number, step in enumerate(steps):
            QTimer.singleShot(300 * number, lambda step=step: step(window))

    QTimer.singleShot(300, begin)
    show(session)


def none_left() -> bool:
    return not [widget for widget in QApplication.topLevelWidgets() if widget.isVisible()]


def test_it_closes_when_the_session_has_ended() -> None:
    session = FakeSession(run_s=0.5)
    began_s = time.monotonic()
    show(session)
    assert time.monotonic() - began_s < 60
    assert none_left()


@pytest.mark.parametrize("way", ["button", "q", "closing"])
def test_every_way_to_end_waits_until_all_is_saved(way: str) -> None:
    session = FakeSession(closing_s=2.0)
    seen: list[tuple[bool, str]] = []
    ways: dict[str, Callable[[LiveWindow], object]] = {
        "button": lambda window: window.stop.click(),
        "q": lambda window: QTest.keyClick(window, KEY.Key_Q),
        "closing": lambda window: window.close(),
    }
    showing(session, ways[way], lambda window: seen.append((window.isVisible(), window.stop.text())))
    assert seen == [(True, "Stopping and saving …")]
    assert session.wait(0)
    assert none_left()


def test_ctrl_c_ends_the_session_and_is_passed_on() -> None:
    session = FakeSession(closing_s=0.2)
    with pytest.raises(KeyboardInterrupt):
        showing(session, lambda _: signal.raise_signal(signal.SIGINT))
    assert session.wait(0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_caller_keeps_its_own_ctrl_c() -> None:
    session = FakeSession()
    before = signal.signal(signal.SIGINT, lambda *_: session.stop())
    try:
        showing(session, lambda _: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert session.stops >= 1


def test_a_broken_window_is_an_error_and_no_loop_of_errors(session: FakeSession) -> None:
    session.picture = lambda number: np.zeros((0, 0, 3)) if number < 5 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        show(session)
    assert session.stops == 1
    assert none_left()


def test_only_the_main_thread_can_show_it(session: FakeSession) -> None:
    raised: list[Exception] = []

    def work() -> None:
        try:
            show(session)
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "main thread" in str(raised[0])


def test_without_the_extra_it_says_what_to_install(session: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PySide6.QtWidgets", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[gui\]"):
        show(session)


def test_without_a_screen_it_says_so(session: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QApplication, "instance", lambda: None)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="no screen"):
        show(session)
