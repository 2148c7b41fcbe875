"""The live page over HTTP: who gets in, what is sent to whom, and that nothing is left when the session ends."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import httpx
import numpy as np
import psutil
import pytest

from fertrack.errors import ConfigError, MissingExtraError
from fertrack.imaging import palette
from fertrack.live import LiveSession
from fertrack.live.options import LiveOptions
from fertrack.rights.purpose import NOTICE
from fertrack.types import EXPRESSIONS
from fertrack.web import images, serve
from fertrack.web.numbers import numbers
from tests.support.live_page import Served, serving
from tests.support.live_scenes import SETTINGS, LiveScene, live_pipeline
from tests.support.live_session_fake import SUMMARY, FakeSession
from tests.support.paths import REPOSITORY

GETS = ("/", "/static/main.js", "/static/palette.css", "/notice", "/picture", "/numbers")
POSTS = ("/stop", "/recording/start", "/recording/stop", "/rename")


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


def events(
    client: httpx.Client, most: int = 1000, found: list[tuple[str, dict]] | None = None
) -> list[tuple[str, dict]]:
    """What the stream of numbers says, until it ends; also as it comes, in ``found``."""
    found = [] if found is None else found
    with client.stream("GET", "/numbers") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in response.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((name, json.loads(line.removeprefix("data: "))))
                if len(found) == most:
                    break
    return found


def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it does not happen"
        time.sleep(0.02)


def sockets_of_this_process() -> Counter[str]:
    connections = psutil.Process().net_connections("tcp")
    return Counter(connection.status for connection in connections if connection.status != psutil.CONN_TIME_WAIT)


@pytest.mark.parametrize("name", ["view", "state", "wait", "stop", "start_recording", "stop_recording", "rename"])
def test_the_session_of_these_tests_is_asked_as_the_real_one(name: str) -> None:
    real, fake = (inspect.signature(getattr(kind, name)).parameters for kind in (LiveSession, FakeSession))
    assert [(p.name, p.default) for p in real.values()] == [(p.name, p.default) for p in fake.values()]


def test_a_real_session_on_the_page(tmp_path: Path) -> None:
    session = LiveSession(SETTINGS, options=LiveOptions(out=tmp_path), source=LiveScene(), pipeline=live_pipeline())
    heard: list[tuple[str, dict]] = []
    with ThreadPoolExecutor(1) as listener, session, serving(session) as page, page.let_in() as browser:
        listening = listener.submit(events, browser, found=heard)
        until(lambda: len(session.state().persons) >= 2)
        until(lambda: browser.get("/picture").status_code == 200)
        assert browser.post("/rename", json={"person": 1, "name": "Ana"}).status_code == 200
        recorded = Path(browser.post("/recording/start").json()["recording"])
        until(lambda: session.state().display_fps > 5)
        browser.post("/recording/stop")
        until(lambda: heard[-1][1]["persons"][0]["name"] == "Ana")
        assert browser.post("/stop").status_code == 200
        listening.result(timeout=60)
    persons = heard[-2][1]["persons"]
    assert [person["name"] for person in persons][:2] == ["Ana", "P2"]
    assert {person["label"] for person in persons} <= {"happiness", "sadness", "uncertain"}
    name, said = heard[-1]
    assert (name, said["error"], said["finished"]) == ("ended", "", True)
    assert said["database"].endswith("fertrack.db")
    assert said["recordings"] == [str(recorded)]
    assert recorded.stat().st_size > 0


# Who gets in.


def test_without_the_cookie_nothing_is_answered(session: FakeSession) -> None:
    with serving(session) as page, httpx.Client(base_url=page.base, headers={"Origin": page.base}) as stranger:
        for path in GETS:
            assert stranger.get(path).status_code == 403, path
        for path in POSTS:
            assert stranger.post(path, json={}).status_code == 403, path
        assert stranger.get("/?token=guessed").status_code == 403
        assert stranger.get("/", headers={"Cookie": f"fertrack_{page.port}=guessed"}).status_code == 403
        assert "printed" in stranger.get("/").text
    assert session.stops == 1  # ours, at the end; never the stranger's
    assert session.recording is None


def test_the_address_works_once(session: FakeSession) -> None:
    with serving(session) as page, page.let_in() as browser:
        assert browser.get("/").status_code == 200
        assert browser.get(page.url).status_code == 200  # the browser that has the cookie may come back
        with httpx.Client() as second:
            assert second.get(page.url).status_code == 403
            assert second.cookies == {}


def test_looking_at_the_headers_does_not_use_the_address_up(session: FakeSession) -> None:
    with serving(session) as page:
        assert httpx.head(page.url).status_code == 403
        assert httpx.get(page.url).status_code == 200


def test_the_cookie_is_for_this_browser_and_this_page_only(session: FakeSession) -> None:
    with serving(session) as page, httpx.Client() as browser:
        entry = browser.get(page.url)
        cookie = entry.headers["set-cookie"]
        assert cookie.startswith(f"fertrack_{page.port}=")
        assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
        token = page.url.rsplit("=", maxsplit=1)[1]
        assert token not in cookie
        assert token not in entry.text


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "", "127.0.0.1.evil.example"]
)
def test_a_name_that_was_made_to_point_here_is_refused(session: FakeSession, host: str) -> None:
    with serving(session) as page, page.let_in() as browser:
        for path in GETS:
            assert browser.get(path, headers={"Host": host}).status_code == 421
        assert httpx.get(page.url, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:1", "https://127.0.0.1"])
def test_posts_of_other_pages_are_refused(session: FakeSession, origin: str | None) -> None:
    with serving(session) as page, page.let_in() as browser:
        del browser.headers["Origin"]
        for path in POSTS:
            answer = browser.post(path, json={}, headers={} if origin is None else {"Origin": origin})
            assert answer.status_code == 403, path
        assert session.stops == 0


def test_every_answer_forbids_what_the_page_does_not_need(session: FakeSession) -> None:
    with serving(session) as page, page.let_in() as browser:
        answers = [browser.get(path) for path in ("/", "/static/page.css", "/picture", "/nowhere")]
        answers += [browser.post("/rename", json={}), httpx.get(page.base)]
        for answer in answers:
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "unsafe" not in policy
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cache-control"] == "no-store"
            assert "server" not in answer.headers


def test_the_page_names_no_other_machine_and_has_nothing_inline() -> None:
    folder = Path(images.__file__).parent / "static"
    for file in folder.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search('[a-z]*:?//[^ "]', text), file.name
        assert " style=" not in text, file.name
        assert "<style" not in text, file.name
        assert "innerHTML" not in text, file.name  # names are text, never markup


def test_only_this_machine_is_served(session: FakeSession) -> None:
    for host in ("0.0.0.0", "192.168.1.2", "::", "example.org", ""):
        with pytest.raises(ValueError, match="this machine only"):
            serve(session, host=host, on_ready=print)
    with serving(session) as page:
        listening = [c.laddr.ip for c in psutil.Process().net_connections("tcp") if c.laddr.port == page.port]
        assert set(listening) == {"127.0.0.1"}


# What is sent.


def test_the_page_its_colours_and_the_notice(session: FakeSession) -> None:
    with serving(session) as page, page.let_in() as browser:
        assert "Expression estimation is on" in browser.get("/").text
        css = browser.get("/static/palette.css")
        assert css.headers["content-type"].startswith("text/css")
        for name in EXPRESSIONS:
            assert f"--x-{name}: {palette.LIGHT[name]};" in css.text
            assert f"--x-{name}: {palette.DARK[name]};" in css.text
        assert browser.get("/notice").text == NOTICE
        assert browser.get("/static/main.js").headers["content-type"].startswith("text/javascript")
        for path in ("/static/nothing.js", "/static/..%2Fserver.py", "/static/", "/docs"):
            assert browser.get(path).status_code == 404, path
        assert browser.get("/stop").status_code == 405


def test_pictures_are_the_newest_and_only_sent_when_new(session: FakeSession) -> None:
    with serving(session) as page, page.let_in() as browser:
        first = browser.get("/picture?after=-1")
        assert first.headers["content-type"] == "image/jpeg"
        number = int(first.headers["x-picture"])
        image = cv2.imdecode(np.frombuffer(first.content, np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (*session.shape, 3)
        time.sleep(0.5)  # a slow browser: the pictures in between are not kept for it
        second = int(browser.get(f"/picture?after={number}").headers["x-picture"])
        assert second >= number + 10
        session.fps = 0.0001  # the camera stands still
        began_s = time.monotonic()
        assert browser.get("/picture?after=100000").status_code == 204
        assert time.monotonic() - began_s < 20
        assert browser.get("/picture?after=x").status_code == 400
        assert browser.get(f"/picture?after={'1' * 4400}").status_code == 400


def test_a_picture_is_encoded_once_for_all_and_only_while_somebody_watches(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    encode = images.jpeg
    monkeypatch.setattr(images, "jpeg", lambda image: encoded.append(1) or encode(image))
    with ThreadPoolExecutor(4) as browsers, serving(session) as page, page.let_in() as browser:
        events(browser, most=2)
        assert not encoded  # numbers alone cost no picture

        def watch(_: int) -> list[int]:
            numbers = [-1]
            with httpx.Client(base_url=page.base, cookies=browser.cookies) as watcher:
                while len(numbers) < 13:
                    answer = watcher.get(f"/picture?after={numbers[-1]}")
                    if answer.status_code == 200:
                        numbers.append(int(answer.headers["x-picture"]))
            return numbers[1:]

        seen = list(browsers.map(watch, range(4)))
        watched = set(itertools.chain.from_iterable(seen))
        assert all(numbers == sorted(set(numbers)) for numbers in seen)
        assert len(encoded) == len(watched) < sum(map(len, seen))
        at_rest = len(encoded)
        time.sleep(0.3)
        assert len(encoded) == at_rest


def test_a_large_picture_is_scaled_down() -> None:
    small = cv2.imdecode(np.frombuffer(images.jpeg(np.zeros((1080, 1920, 3), np.uint8)), np.uint8), 1)
    assert small.shape == (720, 1280, 3)
    kept = cv2.imdecode(np.frombuffer(images.jpeg(np.zeros((720, 1280, 3), np.uint8)), np.uint8), 1)
    assert kept.shape == (720, 1280, 3)


def test_a_browser_that_stops_reading_holds_nobody_up(session: FakeSession) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (900, 1200, 3), np.uint8)
    session.picture = lambda _: noise
    before = sockets_of_this_process()
    with serving(session) as page, page.let_in() as browser:
        stuck = socket.create_connection(("127.0.0.1", page.port))
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        request = f"GET /picture HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nCookie: {cookie}\r\n\r\n"
        stuck.sendall(request.encode() * 20)
        time.sleep(0.3)
        assert browser.get("/picture").status_code == 200
        assert [name for name, _ in events(browser, most=2)] == ["numbers", "numbers"]
        took_s = page.end()
        stuck.close()
    assert took_s < 30  # about 1.5 s: whoever does not read is cut off after a second; this machine may be busy
    assert sockets_of_this_process() == before


def test_slow_connections_are_cut_off(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Half-open ones, and one whose request is never sent to its end: the page goes on, and nothing is printed."""
    monkeypatch.setattr("fertrack.web.server.PATIENCE_S", 0.2)
    with serving(session) as page, page.let_in() as browser:
        slow = [socket.create_connection(("127.0.0.1", page.port), timeout=10) for _ in range(3)]
        slow[0].sendall(b"GET / HT")
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        origin = f"http://127.0.0.1:{page.port}"
        head = f"POST /rename HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nCookie: {cookie}\r\nOrigin: {origin}\r\n"
        slow[1].sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert all(each.recv(1) == b"" or index == 1 for index, each in enumerate(slow))
        gone = socket.create_connection(("127.0.0.1", page.port))
        gone.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        gone.close()
        assert [name for name, _ in events(browser, most=4)] == ["numbers"] * 4  # a stream is not slow
        assert browser.get("/picture").status_code in (200, 204)
        for each in slow:
            each.close()
    assert [record.message for record in caplog.records] == []


