"""What an OpenAI-compatible server answers, read as leniently as such servers differ: lists of parts, nulls, errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeGuard, TypeVar

import msgspec

from agentrm_models.errors import DataError, UsageError
from agentrm_models.http_failures import TEXT_LIMIT, error_text
from agentrm_models.messages import Call
from agentrm_models.policies.base import Candidate
from agentrm_models.policies.openai_message import ReadMessage, ServedMessage
from agentrm_models.policies.openai_stream import plain_json
from agentrm_models.server_address import without_secrets
from agentrm_models.spelling import did_you_mean, shown_name

Parsed = TypeVar("Parsed")

IMPOSSIBLE = -9_999.0
"""What servers write for a log-probability of minus infinity."""


MOST_TOKENS = 10**9
"""A count beyond it is none."""

WINDOWS = ("max_model_len", "context_length", "context_window", "max_context_length")
"""What servers call the tokens that a model can read."""


class _Choice(msgspec.Struct):
    message: ServedMessage | None = None
    text: object = None
    index: object = None
    logprobs: object = None
    finish_reason: object = None


class _Counts(msgspec.Struct):
    prompt_tokens: object = None
    completion_tokens: object = None
    completion_tokens_details: object = None

    @property
    def reasoning_tokens(self) -> int:
        """Tokens of reasoning, of all choices together; 0 where the server does not tell."""
        details = self.completion_tokens_details
        return _count(details.get("reasoning_tokens")) if isinstance(details, dict) else 0


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: object = None


class ServedModel(NamedTuple):
    """A model that a server lists.

    Attributes:
        window: Tokens that it can read; 0 where the server does not say.
        owner: Whom the server names as its owner: most name themselves.
    """

    id: str
    window: int = 0
    owner: str = ""


class _Error(msgspec.Struct):
    error: msgspec.Raw


class Answer(NamedTuple):
    """Candidates of one request, the tokens that the server says it read and wrote, and the observations left out.

    Attributes:
        calls: Of functions, for each candidate.
    """

    candidates: list[Candidate]
    read: int
    written: int
    dropped: int = 0
    calls: tuple[tuple[Call, ...], ...] = ()


def read_completion(content: bytes, server: str, key: str = "") -> Answer:
    """The candidates of a chat completion, in the order of their numbers.

    Raises:
        DataError: The answer is an error in spite of its status (its text is told), or nothing of the kind.
    """
    completion = _decode(plain_json(content), _Completion, server, key)
    counts = msgspec.convert(completion.usage, _Counts) if isinstance(completion.usage, dict) else _Counts()
    choices = sorted(completion.choices, key=lambda choice: _count(choice.index))
    read, written = _count(counts.prompt_tokens), _count(counts.completion_tokens)
    each = max(1, len(choices))
    messages = [_message(choice) for choice in choices]
    candidates = [
        _candidate(choice, message, written // each, counts.reasoning_tokens // each)
        for choice, message in zip(choices, messages, strict=True)
    ]
    return Answer(candidates, read, written, calls=tuple(message.calls for message in messages))


def read_models(content: bytes, server: str, key: str = "") -> list[ServedModel]:
    """The models that a server lists, in a record or as a bare list; raises as `read_completion`."""
    found: object = _decode(content, object, server, key)
    rows = next((found[name] for name in ("data", "models") if name in found), None) if _is_record(found) else found
    if not isinstance(rows, list):
        _decode(content, _Completion, server, key)
        raise DataError(f"{server} does not list its models", "Put #MODEL&list=no behind the address.")
    return [model for row in rows if (model := _model(row)) is not None]


def find_model(models: Sequence[ServedModel], name: str, server: str) -> ServedModel:
    """The model of a name among those that a server lists, or the only one where no name is given.

    Raises:
        UsageError: There is no such model, or there are several and no name.
    """
    for model in models:
        if model.id == name or (not name and len(models) == 1):
            return model
    if not name:
        names = ", ".join(shown_name(model.id) for model in models[:8])
        raise UsageError(f"{server} serves several models", f"Put #MODEL behind the address: {names}.")
    remedy = did_you_mean(name, [model.id for model in models], "It serves")
    raise UsageError(f"{server} has no model {shown_name(name)!r}", remedy)


def _is_record(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _model(row: object) -> ServedModel | None:
    """An entry of a list: a record with an id or a name, or the name alone."""
    if isinstance(row, str):
        return ServedModel(row)
    if not _is_record(row):
        return None
    name = next((value for key in ("id", "name", "model") if isinstance(value := row.get(key), str) and value), "")
    window = next(filter(None, (_count(row.get(key)) for key in WINDOWS)), 0)
    owner = row.get("owned_by")
    return ServedModel(name, window, owner if isinstance(owner, str) else "") if name else None


def _message(choice: _Choice) -> ReadMessage:
    text = choice.text if isinstance(choice.text, str) else None
    return (choice.message or ServedMessage(content=text)).read()


def _candidate(choice: _Choice, message: ReadMessage, words: int, reasoned: int) -> Candidate:
    """A reply; its log-probability is unknown where that of one token is."""
    tokens = _log_probabilities(choice.logprobs)
    known = [value for value in tokens if isinstance(value, int | float) and value > IMPOSSIBLE]
    total = sum(known) if known and len(known) == len(tokens) else math.nan
    cut = message.cut(reasoned) if choice.finish_reason == "length" else ""
    return Candidate(message.text, total, len(tokens) or words, "policy", message.reasoning, reasoned, cut)


def _log_probabilities(found: object) -> list[object]:
    """What is said of each token: in a list of records, or in one of numbers."""
    rows = (found.get("content") or found.get("token_logprobs")) if _is_record(found) else found
    return [row.get("logprob") if _is_record(row) else row for row in rows] if isinstance(rows, list) else []


def _count(value: object) -> int:
    """A number of tokens, also written as text; what is none counts as 0."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value[:20])
    return int(value) if isinstance(value, int | float) and 0 <= value <= MOST_TOKENS else 0


def _decode(content: bytes, kind: type[Parsed], server: str, key: str) -> Parsed:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        cause = f"{server} gave an answer that cannot be read: {str(error)[:120]}"
    try:
        msgspec.json.decode(content, type=_Error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise DataError(cause, "Is it an OpenAI-compatible server?") from None
    raise DataError(f"{server} failed: {without_secrets(error_text(content), key)[:TEXT_LIMIT]}")
