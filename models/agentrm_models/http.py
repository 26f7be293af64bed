"""The one HTTP client: kept connections, one deadline for a whole answer, a size limit, and patience with busy servers.

A request runs on an event loop of its own thread, since only there a deadline covers all of it: the look-up of the
name, a handshake, and headers or a body that drip. Whoever calls it waits as for any function.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from agentrm_models.errors import DataError, UsageError
from agentrm_models.http_failures import Failure, StatusError, failed_exchange, failed_status, hidden_failure
from agentrm_models.server_address import ServerAddress

if TYPE_CHECKING:
    from ssl import SSLContext

    from httpx2 import AsyncClient, Response

ANSWER_LIMIT = 8_000_000
"""Bytes of an answer that are read; a longer one is refused."""

LONGEST_PAUSE = 30.0
"""Seconds between two attempts at most, where the server does not say how long it wants to be left alone."""

FIRST_PAUSE = 0.5
CONNECT_SECONDS = 30.0
CLOSING_SECONDS = 2.0
REDIRECTS = 5

SHORTEST_SECRET = 16
"""Characters of a key that is worth hiding in answers: shorter ones are words such as EMPTY, which servers ignore."""

STREAM_END = b"data: [DONE]"
"""Ends an answer that a server streams although nobody asked for it; the connection may stay open behind it."""

WaitHook = Callable[[str], None]
"""Told every half second what a busy server is waited for; it may raise to give up."""


def ignore_waiting(words: str) -> None:
    """Discard what is waited for."""


_waits: ContextVar[WaitHook] = ContextVar("waits", default=ignore_waiting)


@contextmanager
def waits_told_to(hook: WaitHook) -> Iterator[None]:
    """Tell this hook about waits inside the block, in this thread, that have no hook of their own."""
    before = _waits.set(hook)
    try:
        yield
    finally:
        _waits.reset(before)


class Clock(NamedTuple):
    """Time and chance, replaced in tests."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random


def pause(seconds: float, words: str, on_wait: WaitHook, clock: Clock) -> None:
    """Wait so long, and say what for every half second."""
    while seconds > 0:
        on_wait(f"{words}, {math.ceil(seconds)} s")
        clock.sleep(min(0.5, seconds))
        seconds -= 0.5


class Manners(NamedTuple):
    """How a server is treated.

    Attributes:
        answer_seconds: Deadline for a whole answer, from the look-up of the name to its last byte.
        patience: Seconds over which a busy or broken server is asked again.
        keep_alive: Seconds that an idle connection is kept. Below a server's own limit no request meets a connection
            that is just being closed, which matters for requests that cannot be repeated.
        limit: Bytes of an answer that are read.
        errors_in_answers: An answer of status 200 may hold nothing but an error, which counts as one.
    """

    answer_seconds: float = 300.0
    patience: float = 600.0
    keep_alive: float = 30.0
    limit: int = ANSWER_LIMIT
    errors_in_answers: bool = False


class _Request(NamedTuple):
    """What is asked, how long its answer may take, and over how many seconds it is asked again.

    Attributes:
        stay: Ask again while the server is down; otherwise only its rate limit is waited for.
    """

    method: str
    path: str
    seconds: float
    patience: float
    repeatable: bool
    content: bytes | None = None
    query: Mapping[str, object] | None = None
    stay: bool = True


