"""Serves the page for as long as the session runs: one socket on this machine, closed with all else at the end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import math
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from fertrack.errors import ConfigError
from fertrack.web.application import LivePage
from fertrack.web.gate import Gate
from fertrack.web.numbers import farewell

if TYPE_CHECKING:
    from fertrack.live.session import LiveSession

__all__ = ["check", "run"]

_Handler = Callable[[int, FrameType | None], object] | int | None

LOOK_EVERY_S = 0.05
"""How often it is looked whether the session has ended."""

GRACE_S = 60.0
"""After Ctrl-C: how long the session may take to end for open pages to say what was saved; a second one ends that."""

PATIENCE_S = 10.0
"""Longest time that a connection may take to send a request; one that is slower is cut off."""

GOODBYE_S = 2.0
"""Longest wait for the pages to have read how the session ended."""


def check(host: str, port: int) -> None:
    """See :func:`fertrack.web.check_ready`."""
    _check_address(host, port)
    _listen(host, port).close()


def run(session: LiveSession, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """See :func:`fertrack.web.serve`."""
    _check_address(host, port)
    with contextlib.closing(_listen(host, port)) as listener:
        port = listener.getsockname()[1]
        token = secrets.token_urlsafe(24)
        page = LivePage(session)
        server = _Server(Gate(page.app, host=host, port=port, token=token), signal.getsignal(signal.SIGINT))
        address = f"http://{host}{'' if port == 80 else f':{port}'}/?token={token}"
        try:
            asyncio.run(_serve(server, page, session, listener, lambda: on_ready(address)))
        except BaseException:
            session.stop()
            raise
    if server.interrupted:
        raise KeyboardInterrupt


async def _serve(
    server: _Server, page: LivePage, session: LiveSession, listener: socket.socket, on_ready: Callable[[], None]
) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0)
        on_ready()
        await _until_over(server, page, session)
        page.end(farewell(session, interrupted=server.interrupted))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_silence(page), GOODBYE_S)
    finally:
        if not page.over:
            page.end(farewell(session, interrupted=True))
        server.should_exit = True
        await serving
        await server.abort()


async def _until_over(server: _Server, page: LivePage, session: LiveSession) -> None:
    """Return when the session has ended; after Ctrl-C, sooner if no page is open to be told what was saved."""
    until_s = math.inf
    while not session.wait(0) and time.monotonic() < until_s:
        if server.interrupted and until_s == math.inf:
            await asyncio.to_thread(session.stop)
            until_s = time.monotonic() + GRACE_S
        if server.interrupted and (server.force_exit or not page.listeners):
            return
        server.drop_slow(time.monotonic())
        await asyncio.sleep(LOOK_EVERY_S)


async def _silence(page: LivePage) -> None:
    while page.listeners:
        await asyncio.sleep(0.01)


class _Server(uvicorn.Server):
    """uvicorn without logging of its own, and with a Ctrl-C that is only noted.

    Args:
        app: what is served.
        on_ctrl_c: what handled Ctrl-C before, and is told of it still, if it is the program's own.
    """

    def __init__(self, app: Gate, on_ctrl_c: _Handler) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        self.interrupted = False
        self._since_s: dict[Any, float] = {}
        self._on_ctrl_c = on_ctrl_c if on_ctrl_c is not signal.default_int_handler else None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Only SIGINT, and not raised again from here: what it means for the program is for the caller to say.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    def drop_slow(self, now_s: float) -> None:
        """Cut off connections that have been sending a request, or none, for too long; open streams stay."""
        waiting = {each for each in self.server_state.connections if _owes_a_request(each)}
        self._since_s = {each: self._since_s.get(each, now_s) for each in waiting}
        for each, since_s in self._since_s.items():
            if now_s - since_s > PATIENCE_S:
                each.transport.abort()

    async def abort(self) -> None:
        """Cut off the connections of browsers that would not read what was sent to them."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # a transport closes its socket in the loop's next turn

    def _note(self, number: int, frame: FrameType | None) -> None:
        # The session is not touched here: this may run while this very thread holds one of its locks.
        self.force_exit = self.interrupted
        self.interrupted = True
        if callable(self._on_ctrl_c):
            self._on_ctrl_c(number, frame)


def _owes_a_request(connection: Any) -> bool:
    """Whether the other side has still to send something, be it the first byte or the end of a body."""
    cycle = getattr(connection, "cycle", None)
    return cycle is None or bool(cycle.response_complete or cycle.more_body)


def _check_address(host: str, port: int) -> None:
    try:
        local = host == "localhost" or ipaddress.IPv4Address(host).is_loopback
    except ipaddress.AddressValueError:
        local = False
    if not local:
        raise ValueError(f"the live page is for this machine only: host must be 127.0.0.1 or localhost, not {host}")
    if not 0 <= port <= 65_535:
        raise ValueError(f"port must be from 0 to 65535, got {port}")


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # A port whose last connections are still winding up can be used again at once; one that is in use cannot.
        if os.name == "posix":  # elsewhere the option means that two programs may share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be opened ({error.strerror})"
        raise ConfigError(f"port {port} of {host} {why}: name another one, or 0 for any that is free") from error
    return listener