def test_numbers_change_and_are_what_the_session_says(session: FakeSession) -> None:
    session.names[1] = "Žofia </script>"
    with serving(session) as page, page.let_in() as browser:
        said = [payload for _, payload in events(browser, most=3)]
    assert len({payload["display_fps"] for payload in said}) == 3
    last = said[-1]
    assert last["source"] == "camera 0"
    assert last["status"]["state"] == "live"
    assert last["budget"] == {"detect_every": 3, "long_side": 640, "classify_hz": 10.0, "fixed": False}
    first, second = last["persons"]
    assert first["name"] == "Žofia </script>"
    assert tuple(first["probabilities"]) == EXPRESSIONS
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=0.01)
    assert (first["certain"], second["certain"]) == (True, False)
    assert first["strip"]["labels"][-1] == EXPRESSIONS.index("happiness")
    assert second["strip"]["labels"][-1] == -1


def test_numbers_without_a_value_are_left_out_of_the_json(session: FakeSession) -> None:
    state = replace(session.state(), display_fps=float("nan"), results_hz=float("inf"))
    said = numbers(state)
    assert (said["display_fps"], said["results_hz"]) == (None, None)
    json.dumps(said, allow_nan=False)


# What the buttons do.


def test_recording_is_started_and_stopped(session: FakeSession) -> None:
    with serving(session) as page, page.let_in() as browser:
        assert browser.post("/recording/start").json() == {"recording": "/tmp/study/live <1>.mp4"}
        assert events(browser, most=1)[0][1]["recording"] == "/tmp/study/live <1>.mp4"
        assert browser.post("/recording/stop").status_code == 200
        assert events(browser, most=1)[0][1]["recording"] is None
        session.refuse_recording = True
        refused = browser.post("/recording/start")
        assert (refused.status_code, refused.json()) == (409, {"error": "live.mp4 exists: move it away first"})


