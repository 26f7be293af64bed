"""The fields of a chat request: which are read, which change nothing, and which are refused unless they say nothing.

Names and meanings are those of OpenAI's chat completions, with what vLLM and llama-server take beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from agentrm_models.spelling import did_you_mean
from agentrm_tui.serve.refusals import UNKNOWN_FIELD, UNSUPPORTED, Refusal, wrong

READ = (
    "model",
    "messages",
    "n",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "seed",
    "stream",
    "stream_options",
    "user",
    "metadata",
    "agentrm",
)

CHANGES_NOTHING = (
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "parallel_tool_calls",
    "user_id",
)
"""Taken at any value: no reply depends on them."""


class Neutral(NamedTuple):
    """A field that is not served.

    Attributes:
        values: Those that ask for nothing; null is always among them.
        instead: What would do, where something would.
    """

    values: tuple[Any, ...] = ()
    instead: str = ""


_NO_TOOLS = "This endpoint answers with text: describe the tools in a message, and read the call from the reply."

NOT_SERVED: dict[str, Neutral] = {
    "frequency_penalty": Neutral((0,)),
    "presence_penalty": Neutral((0,)),
    "repetition_penalty": Neutral((1,)),
    "logit_bias": Neutral(({},)),
    "logprobs": Neutral(
        (False, 0), 'Sums are told for each candidate: put "agentrm": {"candidates": true} into the body.'
    ),
    "top_logprobs": Neutral((0,)),
    "prompt_logprobs": Neutral((0, False)),
    "top_k": Neutral((0, -1)),
    "min_p": Neutral((0,)),
    "typical_p": Neutral((1,)),
    "min_tokens": Neutral((0,)),
    "best_of": Neutral((1,), 'Put "agentrm": {"n": N} into the body: the reward model chooses among N.'),
    "tools": Neutral(([],), _NO_TOOLS),
    "tool_choice": Neutral(("none", "auto"), _NO_TOOLS),
    "functions": Neutral(([],), _NO_TOOLS),
    "function_call": Neutral(("none", "auto"), _NO_TOOLS),
    "response_format": Neutral(({"type": "text"},)),
    "guided_json": Neutral(),
    "guided_regex": Neutral(),
    "guided_choice": Neutral(),
    "guided_grammar": Neutral(),
    "structured_outputs": Neutral(),
    "modalities": Neutral((["text"],)),
    "audio": Neutral(),
    "prediction": Neutral(),
    "web_search_options": Neutral(),
    "reasoning_effort": Neutral(("none",)),
    "reasoning": Neutral(({},)),
    "thinking": Neutral(({"type": "disabled"},)),
    "verbosity": Neutral(("medium",)),
    "chat_template": Neutral(),
    "chat_template_kwargs": Neutral(({},)),
    "echo": Neutral((False,)),
    "add_generation_prompt": Neutral((True,)),
    "continue_final_message": Neutral((False,)),
    "ignore_eos": Neutral((False,)),
    "skip_special_tokens": Neutral((True,)),
    "stop_token_ids": Neutral(([],)),
    "use_beam_search": Neutral((False,)),
}


def check_names(body: Mapping[str, Any]) -> None:
    """Refuse fields that nobody here reads.

    Raises:
        Refusal: 400, naming the first such field.
    """
    for name, value in body.items():
        if name in READ or name in CHANGES_NOTHING or value is None:
            continue
        neutral = NOT_SERVED.get(name)
        if neutral is None:
            near = did_you_mean(name, [*READ, *NOT_SERVED], listed_as="")
            raise Refusal(400, _sentence(f"unknown field {name[:80]!r}", near), name[:80], UNKNOWN_FIELD)
        if not any(_same(value, one) for one in neutral.values):
            raise Refusal(400, _sentence(f"{name} is not served here", neutral.instead), name, UNSUPPORTED)


def whole(body: Mapping[str, Any], name: str, low: int, high: int, place: str = "") -> int | None:
    """A whole number between two limits; None where the field is absent or null.

    Raises:
        Refusal: 400, it is something else.
    """
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(place or name, f"{place or name} must be a whole number from {low} to {high}")
    return value


def decimal(body: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    """A number between two limits, both allowed; None where the field is absent or null.

    Raises:
        Refusal: 400, it is something else.
    """
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise wrong(name, f"{name} must be a number")
    if not low <= value <= high:
        raise wrong(name, f"{name} must be between {low:g} and {high:g}")
    return float(value)


def switch(body: Mapping[str, Any], name: str, place: str = "") -> bool:
    """A boolean; false where the field is absent or null.

    Raises:
        Refusal: 400, it is something else.
    """
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong(place or name, f"{place or name} must be true or false")
    return bool(value)


def words(body: Mapping[str, Any], name: str, most: int, place: str = "") -> str:
    """A text of at most so many characters; empty where the field is absent or null.

    Raises:
        Refusal: 400, it is something else.
    """
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most:
        raise wrong(place or name, f"{place or name} must be a text of at most {most:,} characters")
    return value


def record(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object; empty where the field is absent or null.

    Raises:
        Refusal: 400, it is something else.
    """
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise wrong(name, f"{name} must be an object")
    return value or {}


def _same(value: Any, neutral: Any) -> bool:
    return isinstance(value, bool) == isinstance(neutral, bool) and bool(value == neutral)


def _sentence(cause: str, remedy: str) -> str:
    return f"{cause}. {remedy}" if remedy else cause
