"""Access to the page: the browser that opened the printed address first, and nobody else.

Against whom:

- other users and programs of this machine: a token that works once, then a cookie that scripts cannot read;
- a web page elsewhere whose name is made to point here (DNS rebinding): the Host header must name this machine;
- a web page elsewhere, or another port of this machine, that posts to us: SameSite=Strict, and Origin must be ours;
- a page that embeds ours or its image: framing and cross-origin use are forbidden by headers.
"""

from __future__ import annotations

import secrets

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HEADERS", "Gate"]

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""Sent with every answer."""

# Not a redirect: if the address was clicked in another web page (a terminal in a browser), a SameSite=Strict cookie
# would not travel along the redirect. A page that goes on by itself is ours, and the cookie does.
_GO_ON = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/">'
    '<title>fertrack live</title></head><body><p><a href="/">Open the live page</a></p></body></html>'
)

_REFUSED = (
    "This page opens only with the address that fertrack printed, and that address works once, in one browser. "
    "Start fertrack live again to get a new one."
)


class Gate:
    """Stands before an application and lets through what comes from the one browser.

    Args:
        app: the application behind it.
        host: the address it is served on, as it stands in the printed URL.
        port: the port.
        token: the one-time token in the printed URL.
    """

    def __init__(self, app: ASGIApp, *, host: str, port: int, token: str) -> None:
        self._app = app
        suffix = "" if port == 80 else f":{port}"
        self._hosts = {f"{name}{suffix}" for name in (host, "127.0.0.1", "localhost")}
        self._origins = {f"http://{name}" for name in self._hosts}
        self._token: str | None = token
        self._secret = secrets.token_urlsafe(32)
        # Browsers share cookies between the ports of a machine: two sessions must not overwrite each other's.
        self._cookie = f"fertrack_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":  # no lifespan, no websockets
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        answer = self._check(scope)
        await (answer or self._app)(scope, receive, send_guarded)

    def _check(self, scope: Scope) -> Response | None:
        """Response instead of passing a request on; None to pass it on."""
        headers = Headers(scope=scope)
        if headers.get("host", "") not in self._hosts:
            return PlainTextResponse("This is not the name of this machine.", 421)
        token = QueryParams(scope["query_string"]).get("token")
        brings_token = token is not None and scope["path"] == "/" and scope["method"] == "GET"
        has_cookie = self._has_cookie(scope)
        if brings_token and (has_cookie or self._spend(str(token))):
            go_on = HTMLResponse(_GO_ON)
            go_on.set_cookie(self._cookie, self._secret, path="/", httponly=True, samesite="strict")
            return go_on
        if not has_cookie:
            return PlainTextResponse(_REFUSED, 403)
        if scope["method"] not in {"GET", "HEAD"} and headers.get("origin", "") not in self._origins:
            return PlainTextResponse("This was not asked by the page itself.", 403)
        return None

    def _spend(self, token: str) -> bool:
        if self._token is None or not secrets.compare_digest(token.encode(), self._token.encode()):
            return False
        self._token = None
        return True

    def _has_cookie(self, scope: Scope) -> bool:
        given = HTTPConnection(scope).cookies.get(self._cookie, "")
        return secrets.compare_digest(given.encode(), self._secret.encode())
