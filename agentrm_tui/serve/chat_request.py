"""A chat request, read and checked: what is asked for, in this program's own terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from agentrm_models.messages import Conversation
from agentrm_models.policies.base import Decoding
from agentrm_tui.runs.texts import printable
from agentrm_tui.serve import fields
from agentrm_tui.serve.chat_messages import read_messages
from agentrm_tui.serve.refusals import UNKNOWN_FIELD, Refusal, wrong

DEEPEST = 64
"""Levels of nesting in a body at most."""

MOST_SAMPLES = 256
"""Replies that one request may have sampled, or be given."""

MOST_TOKENS = 1_000_000
MOST_STOPS = 16
_LONGEST_NAME = 512
_LONGEST_INSTRUCTION = 100_000
_SEEDS = 1 << 63

_EXTENSION = ("candidates", "n", "episode", "reward_instruction")


class Defaults(NamedTuple):
    """What a request does not say.

    Attributes:
        model: The name under which the policy is served.
        samples: Replies sampled for each answer.
    """

    model: str
    samples: int
    decoding: Decoding


class ChatRequest(NamedTuple):
    """One request.

    Attributes:
        choices: Replies to answer with, best first.
        samples: Replies to sample and judge; at least `choices`.
        seed: Of the sampling noise, for equal answers to equal requests; None takes the run's.
        space: Conversations are matched only with those of the same space: the client's name for its user or episode.
        episode: The client's own name for the conversation; its requests belong together although their messages may
            not continue each other.
        extended: The client knows this program: the answer says which episode and node it is.
        candidates: Tell all candidates with their scores.
        reward_instruction: What the reward model is told in the place of the system messages; empty for the same.
    """

    messages: Conversation
    choices: int
    samples: int
    decoding: Decoding
    seed: int | None = None
    stream: bool = False
    include_usage: bool = False
    space: str = ""
    episode: str = ""
    extended: bool = False
    candidates: bool = False
    reward_instruction: str = ""


def read_body(data: bytes) -> Mapping[str, Any]:
    """Read a body as a JSON object that is not nested too deeply.

    Raises:
        Refusal: 400.
    """
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON ({str(error)[:200]})", code="invalid_json") from None
    if not isinstance(body, dict):
        raise Refusal(400, "the body must be a JSON object", code="invalid_json")
    level: list[Any] = [body]
    for _ in range(DEEPEST):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return body
    raise Refusal(400, f"the body is nested more than {DEEPEST} levels deep", code="invalid_json")


def read_request(body: Mapping[str, Any], defaults: Defaults, episode: str = "") -> ChatRequest:
    """Read a chat request.

    Args:
        episode: The name that the client gave its conversation in a header.

    Raises:
        Refusal: 400 or 404, naming the field.
    """
    fields.check_names(body)
    _check_model(body, defaults.model)
    extension = _extension(body)
    choices = fields.whole(body, "n", 1, MOST_SAMPLES) or 1
    wanted = fields.whole(extension, "n", 1, MOST_SAMPLES, "agentrm.n") or defaults.samples
    stream = fields.switch(body, "stream")
    named = episode or fields.words(extension, "episode", _LONGEST_NAME, "agentrm.episode") or _metadata(body)
    user = fields.words(body, "user", _LONGEST_NAME)
    return ChatRequest(
        messages=read_messages(body.get("messages")),
        choices=choices,
        samples=max(choices, wanted),
        decoding=_decoding(body, defaults.decoding),
        seed=fields.whole(body, "seed", -_SEEDS, _SEEDS - 1),
        stream=stream,
        include_usage=_stream_options(body, stream),
        space=f"episode {named}" if named else f"user {user}" if user else "",
        episode=printable(named),
        extended="agentrm" in body and body["agentrm"] is not None,
        candidates=fields.switch(extension, "candidates", "agentrm.candidates"),
        reward_instruction=printable(
            fields.words(extension, "reward_instruction", _LONGEST_INSTRUCTION, "agentrm.reward_instruction")
        ),
    )


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _check_model(body: Mapping[str, Any], served: str) -> None:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise wrong("model", f"model must be given; this endpoint serves {served!r}", "missing_required_parameter")
    if model != served:
        message = f"there is no model {model[:200]!r} here; this endpoint serves {served!r}"
        raise Refusal(404, message, "model", "model_not_found")


def _extension(body: Mapping[str, Any]) -> Mapping[str, Any]:
    extension = fields.record(body, "agentrm")
    for name in extension:
        if name not in _EXTENSION:
            message = f"agentrm has the unknown field {name[:80]!r}. It may have {', '.join(_EXTENSION)}"
            raise Refusal(400, message, f"agentrm.{name[:80]}", UNKNOWN_FIELD)
    return extension


def _metadata(body: Mapping[str, Any]) -> str:
    """The client's name for its conversation in `metadata`, which may hold anything else."""
    named = fields.record(body, "metadata").get("episode")
    if named is not None and (not isinstance(named, str) or len(named) > _LONGEST_NAME):
        raise wrong("metadata.episode", f"metadata.episode must be a text of at most {_LONGEST_NAME} characters")
    return named or ""


def _decoding(body: Mapping[str, Any], default: Decoding) -> Decoding:
    temperature = fields.decimal(body, "temperature", 0, 2)
    top_p = fields.decimal(body, "top_p", 0, 1)
    if top_p == 0:
        raise wrong("top_p", "top_p must be above 0; temperature 0 takes the likeliest token")
    names = ("max_completion_tokens", "max_tokens")
    limits = [fields.whole(body, name, 1, MOST_TOKENS) for name in names]
    if None not in limits and limits[0] != limits[1]:
        raise wrong("max_tokens", "max_tokens and max_completion_tokens say different things; leave one out")
    limit = limits[0] if limits[0] is not None else limits[1]
    stop = _stop(body.get("stop"))
    return msgspec.structs.replace(
        default,
        temperature=default.temperature if temperature is None else temperature,
        top_p=default.top_p if top_p is None else top_p,
        max_tokens=default.max_tokens if limit is None else limit,
        stop=stop,
    )


def _stop(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise wrong("stop", "stop must be a text, or a list of texts, that are not empty")
    if len(texts) > MOST_STOPS:
        raise wrong("stop", f"stop has {len(texts)} texts; at most {MOST_STOPS} are read")
    return tuple(texts)


def _stream_options(body: Mapping[str, Any], stream: bool) -> bool:
    options = fields.record(body, "stream_options")
    if options and not stream:
        raise wrong("stream_options", "stream_options is for requests with stream: true")
    for name in options:
        if name not in ("include_usage", "include_obfuscation"):
            raise Refusal(400, f"stream_options has the unknown field {name[:80]!r}", "stream_options", UNKNOWN_FIELD)
    return fields.switch(options, "include_usage", "stream_options.include_usage")
