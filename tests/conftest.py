"""Shared fixtures. Warnings are errors (pyproject), an ERROR log record or a leaked thread fails the test."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from fertrack.storage.engine import Database, open_database

# The same examples on every run: a red suite must mean a changed program.
settings.register_profile("fertrack", derandomize=True, deadline=None)
settings.load_profile("fertrack")

if threading.current_thread() is threading.main_thread():
    # A shell starts what runs in the background with Ctrl-C ignored, nohup with SIGHUP: programs that tests start
    # inherit it, and tests of these signals would wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Two files run at a time: PyTorch's threads, one for each core in both, would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_OTHERS_THREADS = {"tqdm_monitor"}
"""Of the progress bar that PyTorch's exporter shows: one for the whole process, ends with it."""

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real videos, pictures and weights kept beside the checkout; the test skips where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"real test material is not here: {folder}")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _as_wide_as_the_program_chooses() -> Iterator[None]:
    """Tables are not cut to a terminal whose width pytest passes on to the processes it starts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COLUMNS", "LINES"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True)
def _no_leaked_threads() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5.0
    while True:
        leaked = [
            thread
            for thread in threading.enumerate()
            if thread not in before and thread.is_alive() and thread.name not in _OTHERS_THREADS
        ]
        if not leaked:
            return
        if time.monotonic() > deadline:
            pytest.fail(f"threads still alive after the test: {[thread.name for thread in leaked]}")
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _no_error_logs(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    if request.node.get_closest_marker("expects_error_log"):
        return
    errors = [
        r.getMessage()
        for r in caplog.get_records("call")
        if r.levelno >= logging.ERROR and r.name.startswith("fertrack")
    ]
    if errors:
        pytest.fail(f"logged at ERROR: {errors}")


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """PyTorch on one thread: for networks this small its threads cost more than they bring, most of all when shared."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without rows, to be copied: making one takes longer than copying it."""
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    open_database(path, create=True).close()
    return path


@pytest.fixture
def db(tmp_path: Path, empty_database: Path) -> Iterator[Database]:
    """A database without rows, ``a.db`` in the test's folder."""
    shutil.copy(empty_database, tmp_path / "a.db")
    with open_database(tmp_path / "a.db") as database:
        yield database