class HttpClient:
    """JSON over HTTP with one server.

    A server on this machine is reached without a proxy. Redirects are followed; the key stays with the host that it
    was meant for.

    Args:
        name: What the server is called in messages; its address where absent.
        called: What it is called while it is waited for.
        key: Sent as `Authorization: Bearer`, and never shown.
    """

    def __init__(
        self,
        address: ServerAddress,
        *,
        name: str = "",
        called: str = "the server",
        key: str = "",
        manners: Manners | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._address = address
        self._name = name or address.url
        self._called = called
        self._key = key
        self._manners = manners or Manners()
        self._clock = clock or Clock()
        self._client: AsyncClient | None = None
        self._running: set[Future[bytes | Failure]] = set()
        self._has_answered = self._in_vain = False

    def get(
        self,
        path: str,
        query: Mapping[str, object] | None = None,
        on_wait: WaitHook | None = None,
        *,
        answer_seconds: float | None = None,
        stay: bool = True,
    ) -> bytes:
        """Ask for a path; arguments and errors as in `post`."""
        seconds = answer_seconds or self._manners.answer_seconds
        request = _Request("GET", path, seconds, self._manners.patience, repeatable=True, query=query, stay=stay)
        return self._send(request, on_wait)

    def post(
        self,
        path: str,
        body: object,
        on_wait: WaitHook | None = None,
        *,
        repeatable: bool,
        answer_seconds: float | None = None,
        stay: bool = True,
    ) -> bytes:
        """Send a JSON value.

        Args:
            repeatable: Doing it twice does no harm. What is not repeatable is sent again only where the server has
                not begun with it: it could not be reached, or said 429 or 503.
            answer_seconds: Deadline of this answer, and all patience with it, where they are shorter.
            stay: Ask again while the server is down; without it only a rate limit is waited for.

        Raises:
            StatusError: The server answered with an error status, and still did after all patience.
            DataError: It cannot be reached, is silent, or answers with too much.
            UsageError: A proxy variable cannot be used.
        """
        seconds = answer_seconds or self._manners.answer_seconds
        patience = min(self._manners.patience, answer_seconds or math.inf)
        request = _Request("POST", path, seconds, patience, repeatable, json.dumps(body).encode(), stay=stay)
        return self._send(request, on_wait)

    def rest(self, seconds: float, words: str, on_wait: WaitHook) -> None:
        """Leave the server alone for a while; `words` say why."""
        pause(seconds, f"waiting for {self._called}: {words}", on_wait, self._clock)

    def give_up(self) -> None:
        """End what is in flight; whoever waits for it gets `CancelledError`."""
        for future in list(self._running):
            future.cancel()

    def close(self) -> None:
        """Give up what is in flight and close all connections."""
        self.give_up()
        client, self._client = self._client, None
        if client is not None:
            closed = asyncio.run_coroutine_threadsafe(client.aclose(), _loop())
            with suppress(Exception):
                closed.result(CLOSING_SECONDS)

    def _send(self, request: _Request, on_wait: WaitHook | None) -> bytes:
        # Once all patience was in vain, each request is tried once until one is answered.
        until = self._clock.now() + (0.0 if self._in_vain else request.patience)
        attempt = 0
        while True:
            answer = self._run(request)
            if isinstance(answer, bytes):
                self._has_answered, self._in_vain = True, False
                return answer
            self._has_answered |= isinstance(answer.error, StatusError)
            seconds = self._pause(answer, attempt, request.repeatable)
            if seconds is None or not (request.stay or answer.limited):
                raise answer.error
            if self._clock.now() + seconds > until:
                self._in_vain = True
                raise answer.error
            self.rest(seconds, answer.words, on_wait or _waits.get())
            attempt += 1

    def _pause(self, failure: Failure, attempt: int, repeatable: bool) -> float | None:
        """Seconds to wait before the next attempt; None where there is none.

        A server that has never answered is not waited for until it can be reached: most often the address is wrong.
        """
        if not failure.passing or (failure.begun and not repeatable) or not (failure.begun or self._has_answered):
            return None
        if failure.retry_after:
            return failure.retry_after + FIRST_PAUSE * self._clock.chance()
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt, 20)) * (0.5 + self._clock.chance() / 2)

    def _run(self, request: _Request) -> bytes | Failure:
        """One attempt, on the thread of the loop."""
        future = asyncio.run_coroutine_threadsafe(self._exchange(request), _loop())
        self._running.add(future)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise
        finally:
            self._running.discard(future)

    async def _exchange(self, request: _Request) -> bytes | Failure:
        import httpx2

        where = f"{self._name}: {request.method} {request.path or '/'}"
        try:
            client, url = self._opened(), self._address.url + request.path
            connect = httpx2.Timeout(None, connect=min(CONNECT_SECONDS, request.seconds))
            query = {name: str(value) for name, value in request.query.items()} if request.query else None
            stream = client.stream(request.method, url, content=request.content, params=query, timeout=connect)
            async with asyncio.timeout(request.seconds), stream as answer:
                body, streamed = bytearray(), answer.headers.get("Content-Type", "").startswith("text/event-stream")
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > self._manners.limit:
                        megabytes = f"{self._manners.limit / 1e6:g} MB"
                        return Failure(DataError(f"{where} gave more than {megabytes}"), "too much", begun=True)
                    if streamed and STREAM_END in body[-64:]:
                        break
                return self._read(where, answer, bytes(body))
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return failed_exchange(self._name, self._address, error, request.seconds, self._key)

    def _read(self, where: str, answer: Response, body: bytes) -> bytes | Failure:
        """What an answer says, or which failure it tells; a server that repeats the key does not get it stored."""
        if not answer.is_success:
            return failed_status(where, answer, body, self._key)
        hidden = hidden_failure(where, body, self._key) if self._manners.errors_in_answers else None
        secret = self._key.encode() if len(self._key) >= SHORTEST_SECRET else b""
        return hidden or (body.replace(secret, "…".encode()) if secret else body)

    def _opened(self) -> AsyncClient:
        """The connections, opened at the first request: reading the machine's certificates takes a while."""
        import httpx2

        if self._client is not None:
            return self._client
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            self._client = httpx2.AsyncClient(
                headers=headers,
                limits=httpx2.Limits(keepalive_expiry=self._manners.keep_alive),
                follow_redirects=True,
                max_redirects=REDIRECTS,
                trust_env=not self._address.is_loopback,
                verify=_certificates(),
            )
        except (ImportError, ValueError, httpx2.InvalidURL):
            cause = f"{self._name}: a proxy that the environment names cannot be used"
            remedy = "Look at HTTP_PROXY, HTTPS_PROXY and ALL_PROXY; socks:// needs the package socksio."
            raise UsageError(cause, remedy) from None
        return self._client


@cache
def _certificates() -> SSLContext:
    """The authorities that the machine trusts, read once."""
    import httpx2

    return httpx2.create_ssl_context()


_loops: dict[int, asyncio.AbstractEventLoop] = {}
_loops_lock = threading.Lock()


def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of this process, on a thread that ends with it; a forked process has its own."""
    with _loops_lock:
        loop = _loops.get(os.getpid())
        if loop is None:
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="http", daemon=True).start()
    return loop
