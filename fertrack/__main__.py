"""``python -m fertrack`` is the same as ``fertrack``, and both begin here: the program itself is loaded in ``main``."""

import os
import signal
import sys
import threading

__all__ = ["main"]


def main() -> None:
    """Entry point of the installed ``fertrack`` command: load the program, then run it."""
    _open_what_is_closed()
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


def _open_what_is_closed() -> None:
    """Give a program that was started without stdin, stdout or stderr one that leads nowhere.

    Else the first file it opens, such as the database, would be taken for the missing one and be written to.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # as long as we run


def _leave(_signum: int, _frame: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
