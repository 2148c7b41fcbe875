"""A PostgreSQL server of our own, started from the installed binaries and thrown away afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_USERS = ("postgres", "nobody")


def binaries() -> Path | None:
    """Folder of initdb and pg_ctl; None where PostgreSQL is not installed."""
    for found in [shutil.which("initdb"), *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")))[::-1]]:
        if found and (Path(found).resolve().parent / "pg_ctl").exists():
            return Path(found).resolve().parent
    return None


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """Start a server that only a socket in a temporary folder leads to; yields the URL's query part.

    Skips the test where there are no binaries, no driver, or no user that may run a server.
    """
    pytest.importorskip("psycopg", reason="the PostgreSQL driver is not installed: pip install 'fertrack[postgres]'")
    where = binaries()
    if where is None:
        pytest.skip("PostgreSQL is not installed here: no initdb in PATH or /usr/lib/postgresql")
    user = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="fertrack-pg-"))  # short: a socket's path has at most 107 characters
    if user:
        shutil.chown(folder, user)
    settings = f"-k {folder} -c listen_addresses='' -c fsync=off -c timezone=Asia/Tokyo"
    control = [str(where / "pg_ctl"), "-D", f"{folder}/data", "-w", "-t", "60"]
    try:
        _run(
            user,
            [
                str(where / "initdb"),
                "-D",
                f"{folder}/data",
                "-U",
                "fertrack",
                "-A",
                "trust",
                "--no-sync",
                "-E",
                "UTF8",
                "--locale=C",
            ],
        )
        _run(user, [*control, "-l", f"{folder}/log", "-o", settings, "start"])
        try:
            yield f"host={folder}&user=fertrack"
        finally:
            _run(user, [*control, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> str:
    """Whom to run the server as: ourselves, or somebody else where we are root, whom PostgreSQL refuses."""
    if os.geteuid() != 0:
        return ""
    for name in _USERS:
        with contextlib.suppress(KeyError):
            pwd.getpwnam(name)
            if shutil.which("setpriv"):
                return name
    pytest.skip("PostgreSQL refuses to be run by root, and there is no other user to run it")


def _run(user: str, command: list[str]) -> None:
    if user:
        command = ["setpriv", f"--reuid={user}", "--clear-groups", "--", *command]
    # To a file, not a pipe: the server keeps its parent's output open.
    with tempfile.TemporaryFile("w+") as output:
        finished = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, check=False, cwd="/", env={**os.environ, "LC_ALL": "C"}
        )
        output.seek(0)
        assert finished.returncode == 0, f"{command}: {output.read()}"
