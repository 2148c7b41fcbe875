"""Serves the live page of a session in another thread, as ``fertrack live --web`` serves it in the main one."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, Queue

import httpx

from fertrack.web import serve
from tests.support.live_session_fake import FakeSession


@dataclass
class Served:
    url: str
    session: FakeSession
    thread: threading.Thread

    @property
    def base(self) -> str:
        return self.url.split("/?", maxsplit=1)[0]

    @property
    def port(self) -> int:
        return int(self.base.rsplit(":", maxsplit=1)[1])

    @contextlib.contextmanager
    def let_in(self) -> Iterator[httpx.Client]:
        """A browser that opened the printed address."""
        with httpx.Client(base_url=self.base, headers={"Origin": self.base}, timeout=60) as client:
            assert client.get(self.url).status_code == 200
            yield client

    def end(self) -> float:
        """End the session; gives how long the server took to close, seconds."""
        began_s = time.monotonic()
        self.session.stop()
        self.thread.join(60)
        assert not self.thread.is_alive(), "the page outlives its session"
        return time.monotonic() - began_s


@contextlib.contextmanager
def serving(session: FakeSession, **options: object) -> Iterator[Served]:
    addresses: Queue[str] = Queue()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            serve(session, on_ready=addresses.put, **options)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work, name="page")
    thread.start()
    try:
        url = addresses.get(timeout=60)
    except Empty:
        session.stop()
        thread.join(20)
        raise AssertionError(f"the page was never ready: {failures}") from None
    served = Served(url, session, thread)
    try:
        yield served
    finally:
        served.end()
    assert not failures, failures
