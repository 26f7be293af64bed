"""How one server is asked: begun with what its spec says, and changed by what it refuses.

A dialect only ever grows narrower, so asking again comes to an end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from threading import Lock
from typing import Any, NamedTuple

import msgspec

from agentrm_models.call_rows import message_rows
from agentrm_models.http_failures import StatusError
from agentrm_models.messages import Conversation, merge_system
from agentrm_models.notices import Notices
from agentrm_models.policies.base import Decoding, ProposeRequest
from agentrm_models.policies.openai_refusals import LIMITS, PARAMETERS, UNNAMED, Meaning, Parameter, read_refusal
from agentrm_models.policies.reading import reading_of
from agentrm_models.policies.server_quirks import Quirks
from agentrm_models.replies import OBSERVATION

ALMOST_ZERO = 0.01
"""Temperature in place of 0, for servers that want a positive one."""

_NO_PENALTY = {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}
NEUTRAL: dict[str, dict[str, float]] = {
    "vllm": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
    "sglang": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
    "llamacpp": _NO_PENALTY,
    "me": {**_NO_PENALTY, "top_logprobs": 1},
}
"""By the owner that a server names: what switches off the samplers that it, or its model's folder, adds by itself.

`llamacpp` is llama-server (top_k 40, min_p 0.05), `me` that of llama-cpp-python (also repeat_penalty 1.1; it tells
log-probabilities only beside others).
"""

_LONGEST_QUOTE = 100


class Call(NamedTuple):
    """One call for the replies with these numbers of a request."""

    request: ProposeRequest
    numbers: list[int]
    attempt: int


class Dialect:
    """What a server takes; safe to use from several threads.

    Args:
        server: What it is called in notices.
        notices: Told what it does not take.
    """

    def __init__(self, server: str, quirks: Quirks, notices: Notices) -> None:
        self._server = server
        self._notices = notices
        self._lock = Lock()
        self._left_out: set[Parameter] = {name for name in PARAMETERS if getattr(quirks, name) == "no"}
        self._limits = [name for name in LIMITS if quirks.max_tokens in ("yes", name)]
        self._takes_system = quirks.system == "yes"
        self._coldest = 0.0
        self._may_be_neutral = quirks.neutral == "yes"
        self._neutral: dict[str, float] = {}
        self._accepted: set[frozenset[str]] = set()
        self.searching = Lock()
        """Held by who finds out which parameter is refused that nobody names."""

    def know(self, owner: str) -> None:
        """Take in whose server this is, so that replies are sampled as they are asked for and in no other way."""
        if self._may_be_neutral:
            self._neutral = NEUTRAL.get(owner.lower(), {})

    @property
    def many(self) -> bool:
        """Whether one request may ask for several replies."""
        return "n" not in self._left_out

    def body(self, model: str, call: Call, merged: bool = False) -> dict[str, Any]:
        """The request, as this server takes it; `merged` leaves the system message out in any case."""
        decoding, conversation = call.request.decoding, reading_of(call.request).conversation
        values: dict[Parameter, object] = {
            "temperature": max(decoding.temperature, self._coldest),
            "top_p": decoding.top_p,
            "max_tokens": decoding.max_tokens + decoding.reasoning_tokens,
            "seed": _seed(call.request, call.numbers[0], call.attempt),
            "logprobs": True,
        }
        if not call.request.whole_turn and not decoding.reasoning_tokens:  # reasoning may hold the stop text
            values["stop"] = [OBSERVATION]
        elif decoding.stop and not decoding.reasoning_tokens:
            values["stop"] = list(decoding.stop)
        if len(call.numbers) > 1:
            values["n"] = len(call.numbers)
        with self._lock:
            messages = merge_system(conversation) if merged or not self._takes_system else conversation
            body: dict[str, Any] = {"model": model, "messages": _rows(messages)}
            if call.request.offered is not None:
                body |= {"tools": call.request.offered.tools, "tool_choice": "auto"}
            for name, value in values.items():
                if name not in self._left_out:
                    body[self._limits[0] if name == "max_tokens" else name] = value
            named = self._neutral.items()
            body |= {name: value for name, value in named if name != "top_logprobs" or "logprobs" in body}
        return body

    def accept(self, body: dict[str, Any]) -> None:
        """Note that the server took a request."""
        self._accepted.add(frozenset(body))

    def took_the_like_of(self, body: dict[str, Any]) -> bool:
        """Whether the server took a request with the same parameters before: they are not what it minds."""
        return frozenset(body) in self._accepted

    def learn(self, refusal: StatusError, body: dict[str, Any], decoding: Decoding) -> Meaning:
        """Take in what a server minds about a request; what it minds about the window is for the caller."""
        meaning = read_refusal(refusal, _present(body))
        with self._lock:
            if refusal.status in UNNAMED and meaning == Meaning() and not self.took_the_like_of(body):
                self._keep_own_samplers(refusal)
            if meaning.system:
                self._merge_system(refusal)
            if meaning.raised and self._coldest == 0:
                self._coldest = ALMOST_ZERO
                self._tell(f"takes no temperature 0, so it is asked for {ALMOST_ZERO:g}", refusal)
            for name in meaning.parameters:
                self._leave_out(name, refusal, body, decoding)
        return meaning

    def search(
        self, refusal: StatusError, body: dict[str, Any], call: Call, ask: Callable[[dict[str, Any]], bytes]
    ) -> bytes | None:
        """Find what a request is refused for without its being named, by leaving out one parameter at a time.

        A request of which the like was taken before is not refused for its parameters.

        Returns:
            The answer to the request without it; None where it is none of them, nor the system message.
        """
        if refusal.status not in UNNAMED or self.took_the_like_of(body):
            return None
        for name, changed in _without_one(body):
            try:
                answer = ask(changed)
            except StatusError:
                continue
            with self._lock:
                self._leave_out(name, refusal, body, call.request.decoding)
            return answer
        merged = self.body(body["model"], call, merged=True)
        if merged == body:
            return None
        try:
            answer = ask(merged)
        except StatusError:
            return None
        with self._lock:
            self._merge_system(refusal)
        return answer

    def give_one_each(self) -> None:
        """Ask for one reply a request from now on: the server gave fewer than it was asked for."""
        with self._lock:
            if "n" not in self._left_out:
                self._left_out.add("n")
                self._tell("gives fewer replies than a request asks for, so it is asked for each by itself")

    def _keep_own_samplers(self, refusal: StatusError) -> None:
        if self._neutral:
            self._neutral, self._may_be_neutral = {}, False
            self._tell("may sample in a way of its own (top_k, min_p, penalties)", refusal, loud=True)

    def _merge_system(self, refusal: StatusError) -> None:
        if self._takes_system:
            self._takes_system = False
            self._tell("takes no system message, so the instruction goes into the first user message", refusal)

    def _leave_out(self, name: Parameter, refusal: StatusError, body: dict[str, Any], decoding: Decoding) -> None:
        if name in self._left_out:
            return
        if name == "max_tokens" and self._limits and self._limits[0] in body:
            before = self._limits.pop(0)
            if self._limits:
                self._tell(f"takes {self._limits[0]} in place of {before}", refusal)
                return
        elif name == "max_tokens":
            return
        self._left_out.add(name)
        words, loud = _loss(name, decoding)
        self._tell(words, refusal, loud)

    def _tell(self, words: str, refusal: StatusError | None = None, loud: bool = False) -> None:
        said = f' (it says: "{refusal.text[:_LONGEST_QUOTE]}")' if refusal and refusal.text else ""
        self._notices.add(f"{self._server} {words}{said}", loud)


def _loss(name: Parameter, decoding: Decoding) -> tuple[str, bool]:
    """What it means that a server does not take a parameter, and whether it changes results."""
    match name:
        case "logprobs":
            return "tells no log-probabilities, so those of its replies are unknown", False
        case "seed":
            return "takes no seed, so its replies differ from run to run", False
        case "n":
            return "gives one reply a request, so it is asked for each by itself", False
        case "stop":
            return "takes no stop text, so its replies are cut here", False
        case "top_p":
            return f"takes no top_p, so it samples with its own in place of {decoding.top_p:g}", decoding.top_p < 1
        case "max_tokens":
            return f"takes no limit of tokens, so replies may be longer than {decoding.max_tokens}", True
        case "temperature":
            return f"takes no temperature, so it samples with its own in place of {decoding.temperature:g}", True


def _rows(conversation: Conversation) -> list[dict[str, Any]]:
    """Messages as the protocol has them: no text beside a call is null, and a result names its call by id alone."""
    rows = message_rows(conversation, "text")
    for row in rows:
        row.pop("name", None)
        if "tool_calls" in row and not row["content"]:
            row["content"] = None
    return rows


def _present(body: dict[str, Any]) -> set[Parameter]:
    return {name for name in PARAMETERS if name in body or (name == "max_tokens" and any(x in body for x in LIMITS))}


def _without_one(body: dict[str, Any]) -> Iterator[tuple[Parameter, dict[str, Any]]]:
    """A request with each of its parameters left out in turn; the limit is put under its other name."""
    for name in PARAMETERS:
        if name in body:
            changed = {key: value for key, value in body.items() if key != name}
            if name == "max_tokens":
                changed[LIMITS[1]] = body[name]
            yield name, changed


def _seed(request: ProposeRequest, number: int, attempt: int) -> int:
    """31 bits of the noise key, so that a server that keeps its promise repeats itself."""
    noise = request.noise
    key = msgspec.json.encode((noise.seed, noise.task, noise.node, noise.first_candidate + number, attempt))
    return int.from_bytes(blake2b(key, digest_size=4).digest(), "big") >> 1
