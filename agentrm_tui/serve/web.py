"""The HTTP side: paths, limits, and streams. It owns no model; requests go into the line, outcomes come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from time import time
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from agentrm_tui.serve.access import Access
from agentrm_tui.serve.chat_answer import Envelope, chunks, completion, opening
from agentrm_tui.serve.chat_request import ChatRequest, Defaults, read_body, read_request
from agentrm_tui.serve.line import Line, Outcome, Ticket
from agentrm_tui.serve.refusals import Refusal

LARGEST_BODY = 8_000_000
"""Bytes of a request's body."""

BODY_SECONDS = 60.0
"""A body that takes longer is given up."""

STILL_HERE_SECONDS = 10.0
"""A stream that waits says so as often, so that nothing between takes it for dead."""

EPISODE_HEADER = "x-agentrm-episode"
"""The client's name for its conversation."""

_LONGEST_NAME = 512

Handler = Callable[[Request], Awaitable[Response]]


class Front(NamedTuple):
    """What the paths need.

    Attributes:
        fingerprint: Identity of the policy's weights.
        started: Seconds since 1970.
    """

    line: Line
    access: Access
    defaults: Defaults
    fingerprint: str
    started: int


def make_app(front: Front) -> Starlette:
    """The application."""

    async def chat(request: Request) -> Response:
        asked = await _read(request, front)
        waiting = _Waiting(front.line, asked, _client(request, asked))
        envelope = Envelope(f"chatcmpl-{uuid4().hex}", int(time()), front.defaults.model, front.fingerprint)
        if asked.stream:
            events = _stream(waiting, envelope)
            return StreamingResponse(events, headers={"cache-control": "no-store"}, media_type="text/event-stream")
        async with waiting:
            outcome = await waiting.outcome(request)
        if isinstance(outcome, Refusal):
            raise outcome
        return _json(completion(envelope, asked, outcome))

    async def models(request: Request) -> Response:
        return _json({"object": "list", "data": [_model(front)]})

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        if name != front.defaults.model:
            served = front.defaults.model
            raise Refusal(404, f"there is no model {name[:200]!r} here, only {served!r}", "model", "model_not_found")
        return _json(_model(front))

    async def health(request: Request) -> Response:
        return _json({"status": "ok", "waiting": len(front.line)})

    routes = [
        Route("/v1/chat/completions", _guarded(front, chat), methods=["POST"]),
        Route("/v1/models", _guarded(front, models), methods=["GET"]),
        Route("/v1/models/{name:path}", _guarded(front, model), methods=["GET"]),
        Route("/health", _guarded(front, health, open_to_all=True), methods=["GET"]),
    ]
    handlers = {Refusal: _refused, HTTPException: _not_served, ClientDisconnect: _nobody, Exception: _broken}
    return Starlette(routes=routes, exception_handlers=handlers)


def _guarded(front: Front, handler: Handler, open_to_all: bool = False) -> Handler:
    """A handler that is reached by those who may ask only."""

    async def guarded(request: Request) -> Response:
        front.access.check_host(request.headers)
        if not open_to_all:
            front.access.check_key(request.headers)
        return await handler(request)

    return guarded


async def _read(request: Request, front: Front) -> ChatRequest:
    """Read and check a chat request.

    Raises:
        Refusal: 400, 404, 408, 413 or 415.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "the body must be application/json", "content-type", "unsupported_media_type")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "a packed body is not read", "content-encoding", "unsupported_media_type")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = read_body(await _body(request))
    except TimeoutError:
        raise Refusal(408, f"the body did not come within {BODY_SECONDS:.0f} seconds", code="timeout") from None
    episode = request.headers.get(EPISODE_HEADER, "")
    if len(episode) > _LONGEST_NAME:
        raise Refusal(400, f"{EPISODE_HEADER} has more than {_LONGEST_NAME} characters", EPISODE_HEADER)
    return read_request(body, front.defaults, episode)


async def _body(request: Request) -> bytes:
    too_large = Refusal(413, f"the body has more than {LARGEST_BODY:,} bytes", code="request_too_large")
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > LARGEST_BODY:
        raise too_large
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BODY:
            raise too_large
        parts.append(part)
    return b"".join(parts)


class _Waiting:
    """A ticket in the line, left when its client goes."""

    def __init__(self, line: Line, asked: ChatRequest, client: str) -> None:
        self.asked = asked
        self._line = line
        loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Outcome] = loop.create_future()

        def arrive(outcome: Outcome) -> None:
            if not self.future.done():
                self.future.set_result(outcome)

        def deliver(outcome: Outcome) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(arrive, outcome)

        self._ticket = Ticket(asked, client, deliver)
        line.join(self._ticket)

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Nobody waits any more."""
        if not self.future.done():
            self._line.leave(self._ticket)

    async def outcome(self, request: Request) -> Outcome:
        """Wait for the outcome.

        Raises:
            ClientDisconnect: The client has gone.
        """
        gone = asyncio.ensure_future(_gone(request))
        first: list[asyncio.Future[Any]] = [self.future, gone]
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        if not self.future.done():
            raise ClientDisconnect
        return self.future.result()


async def _gone(request: Request) -> None:
    """Return once the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stream(waiting: _Waiting, envelope: Envelope) -> AsyncIterator[bytes]:
    """The events of a stream; an error that comes after its beginning is one of them."""
    try:
        yield _event(opening(envelope, waiting.asked))
        while True:
            done, _ = await asyncio.wait({waiting.future}, timeout=STILL_HERE_SECONDS)
            if done:
                break
            yield b": still here\n\n"
        outcome = waiting.future.result()
        if isinstance(outcome, Refusal):
            yield _event(outcome.body())
        else:
            for chunk in chunks(envelope, waiting.asked, outcome):
                yield _event(chunk)
            yield b"data: [DONE]\n\n"
    finally:
        waiting.leave()


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(content) + b"\n\n"


def _client(request: Request, asked: ChatRequest) -> str:
    """Whose turn a request takes: its user's where one is named, else its connection's."""
    if asked.space:
        return asked.space
    return f"{request.client.host}:{request.client.port}" if request.client else ""


def _model(front: Front) -> dict[str, Any]:
    return {"id": front.defaults.model, "object": "model", "created": front.started, "owned_by": "agentrm-tui"}


def _json(content: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _json(error.body(), error.status, error.headers())


async def _not_served(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    served = "POST /v1/chat/completions, GET /v1/models, GET /health"
    refusal = Refusal(error.status_code, f"{request.method} {request.url.path[:200]} is not served here: {served} are")
    return _json(refusal.body(), refusal.status, dict(error.headers or {}))


async def _nobody(request: Request, error: Exception) -> Response:
    """The client has gone: nobody reads this."""
    return Response(status_code=499)


async def _broken(request: Request, error: Exception) -> Response:
    return _json(Refusal(500, "the endpoint failed", code="internal_error").body(), 500)
