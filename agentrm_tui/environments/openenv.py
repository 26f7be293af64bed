"""OpenEnv servers: `openenv:URL` plays what a server offers at `/ws`, each instance in a session of its own.

The protocol is OpenEnv's: `{"type": "reset", "data": {…}}` and `{"type": "step", "data": ACTION}` are answered by
`{"type": "observation", "data": {"observation": {…}, "reward": …, "done": …}}` or `{"type": "error", …}`; `/schema`
tells the fields of actions. The outcome is the sum of all rewards, unless the address says otherwise.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn

from agentrm_models.errors import DataError
from agentrm_models.http import ANSWER_LIMIT
from agentrm_models.http_failures import TEXT_LIMIT, reason
from agentrm_models.server_address import without_secrets
from agentrm_tui.environments.remote import (
    ASIDE,
    RemoteEnvironment,
    Reply,
    clean,
    read_done,
    read_json,
    read_reward,
    read_text,
)

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

INVALID_ACTION_CODES = frozenset({"VALIDATION_ERROR", "INVALID_ACTION"})
"""Codes of error messages that speak of the action, not of the server."""

CLOSING_SECONDS = 2.0
"""How long the end of a session is waited for."""

_DEEPEST = 8
"""References and alternatives inside each other that a field's schema is followed through."""


def _is_observation(message: Mapping[str, Any]) -> bool:
    """Whether a message carries an observation, whatever its type is called."""
    data = message.get("data", message)
    return isinstance(data, dict) and "observation" in data


class _ServerError(Exception):
    """An error message of the server."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class _ClosedError(Exception):
    """The server has ended the session."""


class OpenEnvEnvironment(RemoteEnvironment):
    """An OpenEnv environment, with a web socket for each instance.

    Args:
        address: The server's URL and options; see `remote.Options`.

    Raises:
        UsageError: The address is wrong.
        DataError: The server cannot be reached.
    """

    kind = "openenv"
    level = "episode"
    usual_score = "sum"

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._session: ClientConnection | None = None
        self._open = ExitStack()
        self._takes_seed = True
        self._required: list[str] = []
        self.server.check_health()
        self._fields = self._ask_fields()

    def actions_in_words(self) -> str:
        """A line for an action of one field, a JSON record for one of several."""
        field = self._only_field()
        if field:
            kind = str(self._fields.get(field, {}).get("type", "string"))
            return f"An action is {'a line of text' if kind == 'string' else f'one value of type {kind}'}."
        told = ", ".join(f"{name} ({found.get('type', 'any')})" for name, found in self._fields.items())
        return clean(f"An action is a JSON record with these fields: {told}.")[:2_000]

    def begin(self, seed: int) -> Reply:
        """Reset by seed; a server that takes none is reset without."""
        try:
            return self._reset({"seed": seed} if self._takes_seed else {})
        except _ServerError as error:
            if not self._takes_seed:
                self._fail(str(error))
        try:
            reply = self._reset({})
        except _ServerError as error:
            self._fail(str(error))
        self._takes_seed = False
        return reply

    def act(self, action: str) -> Reply:
        """Send an action in the form that the server's schema asks for."""
        record = self._record(action)
        if record is None:
            return Reply(f"Invalid action. {self.actions_in_words()}", valid=False)
        try:
            return self._exchange("step", record)
        except _ClosedError as error:
            self._fail(str(error))
        except _ServerError as error:
            if error.code in INVALID_ACTION_CODES:
                return Reply(f"Invalid action: {error}", valid=False)
            self._fail(str(error))

    def close(self) -> None:
        """End the session."""
        self._session = None
        self._open.close()
        self.server.close()

    def _ask_fields(self) -> dict[str, Mapping[str, Any]]:
        """The properties of the server's actions; empty where it does not tell them in words understood here."""
        try:
            schema = self.server.get("/schema")
        except DataError:
            return {}
        match schema:
            case {"action": dict(action)}:
                asked = _plain(action, action, schema)
            case _:
                return {}
        properties, required = asked.get("properties"), asked.get("required")
        if not isinstance(properties, dict):
            return {}
        self._required = [name for name in required if name in properties] if isinstance(required, list) else []
        return {
            name: _plain(found, action, schema) if isinstance(found, dict) else {}
            for name, found in properties.items()
            if name not in ASIDE
        }

    def _only_field(self) -> str:
        """The field that plain text goes into; empty where an action is a record of several."""
        if self.address.options.action:
            return self.address.options.action
        if not self._fields:
            return "message"
        if len(self._fields) == 1:
            return next(iter(self._fields))
        return self._required[0] if len(self._required) == 1 else ""

    def _record(self, action: str) -> dict[str, Any] | None:
        """The action as the server wants it; None where it cannot be read so."""
        try:
            found = json.loads(action)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict) and found and set(self._required) <= found.keys() <= self._fields.keys():
            return found
        field = self._only_field()
        if not field:
            return None
        asked = self._fields.get(field, {})
        if asked.get("nullable") and action.strip() == "null":
            return {field: None}
        match asked.get("type", "string"):
            case "integer":
                return {field: found} if type(found) is int else None
            case "number":
                return {field: found} if type(found) in (int, float) and abs(found) < math.inf else None
            case "boolean":
                return {field: found} if type(found) is bool else None
            case "array":
                return {field: found} if type(found) is list else None
            case "object":
                return {field: found} if type(found) is dict else None
            case _:
                return {field: action}

    def _reset(self, data: dict[str, Any]) -> Reply:
        """Reset, on a new session if the server has ended the old one."""
        fresh = self._session is None
        try:
            return self._exchange("reset", data)
        except _ClosedError as error:
            if fresh:
                self._fail(str(error))
        try:
            return self._exchange("reset", data)
        except _ClosedError as error:
            self._fail(str(error))

    def _exchange(self, kind: str, data: dict[str, Any]) -> Reply:
        from websockets.exceptions import ConnectionClosed
        from websockets.frames import CloseCode

        session = self._connected()
        where = f"{self.server.name}: {kind}"
        try:
            session.send(json.dumps({"type": kind, "data": data}))
            until = time.monotonic() + self.address.options.timeout
            while (left := until - time.monotonic()) > 0:
                message = read_json(session.recv(timeout=left), where)
                if not isinstance(message, dict):
                    raise DataError(f"{where} was not answered by a JSON record")
                if message.get("type", "observation") in ("observation", "error") or _is_observation(message):
                    return self._read(message, where)
            raise TimeoutError
        except TimeoutError:
            self._fail("it does not answer")
        except ConnectionClosed as closed:
            self.close()
            if closed.sent is not None and closed.sent.code == CloseCode.MESSAGE_TOO_BIG and not closed.rcvd_then_sent:
                raise DataError(f"{where} gave more than {ANSWER_LIMIT // 1_000_000} MB") from None
            told = closed.rcvd.reason if closed.rcvd else ""
            raise _ClosedError(f"it ended the session{f' ({clean(told)})' if told else ''}") from None
        except DataError:
            self.close()
            raise

    def _read(self, message: Mapping[str, Any], where: str) -> Reply:
        data = message.get("data", message)
        if message.get("type") == "error":
            told = data if isinstance(data, dict) else {"message": data}
            words = " ".join(clean(str(told.get("message", told))).split())[:200]
            raise _ServerError(words, str(told.get("code", "")).upper())
        if not isinstance(data, dict):
            raise DataError(f"{where} was answered without an observation")
        seen = data["observation"] if "observation" in data else {k: v for k, v in data.items() if k != "type"}
        inner = seen if isinstance(seen, dict) else {}
        reward = read_reward(data.get("reward", inner.get("reward")), where)
        return Reply(read_text(seen, self.address.options.text), reward, read_done(data) or read_done(inner))

    def _connected(self) -> ClientConnection:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        if self._session is None:
            options = self.address.options
            try:
                self._session = self._open.enter_context(
                    connect(
                        self.address.websocket("/ws"),
                        open_timeout=options.timeout,
                        close_timeout=CLOSING_SECONDS,
                        max_size=ANSWER_LIMIT,
                        proxy=None if self.address.server.is_loopback else True,
                    )
                )
            except (OSError, WebSocketException, ValueError) as error:
                words = without_secrets(reason(error))[:TEXT_LIMIT]
                raise DataError(f"cannot reach {self.server.name} at /ws: {words}", "Does it speak OpenEnv?") from None
        return self._session

    def _fail(self, what: str) -> NoReturn:
        """Give the session up, and say why.

        Raises:
            DataError: Always.
        """
        self.close()
        raise DataError(f"{self.server.name}: {what}")


