"""Policies behind an OpenAI-compatible server: vLLM, llama-server, Ollama and the like, for models that outgrow us.

A server keeps its own prefix cache, so nothing is known about computed tokens; the usage counts what the server
reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from agentrm_models.errors import DataError, UsageError
from agentrm_models.functions import ActionFunctions
from agentrm_models.http import Clock, HttpClient, Manners, WaitHook, ignore_waiting
from agentrm_models.http_failures import ServerDownError
from agentrm_models.messages import Message
from agentrm_models.notices import Notice, Notices
from agentrm_models.policies.base import Candidate, Decoding, NoiseKey, PolicyTraits, ProposeRequest
from agentrm_models.policies.openai_answers import Answer, ServedModel
from agentrm_models.policies.openai_dialect import Call
from agentrm_models.policies.openai_server import OpenAIServer
from agentrm_models.policies.server_quirks import Quirks, read_served_policy
from agentrm_models.replies import action_of
from agentrm_models.requests_in_flight import ask_all
from agentrm_models.sampling import check_decoding
from agentrm_models.server_address import KEY_VARIABLE, SEND_KEY, is_key_withheld, key_from
from agentrm_models.server_pool import ServerPool
from agentrm_models.server_spec import ServedSpec
from agentrm_models.spelling import shown_name
from agentrm_models.usage import ProgressHook, Usage, ignore_progress

ATTEMPTS = 4
"""How often a reply is asked for at most until its action is not excluded."""

PROBE_TOKENS = 16
"""Tokens that are asked for to find out whether a server takes functions."""


class OpenAIPolicy:
    """A chat model on one or several servers.

    Sampling happens on the server with a seed derived from the noise key, so equal requests get equal answers as far as
    the server keeps its promise about seeds.

    Args:
        spec: `http(s)://host[:port]/v1` or several, with `#model` and options behind (see `server_quirks.Quirks`).

    Raises:
        DataError: The server cannot be reached, or answers with something else than the expected JSON.
        UsageError: The address is wrong, the key is refused, or there is no such model.
    """

    notice = ""

    def __init__(self, spec: str, *, clock: Clock | None = None) -> None:
        served = read_served_policy(spec)
        quirks = served.options
        manners = Manners(quirks.timeout, quirks.patience, errors_in_answers=True)
        key = key_from(KEY_VARIABLE)
        self._notices = Notices()
        if is_key_withheld(KEY_VARIABLE):
            self._notices.add(f"{KEY_VARIABLE} is not sent to {served.place}, which the run file names; {SEND_KEY}")
        self._base = served.place
        self._pool, models = _load(served, key, manners, self._notices, clock)
        self._usage = Usage()
        self._read: list[int] = []
        windows = [model.window for model in models if model.window]
        self._traits = PolicyTraits(f"{self._base}#{models[0].id}", context_length=min(windows, default=0))

    @property
    def traits(self) -> PolicyTraits:
        """Name of server and model; the weights' identity is not known."""
        return self._traits

    @property
    def usage(self) -> Usage:
        """Tokens that the server reported: those read count as computed, and nothing is known about reuse."""
        return self._usage

    @property
    def prompt_tokens(self) -> Sequence[int]:
        """Tokens of the conversation of each request of the last call, as the server reported them."""
        return tuple(self._read)

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
        self._read = [0] * len(requests)
        for attempt in range(ATTEMPTS):
            wanted = [_wanted(request, replies) for request, replies in zip(requests, found, strict=True)]
            if not any(wanted):
                break
            self._ask_all(requests, wanted, found, attempt, progress)
        self._usage += Usage(requests=1, milliseconds=(perf_counter() - started) * 1e3)
        return [[replies[number] for number in sorted(replies)] for replies in found]

    def refuses_functions(self, functions: ActionFunctions) -> str:
        """Ask each server for a few tokens with functions beside them; what one says that does not take them."""
        probe = ProposeRequest(
            (Message("user", "Hello."),),
            1,
            Decoding(max_tokens=PROBE_TOKENS),
            NoiseKey(0, "probe", "0"),
            functions=functions,
            offer_functions=True,
        )
        alone = len(self._pool.servers) == 1
        for server in self._pool.servers:
            try:
                answer = server.ask(Call(probe, [0], 0), ignore_waiting, alone)
            except (UsageError, DataError) as error:
                if not alone and isinstance(error, ServerDownError):
                    continue
                return f"it does not take them: {error.cause}"
            self._usage += Usage(tokens_computed=answer.read + answer.written, requests=1)
        return ""

    def new_notices(self) -> list[Notice]:
        """What the server was found not to take since the last call."""
        return self._notices.take()

    def new_episode(self) -> None:
        """The server looks after its own cache."""

    def close(self) -> None:
        """Close the connections."""
        for server in self._pool.servers:
            server.http.close()

    def _ask_all(
        self,
        requests: Sequence[ProposeRequest],
        wanted: list[list[int]],
        found: list[dict[int, Candidate]],
        attempt: int,
        progress: ProgressHook,
    ) -> None:
        """Send one call for each request (or each reply, where its server knows no `n`), several at a time."""
        jobs = [
            (place, Call(requests[place], part, attempt))
            for place, numbers in enumerate(wanted)
            for part in self._parts(requests[place], numbers)
        ]
        ways = [server.http for server in self._pool.servers]
        answers = ask_all(ways, [call for _, call in jobs], self._ask, progress)
        for (place, call), answer in zip(jobs, answers, strict=True):
            found[place].update(zip(call.numbers, answer.candidates, strict=False))
            self._read[place] = max(self._read[place], answer.read)
            self._usage += Usage(
                tokens_computed=answer.read + answer.written,
                tokens_unique=answer.read + answer.written,
                tokens_generated=answer.written,
                dropped_observations=answer.dropped,
            )
        left = [[k for k in numbers if k not in found[place]] for place, numbers in enumerate(wanted)]
        if any(left) and sum(map(len, left)) < sum(map(len, wanted)):
            self._ask_all(requests, left, found, attempt, progress)
        elif any(left):
            raise DataError(f"{self._base} gave fewer replies than were asked for")

    def _parts(self, request: ProposeRequest, numbers: list[int]) -> list[list[int]]:
        if not numbers:
            return []
        many = self._pool.home(_episode(request)).dialect.many
        return [numbers] if many else [[number] for number in numbers]

    def _ask(self, call: Call, on_wait: WaitHook) -> Answer:
        """Put a call to the server of its episode."""

        def put(server: OpenAIServer, stay: bool) -> Answer:
            return server.ask(call, on_wait, stay)

        return self._pool.ask(_episode(call.request), put, on_wait)


