"""Answers in the form of OpenAI's chat completions: one object, or chunks of a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from agentrm_tui.serve.chat_request import ChatRequest
from agentrm_tui.serve.replies import Guided, Judged

EXTENSION = "agentrm"
"""The field beside OpenAI's own, in requests and in answers."""


class Envelope(NamedTuple):
    """What is the same in all parts of an answer.

    Attributes:
        created: Seconds since 1970.
        fingerprint: Identity of the weights.
    """

    id: str
    created: int
    model: str
    fingerprint: str

    def wrap(self, kind: str, **fields: Any) -> dict[str, Any]:
        """An object of this answer."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint or None,
            **fields,
        }


def completion(envelope: Envelope, request: ChatRequest, guided: Guided) -> dict[str, Any]:
    """The whole answer."""
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": reply.text, "refusal": None, **_reasoning(reply)},
            "logprobs": None,
            "finish_reason": reply.ending,
        }
        for index, reply in enumerate(guided.chosen)
    ]
    extension = {EXTENSION: told(request, guided)} if request.extended else {}
    return envelope.wrap("chat.completion", choices=choices, usage=usage(guided), **extension)


def opening(envelope: Envelope, request: ChatRequest) -> dict[str, Any]:
    """The first chunk, which is sent before anything is known."""
    delta = {"role": "assistant", "content": ""}
    choices = [_part(index, delta) for index in range(request.choices)]
    return _chunk(envelope, request, choices)


def chunks(envelope: Envelope, request: ChatRequest, guided: Guided) -> Iterator[dict[str, Any]]:
    """The chunks after the first: a reply is whole once it is chosen, so each comes in one piece."""
    for index, reply in enumerate(guided.chosen):
        if reply.reasoning:
            yield _chunk(envelope, request, [_part(index, _reasoning(reply))])
        if reply.text:
            yield _chunk(envelope, request, [_part(index, {"content": reply.text})])
    last = len(guided.chosen) - 1
    for index, reply in enumerate(guided.chosen):
        extension = {EXTENSION: told(request, guided)} if request.extended and index == last else {}
        yield _chunk(envelope, request, [_part(index, {}, reply.ending)], **extension)
    if request.include_usage:
        yield envelope.wrap("chat.completion.chunk", choices=[], usage=usage(guided))


def usage(guided: Guided) -> dict[str, Any]:
    """Tokens of the messages and of the replies in the answer; what the others cost is told beside the candidates."""
    prompt = guided.prompt_tokens or 0
    written = sum(reply.tokens for reply in guided.chosen)
    reasoned = sum(reply.reasoning_tokens for reply in guided.chosen)
    details = {"completion_tokens_details": {"reasoning_tokens": reasoned}} if reasoned else {}
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written, **details}


def told(request: ChatRequest, guided: Guided) -> dict[str, Any]:
    """What this program knows beside the reply; all candidates where they were asked for."""
    known: dict[str, Any] = {
        "run": guided.run,
        "episode": guided.episode,
        "node": guided.chosen[0].node,
        "reward": guided.chosen[0].reward,
        "samples": sum(reply.samples for reply in guided.replies),
        "sampled_tokens": guided.sampled_tokens,
    }
    if request.candidates:
        known["candidates"] = [
            _candidate(reply, [index for index, place in enumerate(guided.choices) if place == number])
            for number, reply in enumerate(guided.replies)
        ]
    return known


def _candidate(reply: Judged, choices: list[int]) -> dict[str, Any]:
    return {
        "node": reply.node,
        "content": reply.text,
        **_reasoning(reply),
        "reward": reply.reward,
        "margin": reply.margin,
        "chosen": 0 in choices,
        "choices": choices,
        "samples": reply.samples,
        "tokens": reply.tokens,
        "log_probability": reply.log_probability,
        "finish_reason": reply.ending,
    }


def _reasoning(reply: Judged) -> dict[str, str]:
    """Reasoning apart from the reply, under the name that vLLM and others gave it."""
    return {"reasoning_content": reply.reasoning} if reply.reasoning else {}


def _part(index: int, delta: dict[str, Any], ending: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": ending}


def _chunk(envelope: Envelope, request: ChatRequest, choices: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    counted = {"usage": None} if request.include_usage else {}
    return envelope.wrap("chat.completion.chunk", choices=choices, **counted, **fields)
