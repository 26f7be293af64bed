"""Messages as chat templates and servers take them: records, calls with ids among them."""

from __future__ import annotations

import json
from typing import Any, Literal

from agentrm_models.functions import plain_arguments
from agentrm_models.messages import Call, Conversation

Form = Literal["record", "text"]
"""How a call's arguments are written: most templates want a record, servers and some templates JSON as a text."""


def message_rows(conversation: Conversation, form: Form) -> list[dict[str, Any]]:
    """One record for each message.

    Calls are numbered in their order; their ids have nine letters and digits, which is what Mistral's templates want.
    """
    rows: list[dict[str, Any]] = []
    number = 0
    for message in conversation:
        row: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.call is not None:
            if message.role == "assistant":
                number += 1
                row["tool_calls"] = [_call_row(message.call, _id(number), form)]
            else:
                row |= {"name": message.call.name, "tool_call_id": _id(number)}
        rows.append(row)
    return rows


def _id(number: int) -> str:
    return f"call{number:05d}"


def _call_row(call: Call, name: str, form: Form) -> dict[str, Any]:
    written = plain_arguments(call)
    arguments = written if form == "text" else json.loads(written)
    return {"id": name, "type": "function", "function": {"name": call.name, "arguments": arguments}}
