"""HTTP response as a file that FFmpeg can read; ends at once when the source is closed.

FFmpeg's own HTTP client is not used: a read that waits in it cannot be ended from another thread, and it would know
(and log) the credentials. Basic and Digest authentication, redirects, proxies and TLS are those of ``urllib.request``.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from fertrack.errors import VideoOpenError
from fertrack.sources.stream.cancellation import Lifeline
from fertrack.sources.stream.credentials import Address, mask_credentials
from fertrack.sources.stream.error_text import STATUS_HINTS, why

__all__ = ["HttpBody", "open_http"]


class HttpBody:
    """The body of one answer, read as it arrives.

    Args:
        response: the answer.
        line: the connection it comes over.
        lifeline: ends reads.

    Attributes:
        name: its address without credentials and parameters; FFmpeg resolves relative references against it.
        content_type: as the server says, ``"multipart/x-mixed-replace"``.
    """

    def __init__(self, response: http.client.HTTPResponse, line: _Line, lifeline: Lifeline) -> None:
        scheme, netloc, path, _, _ = urlsplit(response.url)
        self.name = urlunsplit((scheme, netloc.rpartition("@")[2], path, "", ""))
        self.content_type = response.headers.get_content_type()
        self._response = response
        self._line = line
        self._lifeline = lifeline

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, as soon as there are any; none at the end.

        Raises:
            OSError: the connection broke, or the deadline is over.
            SourceClosedError: the source is being closed.
        """
        return b"" if self._lifeline.failed else self._lifeline.guard(lambda: self._read(size))

    def close(self) -> None:
        """Close the connection. May be called more than once."""
        self._response.close()

    def _read(self, size: int) -> bytes:
        left_s = self._lifeline.remaining_s()
        if self._response.isclosed():
            return b""
        try:
            self._line.set_timeout(left_s)
            received = self._response.read1(size)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._lifeline.remaining_s()  # says so if it was closed, or if the deadline is what it waited for
            raise ConnectionError("the server broke the transfer off") from error
        self._lifeline.raise_if_closing()
        return received


def open_http(address: Address, lifeline: Lifeline, *, verify: bool, byte_range: str = "") -> HttpBody:
    """Ask an HTTP server for what is under an address.

    Args:
        address: ``http`` or ``https``.
        lifeline: ends waiting.
        verify: whether the certificate must be in order.
        byte_range: ``"first-last"``; empty for all.

    Raises:
        SourceClosedError: the source is being closed.
        VideoOpenError: nobody answers, or the answer is no.
    """
    line = _Line(lifeline)
    try:
        request = urllib.request.Request(address.url, headers={"User-Agent": "fertrack"})
        if byte_range:
            request.add_header("Range", f"bytes={byte_range}")
        return HttpBody(_opener(address, line, verify).open(request, timeout=lifeline.remaining_s()), line, lifeline)
    except urllib.error.HTTPError as error:
        with error:
            hint = STATUS_HINTS.get(error.code, "the server refuses or is overloaded: try again later")
            reason = f"answers {error.code} {error.reason}: {hint}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = why(error)
    lifeline.raise_if_closing()
    raise VideoOpenError(f"{mask_credentials(address.url)} {reason}")  # without the cause: it may name the credentials


class _Line:
    """The TCP or TLS connections of one request; redirects and authentication may take several."""

    def __init__(self, lifeline: Lifeline) -> None:
        self._lifeline = lifeline
        self._socket: socket.socket | None = None

    def connect(self, address: tuple[str, int], *_: object) -> socket.socket:
        """In place of ``socket.create_connection``."""
        return self._lifeline.connect(*address)

    def opened(self, connected: socket.socket) -> None:
        """The newest connection is the one that is read."""
        self._socket = connected

    def set_timeout(self, seconds: float) -> None:
        """Time limit of the next read."""
        if self._socket is not None:
            self._socket.settimeout(seconds)


class _PlainConnection(http.client.HTTPConnection):
    def __init__(self, host: str, *, line: _Line, **options: Any) -> None:
        super().__init__(host, **options)
        self._line = line
        self._create_connection = line.connect

    def connect(self) -> None:
        super().connect()
        self._line.opened(self.sock)


class _TlsConnection(http.client.HTTPSConnection):
    def __init__(self, host: str, *, line: _Line, **options: Any) -> None:
        super().__init__(host, **options)
        self._line = line
        self._create_connection = line.connect

    def connect(self) -> None:
        super().connect()
        self._line.opened(self.sock)


class _PlainHandler(urllib.request.HTTPHandler):
    def __init__(self, line: _Line) -> None:
        super().__init__()
        self._line = line

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        made: Any = _PlainConnection
        return self.do_open(made, req, line=self._line)


class _TlsHandler(urllib.request.HTTPSHandler):
    def __init__(self, line: _Line, verify: bool) -> None:
        super().__init__()
        self._line = line
        self._tls = ssl.create_default_context()
        if not verify:
            self._tls.check_hostname = False
            self._tls.verify_mode = ssl.CERT_NONE

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        made: Any = _TlsConnection
        return self.do_open(made, req, line=self._line, context=self._tls)


def _opener(address: Address, line: _Line, verify: bool) -> urllib.request.OpenerDirector:
    """HTTP and HTTPS only, also after a redirect."""
    opener = urllib.request.OpenerDirector()
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        _PlainHandler(line),
        _TlsHandler(line, verify),
    ]
    if address.user or address.password:
        accounts = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        accounts.add_password(None, address.url, address.user, address.password)
        handlers += [urllib.request.HTTPBasicAuthHandler(accounts), urllib.request.HTTPDigestAuthHandler(accounts)]
    for handler in handlers:
        opener.add_handler(handler)
    return opener
