"""``fertrack live``: its options, its ways to end, and what it prints."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import av
import pytest

from fertrack.cli.live import _ending_by_signals, _start, parse_duration_s
from fertrack.cli.main import run
from fertrack.errors import install_hint
from fertrack.storage.engine import open_database
from tests.support import queries
from tests.support.video_factory import make_video

QUIET = ["--set", "linking.method=off", "--purpose", "test"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Eight seconds without faces."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    make_video(path, 200, 25, (320, 240))
    return str(path)


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10.0), ("10s", 10.0), ("5m", 300.0), ("1h30m", 5400.0), ("1.5m", 90.0), (" 2 S ", 2.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3s", "0", "5x", "s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration_s(text)


def test_a_file_in_real_time(clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = tmp_path / "shown.mp4"
    arguments = ["live", clip, "--realtime", "--duration", "1.5s", "-o", str(tmp_path), "--record", str(shown)]
    assert run([*arguments, *QUIET, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["status"], summary["run"], summary["recordings"]) == ("complete", 1, [str(shown)])
    assert summary["duration_s"] == pytest.approx(1.5, abs=1.5)
    assert frames_in(shown) > 5
    assert (tmp_path / "fertrack.db").exists()
    assert run([*arguments, *QUIET]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (
        run([*arguments, "--set", "linking.method=off", "--overwrite", "--no-store", "--set", "live.fixed=true"]) == 0
    )
    printed = capsys.readouterr()
    assert "not stored (complete)" in printed.out
    assert "p50" in printed.out
    assert str(shown) in printed.out


def test_a_run_without_a_purpose_says_so(clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["live", clip, "--realtime", "--duration", "0.5s", "-o", str(tmp_path), "--set", "linking.method=off"]
    assert run(arguments) == 0
    assert "purpose" in capsys.readouterr().err
    assert run([*arguments, "--set", "privacy.require_purpose=true"]) == 1
    assert "--purpose" in capsys.readouterr().err
    assert run([*arguments, "--purpose", "mood of staff at the workplace"]) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--web", "--window"], 2, "one of"),
        (["--duration", "soon"], 2, "is no duration"),
        (["--duration", ""], 2, "is no duration"),
        (["--web", "--set", "live.port=70000"], 2, "live.port"),
        (["/no/such/clip.mp4", "--realtime"], 1, "clip.mp4"),
        (["rtsp://user:secret@127.0.0.1:1/x"], 1, "127.0.0.1"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["live", *arguments, "-o", str(tmp_path), *QUIET]) == code
    error = capsys.readouterr().err
    assert said in " ".join(error.split())
    assert "secret" not in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("flag", "module", "extra"), [("--web", "fertrack.web", "web"), ("--window", "fertrack.gui", "gui")]
)
def test_a_missing_extra_is_named(
    flag: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert run(["live", flag, *QUIET]) == 1
    assert install_hint(extra) in capsys.readouterr().err


def test_a_port_that_is_taken_leaves_no_run(clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert (
            run(["live", clip, "--realtime", "--web", "--set", f"live.port={port}", "-o", str(tmp_path), *QUIET]) == 1
        )
    assert f"port {port} of 127.0.0.1 is in use" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("flag", "module"), [("--web", "uvicorn"), ("--window", "PySide6")])
def test_a_missing_package_leaves_no_run(
    flag: str,
    module: str,
    clip: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == module or each == "fertrack.web.server"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    assert run(["live", clip, "--realtime", flag, "-o", str(tmp_path), *QUIET]) == 1
    assert "pip install" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["fertrack.cli.main", "fertrack.live.session"])
def test_ctrl_c_while_the_program_is_loaded_is_not_lost(module: str, tmp_path: Path) -> None:
    """Where the import swallows what is raised in it, as some do."""
    code = f"""
import builtins, signal, sys
load, done = builtins.__import__, []
def press(name, *rest):
    if name == {module!r} and not done:
        done.append(name)
        try:
            signal.raise_signal(signal.SIGINT)
        except BaseException:
            pass
        print("went on")
    return load(name, *rest)
builtins.__import__ = press
sys.argv = ["fertrack", "live", "/no/such.mp4", "--realtime", "-o", {str(tmp_path)!r}]
from fertrack.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


