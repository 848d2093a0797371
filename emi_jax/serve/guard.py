"""Lets in only what the page itself sends: no other site, and no other user of the computer."""

import secrets
from collections.abc import Collection
from urllib.parse import unquote

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

READING = ("GET", "HEAD")
"""Methods that change nothing. Another site may cause such requests but cannot see the answers."""
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(self)",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Headers of every answer that does not set them itself. The address holds the token, so it is sent to nobody."""


class Guard:
    """ASGI middleware that checks the token and the origin of every request.

    The first part of every path is a token that only this start of the program has printed. What changes something
    must also come from the page's own origin: a page of another site can send requests to 127.0.0.1, too.
    """

    def __init__(self, app: ASGIApp, token: str, origins: Collection[str]):
        """Wraps an application.

        Args:
            app: what answers the requests that are let in.
            token: the first part of every path.
            origins: the origins of the page, `http://HOST:PORT`.
        """
        self._app, self._token, self._origins = app, token, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["type"] == "http" and (refusal := self._refusal(Request(scope))):
            await refusal(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)

    def _refusal(self, request: Request) -> JSONResponse | None:
        token = unquote(request.scope["path"]).split("/")[1]
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            return refuse(404, "open the address that the program printed when it was started last")
        if request.method in READING:
            return None
        if request.headers.get("origin") not in self._origins:
            return refuse(403, "only the page itself may do this: reload it")
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return refuse(403, "only the page itself may do this: reload it")
        return None


def refuse(status: int, reason: str) -> JSONResponse:
    """An answer that says why a request fails, in a sentence."""
    return JSONResponse({"error": reason}, status)
