"""What goes wrong with a request: in words without secrets, and whether it is worth another attempt."""

from __future__ import annotations

import json
import math
import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.request import getproxies, proxy_bypass

from agentrm_models.errors import AgentRMError, DataError
from agentrm_models.server_address import ServerAddress, without_secrets

if TYPE_CHECKING:
    from httpx2 import Response

BUSY = frozenset({429, 503})
"""Statuses that say that the request was not begun with."""

RATE_LIMIT = 429

GATEWAY = frozenset({408, 425, 502, 504, *range(520, 525), 529})
"""Statuses of something between us and the server: the request may have been carried out."""

TEXT_LIMIT = 200
"""Characters of a server's words that are shown."""

BODY_LIMIT = 10_000
"""Bytes of an error that are read."""

_WORDS_LIMIT = 80
"""Characters of a server's words that are shown while it is waited for."""

_SPENT = ("insufficient_quota", "billing_hard_limit_reached")
"""Codes of a 429 that no waiting changes."""


class StatusError(DataError):
    """A server answered with an error status.

    Args:
        status: The HTTP status.
        text: The server's own words, on one line and without secrets.
        retry_after: Seconds after which it wants to be asked again.
        body: The beginning of the answer, to find out what is refused; never shown.
        hidden: The error stood in an answer whose own status was 200.
    """

    def __init__(
        self,
        where: str,
        status: int,
        text: str,
        retry_after: float | None = None,
        body: bytes = b"",
        hidden: bool = False,
    ) -> None:
        remedy = f"It wants to be asked again after {math.ceil(retry_after)} s." if retry_after else ""
        how = "" if hidden else f" with status {status}"
        super().__init__(f"{where} failed{how}{f': {text}' if text else ''}", remedy)
        self.status = status
        self.text = text
        self.body = body
        self.hidden = hidden


class ServerDownError(DataError):
    """A server cannot be reached, is silent, or fails whatever it is asked: another one may do."""


class Failure(NamedTuple):
    """An attempt that gave no answer.

    Attributes:
        error: What is raised where it stays so.
        words: The cause in a word or two, shown while waiting.
        begun: The server may have begun with the request.
        passing: It may go better a little later.
        retry_after: Seconds after which the server wants to be asked again.
    """

    error: AgentRMError
    words: str
    begun: bool = False
    passing: bool = False
    retry_after: float | None = None

    @property
    def limited(self) -> bool:
        """The server is up, and wants to be asked less often."""
        return isinstance(self.error, StatusError) and self.error.status == RATE_LIMIT


def failed_status(where: str, answer: Response, body: bytes, key: str) -> Failure:
    """What an error status means."""
    text = without_secrets(error_text(body) or answer.reason_phrase, key)[:TEXT_LIMIT]
    status = answer.status_code
    busy = status in BUSY and not any(code.encode() in body for code in _SPENT)
    later = read_retry_after(answer.headers.get("Retry-After", ""), datetime.now(UTC))
    error = StatusError(where, status, text, later, body[:BODY_LIMIT])
    words = f"{status} {text[:_WORDS_LIMIT]}".strip()
    return Failure(error, words, status not in BUSY, busy or status in GATEWAY, later)


def hidden_failure(where: str, body: bytes, key: str) -> Failure | None:
    """The error that an answer with a good status consists of, as gateways write them; None where it is none.

    Only a rate limit and an overload are waited for: whoever answers with status 200 does not say that it may pass.
    """
    start = body[:BODY_LIMIT].lstrip().removeprefix(b"data:").lstrip()
    if not start.startswith(b"{") or b'"error"' not in start:
        return None
    try:
        found: Any = json.loads(start.partition(b"\n\n")[0] if body.lstrip().startswith(b"data:") else body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not found.get("error") or found.get("choices") or found.get("data"):
        return None
    status = _status_in(found["error"]) or _status_in(found) or 500
    text = without_secrets(error_text(body), key)[:TEXT_LIMIT]
    error = StatusError(where, status, text, None, body[:BODY_LIMIT], hidden=True)
    busy = status in BUSY and not any(code.encode() in body for code in _SPENT)
    return Failure(error, f"{status} {text[:_WORDS_LIMIT]}", status not in BUSY, busy)


def _status_in(error: object) -> int | None:
    """The status that the record of an error names."""
    if isinstance(error, dict):
        for field in ("code", "status", "status_code"):
            value = error.get(field)
            number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) == 3 else value
            if isinstance(number, int) and 400 <= number < 600:
                return number
    return None


def failed_exchange(name: str, address: ServerAddress, error: Exception, seconds: float, key: str) -> Failure:
    """What it means that there is no whole answer."""
    import httpx2

    words = without_secrets(reason(error), key)[:TEXT_LIMIT]
    match error:
        case TimeoutError() | httpx2.ConnectTimeout():
            silent = ServerDownError(f"{name} does not answer within {seconds:g} s", _remedy(address))
            return Failure(silent, "no answer", begun=True)
        case httpx2.ConnectError() | httpx2.ProxyError():
            return Failure(ServerDownError(f"cannot reach {name}: {words}", _remedy(address)), words, passing=True)
        case httpx2.NetworkError() | httpx2.RemoteProtocolError():
            cut = ServerDownError(f"{name} broke the connection off: {words}", _remedy(address))
            return Failure(cut, "connection lost", begun=True, passing=True)
        case _:
            return Failure(DataError(f"cannot talk to {name}: {words}", _remedy(address)), words, begun=True)


def read_retry_after(text: str, now: datetime) -> float | None:
    """`Retry-After` in seconds, written as a number or as a date; None where it says nothing that can be read."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
            seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def error_text(content: bytes) -> str:
    """The server's own words in the body of an error, where they are put in one of the usual ways."""
    text = content[:BODY_LIMIT].decode("utf-8", "replace")
    if text.startswith("data:"):
        text = text.removeprefix("data:").partition("\n\n")[0].strip()
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for field in ("error", "message", "detail", "msg"):
        if isinstance(found, list) and found:
            found = found[0]
        if isinstance(found, dict):
            found = found.get(field, found)
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def reason(error: BaseException) -> str:
    """Why there is no connection, from the innermost cause: a library's own words for a refused one say nothing."""
    seen: BaseException | None = error
    words = ""
    for _ in range(10):
        if seen is None:
            break
        if isinstance(seen, BaseExceptionGroup):
            seen = seen.exceptions[0]
        if isinstance(seen, OSError) and seen.strerror:
            plain = isinstance(seen, ConnectionError) or "Connect call failed" in seen.strerror
            words = os.strerror(seen.errno) if plain and seen.errno else seen.strerror
        seen = seen.__cause__ or seen.__context__
    return words or str(error) or type(error).__name__


def _remedy(address: ServerAddress) -> str:
    scheme = address.url.partition(":")[0]
    proxies = getproxies()
    proxied = not address.is_loopback and not proxy_bypass(address.host) and (scheme in proxies or "all" in proxies)
    through = f" It is asked through the proxy of {scheme.upper()}_PROXY or ALL_PROXY." if proxied else ""
    return f"Is the server running, and is the address right?{through}"
