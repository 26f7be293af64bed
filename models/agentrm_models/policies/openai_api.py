"""Policies behind an OpenAI-compatible server: vLLM, llama-server, Ollama and the like, for models that outgrow us.

Only the standard library is used. A server keeps its own prefix cache, so nothing is known about computed tokens; the
usage counts what the server reports.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from difflib import get_close_matches
from hashlib import blake2b
from threading import Thread
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import msgspec

from agentrm_models.errors import DataError, UsageError
from agentrm_models.messages import Conversation
from agentrm_models.policies.base import Candidate, PolicyTraits, ProposeRequest
from agentrm_models.replies import OBSERVATION, action_of
from agentrm_models.sampling import check_decoding
from agentrm_models.usage import Progress, ProgressHook, Usage, ignore_progress

Parsed = TypeVar("Parsed")

KEY_VARIABLE = "OPENAI_API_KEY"
"""Environment variable with the key that is sent, if there is one; keys are never written anywhere."""

ATTEMPTS = 4
"""How often a reply is asked for at most until its action is not excluded."""

CONNECTIONS = 8
"""Requests in flight at once."""

REPLY_LIMIT = 8_000_000
"""Bytes of a server's answer that are read; a longer one is refused."""


class _TokenInfo(msgspec.Struct):
    logprob: float = float("nan")


class _LogProbabilities(msgspec.Struct):
    content: list[_TokenInfo] | None = None


