"""The desktop application: open a video, watch the analysis, play, read and correct a stored run.

It analyses nothing itself: ``process_planned`` runs in a worker thread with one sink more, and all answers come from
``storage``, asked for in another.

Reading order::

    main_window    the main window: what is open, menus, what follows what
    sidebar        open, analyse, recent runs, settings of labels
    stage          image, transport and seek bar of a run
    player         thread that reads and draws the images of a stored run
    analysis       thread that analyses a video
    run_view       a stored run as the window shows it
    jobs           questions to the database, off the interface thread
    lanes          lanes of the persons over time
    person_panel   persons and what can be done with them
    probabilities  numbers of everybody in the image
    run_actions    labels, reports and exports, as jobs
    menus          everything the window can do, with shortcuts
    event_log      what happened, when
    layout         the parts, where they are, and their colours
    statement      first page: what is estimated; purpose and consent
"""

from __future__ import annotations

from pathlib import Path

from fertrack.config import Settings

__all__ = ["run_application"]


def run_application(database: str, out: Path, settings: Settings, video: str = "") -> int:
    """Show the main window until it is closed; runs in the calling thread, which must be the main one.

    Args:
        database: path or URL of the database that runs are stored in.
        out: folder of new outputs.
        settings: of new analyses.
        video: opened at once if given; of a stored video, its newest run.

    Returns:
        Exit code.

    Raises:
        MissingExtraError: the extra ``[gui]`` is not installed.
        ConfigError: a library of the system that Qt needs is missing, or there is no screen.
    """
    from fertrack.gui import check_ready

    check_ready()
    from PySide6.QtWidgets import QApplication

    from fertrack.gui.desktop.main_window import DesktopWindow

    application = QApplication.instance() or QApplication(["fertrack"])
    window = DesktopWindow(database, out, settings)
    window.show()
    if video:
        window.open_video(video)
    code = application.exec()
    window.deleteLater()
    application.processEvents()
    return code
