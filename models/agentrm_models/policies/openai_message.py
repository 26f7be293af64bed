"""What one message of an OpenAI-compatible server says: its text, and the reasoning that servers tell in many ways."""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from agentrm_models.messages import Call
from agentrm_models.policies.base import Cut
from agentrm_models.reasoning import split_reasoning
from agentrm_models.replies import reply_end

DEEPEST = 4
"""Lists and records in which a text may lie."""

_TEXT_KEYS = ("text", "thinking", "reasoning", "content", "summary")
_Kind: TypeAlias = Literal["text", "reasoning", "other"]
_KINDS: dict[str, _Kind] = {
    "text": "text",
    "output_text": "text",
    "thinking": "reasoning",
    "reasoning": "reasoning",
    "reasoning_text": "reasoning",
}


class ReadMessage(NamedTuple):
    """A message as a reply and what was reasoned before it.

    Attributes:
        open: Reasoning was begun and never ended.
        calls: Of functions, in their order.
    """

    text: str
    reasoning: str
    open: bool
    calls: tuple[Call, ...] = ()

    def cut(self, reasoned: int) -> Cut:
        """Where a limit of tokens ended it, for a message of which the server says that one did.

        Args:
            reasoned: Tokens of reasoning, where the server tells how many but not which.
        """
        if self.open or (not self.text.strip() and (self.reasoning or reasoned)):
            return "reasoning"
        return "reply" if reply_end(self.text) is None else ""


class ServedMessage(msgspec.Struct):
    """A message as servers write it; whatever is no text counts as none.

    Attributes:
        content: A text, or parts with a type.
        tool_calls, function_call: Calls, and the one call of servers of 2023.
        reasoning_content, reasoning, thinking, reasoning_details: Fields in which servers tell reasoning apart.
    """

    content: str | list[dict[str, Any] | str] | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    thinking: Any = None
    reasoning_details: Any = None
    tool_calls: Any = None
    function_call: Any = None

    def read(self) -> ReadMessage:
        """Take reasoning out, whichever way it is told."""
        split = split_reasoning(self._written("text"))
        fields = (self.reasoning_content, self.reasoning, self.thinking, self.reasoning_details)
        field = next((text for each in fields if (text := _flat(each).strip())), "")
        parts = [part for part in (field or self._written("reasoning").strip(), split.reasoning) if part]
        return ReadMessage(split.reply, "\n\n".join(parts), split.open is not None, self._calls())

    def _calls(self) -> tuple[Call, ...]:
        listed = self.tool_calls if isinstance(self.tool_calls, list) else []
        records = [each.get("function") or each for each in listed if isinstance(each, dict)]
        calls = [_call(record) for record in (records or [self.function_call])]
        return tuple(call for call in calls if call is not None)

    def _written(self, kind: _Kind) -> str:
        if not isinstance(self.content, list):
            return (self.content or "") if kind == "text" else ""
        parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in self.content]
        return "".join(_flat(part) for part in parts if _KINDS.get(str(part.get("type", "text")), "other") == kind)


def _call(record: Any) -> Call | None:
    """A call; its arguments are JSON as a text, or, on some servers, the record itself."""
    if not isinstance(record, dict) or not isinstance(record.get("name"), str):
        return None
    arguments = record.get("arguments")
    if isinstance(arguments, str):
        return Call(record["name"], arguments)
    return Call(record["name"], json.dumps({} if arguments is None else arguments, ensure_ascii=False))


def _flat(value: Any, depth: int = DEEPEST) -> str:
    """The text in what stands where a text is expected: itself, a list of parts, or a record that holds it."""
    if isinstance(value, str):
        return value
    if not depth:
        return ""
    if isinstance(value, list):
        return "".join(_flat(each, depth - 1) for each in value)
    if isinstance(value, dict):
        return next((text for key in _TEXT_KEYS if (text := _flat(value.get(key), depth - 1))), "")
    return ""
