"""Models behind servers as a person names them: one or several addresses, and behind `#` the model and options.

```
http://HOST:PORT/v1                          the only model of a server
http://HOST/v1#MODEL&seed=no                 one of several, and an option
http://HOST/v1,http://OTHER/v1#MODEL         the same model on two servers
```
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl, unquote

import msgspec

from agentrm_models.errors import UsageError
from agentrm_models.server_address import KEY_VARIABLE, ServerAddress, read_server_address, without_secrets
from agentrm_models.spelling import did_you_mean, shown_name

Options = TypeVar("Options", bound=msgspec.Struct)

MOST_SERVERS = 64
"""Addresses in one spec at most."""

_SHOWN = 80
_ADDRESS = re.compile(r"https?://[^\s,#]+", re.IGNORECASE)
_BETWEEN = re.compile(r",(?=\s*https?://)", re.IGNORECASE)


class ServedSpec(NamedTuple, Generic[Options]):
    """What a spec of a model behind servers says.

    Attributes:
        servers: Where the model is served; a server is named once.
        model: Its name there; empty where the server has only one.
        options: What stood behind the model's name.
    """

    servers: tuple[ServerAddress, ...]
    model: str
    options: Options

    @property
    def place(self) -> str:
        """The addresses without model and options, for messages."""
        return ",".join(server.url for server in self.servers)


def read_served_spec(text: str, example: str, options: type[Options]) -> ServedSpec[Options]:
    """Take apart addresses, model and options.

    The model and options may stand behind any of several addresses, and hold for all.

    Args:
        example: How such a spec is written, for the remedy.
        options: The struct of the options; its fields are numbers, texts or literals, each with a default.

    Raises:
        UsageError: An address is none or holds a secret; an address stands there twice; two name different models; an
            option does not exist (the message offers the nearest spelling) or has no such value.
    """
    parts = _BETWEEN.split(text)
    if len(parts) > MOST_SERVERS:
        raise UsageError(f"{len(parts)} addresses are too many for one model", f"Name at most {MOST_SERVERS}.")
    servers = [read_server_address(part.strip(), example) for part in parts]
    urls = [server.url for server in servers]
    for url in urls:
        if urls.count(url) > 1:
            raise UsageError(f"{url} is named twice", "Leave it out once.")
    fragments = list(dict.fromkeys(server.fragment for server in servers if server.fragment))
    if len(fragments) > 1:
        shown = " and ".join(repr(shown_name(fragment)) for fragment in fragments[:2])
        raise UsageError(f"the addresses name different models or options: {shown}", "Write them once, at the end.")
    model, query = _cut(fragments[0] if fragments else "")
    bare = tuple(server._replace(fragment="") for server in servers)
    return ServedSpec(bare, model, read_options(query, options))


def servers_in(*specs: str) -> list[str]:
    """The addresses that specs hold, wherever they stand in them (`judge:http://…`), without secrets."""
    found = [without_secrets(match) for spec in specs for match in _ADDRESS.findall(spec)]
    return list(dict.fromkeys(found))


def needs_key(*specs: str) -> bool:
    """Whether specs hold addresses and there is a key that could be sent there."""
    return bool(servers_in(*specs) and os.environ.get(KEY_VARIABLE, "").strip())


def read_options(text: str, options: type[Options]) -> Options:
    """Read `key=value&key=value` into a struct.

    Raises:
        UsageError: There is no such option (the message offers the nearest spelling), or it has no such value.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True) if text else []
    except ValueError:
        raise UsageError(f"options {text[:_SHOWN]!r} are not of the form #key=value&key=value") from None
    known = options.__struct_fields__
    for key, _ in pairs:
        if key not in known:
            raise UsageError(
                f"there is no option {shown_name(key)!r} for an address", did_you_mean(key, known, "Options")
            )
    hints = get_type_hints(options)
    for key, value in pairs:
        _check_choice(key, value, hints[key])
    try:
        return msgspec.convert(dict(pairs), options, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"options {text[:_SHOWN]!r}: {error}") from None


def _check_choice(key: str, value: str, hint: Any) -> None:
    choices: Sequence[str] = get_args(hint) if get_origin(hint) is Literal else ()
    if choices and value not in choices:
        named = [choice for choice in choices if choice]
        raise UsageError(f"option {key} has no value {shown_name(value)!r}", did_you_mean(value, named, "Values"))


def _cut(fragment: str) -> tuple[str, str]:
    """The model's name and the options; a first part with `=` is an option already."""
    first, _, rest = fragment.partition("&")
    return ("", fragment) if "=" in first else (unquote(first), rest)