def test_the_browser_does_not_say_where_to_record(session: FakeSession) -> None:
    with serving(session) as page, page.let_in() as browser:
        browser.post("/recording/start", json={"path": "/etc/passwd"})
        assert session.recording == "/tmp/study/live <1>.mp4"


def test_a_person_is_renamed(session: FakeSession) -> None:
    with serving(session) as page, page.let_in() as browser:
        assert browser.post("/rename", json={"person": 2, "name": "  李 \n  Ana "}).status_code == 200
        assert session.names == {1: "P1", 2: "李 Ana"}
        assert events(browser, most=1)[0][1]["persons"][1]["name"] == "李 Ana"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"person": 9, "name": "x"}', 400),
        (b'{"person": 1, "name": " "}', 400),
        (b'{"person": 1, "name": "%s"}' % (b"x" * 101), 400),
        (b'{"person": 1, "name": "a\\u001b[2J"}', 400),
        (b'{"person": 1, "name": "a\\ud800"}', 400),
        (b'{"person": 1, "name": "a\\u202eb"}', 400),
        (b'{"person": 1, "name": "P%s"}' % (b"1" * 4000), 400),
        (b"[" * 4000, 400),
        (b'{"person": true, "name": "x"}', 400),
        (b'{"person": "1", "name": "x"}', 400),
        (b'{"name": "x"}', 400),
        (b"[1]", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"person": 1, "name": "%s"}' % (b"x" * 5000), 413),
    ],
)
def test_a_wrong_rename_is_a_sentence_and_changes_nothing(session: FakeSession, body: bytes, status: int) -> None:
    with serving(session) as page, page.let_in() as browser:
        answer = browser.post("/rename", content=body)
        assert answer.status_code == status
        assert answer.json()["error"]
        assert session.names == {1: "P1", 2: "P2"}


