"""What environments on servers share: addresses with options, JSON over HTTP, and rewards as outcomes."""

from __future__ import annotations

import http.client
import json
import math
import time
import unicodedata
import urllib.error
import urllib.request
from abc import abstractmethod
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from agentrm_models.errors import DataError, UsageError
from agentrm_models.messages import PromptStyle
from agentrm_models.replies import ACTION_LIMIT
from agentrm_tui.environments.base import EnvironmentTraits, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment

REPLY_LIMIT = 8_000_000
"""Bytes of a server's answer that are read; a longer one is refused."""

TEXT_LIMIT = 20_000
"""Characters of an observation that are kept."""

ASIDE = frozenset({"reward", "done", "metadata"})
"""Parts of observations and actions that are not for the agent."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts that are never reached through a proxy."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be written behind the `#` of an address, as `key=value&key=value`; the server never sees it.

    Attributes:
        score: The outcome is the last reward, the sum of all, or the highest; empty for the protocol's usual one.
        low, high: Rewards that count as 0 and 1; what lies outside is clipped.
        steps: Step limit of an episode.
        timeout: Seconds until a silent server is given up.
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
    """Where a server is: `http(s)://host:port/path` without a slash at the end, and the options."""

    url: str
    options: Options

    def websocket(self, path: str) -> str:
        """The same place for web sockets."""
        return "ws" + self.url.removeprefix("http") + path

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        return (urlsplit(self.url).hostname or "") in LOOPBACK


def read_address(kind: str, text: str) -> Address:
    """Read `URL#options`; `ws` stands for `http`, and a host without a scheme is given one.

    Raises:
        UsageError: It is not the address of a server, or an option is wrong; offers the nearest spelling.
    """
    whole = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(whole)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{text[:80]!r} is not the address of a server: {error}") from None
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https") or not parts.hostname or not text.isprintable() or port == 0:
        raise UsageError(f"{text[:80]!r} is not the address of a server", f"Write {kind}:http://HOST:PORT.")
    if "@" in parts.netloc:
        raise UsageError("an address is written into run files, so it cannot hold a password", "Leave it out.")
    path = parts.path.rstrip("/").removesuffix("/ws")
    return Address(urlunsplit((scheme, parts.netloc, path, "", "")), _read_options(parts.fragment))


def _read_options(text: str) -> Options:
    try:
        found = dict(parse_qsl(text, strict_parsing=True)) if text else {}
    except ValueError:
        raise UsageError(f"options {text[:80]!r} are not of the form #key=value&key=value") from None
    known = Options.__struct_fields__
    for key in found:
        if key not in known:
            near = get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}?" if near else f"Options: {', '.join(known)}."
            raise UsageError(f"there is no option {key[:40]!r} for an address", hint)
    try:
        options = msgspec.convert(found, Options, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"options {text[:80]!r}: {error}") from None
    finite = all(math.isfinite(number) for number in (options.low, options.high, options.timeout))
    if not finite or options.high <= options.low or options.steps < 1 or options.timeout <= 0:
        raise UsageError(f"options {text[:80]!r}: low must be below high, steps and timeout above 0")
    return options


class RefusedError(DataError):
    """A server answered with an error status.

    Args:
        status: The HTTP status.
    """

    def __init__(self, cause: str, status: int) -> None:
        super().__init__(cause)
        self.status = status


class JsonServer:
    """A server that is spoken to in JSON over HTTP; only the standard library is used."""

    def __init__(self, kind: str, address: Address) -> None:
        self.name = f"{kind} server {address.url}"
        self._url = address.url
        self._timeout = address.options.timeout
        handlers = [urllib.request.ProxyHandler({})] if address.is_loopback else []
        self._opener = urllib.request.build_opener(*handlers)

    def is_healthy(self) -> None:
        """Check that the server answers at `/health`, or does not know that path.

        Raises:
            DataError: It cannot be reached, or says that it does not work.
        """
        try:
            self._fetch(urllib.request.Request(f"{self._url}/health"))
        except RefusedError as error:
            if error.status not in (404, 405):
                raise

    def get(self, path: str, **query: object) -> Any:
        """Ask for a JSON value.

        Raises:
            RefusedError: The server answered with an error status.
            DataError: It cannot be reached, is silent, or does not answer in JSON.
        """
        return self._ask(urllib.request.Request(f"{self._url}{path}{'?' if query else ''}{urlencode(query)}"))

    def post(self, path: str, body: Mapping[str, object] | None = None, timeout: float | None = None) -> Any:
        """Send a JSON record and return the JSON answer; raises as `get`."""
        content = json.dumps(body or {}).encode()
        headers = {"Content-Type": "application/json"}
        return self._ask(urllib.request.Request(f"{self._url}{path}", content, headers, method="POST"), timeout)

    def _ask(self, request: urllib.request.Request, timeout: float | None = None) -> Any:
        return read_json(self._fetch(request, timeout), self._where(request))

    def _where(self, request: urllib.request.Request) -> str:
        return f"{self.name}: {request.get_method()} {urlsplit(request.full_url).path or '/'}"

    def _fetch(self, request: urllib.request.Request, timeout: float | None = None) -> bytes:
        where = self._where(request)
        try:
            limit = timeout or self._timeout
            until = time.monotonic() + limit
            with self._opener.open(request, timeout=limit) as reply:
                content = b""
                while len(content) <= REPLY_LIMIT and (part := reply.read1(REPLY_LIMIT)):
                    content += part
                    if time.monotonic() > until:
                        raise TimeoutError
        except urllib.error.HTTPError as error:
            with error:
                told = _first_words(error.read(2_000).decode("utf-8", "replace"))
            raise RefusedError(f"{where} was refused with status {error.code}{told}", error.code) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DataError(f"{self.name}: {reason(error)}", "Is it running, and is the address right?") from None
        if len(content) > REPLY_LIMIT:
            raise DataError(f"{where} gave more than {REPLY_LIMIT // 1_000_000} MB")
        return content


def read_json(content: str | bytes, where: str) -> Any:
    """Decode JSON.

    Raises:
        DataError: It is none.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise DataError(f"{where} did not answer in JSON") from None


def _first_words(text: str) -> str:
    words = clean(" ".join(text.split()))[:160]
    return f": {words}" if words else ""


def reason(error: Exception) -> str:
    """Why a connection failed, in a few words."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "it does not answer"
    if isinstance(cause, OSError) and cause.strerror:
        return f"it cannot be reached ({cause.strerror})"
    return f"it cannot be reached ({' '.join(str(cause).split())[:160] or type(cause).__name__})"


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