class _Text(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Text
    index: int = 0
    logprobs: _LogProbabilities | None = None


class _Counts(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Counts | None = None


class _ModelName(msgspec.Struct):
    id: str
    max_model_len: int | None = None


class _ModelList(msgspec.Struct):
    data: list[_ModelName]


class _Answer(NamedTuple):
    """Candidates of one call, the tokens that the server says it read and wrote, and the observations left out."""

    candidates: list[Candidate]
    read: int
    written: int
    dropped: int = 0


class OpenAIPolicy:
    """A chat model on a server.

    Sampling happens on the server with a seed derived from the noise key, so equal requests get equal answers as far as
    the server keeps its promise about seeds.

    Args:
        address: `http(s)://host[:port]/v1`, with `#model` behind it where the server has several.
        timeout: Seconds until a silent server is given up.

    Raises:
        DataError: The server cannot be reached, or answers with something else than the expected JSON.
        UsageError: The address is wrong, the key is refused, or there is no such model.
    """

    notice = ""

    def __init__(self, address: str, *, timeout: float = 300.0) -> None:
        parts = urllib.parse.urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{address[:80]!r} is not the address of a server", "Write http://HOST:PORT/v1[#MODEL].")
        self._base = urllib.parse.urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        self._timeout = timeout
        self._log_probabilities = True
        self._many = True
        self._usage = Usage()
        model = self._choose_model(urllib.parse.unquote(parts.fragment))
        self._model = model.id
        self._traits = PolicyTraits(f"{self._base}#{model.id}", context_length=model.max_model_len or 0)

    @property
    def traits(self) -> PolicyTraits:
        """Name of server and model; the weights' identity is not known."""
        return self._traits

    @property
    def usage(self) -> Usage:
        """Tokens that the server reported: those read count as computed, and nothing is known about reuse."""
        return self._usage

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        """Ask the server for all requests at once.

        Raises:
            UsageError: Temperature 0 with several candidates, or a request that the server refuses.
            DataError: The server failed.
        """
        started = perf_counter()
        for request in requests:
            check_decoding(request.decoding, request.n)
        found: list[dict[int, Candidate]] = [{} for _ in requests]
        for attempt in range(ATTEMPTS):
            wanted = [_wanted(request, replies) for request, replies in zip(requests, found, strict=True)]
            if not any(wanted):
                break
            self._ask_all(requests, wanted, found, attempt, progress)
        self._usage += Usage(requests=1, milliseconds=(perf_counter() - started) * 1e3)
        return [[replies[number] for number in sorted(replies)] for replies in found]

    def new_episode(self) -> None:
        """The server looks after its own cache."""

    def close(self) -> None:
        """Nothing is held between calls."""

    def _ask_all(
        self,
        requests: Sequence[ProposeRequest],
        wanted: list[list[int]],
        found: list[dict[int, Candidate]],
        attempt: int,
        progress: ProgressHook,
    ) -> None:
        """Send one call for each request (or each reply, where the server knows no `n`), several at a time."""
        futures: dict[Future[_Answer], tuple[int, list[int]]] = {
            Future(): (place, part) for place, numbers in enumerate(wanted) for part in self._parts(numbers)
        }
        jobs = deque((future, requests[place], part) for future, (place, part) in futures.items())
        for _ in range(min(CONNECTIONS, len(jobs))):
            Thread(target=self._work, args=(jobs, attempt), name="openai", daemon=True).start()
        try:
            _wait(list(futures), progress)
        except BaseException:
            jobs.clear()
            raise
        for future, (place, part) in futures.items():
            answer = future.result()
            found[place].update(zip(part, answer.candidates, strict=False))
            self._usage += Usage(
                tokens_computed=answer.read + answer.written,
                tokens_unique=answer.read + answer.written,
                tokens_generated=answer.written,
                dropped_observations=answer.dropped,
            )
        missing = [place for place, numbers in enumerate(wanted) if any(k not in found[place] for k in numbers)]
        if missing and self._many:
            self._many = False
            left = [_wanted(request, replies) for request, replies in zip(requests, found, strict=True)]
            self._ask_all(requests, left, found, attempt, progress)
        elif missing:
            raise DataError(f"{self._base} gave fewer replies than were asked for")

    def _parts(self, numbers: list[int]) -> list[list[int]]:
        if not numbers:
            return []
        return [numbers] if self._many else [[number] for number in numbers]

    def _work(self, jobs: deque[tuple[Future[_Answer], ProposeRequest, list[int]]], attempt: int) -> None:
        """A connection's thread: a daemon, so that nobody waits for a silent server after an interruption."""
        while jobs:
            try:
                future, request, numbers = jobs.popleft()
            except IndexError:
                return
            try:
                future.set_result(self._ask(request, numbers, attempt))
            except Exception as error:
                future.set_exception(error)

    def _ask(self, request: ProposeRequest, numbers: list[int], attempt: int) -> _Answer:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": msgspec.to_builtins(request.conversation),
            "temperature": request.decoding.temperature,
            "top_p": request.decoding.top_p,
            "max_tokens": request.decoding.max_tokens,
            "seed": _seed(request, numbers[0], attempt),
        }
        if not request.whole_turn:
            body["stop"] = [OBSERVATION]
        if len(numbers) > 1:
            body["n"] = len(numbers)
        if self._log_probabilities:
            body["logprobs"] = True
        try:
            content = self._fetch("/chat/completions", body)
        except _RefusedError as refusal:
            return self._ask_again(request, numbers, attempt, refusal, "logprobs" in body)
        completion = _decode(content, _Completion, self._base)
        counts = completion.usage or _Counts()
        choices = sorted(completion.choices, key=lambda choice: choice.index)
        words = counts.completion_tokens // max(1, len(choices))
        replies = [_candidate(choice, words) for choice in choices]
        return _Answer(replies, counts.prompt_tokens, counts.completion_tokens)

    def _ask_again(
        self, request: ProposeRequest, numbers: list[int], attempt: int, refusal: UsageError, detailed: bool
    ) -> _Answer:
        """Ask without log-probabilities, or for a shorter conversation, where that is what the server minds."""
        reason = refusal.cause.lower()
        if detailed and "logprob" in reason:
            self._log_probabilities = False
            return self._ask(request, numbers, attempt)
        shorter = _shortened(request.conversation)
        if "context" in reason and len(shorter) < len(request.conversation):
            answer = self._ask(msgspec.structs.replace(request, conversation=shorter), numbers, attempt)
            dropped = (len(request.conversation) - len(shorter)) // 2
            return answer._replace(dropped=answer.dropped + dropped)
        raise refusal

    def _choose_model(self, name: str) -> _ModelName:
        models = _decode(self._fetch("/models", None), _ModelList, self._base).data
        if not models:
            raise DataError(f"{self._base} serves no model")
        if not name:
            if len(models) > 1:
                names = ", ".join(model.id for model in models[:8])
                raise UsageError(f"{self._base} serves several models", f"Put #MODEL behind the address: {names}.")
            return models[0]
        for model in models:
            if model.id == name:
                return model
        near = get_close_matches(name, [model.id for model in models], n=1, cutoff=0.3)
        hint = f"Did you mean {near[0]!r}?" if near else f"It serves: {', '.join(model.id for model in models[:8])}."
        raise UsageError(f"{self._base} has no model {name[:80]!r}", hint)

    def _fetch(self, path: str, body: dict[str, Any] | None) -> bytes:
        """GET, or POST a JSON body; every failure becomes one clear line."""
        data = None if body is None else msgspec.json.encode(body)
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"})
        if key := os.environ.get(KEY_VARIABLE):
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                content: bytes = response.read(REPLY_LIMIT + 1)
        except urllib.error.HTTPError as error:
            raise self._refusal(error, path) from None
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
            raise DataError(f"cannot reach {self._base}: {_reason(error)}", "Is the server running?") from None
        if len(content) > REPLY_LIMIT:
            raise DataError(f"{self._base}{path} answered with more than {REPLY_LIMIT} bytes")
        return content

    def _refusal(self, error: urllib.error.HTTPError, path: str) -> UsageError | DataError:
        with error:
            text = _error_text(error.read(10_000)) or error.reason
        match error.code:
            case 401 | 403:
                return UsageError(f"{self._base} refuses the key: {text}", f"Set {KEY_VARIABLE}.")
            case 404:
                return UsageError(f"{self._base}{path} was not found: {text}", "The address usually ends in /v1.")
            case 400 | 413 | 422:
                return _RefusedError(f"{self._base} refuses the request: {text}")
            case code:
                return DataError(f"{self._base} failed with status {code}: {text}")


class _RefusedError(UsageError):
    """The server understood the request and does not want it."""


def _wait(futures: list[Future[_Answer]], progress: ProgressHook) -> None:
    """Wait for all answers; the first failure ends it."""
    waiting = set(futures)
    while waiting:
        progress(Progress("waiting for the server", len(futures) - len(waiting), len(futures)))
        done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in futures:
            if future in done:
                future.result()


def _decode(content: bytes, kind: type[Parsed], address: str) -> Parsed:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        cause = f"{address} gave an answer that cannot be read: {str(error)[:120]}"
        raise DataError(cause, "Is it an OpenAI-compatible server?") from None


def _wanted(request: ProposeRequest, replies: dict[int, Candidate]) -> list[int]:
    """Numbers of the candidates that are missing, or whose action is excluded and could be another one."""
    again = request.exclude if request.decoding.temperature > 0 else ()
    return [
        number
        for number in range(request.n)
        if number not in replies or (again and action_of(replies[number].text) in again)
    ]


def _seed(request: ProposeRequest, number: int, attempt: int) -> int:
    """31 bits of the noise key, so that a server that keeps its promise repeats itself."""
    noise = request.noise
    key = msgspec.json.encode((noise.seed, noise.task, noise.node, noise.first_candidate + number, attempt))
    return int.from_bytes(blake2b(key, digest_size=4).digest(), "big") >> 1


def _candidate(choice: _Choice, words: int) -> Candidate:
    tokens = (choice.logprobs.content if choice.logprobs else None) or []
    total = sum(token.logprob for token in tokens) if tokens else float("nan")
    return Candidate(choice.message.content or "", total, len(tokens) or words)


def _shortened(conversation: Conversation) -> Conversation:
    """Without the older half of the steps after the goal; the same where there is only one."""
    goal = next((place for place, message in enumerate(conversation) if message.role == "user"), 0) + 1
    steps = (len(conversation) - goal) // 2
    return conversation[:goal] + conversation[goal + 2 * ((steps + 1) // 2) :] if steps > 1 else conversation


def _error_text(content: bytes) -> str:
    """The message of an error answer, in one line."""
    text = content.decode("utf-8", "replace")
    try:
        found = json.loads(text)
        found = found.get("error", found) if isinstance(found, dict) else found
        text = str(found.get("message", found) if isinstance(found, dict) else found)
    except ValueError:
        pass
    return " ".join(text.split())[:200]


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "it does not answer"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return " ".join(str(cause).split())[:200] or type(cause).__name__