# How it ends.


def test_the_stop_button_ends_everything_and_the_page_is_told_what_was_saved(session: FakeSession) -> None:
    session.closing_s = 0.3
    heard: list[tuple[str, dict]] = []
    with ThreadPoolExecutor(1) as listener, serving(session) as page, page.let_in() as browser:
        listening = listener.submit(events, browser, found=heard)
        until(lambda: heard)
        assert browser.post("/stop").status_code == 200
        *_, (name, said) = listening.result(timeout=60)
        page.thread.join(60)
        assert not page.thread.is_alive()
    assert name == "ended"
    assert said["finished"] is True
    assert said["error"] == ""
    assert (said["run"], said["database"]) == (7, SUMMARY.database)
    assert said["recordings"] == list(SUMMARY.recordings)


@pytest.mark.parametrize("watchers", [0, 3])
def test_it_ends_with_the_session_and_leaves_nothing_open(watchers: int) -> None:
    before = sockets_of_this_process()
    session = FakeSession()
    heard: list[list[tuple[str, dict]]] = [[] for _ in range(watchers)]
    with ThreadPoolExecutor(4) as pool, serving(session) as page, page.let_in() as browser:
        listening = [pool.submit(events, browser, found=each) for each in heard]
        pending = pool.submit(browser.get, "/picture?after=99999") if watchers else None
        until(lambda: all(heard) and (session.waiting or not watchers))
        took_s = page.end()
        assert all(result.result(60)[-1][0] == "ended" for result in listening)
        if pending is not None:
            assert pending.result(60).status_code == 204
        with pytest.raises(httpx.ConnectError):
            httpx.get(page.base)
    assert took_s < 30  # about 0.3 s; this machine may be busy
    assert sockets_of_this_process() == before


