"""What environments on servers share: addresses with options, JSON over HTTP, and rewards as outcomes."""

from __future__ import annotations

import json
import math
import unicodedata
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from agentrm_models.errors import DataError, UsageError
from agentrm_models.http import HttpClient, Manners
from agentrm_models.http_failures import StatusError
from agentrm_models.messages import PromptStyle
from agentrm_models.replies import ACTION_LIMIT
from agentrm_models.server_address import ServerAddress, read_server_address
from agentrm_models.server_spec import read_options
from agentrm_tui.environments.base import EnvironmentTraits, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment

TEXT_LIMIT = 20_000
"""Characters of an observation that are kept."""

ASIDE = frozenset({"reward", "done", "metadata"})
"""Parts of observations and actions that are not for the agent."""

KEEP_ALIVE_SECONDS = 2.0
"""How long an idle connection is kept: less than servers do (uvicorn 5 s), since a step is not sent twice."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be written behind the `#` of an address, as `key=value&key=value`; the server never sees it.

    Attributes:
        score: The outcome is the last reward, the sum of all, or the highest; empty for the protocol's usual one.
        low, high: Rewards that count as 0 and 1; what lies outside is clipped.
        steps: Step limit of an episode.
        timeout: Seconds until an answer has to be there as a whole, and for which a busy server is asked again.
        action: Field of the action record that the text goes into (OpenEnv).
        text: Field of the observation that is shown, the only one (OpenEnv).
        goal: What the agent is told to do.
    """

    score: Literal["", "last", "sum", "max"] = ""
    low: float = 0.0
    high: float = 1.0
    steps: int = 30
    timeout: float = 60.0
    action: str = ""
    text: str = ""
    goal: str = "Do what the first observation asks."


class Address(NamedTuple):
    """Where a server is, and the options."""

    server: ServerAddress
    options: Options

    @property
    def url(self) -> str:
        """`http(s)://host:port/path` without a slash at the end."""
        return self.server.url

    def websocket(self, path: str) -> str:
        """The same place for web sockets."""
        return "ws" + self.url.removeprefix("http") + path


def read_address(kind: str, text: str) -> Address:
    """Read `URL#options`; `ws` stands for `http`, and a host without a scheme is given one.

    Raises:
        UsageError: It is not the address of a server, or an option is wrong; offers the nearest spelling.
    """
    server = read_server_address(text if "://" in text else f"http://{text}", f"{kind}:http://HOST:PORT")
    return Address(server._replace(url=server.url.removesuffix("/ws")), _read_options(server.fragment))


def _read_options(text: str) -> Options:
    options = read_options(text, Options)
    finite = all(math.isfinite(number) for number in (options.low, options.high, options.timeout))
    if not finite or options.high <= options.low or options.steps < 1 or options.timeout <= 0:
        raise UsageError(f"options {text[:80]!r}: low must be below high, steps and timeout above 0")
    return options


