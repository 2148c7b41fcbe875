"""``python -m fertrack.gui [VIDEO]``: the desktop application with default settings; see ``fertrack gui``."""

from __future__ import annotations

import sys
from pathlib import Path

from fertrack.config import load_settings
from fertrack.errors import FertrackError
from fertrack.gui.desktop import run_application


def main(arguments: list[str]) -> int:
    """Run the application; gives the exit code."""
    out = Path("fertrack-out")
    try:
        return run_application(str(out / "fertrack.db"), out, load_settings(), arguments[0] if arguments else "")
    except FertrackError:
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
