"""``python -m fertrack`` is the same as ``fertrack``, and both begin here: the program itself is loaded in ``main``."""

import os
import signal
import threading

__all__ = ["main"]


def main() -> None:
    """Entry point of the installed ``fertrack`` command: load the program, then run it."""
    # Nothing has begun that would have to be completed, and an exception raised amid imports can get lost in them.
    is_ours = threading.current_thread() is threading.main_thread()
    is_ours = is_ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_ours:
        signal.signal(signal.SIGINT, _leave)
    try:
        from fertrack.cli.main import main as run
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _leave(_signum: int, _frame: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