def _plain(asked: Mapping[str, Any], *roots: Mapping[str, Any], depth: int = 0) -> Mapping[str, Any]:
    """A schema without references, and with one type where there is one besides null (then `nullable` is true)."""
    if depth > _DEEPEST:
        return {}
    if isinstance(reference := asked.get("$ref"), str):
        found = next((target for root in roots if (target := _at(root, reference)) is not None), {})
        beside = {name: value for name, value in asked.items() if name != "$ref"}
        return _plain({**found, **beside}, *roots, depth=depth + 1)
    kinds: list[Mapping[str, Any]] = []
    match asked:
        case {"anyOf": list() as listed} | {"oneOf": list() as listed}:
            kinds = [_plain(option, *roots, depth=depth + 1) for option in listed if isinstance(option, dict)]
        case {"type": list() as names}:
            kinds = [{"type": name} for name in names if isinstance(name, str)]
    wanted = [kind for kind in kinds if kind.get("type") != "null"]
    if len(wanted) == 1:
        asked = {**asked, **wanted[0], "nullable": len(kinds) > 1}
    elif kinds:
        asked = {**asked, "type": "any"}
    return asked


def _at(root: Mapping[str, Any], reference: str) -> Mapping[str, Any] | None:
    """What a reference such as `#/$defs/Move` points at; None where there is nothing."""
    place: Any = root
    for name in reference.removeprefix("#/").split("/"):
        place = place.get(name) if isinstance(place, dict) else None
    return place if isinstance(place, dict) else None
