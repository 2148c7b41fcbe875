"""Windows of Qt: the desktop application, and the window of a live session. They show and ask; they analyse nothing.

Needs the extra ``[gui]`` (Qt 6).

Reading order::

    desktop/  the desktop application
    window   the window of a live session, and its timer
    card     card of one person
    chart    probabilities and the last minute
    figures  numbers in words
    theme    colours as Qt takes them
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

from fertrack.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from fertrack.live.session import LiveSession

__all__ = ["check_ready", "show"]


def check_ready() -> None:
    """Check that a window can be shown, before a session is started for it.

    Raises:
        MissingExtraError: the extra ``[gui]`` is not installed.
        ConfigError: a library of the system that Qt needs is missing, or there is no screen.
    """
    try:
        from PySide6.QtWidgets import QApplication
    except ModuleNotFoundError as error:
        raise MissingExtraError("the window needs Qt", "gui") from error
    except ImportError as error:
        raise ConfigError(f"Qt cannot be loaded ({error}): install that library, or use --web") from error
    if QApplication.instance() is None and not _has_screen():
        raise ConfigError("there is no screen to show a window on: use --web or --headless")


def show(session: LiveSession) -> None:
    """Show a running live session in a window until it ends; runs in the calling thread, which must be the main one.

    The session ends by the window's button, by ``q``, by closing the window, by Ctrl-C, or by itself. While it saves,
    the window says so; then the window closes.

    Args:
        session: a started session.

    Raises:
        MissingExtraError: the extra ``[gui]`` is not installed.
        ConfigError: a library of the system that Qt needs is missing, or there is no screen.
        RuntimeError: not called from the main thread.
        KeyboardInterrupt: Ctrl-C was pressed, and the caller handles it no other way; the session has ended.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("a window can only be shown from the main thread")
    check_ready()
    from PySide6.QtCore import QEventLoop
    from PySide6.QtWidgets import QApplication

    from fertrack.gui.window import LiveWindow

    # Kept until the end: Qt takes an application that Python no longer holds down with it.
    application = QApplication.instance() or QApplication(["fertrack"])
    window = LiveWindow(session)
    loop = QEventLoop()  # of its own: the program may be a Qt program that goes on afterwards
    window.left.connect(loop.quit)
    interrupted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        window.stop_session()

    # A caller with a Ctrl-C of its own keeps it; Python's own would only break one of the window's timers.
    takes_over = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if takes_over:
        signal.signal(signal.SIGINT, note)
    try:
        window.show()
        loop.exec()
    finally:
        session.stop()
        window.deleteLater()
        application.processEvents()
        if takes_over:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if window.failure is not None:
        raise window.failure
    if interrupted:
        raise KeyboardInterrupt


def _has_screen() -> bool:
    """Whether Qt would find a screen; without one it ends the whole program."""
    if not sys.platform.startswith("linux"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))
