"""The browser page of a live session: image, numbers and buttons, for this machine's own browser only.

Needs the extra ``[web]``. The page shows and asks; it analyses nothing.

Reading order::

    server       the server, on one loopback socket
    application  routes
    gate         access: one browser, by a one-time address
    images       the live image as JPEG
    numbers      the session's numbers as JSON
    assets       files of the page
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fertrack.errors import MissingExtraError

if TYPE_CHECKING:
    from fertrack.live.session import LiveSession

__all__ = ["check_ready", "serve"]

_NEED = "the browser page needs the packages starlette and uvicorn"


def check_ready(*, host: str = "127.0.0.1", port: int = 0) -> None:
    """Check that the page can be served, before a session is started for it.

    Raises:
        MissingExtraError: the extra ``[web]`` is not installed.
        ConfigError: the port is taken or not permitted.
        ValueError: the host is not this machine, or the port is no port.
    """
    try:
        from fertrack.web.server import check
    except ModuleNotFoundError as error:
        raise MissingExtraError(_NEED, "web") from error
    check(host, port)


def serve(
    session: LiveSession,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    on_ready: Callable[[str], None],
) -> None:
    """Show a running live session in the browser, until the session ends; runs in the calling thread.

    The address given to ``on_ready`` carries a token that works once: whoever opens it first gets a cookie, and
    nothing is answered without that cookie. Nothing is printed, logged per request, or sent anywhere else.

    Args:
        session: a started session. It may be ended by the page's button, by its source, or by anyone's ``stop()``.
        host: a loopback address; the page is not meant for other machines.
        port: 0 for a free one.
        on_ready: called once, with the address to open, when the page can be opened.

    Raises:
        MissingExtraError: the extra ``[web]`` is not installed.
        ConfigError: the port is taken or not permitted.
        ValueError: the host is not this machine, or the port is no port.
        KeyboardInterrupt: Ctrl-C was pressed; the session has been asked to stop, open pages were told what was saved
            (unless it was pressed again), and every connection is closed.
    """
    try:
        from fertrack.web.server import run
    except ModuleNotFoundError as error:
        raise MissingExtraError(_NEED, "web") from error
    run(session, host, port, on_ready)