class TestEnding:
    """In a process of its own, as a person would."""

    @staticmethod
    def start(clip: str, out: Path, *more: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "fertrack", "live", clip, "--realtime", "-o", str(out), *QUIET, *more]
        ignored = hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        if ignored:  # the tests run under nohup; what they start is not to
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        finally:
            if ignored:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

    @staticmethod
    def await_rows(out: Path) -> None:
        """Wait until a few frames are stored."""
        deadline_s = time.monotonic() + 200.0  # a busy machine takes long to start
        while time.monotonic() < deadline_s:
            time.sleep(0.05)
            if not (out / "shown.part.mp4").exists():
                continue
            with closing(sqlite3.connect(out / "fertrack.db", timeout=30.0)) as raw:
                stored = raw.execute("SELECT frames FROM runs").fetchone()
            if stored and stored[0] > 2:
                return
        pytest.fail("no rows are stored")

    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
    def test_a_signal_completes_the_run(self, clip: str, tmp_path: Path, name: str) -> None:
        """Ctrl-C; a service that is stopped; a terminal that is closed."""
        if not hasattr(signal, name):
            pytest.skip("POSIX's")
        shown = tmp_path / "shown.mp4"
        process = self.start(clip, tmp_path, "--record", str(shown), "--json")
        self.await_rows(tmp_path)
        process.send_signal(getattr(signal, name))
        printed, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        assert json.loads(printed)["status"] == "complete"
        assert frames_in(shown) > 3

    @pytest.mark.skipif(os.name != "posix", reason="terminals are POSIX's")
    def test_q_and_enter_complete_the_run(self, clip: str, tmp_path: Path) -> None:
        import pty

        ours, theirs = pty.openpty()
        try:
            process = self.start(clip, tmp_path, "--record", str(tmp_path / "shown.mp4"), "--json", stdin=theirs)
            self.await_rows(tmp_path)
            os.write(ours, b"q\n")
            printed, errors = process.communicate(timeout=200)
        finally:
            os.close(ours)
            os.close(theirs)
        assert process.returncode == 0, errors
        summary = json.loads(printed)
        assert summary["status"] == "complete"
        assert summary["duration_s"] < 7.9, "before the clip's end"

    def test_a_run_that_is_killed_keeps_what_is_stored(self, clip: str, tmp_path: Path) -> None:
        process = self.start(clip, tmp_path, "--record", str(tmp_path / "shown.mp4"), "--set", "storage.flush_s=0.1")
        self.await_rows(tmp_path)
        process.kill()
        process.communicate(timeout=200)
        assert run(["db", "check", "--db", str(tmp_path / "fertrack.db")]) == 0
        with open_database(tmp_path / "fertrack.db") as database:
            facts = queries.run_facts(database, "last")
            assert (facts.status, facts.summary.frames > 2) == ("crashed", True)


def test_the_first_ctrl_c_asks_and_the_second_ends_the_program(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Asked:
        times = 0

        def stop(self) -> None:
            self.times += 1

    def leave(code: int) -> None:
        raise SystemExit(code)

    session = Asked()
    monkeypatch.setattr(os, "_exit", leave)
    before = signal.getsignal(signal.SIGINT)
    with _ending_by_signals(session) as stopped:  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGINT)
        assert (stopped.is_set(), session.times) == (True, 1)
        with pytest.raises(SystemExit, match="130"):
            signal.raise_signal(signal.SIGINT)
    assert "is kept" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


class _Opening:
    """A session whose start waits for its source with a lock that ``stop`` needs too, as an event has."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stopped = False

    def start(self) -> None:
        with self.lock:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.3)

    def stop(self) -> None:
        self.stopped = self.lock.acquire(timeout=5.0)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="POSIX's")
def test_asked_twice_to_end_is_no_hurry() -> None:
    """A service manager sends both; only a person who presses Ctrl-C again wants it at once."""

    class Asked:
        times = 0

        def stop(self) -> None:
            self.times += 1

    session = Asked()
    with _ending_by_signals(session) as stopped:  # type: ignore[arg-type]  # only stop is called
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        assert (stopped.is_set(), session.times) == (True, 1)
    ignoring = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _ending_by_signals(session):  # type: ignore[arg-type]
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, "nohup"
    finally:
        signal.signal(signal.SIGHUP, ignoring)


def test_ctrl_c_while_the_source_is_opened_cannot_block_itself() -> None:
    session = _Opening()
    with _ending_by_signals(session) as stopped:  # type: ignore[arg-type]  # only these two are called
        _start(session, stopped)  # type: ignore[arg-type]
    assert session.stopped


@pytest.mark.shared
def test_real_people_in_real_time(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = shared_data / "video" / "composite_5faces.mp4"
    assert run(["live", str(clip), "--realtime", "--duration", "5s", "-o", str(tmp_path), *QUIET, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["displayed"] > summary["analysed"] / 2 > 0
    assert summary["faces"] >= 2, "there are three people in it from the start"
    assert summary["latency_ms"]["p50"] > 0.0
