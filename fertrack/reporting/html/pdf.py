"""A report as PDF, printed by a Chromium that is installed anyway; nothing is loaded from the network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from fertrack.errors import ReportError, reason_of
from fertrack.files import check_free

__all__ = ["find_chromium", "print_pdf"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
_LONGEST_S = 180.0
_DRAWING_MS = 60_000


def find_chromium() -> str | None:
    """Path of a Chromium, Chrome or Edge; None where none is installed."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    return found or next((place for place in _PLACES if Path(place).is_file()), None)


def print_pdf(page: Path, pdf: Path, *, overwrite: bool = False) -> Path:
    """Print a report.

    Args:
        page: the HTML file.
        pdf: the file to write.
        overwrite: replace it if it is there.

    Returns:
        ``pdf``.

    Raises:
        OutputExistsError: it is there already.
        ReportError: no browser is installed, or it could not print.
    """
    check_free(pdf, overwrite=overwrite)
    browser = find_chromium()
    if browser is None:
        raise ReportError(f"no Chromium, Chrome or Edge was found to print with: open {page} and print it from there")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "report.pdf"
        command = [
            *(browser, "--headless", "--disable-gpu", f"--user-data-dir={folder}/profile", "--no-pdf-header-footer"),
            *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
            f"--virtual-time-budget={_DRAWING_MS}",  # until the charts are drawn
            f"--print-to-pdf={made}",
            page.absolute().as_uri(),
        ]
        try:
            subprocess.run(command, capture_output=True, timeout=_LONGEST_S, check=True)
            shutil.move(made, pdf)
        except (OSError, subprocess.SubprocessError) as error:
            raise ReportError(f"{browser} could not print {page} ({reason_of(error)}): print it from there") from error
    return pdf
