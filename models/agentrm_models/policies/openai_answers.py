"""What an OpenAI-compatible server answers, read as leniently as such servers differ: lists of parts, nulls, errors."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import msgspec

from agentrm_models.errors import DataError
from agentrm_models.http_failures import TEXT_LIMIT, error_text
from agentrm_models.policies.base import Candidate
from agentrm_models.policies.openai_message import ServedMessage
from agentrm_models.policies.openai_stream import plain_json
from agentrm_models.server_address import without_secrets

Parsed = TypeVar("Parsed")

IMPOSSIBLE = -9_999.0
"""What servers write for a log-probability of minus infinity."""


class _TokenInfo(msgspec.Struct):
    logprob: float | None = None


class _LogProbabilities(msgspec.Struct):
    content: list[_TokenInfo] | None = None


class _Choice(msgspec.Struct):
    message: ServedMessage
    index: int | None = None
    logprobs: _LogProbabilities | None = None
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
    usage: _Counts | None = None


class ServedModel(msgspec.Struct):
    """A model that a server lists."""

    id: str
    max_model_len: int | None = None


class _ModelList(msgspec.Struct):
    data: list[ServedModel]


class _Error(msgspec.Struct):
    error: msgspec.Raw


class Answer(NamedTuple):
    """Candidates of one call, the tokens that the server says it read and wrote, and the observations left out."""

    candidates: list[Candidate]
    read: int
    written: int
    dropped: int = 0


def read_completion(content: bytes, server: str, key: str = "") -> Answer:
    """The candidates of a chat completion, in the order of their numbers.

    Raises:
        DataError: The answer is an error in spite of its status (its text is told), or nothing of the kind.
    """
    completion = _decode(plain_json(content), _Completion, server, key)
    counts = completion.usage or _Counts()
    choices = sorted(completion.choices, key=lambda choice: choice.index or 0)
    read, written = _count(counts.prompt_tokens), _count(counts.completion_tokens)
    each = max(1, len(choices))
    candidates = [_candidate(choice, written // each, counts.reasoning_tokens // each) for choice in choices]
    return Answer(candidates, read, written)


def read_models(content: bytes, server: str, key: str = "") -> list[ServedModel]:
    """The models that a server lists, in a record or as a bare list; raises as `read_completion`."""
    if content.lstrip().startswith(b"["):
        return _decode(content, list[ServedModel], server, key)
    return _decode(content, _ModelList, server, key).data


def _candidate(choice: _Choice, words: int, reasoned: int) -> Candidate:
    """A reply; its log-probability is unknown where that of one token is."""
    tokens = (choice.logprobs.content if choice.logprobs else None) or []
    values = [value for token in tokens if (value := token.logprob) is not None and value > IMPOSSIBLE]
    total = sum(values) if values and len(values) == len(tokens) else float("nan")
    message = choice.message.read()
    cut = message.cut(reasoned) if choice.finish_reason == "length" else ""
    return Candidate(message.text, total, len(tokens) or words, "policy", message.reasoning, reasoned, cut)


def _count(value: object) -> int:
    """A number of tokens; what is none counts as 0."""
    return max(0, int(value)) if isinstance(value, int | float) and math.isfinite(value) else 0


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
