"""Routes of the page: its files, the image, the numbers, and the actions of its buttons."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from fertrack.errors import FertrackError
from fertrack.rights.purpose import NOTICE
from fertrack.web.assets import load_assets
from fertrack.web.images import PageImages
from fertrack.web.numbers import Numbers

if TYPE_CHECKING:
    from fertrack.live.session import LiveSession

__all__ = ["LivePage"]

NUMBERS_EVERY_S = 0.25
"""How often the page gets its numbers."""

PATIENCE_S = 0.4
"""Longest wait for an image before a browser is told that there is none; also the longest that ending can take."""

LONGEST_BODY = 4096
"""Longest request, bytes."""

LONGEST_NUMBER = 18
"""Longest number of an image, digits."""


class LivePage:
    """The application, and its end: once ``end`` was called, open streams say goodbye and close."""

    def __init__(self, session: LiveSession) -> None:
        self._session = session
        self._numbers = Numbers(session, NUMBERS_EVERY_S)
        self._pictures = PageImages(session, patience_s=PATIENCE_S)
        self._assets = load_assets()
        self._ended = asyncio.Event()
        self._farewell = "{}"
        self._listeners = 0
        self.app = Starlette(
            routes=[
                Route("/", self._index),
                Route("/favicon.ico", self._icon),
                Route("/static/{name}", self._asset),
                Route("/notice", self._notice),
                Route("/picture", self._image),
                Route("/numbers", self._stream),
                Route("/stop", self._stop, methods=["POST"]),
                Route("/recording/start", self._start_recording, methods=["POST"]),
                Route("/recording/stop", self._stop_recording, methods=["POST"]),
                Route("/rename", self._rename, methods=["POST"]),
            ],
            exception_handlers={HTTPException: _failed},
        )

    @property
    def listeners(self) -> int:
        """Streams of numbers that are open."""
        return self._listeners

    @property
    def over(self) -> bool:
        """Whether ``end`` was called."""
        return self._ended.is_set()

    def end(self, farewell: dict[str, Any]) -> None:
        """Tell every open page how the session ended."""
        self._farewell = json.dumps(farewell, allow_nan=False)
        self._ended.set()

    async def _index(self, request: Request) -> Response:
        return self._assets["index.html"]

    async def _asset(self, request: Request) -> Response:
        asset = self._assets.get(request.path_params["name"])
        if asset is None:
            raise HTTPException(404, "there is no such file")
        return asset

    async def _icon(self, request: Request) -> Response:
        # Browsers ask for it by themselves wherever a page names none, as the notice cannot.
        return self._assets["icon.svg"]

    async def _notice(self, request: Request) -> Response:
        return PlainTextResponse(NOTICE)

    async def _image(self, request: Request) -> Response:
        after = request.query_params.get("after", "-1")
        if not after.removeprefix("-").isdecimal() or len(after) > LONGEST_NUMBER:
            raise HTTPException(400, "after must be the number of a picture")
        picture = None if self._ended.is_set() else await self._pictures.newer_than(int(after))
        if picture is None:
            return Response(status_code=204)
        return Response(picture.jpeg, media_type="image/jpeg", headers={"X-Picture": str(picture.number)})

    async def _stream(self, request: Request) -> Response:
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def _events(self) -> AsyncIterator[str]:
        """Server-sent events. A slow reader is sent fewer: each is made when the one before is on its way."""
        self._listeners += 1
        try:
            while not self._ended.is_set():
                yield f"event: numbers\ndata: {self._numbers.text()}\n\n"
                try:
                    await asyncio.wait_for(self._ended.wait(), NUMBERS_EVERY_S)
                except TimeoutError:
                    continue
            yield f"event: ended\ndata: {self._farewell}\n\n"
        finally:
            self._listeners -= 1

    async def _stop(self, request: Request) -> Response:
        await self._ask(self._session.stop)
        return JSONResponse({})

    async def _start_recording(self, request: Request) -> Response:
        # Where to is not for the browser to say.
        path = await self._ask(self._session.start_recording)
        return JSONResponse({"recording": str(path)})

    async def _stop_recording(self, request: Request) -> Response:
        await self._ask(self._session.stop_recording)
        return JSONResponse({})

    async def _rename(self, request: Request) -> Response:
        asked = await _json(request)
        person, name = asked.get("person"), asked.get("name")
        if not isinstance(person, int) or isinstance(person, bool) or not isinstance(name, str):
            raise HTTPException(400, "person must be a number, and name a text")
        name = " ".join(name.split())
        if not name:
            raise HTTPException(400, "a name has at least one character")
        await self._ask(lambda: self._session.rename(person, name))
        return JSONResponse({})

    async def _ask(self, action: Callable[[], Any]) -> Any:
        """Have the session do something, beside the loop; what it refuses becomes an answer with a sentence.

        Raises:
            HTTPException: 409 if the session cannot, 400 if it was asked for something that is not there.
        """
        try:
            return await asyncio.to_thread(action)
        except FertrackError as error:
            raise HTTPException(409, str(error)) from error
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        finally:
            self._numbers.outdate()


async def _json(request: Request) -> dict[str, Any]:
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LONGEST_BODY:
                raise HTTPException(413, "that is too much")
    except ClientDisconnect as error:
        raise HTTPException(400, "the request was not sent to its end") from error
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the request must be JSON") from error
    if not isinstance(asked, dict):
        raise HTTPException(400, "the request must be a JSON object")
    return asked


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
