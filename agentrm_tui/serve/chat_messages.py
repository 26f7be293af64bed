"""The messages of a chat request: roles and content parts, read into a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentrm_models.messages import Conversation, Message, Role
from agentrm_tui.runs.texts import printable
from agentrm_tui.serve.refusals import UNKNOWN_FIELD, UNSUPPORTED, Refusal, wrong

MOST_MESSAGES = 2_048
"""Messages of one request at most."""

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "user",
    "function": "user",
}
"""The role that models are given. What a tool returned is told them as a user's message."""

_SAY_NOTHING = frozenset({"role", "content", "name", "tool_call_id", "refusal", "annotations"})
"""Fields of a message beside its text, which no chat template here is given."""

_REASONING = frozenset({"reasoning", "reasoning_content"})
"""Earlier reasoning is not repeated in the history."""

_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})


def read_messages(value: Any) -> Conversation:
    """Read the field `messages`.

    Raises:
        Refusal: 400; its `param` says which message, and what of it, is wrong.
    """
    if not isinstance(value, list) or not value:
        raise wrong("messages", "messages must be a list that is not empty")
    if len(value) > MOST_MESSAGES:
        raise wrong("messages", f"messages has {len(value):,} entries; at most {MOST_MESSAGES:,} are read")
    conversation = tuple(_message(entry, f"messages[{number}]") for number, entry in enumerate(value))
    if conversation[-1].role == "assistant":
        place = f"messages[{len(value) - 1}]"
        raise wrong(place, f"{place} is the assistant's: a reply is not continued. End with a user or tool message")
    return conversation


def _message(entry: Any, place: str) -> Message:
    if not isinstance(entry, Mapping):
        raise wrong(place, f"{place} must be an object")
    name = entry.get("role")
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise wrong(f"{place}.role", f"{place}.role must be one of {', '.join(_ROLES)}")
    for field, said in entry.items():
        if field in _SAY_NOTHING or field in _REASONING or not said:
            continue
        if field in ("tool_calls", "function_call"):
            raise Refusal(
                400,
                f"{place}.{field} is not served here. Put the call into the message's content",
                f"{place}.{field}",
                UNSUPPORTED,
            )
        raise Refusal(400, f"{place} has the unknown field {field[:80]!r}", f"{place}.{field[:80]}", UNKNOWN_FIELD)
    return Message(role, printable(_content(entry.get("content"), f"{place}.content", role)))


def _content(value: Any, place: str, role: Role) -> str:
    if isinstance(value, str):
        return value
    if value is None and role == "assistant":
        return ""
    if not isinstance(value, list):
        raise wrong(place, f"{place} must be a text or a list of parts")
    return "\n".join(_part(part, f"{place}[{number}]") for number, part in enumerate(value))


def _part(part: Any, place: str) -> str:
    if not isinstance(part, Mapping):
        raise wrong(place, f"{place} must be an object")
    kind = part.get("type")
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return str(part["refusal"])
    if kind not in _TEXT_PARTS:
        raise Refusal(400, f"{place}.type must be text: nothing else is read", f"{place}.type", UNSUPPORTED)
    text = part.get("text")
    if not isinstance(text, str):
        raise wrong(f"{place}.text", f"{place}.text must be a text")
    return text