class JsonServer:
    """A server that is spoken to in JSON over HTTP."""

    def __init__(self, kind: str, address: Address) -> None:
        self.name = f"{kind} server {address.url}"
        seconds = address.options.timeout
        manners = Manners(seconds, seconds, KEEP_ALIVE_SECONDS)
        self._http = HttpClient(address.server, name=self.name, manners=manners)

    def check_health(self) -> None:
        """Check that the server answers at `/health`, or does not know that path.

        Raises:
            DataError: It cannot be reached, or says that it does not work.
        """
        try:
            self._http.get("/health")
        except StatusError as error:
            if error.status not in (404, 405):
                raise

    def get(self, path: str, **query: object) -> Any:
        """Ask for a JSON value.

        Raises:
            StatusError: The server answered with an error status.
            DataError: It cannot be reached, is silent, or does not answer in JSON.
        """
        return read_json(self._http.get(path, query), f"{self.name}: GET {path}")

    def post(self, path: str, body: Mapping[str, object] | None = None, timeout: float | None = None) -> Any:
        """Send a JSON record, never twice where the server may have begun with it, and return the JSON answer.

        Raises:
            As `get`.
        """
        content = self._http.post(path, body or {}, repeatable=False, answer_seconds=timeout)
        return read_json(content, f"{self.name}: POST {path}")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def read_json(content: str | bytes, where: str) -> Any:
    """Decode JSON.

    Raises:
        DataError: It is none.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise DataError(f"{where} did not answer in JSON") from None


def clean(text: str) -> str:
    """Text that can be shown: no control characters but line breaks, of bounded length."""
    plain = text.replace("\r\n", "\n").replace("\t", " ")
    kept = "".join(char for char in plain if char == "\n" or unicodedata.category(char) not in {"Cc", "Cs", "Cf"})
    return kept if len(kept) <= TEXT_LIMIT else f"{kept[:TEXT_LIMIT]} … ({len(kept) - TEXT_LIMIT} more characters)"


class Score:
    """Rewards of one episode as an outcome in [0, 1]."""

    def __init__(self, options: Options, usual: Literal["last", "sum"]) -> None:
        self._how = options.score or usual
        self._low, self._high = options.low, options.high
        self._value = 0.0
        self._seen = False

    def add(self, reward: float | None) -> None:
        """Take in a reward; None is no news."""
        if reward is None:
            return
        match self._how:
            case "sum":
                self._value += reward
            case "max" if self._seen:
                self._value = max(self._value, reward)
            case _:
                self._value = reward
        self._seen = True

    @property
    def outcome(self) -> float:
        """The score now; 0 before the first reward."""
        share = (self._value - self._low) / (self._high - self._low)
        return min(1.0, max(0.0, share)) if self._seen else 0.0


class Reply(NamedTuple):
    """What a server said to an action or a reset."""

    text: str
    reward: float | None = None
    done: bool = False
    valid: bool = True


def read_reward(value: object, where: str) -> float | None:
    """A reward as a number; booleans count as 0 and 1, and a number may be written as text.

    Raises:
        DataError: It is neither a finite number nor null.
    """
    if value is None:
        return None
    try:
        reward = float(value) if isinstance(value, int | float | str) else math.nan
    except (OverflowError, ValueError):
        reward = math.nan
    if not math.isfinite(reward):
        raise DataError(f"{where} gave a reward that is not a finite number")
    return reward


def read_done(record: Mapping[str, Any]) -> bool:
    """Whether a reply says that the episode has ended; one that does not speak of it says no."""
    found = [record[name] for name in ("done", "terminated", "truncated") if name in record]
    return any(value.strip().lower() == "true" if isinstance(value, str) else bool(value) for value in found)


def read_text(seen: object, field: str = "") -> str:
    """An observation in words: a text as it is, else a line for each of its parts.

    Args:
        field: The only part of a record that is shown, where it has it.
    """
    if isinstance(seen, list) and seen and all(isinstance(part, str) for part in seen):
        return "\n".join(seen)
    if not isinstance(seen, dict):
        return in_words(seen)
    if field and field in seen:
        return in_words(seen[field])
    told = {name: in_words(value) for name, value in seen.items() if name not in ASIDE and value not in (None, "", [])}
    return next(iter(told.values())) if len(told) == 1 else "\n".join(f"{name}: {text}" for name, text in told.items())


def in_words(value: object) -> str:
    """A value of JSON as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class RemoteEnvironment(BaseEnvironment):
    """One session on a server. It cannot be copied, so the runner replays actions and compares observations."""

    kind: str
    level: str
    usual_score: Literal["last", "sum"]

    def __init__(self, address: str) -> None:
        self.address = read_address(self.kind, address)
        self.server = JsonServer(self.kind, self.address)
        self._name = f"{self.kind}:{address}"
        self._score = Score(self.address.options, self.usual_score)
        self._limit = 0
        self._steps = 0
        self._done = True
        self.offers_actions = False

    @property
    def traits(self) -> EnvironmentTraits:
        """Facts about the server's environment."""
        return EnvironmentTraits(
            name=self._name,
            origin="original",
            summary=f"An {self.kind} environment on a server at {self.address.url}",
            levels=(self.level,),
            valid_actions=self.offers_actions,
            procedural=self.usual_score == "sum",
        )

    @abstractmethod
    def begin(self, seed: int) -> Reply:
        """Start an episode on the server."""

    @abstractmethod
    def act(self, action: str) -> Reply:
        """Send one action."""

    @abstractmethod
    def actions_in_words(self) -> str:
        """How an action is written, in a sentence or two."""

    def instruction(self, style: PromptStyle) -> str:
        """How actions are written, and the reply format."""
        if style == "short":
            return "Reach the goal that the observation names."
        return (
            f"You act in an environment, one action at a time. {self.actions_in_words()}\n"
            "Reply with a short thought and one action:\nThought: ...\nAction: ..."
        )

    def make_task(self, level: str, seed: int) -> Task:
        """The episode of a seed."""
        options = self.address.options
        return Task(f"{level}:{seed}", clean(options.goal), seed, options.steps, level)

    def reset(self, task: Task) -> str:
        """Start an episode.

        Raises:
            DataError: The server failed.
        """
        self._done = True
        reply = self.begin(task.seed)
        self._score = Score(self.address.options, self.usual_score)
        self._limit, self._steps, self._done = task.step_limit, 0, False
        return clean(reply.text).strip() or "(nothing to see)"

    def step(self, action: str) -> StepResult:
        """Send one action.

        Raises:
            DataError: The server failed; the episode cannot go on.
        """
        if self._done:
            raise RuntimeError("step was called outside an episode")
        self._done = True
        reply = self.act(action) if len(action) <= ACTION_LIMIT else Reply("Invalid action: too long.", valid=False)
        self._score.add(reply.reward)
        self._steps += 1
        self._done = reply.done or self._steps >= self._limit
        return StepResult(clean(reply.text).strip() or "(nothing to see)", self._score.outcome, self._done, reply.valid)
