"""Who may ask: a key where one is set, and on loopback only programs that name this machine as their host."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from agentrm_models.errors import DataError, UsageError
from agentrm_models.server_address import is_loopback, key_from
from agentrm_tui.runs.store import open_regular
from agentrm_tui.serve.refusals import Refusal

KEY_VARIABLE = "AGENTRM_SERVE_KEY"
"""Environment variable with the key that clients must send; it is never shown or written."""

SHORTEST_KEY = 16
"""Characters of a key at least: shorter ones can be guessed."""

_LONGEST_KEY = 4_096


class Access(NamedTuple):
    """What a request must have.

    Attributes:
        key: Which it must send; empty for none.
        loopback: Only this machine can reach the endpoint. A web page that a browser on it shows could, too, under a
            name of its own that leads here: it is told by its `Host`.
    """

    key: str
    loopback: bool

    def check_host(self, headers: Mapping[str, str]) -> None:
        """Refuse other names than this machine's.

        Raises:
            Refusal: 421.
        """
        if self.loopback and not is_loopback(_host(headers.get("host", ""))):
            raise Refusal(421, "this endpoint answers to localhost only: that is not the host asked for", code="host")

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Refuse without the key, in a time that does not depend on how much of it is right.

        Raises:
            Refusal: 401.
        """
        if not self.key:
            return
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(sent.strip().encode("utf-8", "replace"), self.key.encode())
        if scheme.lower() != "bearer" or not same:
            message = "the key is missing or wrong: send it as Authorization: Bearer KEY"
            raise Refusal(401, message, code="invalid_api_key")


def read_access(host: str, key_file: Path | None) -> Access:
    """The key for a host; one that others can reach needs one.

    Raises:
        UsageError: There is none although it is needed, or it is too short.
        DataError: The file cannot be read.
    """
    key = _key_in(key_file) if key_file is not None else key_from(KEY_VARIABLE)
    source = str(key_file) if key_file is not None else KEY_VARIABLE
    if key and len(key) < SHORTEST_KEY:
        raise UsageError(f"the key in {source} has {len(key)} characters", f"Take at least {SHORTEST_KEY}.")
    if key_file is None and not key and KEY_VARIABLE in os.environ:
        raise UsageError(f"{KEY_VARIABLE} is set, but empty", "Set a key, or unset it.")
    loopback = is_loopback(host)
    if not loopback and not key:
        raise UsageError(
            f"--host {host[:80]} can be reached from other machines, so it needs a key",
            f"Set {KEY_VARIABLE}, or name a file with --key-file.",
        )
    return Access(key, loopback)


def _key_in(path: Path) -> str:
    with open_regular(path) as file:
        data = file.read(_LONGEST_KEY + 1)
    try:
        key = data.decode().strip()
    except UnicodeDecodeError:
        raise DataError(f"--key-file {path} is not text") from None
    if not key or len(data) > _LONGEST_KEY or not all("!" <= char <= "~" for char in key):
        raise DataError(f"--key-file {path} holds no key", "Write one line of letters, digits and signs into it.")
    return key


def _host(header: str) -> str:
    """The name or number in a `Host` header, without its port."""
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0]
