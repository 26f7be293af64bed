"""One OpenAI-compatible server: its models, and one request, put again as the server wants it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from agentrm_models.errors import DataError, UsageError
from agentrm_models.http import HttpClient, WaitHook
from agentrm_models.http_failures import ServerDownError, StatusError
from agentrm_models.messages import goal_length, without_first_demonstration, without_older_half
from agentrm_models.notices import Notices
from agentrm_models.policies.base import Candidate, ProposeRequest
from agentrm_models.policies.openai_answers import Answer, ServedModel, find_model, read_completion, read_models
from agentrm_models.policies.openai_calls import read_calls
from agentrm_models.policies.openai_dialect import Call, Dialect
from agentrm_models.policies.openai_refusals import Meaning, may_be_window
from agentrm_models.policies.openai_text import as_text, own_turn
from agentrm_models.policies.server_quirks import Quirks
from agentrm_models.replies import OBSERVATION
from agentrm_models.server_address import KEY_VARIABLE, SEND_KEY, is_key_withheld

NO_LIST = frozenset({400, 403, 404, 405, 406, 415, 422, 501})
"""Statuses of servers that do not list their models, or not to everybody."""

STUMBLE, STUMBLES = 500, 2
"""A status that most often says nothing, and how often a request is put again after it."""

_WORDS = 80

LOOK_SECONDS = 10.0
"""Within which one of several servers has to say which models it has."""

_PATHS = {"chat": "/chat/completions", "completions": "/completions"}


class OpenAIServer:
    """A server, and how it wants to be asked.

    Args:
        base: Its address, for messages.
        http: The way to it.
        key: Never shown, also where the server repeats it.
        notices: Told what the server does not take.
    """

    def __init__(self, base: str, http: HttpClient, key: str, quirks: Quirks, notices: Notices) -> None:
        withheld = is_key_withheld(KEY_VARIABLE)
        self._key_remedy = f"The key is withheld; {SEND_KEY}." if withheld else f"Set {KEY_VARIABLE}."
        self.base = base
        self.http = http
        self.dialect = Dialect(base, quirks, notices)
        self._key = key
        self._notices = notices
        self._has_list = quirks.list == "yes"
        self._text = quirks.api == "completions"
        self._path = _PATHS[quirks.api]
        self._model = ""

    def choose_model(self, name: str, *, stay: bool = True) -> ServedModel:
        """The model of a name, or the only one; `look` checks for the same one later.

        Args:
            stay: Wait for a server that is still loading.

        Raises:
            UsageError: There is no such model, or several and no name.
            DataError: The server cannot be reached, serves no model, or does not answer with a list.
        """
        model = self._choose_model(name, stay)
        self._model = model.id
        self.dialect.know(model.owner)
        return model

    def look(self) -> None:
        """See whether the server answers and has the model; raises as `choose_model`."""
        if self._has_list:
            self.choose_model(self._model, stay=False)
            return
        try:
            self.http.get("/models", answer_seconds=LOOK_SECONDS, stay=False)
        except StatusError as refusal:
            if refusal.status >= 500:
                raise self.meaning(refusal, "/models") from None

    def expect(self, model: str) -> None:
        """The model that this server has to have."""
        self._model = model

    def _choose_model(self, name: str, stay: bool) -> ServedModel:
        models = self._list_models(name, stay)
        if not models:
            raise DataError(f"{self.base} serves no model")
        return find_model(models, name, self.base)

    def ask(self, call: Call, on_wait: WaitHook, stay: bool = True) -> Answer:
        """Put one request; where the server minds a parameter or the length, put it again without.

        Args:
            stay: Wait for a server that is down.

        Raises:
            UsageError: The server refuses the request for another reason.
            ServerDownError: The server cannot be reached, is silent, or fails.
            DataError: It gives something else than the expected JSON.
        """
        dropped, stumbles, model = 0, 0, self._model

        def post(body: dict[str, Any]) -> bytes:
            written = as_text(body) if self._text else body
            return self.http.post(self._path, written, on_wait, repeatable=True, stay=stay)

        while True:
            body = self.dialect.body(model, call)
            try:
                return self._read(post(body), body, call)._replace(dropped=dropped)
            except StatusError as refusal:
                meaning = self.dialect.learn(refusal, body, call.request.decoding)
                if self.dialect.body(model, call) != body:
                    continue
                guessed = meaning == Meaning() and self.dialect.took_the_like_of(body) and may_be_window(refusal)
                shorter = _shortened(call.request) if meaning.window or guessed else call.request
                if gone := len(call.request.conversation) - len(shorter.conversation):
                    dropped += gone // 2
                    call = call._replace(request=shorter)
                    continue
                found = self._search(refusal, body, call, post)
                if found is not None:
                    return found._replace(dropped=dropped)
                if self.dialect.body(model, call) != body:
                    continue
                if refusal.status != STUMBLE or refusal.hidden or not stay or stumbles == STUMBLES:
                    raise self.meaning(refusal, self._path) from None
                stumbles += 1
                self.http.rest(stumbles, f"{refusal.status} {refusal.text[:_WORDS]}", on_wait)

    def meaning(self, refusal: StatusError, path: str) -> UsageError | DataError:
        """What an error status means here."""
        match refusal.status:
            case 401 | 403:
                return UsageError(f"{self.base} refuses the key: {refusal.text}", self._key_remedy)
            case 404:
                remedy = "Look at #MODEL." if "model" in refusal.text.lower() else "It usually ends in /v1."
                return UsageError(f"{self.base}{path} was not found: {refusal.text}", remedy)
            case 400 | 413 | 422:
                base = "chat template" in refusal.text.lower() and not self._text
                remedy = "For a base model, put &api=completions behind the address." if base else ""
                return UsageError(f"{self.base} refuses the request: {refusal.text}", remedy)
            case status:
                how = "" if refusal.hidden else f" with status {status}"
                kind = ServerDownError if status >= 500 else DataError
                return kind(f"{self.base} failed{how}: {refusal.text}", refusal.remedy)

    def _read(self, content: bytes, body: dict[str, Any], call: Call) -> Answer:
        """The candidates; an observation that the model invents is cut off where the server did not stop there."""
        answer = read_completion(content, self.base, self._key)
        self.dialect.accept(body)
        if len(answer.candidates) < len(call.numbers) and "n" in body:
            self.dialect.give_one_each()
        if "logprobs" in body and any(math.isnan(candidate.log_probability) for candidate in answer.candidates):
            self._notices.add(f"{self.base} leaves out log-probabilities, so those of some replies are unknown")
        if self._text:
            answer = answer._replace(candidates=[own_turn(candidate) for candidate in answer.candidates])
        if not call.request.whole_turn:
            answer = answer._replace(candidates=[_cut(candidate) for candidate in answer.candidates])
        return read_calls(answer, call.request, self.base, self._notices)

    def _search(
        self, refusal: StatusError, body: dict[str, Any], call: Call, post: Callable[[dict[str, Any]], bytes]
    ) -> Answer | None:
        """Find out which parameter is refused that the server does not name; one thread does so for all."""
        with self.dialect.searching:
            if self.dialect.body(self._model, call) != body:
                return None
            content = self.dialect.search(refusal, body, call, post)
        return None if content is None else self._read(content, self.dialect.body(self._model, call), call)

    def _list_models(self, name: str, stay: bool) -> list[ServedModel]:
        """What the server serves; a named model needs no list, where the server has none."""
        if not self._has_list:
            return [ServedModel(name)]
        try:
            content = self.http.get("/models", answer_seconds=None if stay else LOOK_SECONDS, stay=stay)
            models = read_models(content, self.base, self._key)
            return models or [ServedModel(name)] * bool(name)
        except StatusError as refusal:
            if name and refusal.status in NO_LIST:
                return [ServedModel(name)]
            raise self.meaning(refusal, "/models") from None


def _cut(candidate: Candidate) -> Candidate:
    """A reply up to the observation that its model invents; how likely that part is nobody has told."""
    text, observation, _ = candidate.text.partition(OBSERVATION)
    return candidate._replace(text=text, log_probability=math.nan) if observation else candidate


def _shortened(request: ProposeRequest) -> ProposeRequest:
    """Without the older half of the steps after the goal, then without demonstrations, then as it is."""
    conversation, shown = request.conversation, request.demonstrations
    conversation = without_older_half(conversation, goal_length(conversation, shown))
    if conversation == request.conversation and shown:
        conversation, shown = without_first_demonstration(conversation, shown)
    return msgspec.structs.replace(request, conversation=conversation, demonstrations=shown)
