"""AgentGym servers: `agentgym:URL` reaches the original environments that a person runs, each instance by a session.

The protocol is AgentGym's: `POST /create`, `POST /reset {env_idx, session_id}`, `POST /step {env_idx, action}`,
`GET /observation` and `/available_actions`. Its servers name these fields in several ways, which are tried in turn. The
outcome is the last score, or reward where there is no score, as in AgentGym's own clients, unless the address says
otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from agentrm_models.errors import DataError
from agentrm_models.http_failures import StatusError
from agentrm_tui.environments.base import Split, Task
from agentrm_tui.environments.remote import (
    RemoteEnvironment,
    Reply,
    clean,
    read_done,
    read_reward,
    read_text,
)

CLOSING_SECONDS = 5.0
"""How long the end of a session is waited for."""

_SESSION_NAMES = ("env_idx", "env_id", "id", "session_id", "idx")
"""What servers call the number of a session that they have made."""


class Dialect(NamedTuple):
    """How a server names what it is told: the session, the task (several names where they do not collide), and more."""

    session: str
    tasks: tuple[str, ...]
    more: tuple[tuple[str, str], ...] = ()


DIALECTS = (
    Dialect("env_idx", ("session_id", "data_idx", "id", "item_id")),
    Dialect("id", ("data_idx", "game", "session_id"), (("world_type", "Text"),)),
    Dialect("env_idx", ("session_id",)),
    Dialect("env_idx", ("data_idx",)),
    Dialect("id", ("data_idx",)),
)
"""AgentGym's servers pass over names that they do not know; those that refuse them are told fewer."""


class AgentGymEnvironment(RemoteEnvironment):
    """An AgentGym environment. Tasks are `session:NUMBER`, as the server counts them; it knows no splits.

    Args:
        address: The server's URL and options; see `remote.Options`.

    Raises:
        UsageError: The address is wrong.
        DataError: The server cannot be reached or does not make a session.
    """

    kind = "agentgym"
    level = "session"
    usual_score = "last"

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._dialects: tuple[Dialect, ...] = DIALECTS
        self._session: int | str | None = None
        self._asked_again = False
        self._create()
        self.offers_actions = self._ask_actions() is not None

    def tasks(self, split: Split, first_seed: int | None = None, count: int | None = None) -> Sequence[Task]:
        """The server's tasks from `first_seed` on (0 if absent), in all splits; how many it has is not known."""
        first = first_seed or 0
        return [self.make_task(self.level, seed) for seed in range(first, first + (100 if count is None else count))]

    def actions_in_words(self) -> str:
        """The observation says what can be done, as far as the server does."""
        return "The observation says which actions there are."

    def begin(self, seed: int) -> Reply:
        """Reset the session to a task, by the first way of naming that the server understands."""
        if self._session is None:
            self._create()
        refused: StatusError | None = None
        for dialect in self._dialects:
            record = {dialect.session: self._session, **dict.fromkeys(dialect.tasks, seed), **dict(dialect.more)}
            try:
                found = self.server.post("/reset", record)
            except StatusError as error:
                if error.status not in (400, 422):
                    raise
                refused = refused or error
                continue
            self._dialects = (dialect,)
            reply = self._opening(found)
            # Servers that fail over this before the first reset may well answer now.
            if not self.offers_actions and not self._asked_again:
                self._asked_again = True
                self.offers_actions = self._ask_actions() is not None
            return reply
        raise refused or DataError(f"{self.server.name}: cannot be reset")

    def act(self, action: str) -> Reply:
        """Send an action; one that the server refuses as malformed is an invalid step."""
        try:
            found = self.server.post("/step", {self._dialects[0].session: self._session, "action": action})
        except StatusError as error:
            if error.status in (400, 422):
                return Reply("Invalid action.", valid=False)
            raise
        where = f"{self.server.name}: POST /step"
        if not isinstance(found, dict):
            raise DataError(f"{where} was not answered by a JSON record")
        text = self._text(found, where)
        if text is None:
            raise DataError(f"{where} was answered without a state or observation")
        # Where there is a score it is the total, and the reward beside it what this step changed.
        names = ("reward", "score") if self.address.options.score == "sum" else ("score", "reward")
        told = next((found[name] for name in names if found.get(name) is not None), None)
        return Reply(text, read_reward(told, where), read_done(found))

    def valid_actions(self) -> tuple[str, ...]:
        """What the server lists for the current state; a search cannot be listed."""
        if not self.offers_actions:
            return super().valid_actions()
        return self._ask_actions() or ()

    def close(self) -> None:
        """End the session, where the server has a way to; nothing is waited for long."""
        session, self._session = self._session, None
        if session is not None:
            with suppress(DataError):
                self.server.post("/close", {self._dialects[0].session: session}, timeout=CLOSING_SECONDS)
        self.server.close()

    def _create(self) -> None:
        found = self.server.post("/create")
        whole = found
        while isinstance(found, dict) and "error" not in found:
            named = next((name for name in _SESSION_NAMES if _is_session(found.get(name))), "")
            if named:
                if named == "id":
                    self._dialects = tuple(sorted(DIALECTS, key=lambda dialect: dialect.session != "id"))
                found = found[named]
            else:
                found = next((found[name] for name in ("data", "result") if name in found), None)
        if isinstance(found, dict):
            raise DataError(f"{self.server.name}: POST /create: {_line(found['error'])}")
        if not _is_session(found):
            told = _line(json.dumps(whole))[:80]
            raise DataError(f"{self.server.name}: POST /create did not answer with a session's number, but with {told}")
        self._session = found

    def _opening(self, found: object) -> Reply:
        where = f"{self.server.name}: POST /reset"
        match found:
            case str() as text:
                return Reply(text)
            case [str() as text, *_] if text:
                return Reply(text)
            case [dict() as seen, *_] if first := read_text(seen.get("observation", seen)):
                return Reply(first)
            case dict() if told := self._text(found, where):
                task = found.get("task_description")
                return Reply(f"{task}\n{told}" if isinstance(task, str) and task not in told else told)
        seen = self.server.get("/observation", **{self._dialects[0].session: self._session})
        shown = self._text(seen, where) if isinstance(seen, dict) else seen
        if not shown or not isinstance(shown, str):
            raise DataError(f"{where} was answered without an observation, and so was GET /observation")
        return Reply(shown)

    def _text(self, found: dict[str, Any], where: str) -> str | None:
        for field in ("observation", "state", "obs"):
            if isinstance(found.get(field), str | dict | list):
                return read_text(found[field])
        if "error" in found:
            raise DataError(f"{where}: {_line(found['error'])}")
        return None

    def _ask_actions(self) -> tuple[str, ...] | None:
        """The actions that the server lists; None where it lists none."""
        try:
            found = self.server.get("/available_actions", **{self._dialects[0].session: self._session})
        except DataError:
            return None
        match found:
            case list():
                listed = found
            case {"available_actions": list() as listed} | {"actions": list() as listed}:
                pass
            case {"clickables": list() as clickables}:
                listed = [f"click[{name}]" for name in clickables]
            case _:
                return None
        return tuple(dict.fromkeys(name for name in listed if isinstance(name, str) and name and clean(name) == name))


def _is_session(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool) and value != ""


def _line(told: object) -> str:
    return " ".join(clean(str(told)).split())[:200]