def _load(
    served: ServedSpec[Quirks], key: str, manners: Manners, notices: Notices, clock: Clock | None
) -> tuple[ServerPool[OpenAIServer], list[ServedModel]]:
    """Ask all servers for the model; those that are down are left for later, unless all are.

    Raises:
        UsageError: They do not serve the same model.
        ServerDownError: None answers.
    """
    several = len(served.servers) > 1
    servers = []
    for address in served.servers:
        called = address.url if several else "the server"
        http = HttpClient(address, called=called, key=key, manners=manners, clock=clock)
        servers.append(OpenAIServer(address.url, http, key, served.options, notices))
    found: dict[OpenAIServer, ServedModel] = {}
    failures: dict[OpenAIServer, ServerDownError] = {}
    for server in servers if several else ():
        try:
            found[server] = server.choose_model(served.model, stay=False)
        except ServerDownError as failure:
            failures[server] = failure
    if not found:
        found[servers[0]] = servers[0].choose_model(served.model)
        failures.pop(servers[0], None)
    first, model = next(iter(found.items()))
    for server, other in found.items():
        if other.id != model.id:
            names = f"{first.base} serves {shown_name(model.id)!r}, {server.base} serves {shown_name(other.id)!r}"
            raise UsageError(f"not the same model: {names}", "Put #MODEL behind the addresses, or leave one out.")
    for server, reason in failures.items():
        server.expect(model.id)
        notices.add(f"{reason.cause}; its episodes go to the other servers", once=False)
    pool = ServerPool(servers, notices, manners.patience, clock, down=tuple(failures))
    return pool, list(found.values())


def _episode(request: ProposeRequest) -> str:
    """Whose requests go to the same server; forks share what their parent had."""
    return request.episode or request.noise.task


def _wanted(request: ProposeRequest, replies: dict[int, Candidate]) -> list[int]:
    """Numbers of the candidates that are missing, or whose action is excluded and could be another one."""
    again = request.exclude if request.decoding.temperature > 0 else ()
    return [
        number
        for number in range(request.n)
        if number not in replies or (again and action_of(replies[number].text) in again)
    ]
