"""Addresses of servers as a person types them, and what must never be shown of them: passwords and keys."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from agentrm_models.errors import UsageError
from agentrm_models.terminal_text import on_one_line

_LONGEST_SHOWN = 80
_USER = re.compile(r"(//|^)\S*@")
_QUERY_SECRET = re.compile(
    r"([?&;#](?:[\w-]*key|[\w-]*token|[\w-]*secret|pass\w*|auth\w*|sig\w*)=)[^&;#\s]*", re.IGNORECASE
)
_PASSWORD = re.compile(r"//[^/#?\s@]*(:[^#?\s@]*)?@|:/[^/#?\s@]*:[^/#?\s@]*@")
_BEARER = re.compile(r"(\b(?:bearer|basic)\s+)\S+", re.IGNORECASE)


class ServerAddress(NamedTuple):
    """Where a server is.

    Attributes:
        url: `http(s)://host[:port]/path`, without a slash at the end, a query or a fragment.
        host: Its host name or number.
        fragment: What stood behind `#`, still quoted; a server never sees it.
    """

    url: str
    host: str
    fragment: str

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine, so that it is reached without a proxy."""
        return is_loopback(self.host)


def read_server_address(text: str, example: str) -> ServerAddress:
    """Take the address of a server apart; `ws` stands for `http`.

    Args:
        example: How an address is written, for the remedy.

    Raises:
        UsageError: It is not the address of a server, or it holds a password or a query, where keys are put; neither
            is in the message.
    """
    shown = without_secrets(text)[:_LONGEST_SHOWN]
    wrong = UsageError(f"{shown!r} is not the address of a server", f"Write {example}.")
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise wrong from None
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https") or not host or port == 0 or not text.isprintable() or " " in parts.netloc:
        raise wrong
    if "@" in parts.netloc:
        raise UsageError("an address is written into run files, so it cannot hold a password", "Leave it out.")
    if parts.query:
        raise UsageError(
            f"{shown!r}: an address is written into run files, so it cannot hold a query such as ?api_key=",
            "Leave it out; a key is read from an environment variable.",
        )
    return ServerAddress(urlunsplit((scheme, parts.netloc, parts.path.rstrip("/"), "", "")), host, parts.fragment)


def is_loopback(host: str) -> bool:
    """Whether a host name or number is this machine's own."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


KEY_VARIABLE = "OPENAI_API_KEY"
"""Environment variable with the key that is sent to servers, if there is one; keys are never written anywhere."""

SEND_KEY = "run --resume --send-key sends it"
"""How a key that is withheld is sent after all."""

_withheld: ContextVar[bool] = ContextVar("withheld", default=False)


@contextmanager
def keys_withheld() -> Iterator[None]:
    """Send no keys to servers of models that are loaded inside the block, in this thread.

    For addresses that nobody typed here, such as those in a run file of somebody else.
    """
    before = _withheld.set(True)
    try:
        yield
    finally:
        _withheld.reset(before)


def is_key_withheld(variable: str) -> bool:
    """Whether there is a key that is not sent to servers of models that are loaded now."""
    return _withheld.get() and bool(os.environ.get(variable, "").strip())


def key_from(variable: str) -> str:
    """The key in an environment variable; empty where there is none, or where keys are withheld.

    White space around it is left out.

    Raises:
        UsageError: It holds what no header may hold; it is not shown.
    """
    key = "" if _withheld.get() else os.environ.get(variable, "").strip()
    if not all("!" <= char <= "~" for char in key):
        raise UsageError(f"{variable} holds a space or a character that no key has", "Set it again.")
    return key


def refuse_secrets(spec: str) -> None:
    """Refuse the name of a model that holds an address with a password or a key, wherever it stands in it.

    Raises:
        UsageError: It does; the name is not in the message.
    """
    if _PASSWORD.search(spec) or _QUERY_SECRET.search(spec):
        raise UsageError(
            "the name of a model is written into run files, so it cannot hold a password or a key",
            "Leave it out; a key is read from an environment variable.",
        )


def without_secrets(text: str, *secrets: str) -> str:
    """A text on one line in which passwords, keys and the given secrets are dots."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "…")
    return on_one_line(_BEARER.sub(r"\1…", _QUERY_SECRET.sub(r"\1…", _USER.sub(r"\1…@", text))))