def test_a_failed_session_says_why() -> None:
    failed = replace(SUMMARY, status="failed", run=None, error="the camera went away")
    heard: list[tuple[str, dict]] = []
    with (
        ThreadPoolExecutor(1) as listener,
        serving(FakeSession(summary_at_end=failed)) as page,
        page.let_in() as browser,
    ):
        listening = listener.submit(events, browser, found=heard)
        until(lambda: heard)
        page.end()
        name, said = listening.result(60)[-1]
    assert (name, said["error"], said["run"]) == ("ended", "the camera went away", None)


def test_a_taken_port_is_one_sentence(session: FakeSession) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"^port {port} of 127.0.0.1 is in use: name another one, or 0 for any"):
            serve(session, port=port, on_ready=print)
    for wrong in (-1, 70_000):
        with pytest.raises(ValueError, match="port must be"):
            serve(session, port=wrong, on_ready=print)


def test_the_port_can_be_used_again_at_once() -> None:
    with serving(FakeSession()) as page:
        pass
    with serving(FakeSession(), port=page.port) as again:
        assert again.port == page.port


def test_a_failing_caller_stops_the_session(session: FakeSession) -> None:
    def fail(url: str) -> None:
        raise OSError("no browser")

    with pytest.raises(OSError, match="no browser"):
        serve(session, on_ready=fail)
    assert session.stops == 1


def test_without_the_extra_it_says_what_to_install(session: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "fertrack.web.server", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[web\]"):
        serve(session, on_ready=print)


PROGRAM = """
import sys
from tests.support.live_session_fake import FakeSession
from fertrack.web import serve

session = FakeSession(closing_s=float(sys.argv[1]))
try:
    serve(session, on_ready=lambda url: print(url, flush=True))
except KeyboardInterrupt:
    print("interrupted", session.stops, flush=True)
"""


@pytest.mark.parametrize(("closing_s", "presses", "finished"), [(0.0, 1, True), (2.0, 1, True), (120.0, 2, False)])
def test_ctrl_c_closes_everything_once_the_page_knows_what_was_saved(
    closing_s: float, presses: int, finished: bool
) -> None:
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(closing_s)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    heard: list[tuple[str, dict]] = []
    with (
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as program,
        ThreadPoolExecutor(1) as listener,
        contextlib.ExitStack() as stack,
    ):
        assert program.stdout is not None
        assert program.stderr is not None
        stack.callback(program.kill)  # whatever fails here, nothing is left running
        url = program.stdout.readline().strip()
        with Served(url, FakeSession(), None).let_in() as browser:
            listening = listener.submit(events, browser, found=heard)
            until(lambda: heard)
            began_s = time.monotonic()
            program.send_signal(signal.SIGINT)
            if presses > 1:
                time.sleep(1.0)
                assert heard[-1][0] == "numbers", "it waits for the session"
                program.send_signal(signal.SIGINT)
            assert program.stdout.readline() == "interrupted 1\n"
            took_s = time.monotonic() - began_s
            name, said = listening.result(60)[-1]
        assert program.wait(60) == 0
        assert program.stderr.read() == ""  # no log of requests, no traceback
    assert took_s < 20  # below 1 s; this machine may be busy
    assert (name, said["interrupted"], said["finished"]) == ("ended", True, finished)


def test_without_a_page_ctrl_c_waits_for_nothing() -> None:
    """Nobody is there to be told what was saved."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-W", "error", "-c", PROGRAM, "120"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        try:
            program.stdout.readline()
            program.send_signal(signal.SIGINT)
            assert program.stdout.readline() == "interrupted 1\n"
        finally:
            program.kill()


def test_ctrl_c_is_told_to_whoever_handled_it_before(session: FakeSession) -> None:
    """The command's second Ctrl-C ends the program at once, also while the page waits for the session."""
    told: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: told.append(number))
    try:
        pressing = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
        with pytest.raises(KeyboardInterrupt):
            serve(session, on_ready=lambda _url: pressing.start())
    finally:
        signal.signal(signal.SIGINT, before)
    assert told == [signal.SIGINT]
