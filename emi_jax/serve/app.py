"""The addresses of a local page: the page, its clips and their results."""

import errno
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from emi_jax.errors import UserError
from emi_jax.report import page
from emi_jax.serve.clips import Clip, Clips, State
from emi_jax.serve.guard import Guard, refuse

HOSTS = ("127.0.0.1", "localhost")
"""Names by which the page may be opened; a site whose name is made to point to this computer is refused."""
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; "
    "frame-src 'self'; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CLIP_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'self'"
"""What the pages of clips may do: no script at all; they are shown inside of the page."""
WAIT = 0.1
"""Seconds between two looks at whether the disk has room for a file."""


class Limits(NamedTuple):
    """Limits of an upload.

    Attributes:
        num_bytes: of the file.
        seconds: until the file has arrived.
    """

    num_bytes: int = 256 * 2**20
    seconds: float = 120.0


def build_app(clips: Clips, facts: Mapping[str, Any], token: str, port: int, limits: Limits) -> Starlette:
    """Builds the application.

    Args:
        clips: the list of clips.
        facts: what the page says of the model: `label_names`, `label_range`, `seconds` that it reads at once, the
            `windows` that are chosen or None, whether it reads `words`, and whether they are `recognised`.
        token: the first part of every path.
        port: on which it is served.
        limits: of an upload.
    """

    def show(request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        text = page.render("serve.html", "Intensities of clips", nonce=nonce, num_bytes=limits.num_bytes, **facts)
        return HTMLResponse(text, headers={"content-security-policy": POLICY.format(nonce=nonce)})

    async def list_clips(request: Request) -> Response:
        return JSONResponse([clip.summary() for clip in clips])

    async def upload(request: Request) -> Response:
        while not clips.has_room():
            await anyio.sleep(WAIT)
        try:
            clip = clips.add(request.query_params.get("name", ""))
        except UserError as error:
            return refuse(409, str(error))
        if refusal := await _receive(request, clips, clip, limits):
            clips.remove(clip)
            return refusal
        clips.start(clip, request.query_params.get("words", "").strip() or None)
        return JSONResponse(clip.summary(), 201)

    async def show_clip(request: Request) -> Response:
        clip = clips.get(request.path_params["number"])
        if clip is None or clip.state is not State.DONE:
            return refuse(404, "there is no page of this clip")
        return HTMLResponse(
            clip.page.encode(errors="backslashreplace"), headers={"content-security-policy": CLIP_POLICY}
        )

    async def remove(request: Request) -> Response:
        if clip := clips.get(request.path_params["number"]):
            clips.remove(clip)
        return Response(status_code=204)

    async def save_table(request: Request) -> Response:
        return Response(clips.table(), media_type="text/csv")

    async def save_facts(request: Request) -> Response:
        return JSONResponse(clips.results())

    routes = [
        Route("/", show),
        Route("/clips", list_clips),
        Route("/clips", upload, methods=["POST"]),
        Route("/clips/{number}", show_clip),
        Route("/clips/{number}", remove, methods=["DELETE"]),
        Route("/predictions.csv", save_table),
        Route("/predictions.json", save_facts),
    ]
    return Starlette(
        routes=[Mount("/{token}", routes=routes)],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False),
            Middleware(Guard, token=token, origins=[f"http://{host}:{port}" for host in HOSTS]),
        ],
    )


async def _receive(request: Request, clips: Clips, clip: Clip, limits: Limits) -> Response | None:
    """Stores the body of a request as a clip's file; returns an answer that says why it cannot be stored."""
    too_large = refuse(413, f"larger than {limits.num_bytes // 2**20} MB")
    if int(request.headers.get("content-length", "0")) > limits.num_bytes:
        return too_large
    received = 0
    try:
        with anyio.fail_after(limits.seconds):
            async with await anyio.open_file(clips.file(clip), "wb") as file:
                async for part in request.stream():
                    received += len(part)
                    if received > limits.num_bytes:
                        return too_large
                    await file.write(part)
    except TimeoutError:
        return refuse(408, f"did not arrive within {limits.seconds:g} s")
    except ClientDisconnect:
        return refuse(400, "did not arrive as a whole")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return refuse(507, f"the disk of {clips.folder.parent} is full")
    return None if received else refuse(400, "the file is empty")
