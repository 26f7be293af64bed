"""Base models behind servers: the conversation as one text for `/completions`, for models without a chat template.

The text is that of local models without a template (`chat.PLAIN_TEMPLATE`), up to the tokens that only a tokenizer
knows.
"""

from __future__ import annotations

import math
from typing import Any

from agentrm_models.errors import UsageError
from agentrm_models.policies.base import Candidate

TURNS = ("\nUser:", "\nSystem:")
"""Where the model begins to play the others: a reply ends before it."""


def as_text(body: dict[str, Any]) -> dict[str, Any]:
    """A request for a chat completion as one for a completion.

    Raises:
        UsageError: It offers functions.
    """
    if "tools" in body:
        raise UsageError("functions cannot be offered with api=completions", "Use --actions text.")
    told = "".join(f"{message['role'].capitalize()}: {message['content']}\n" for message in body["messages"])
    text = {name: value for name, value in body.items() if name != "messages"} | {"prompt": f"{told}Assistant:"}
    if "logprobs" in text:
        text["logprobs"] = 1
    if "stop" in text:
        text["stop"] = [*text["stop"], *TURNS]
    return text


def own_turn(reply: Candidate) -> Candidate:
    """What of a completion is the model's own turn; how likely a part of it is nobody has told."""
    ends = [place for turn in TURNS if (place := reply.text.find(turn)) >= 0]
    text = reply.text[: min(ends, default=len(reply.text))].strip(" ")
    return reply._replace(text=text, log_probability=math.nan if ends else reply.log_probability)
