"""Policies behind an OpenAI-compatible server: vLLM, llama-server, Ollama and the like, for models that outgrow us.

A server keeps its own prefix cache, so nothing is known about computed tokens; the usage counts what the server
reports.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from hashlib import blake2b
from threading import Event, Thread
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from agentrm_models.errors import DataError, InterruptedRun, UsageError
from agentrm_models.http import Clock, HttpClient, Manners, WaitHook, ignore_waiting
from agentrm_models.http_failures import StatusError
from agentrm_models.messages import Conversation
from agentrm_models.policies.base import Candidate, PolicyTraits, ProposeRequest
from agentrm_models.policies.openai_answers import Answer, ServedModel, read_completion, read_models
from agentrm_models.policies.served import ADDRESS_FORM
from agentrm_models.replies import OBSERVATION, action_of
from agentrm_models.sampling import check_decoding
from agentrm_models.server_address import key_from, read_server_address
from agentrm_models.spelling import did_you_mean, shown_name
from agentrm_models.usage import Progress, ProgressHook, Usage, ignore_progress

KEY_VARIABLE = "OPENAI_API_KEY"
"""Environment variable with the key that is sent, if there is one; keys are never written anywhere."""

ATTEMPTS = 4
"""How often a reply is asked for at most until its action is not excluded."""

CONNECTIONS = 8
"""Requests in flight at once."""

WAITING = "waiting for the server"

MINDED = frozenset({400, 413, 422})
"""Statuses that say that the server does not want the request as it is."""

NO_LIST = frozenset({404, 405, 501})
"""Statuses of servers that do not list their models."""


class _Call(NamedTuple):
    """One call for the replies with these numbers of a request."""

    request: ProposeRequest
    numbers: list[int]
    attempt: int
    on_wait: WaitHook


class OpenAIPolicy:
    """A chat model on a server.

    Sampling happens on the server with a seed derived from the noise key, so equal requests get equal answers as far as
    the server keeps its promise about seeds.

    Args:
        address: `http(s)://host[:port]/v1`, with `#model` behind it where the server has several.
        timeout: Seconds until an answer has to be there as a whole.
        patience: Seconds over which a server that is busy, loading or restarting is asked again.
        on_wait: Told what the server is waited for while its models are asked for; `propose` has its own progress.

    Raises:
        DataError: The server cannot be reached, or answers with something else than the expected JSON.
        UsageError: The address is wrong, the key is refused, or there is no such model.
    """

    notice = ""

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 300.0,
        patience: float = 600.0,
        on_wait: WaitHook = ignore_waiting,
        clock: Clock | None = None,
    ) -> None:
        place = read_server_address(address, ADDRESS_FORM)
        self._base = place.url
        self._key = key_from(KEY_VARIABLE)
        self._http = HttpClient(place, key=self._key, manners=Manners(timeout, patience), clock=clock)
        self._log_probabilities = True
        self._many = True
        self._waiting_for = ""
        self._usage = Usage()
        model = self._choose_model(unquote(place.fragment), on_wait)
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
        """Close the connections."""
        self._http.close()

    def _ask_all(
        self,
        requests: Sequence[ProposeRequest],
        wanted: list[list[int]],
        found: list[dict[int, Candidate]],
        attempt: int,
        progress: ProgressHook,
    ) -> None:
        """Send one call for each request (or each reply, where the server knows no `n`), several at a time."""
        futures: dict[Future[Answer], tuple[int, list[int]]] = {
            Future(): (place, part) for place, numbers in enumerate(wanted) for part in self._parts(numbers)
        }
        jobs = deque((future, requests[place], part) for future, (place, part) in futures.items())
        given_up = Event()
        for _ in range(min(CONNECTIONS, len(jobs))):
            Thread(target=self._work, args=(jobs, attempt, given_up), name="openai", daemon=True).start()
        try:
            self._wait(list(futures), progress)
        except BaseException:
            given_up.set()
            jobs.clear()
            self._http.give_up()
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

    def _work(
        self, jobs: deque[tuple[Future[Answer], ProposeRequest, list[int]]], attempt: int, given_up: Event
    ) -> None:
        """A connection's thread: a daemon, so that nobody waits for a silent server after an interruption."""

        def on_wait(words: str) -> None:
            if given_up.is_set():
                raise InterruptedRun(words)
            self._waiting_for = words

        while jobs:
            try:
                future, request, numbers = jobs.popleft()
            except IndexError:
                return
            try:
                future.set_result(self._ask(_Call(request, numbers, attempt, on_wait)))
            except Exception as error:
                future.set_exception(error)
            self._waiting_for = ""

    def _wait(self, futures: list[Future[Answer]], progress: ProgressHook) -> None:
        """Wait for all answers, saying what for; the first failure ends it."""
        waiting = set(futures)
        while waiting:
            what = self._waiting_for or WAITING
            progress(Progress(what, len(futures) - len(waiting), len(futures)))
            done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in futures:
                if future in done:
                    future.result()

    def _ask(self, call: _Call) -> Answer:
        request, numbers = call.request, call.numbers
        body: dict[str, Any] = {
            "model": self._model,
            "messages": msgspec.to_builtins(request.conversation),
            "temperature": request.decoding.temperature,
            "top_p": request.decoding.top_p,
            "max_tokens": request.decoding.max_tokens,
            "seed": _seed(request, numbers[0], call.attempt),
        }
        if not request.whole_turn:
            body["stop"] = [OBSERVATION]
        if len(numbers) > 1:
            body["n"] = len(numbers)
        if self._log_probabilities:
            body["logprobs"] = True
        try:
            content = self._http.post("/chat/completions", body, call.on_wait, repeatable=True)
        except StatusError as refusal:
            return self._ask_again(call, refusal, "logprobs" in body)
        return read_completion(content, self._base, self._key)

    def _ask_again(self, call: _Call, refusal: StatusError, detailed: bool) -> Answer:
        """Ask without log-probabilities, or for a shorter conversation, where that is what the server minds."""
        reason = refusal.text.lower() if refusal.status in MINDED or refusal.status == 500 else ""
        if detailed and "logprob" in reason:
            self._log_probabilities = False
            return self._ask(call)
        conversation = call.request.conversation
        shorter = _shortened(conversation)
        if "context" in reason and len(shorter) < len(conversation):
            request = msgspec.structs.replace(call.request, conversation=shorter)
            answer = self._ask(call._replace(request=request))
            return answer._replace(dropped=answer.dropped + (len(conversation) - len(shorter)) // 2)
        raise self._meaning(refusal, "/chat/completions") from None

    def _choose_model(self, name: str, on_wait: WaitHook) -> ServedModel:
        models = self._list_models(name, on_wait)
        if not models:
            raise DataError(f"{self._base} serves no model")
        if not name:
            if len(models) > 1:
                names = ", ".join(shown_name(model.id) for model in models[:8])
                raise UsageError(f"{self._base} serves several models", f"Put #MODEL behind the address: {names}.")
            return models[0]
        for model in models:
            if model.id == name:
                return model
        remedy = did_you_mean(name, [model.id for model in models], "It serves")
        raise UsageError(f"{self._base} has no model {shown_name(name)!r}", remedy)

    def _list_models(self, name: str, on_wait: WaitHook) -> list[ServedModel]:
        """What the server serves; a named model needs no list, where the server has none."""
        try:
            return read_models(self._http.get("/models", on_wait=on_wait), self._base, self._key)
        except StatusError as refusal:
            if name and refusal.status in NO_LIST:
                return [ServedModel(name)]
            raise self._meaning(refusal, "/models") from None

    def _meaning(self, refusal: StatusError, path: str) -> UsageError | DataError:
        """What an error status means here."""
        match refusal.status:
            case 401 | 403:
                return UsageError(f"{self._base} refuses the key: {refusal.text}", f"Set {KEY_VARIABLE}.")
            case 404:
                return UsageError(f"{self._base}{path} was not found: {refusal.text}", "It usually ends in /v1.")
            case status if status in MINDED:
                return UsageError(f"{self._base} refuses the request: {refusal.text}")
            case status:
                return DataError(f"{self._base} failed with status {status}: {refusal.text}", refusal.remedy)


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


def _shortened(conversation: Conversation) -> Conversation:
    """Without the older half of the steps after the goal; the same where there is only one."""
    goal = next((place for place, message in enumerate(conversation) if message.role == "user"), 0) + 1
    steps = (len(conversation) - goal) // 2
    return conversation[:goal] + conversation[goal + 2 * ((steps + 1) // 2) :] if steps > 1 else conversation
