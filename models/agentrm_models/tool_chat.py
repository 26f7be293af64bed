"""Conversations with functions as token ids: a model's own chat template renders tools, calls and their results."""

from __future__ import annotations

import json
from typing import Any

from agentrm_models.call_rows import Form, message_rows
from agentrm_models.chat import ChatEncoder
from agentrm_models.control_tokens import control_tokens
from agentrm_models.functions import ActionFunctions, Function, plain_arguments
from agentrm_models.messages import Call, Conversation, Message
from agentrm_models.tool_calls import CALL_TOKENS, CLOSING

_ARGUMENT, _RESULT = "probe-argument", "probe-result"


class ToolChatEncoder(ChatEncoder):
    """An encoder that gives a chat template functions, and histories their calls.

    Whatever a model, a person or an environment wrote, calls included, is encoded as plain characters.

    Args:
        plain: The encoder of the same model without functions.
        functions: What is offered.

    Attributes:
        refusal: Why the template cannot be used for calls; empty where it can.
        offered: The functions.
    """

    TEMPLATE_NAMES = ("tool_use", "default")

    def __init__(self, plain: ChatEncoder, functions: ActionFunctions) -> None:
        self.offered: tuple[Function, ...] = functions.offered
        self._tools: list[dict[str, Any]] | None = None
        self._form: Form = "record"
        self._closes: dict[int, bool] = {}
        super().__init__(plain.tokenizer, plain.stop_ids)
        kept = {*self.stop_ids, self.tokenizer.eos_token_id}
        tokens = control_tokens(self.tokenizer)
        self._own_marks = {k: text for k, text in tokens.items() if k not in kept and CALL_TOKENS.search(text)}
        self._marks = {**self._own_marks, **self._marks}
        self.refusal = self._try_forms(functions)

    def closes_call(self, token: int) -> bool:
        """Whether a call may end with this token."""
        known = self._closes.get(token)
        if known is None:
            known = self._closes[token] = not CLOSING.isdisjoint(self.marked_text([token]))
        return known

    def without_marks(self, text: str) -> str:
        """A reply that holds no call, without the control tokens that were kept to find one."""
        for mark in self._own_marks.values():
            text = text.replace(mark, "")
        return text

    def _try_forms(self, functions: ActionFunctions) -> str:
        """Find the form in which the template takes arguments; says what it lacks."""
        opening = (Message("system", "s"), Message("user", "u"))
        before = self._try_render(self._merge_system(opening), True)
        self._tools = functions.tools
        offered = self._try_render(self._merge_system(opening), True)
        name = functions.offered[0].name
        if offered is None or offered == before or name not in offered:
            return "its chat template does not render tools"
        call = Call(name, json.dumps({"argument": _ARGUMENT}))
        history = (*opening, Message("assistant", "t", call), Message("tool", _RESULT, call))
        forms: tuple[Form, ...] = ("record", "text")
        for form in forms:
            self._form = form
            text = self._try_render(self._merge_system(history), True)
            if text is not None and f'"{_ARGUMENT}"' in text and _RESULT in text:
                return ""
        for form in forms:  # tags and Python's own calls have other quotation marks, or none
            self._form = form
            text = self._try_render(self._merge_system(history), True)
            if text is not None and _ARGUMENT in text and _RESULT in text:
                return ""
        return "its chat template does not render calls and their results"

    def _render(self, messages: Conversation, add_generation_prompt: bool) -> str:
        rows = message_rows(tuple(self._covered(message) for message in messages), self._form)
        return self._template.render(rows, add_generation_prompt, self._tools)

    def _covered(self, message: Message) -> Message:
        """A message whose texts, those of its call included, hold nothing that looks like a control token."""
        call = message.call
        if call is not None:
            name, arguments = (
                self._covering.cover(Message("user", text)) for text in (call.name, plain_arguments(call))
            )
            call = Call(name, arguments)
        return Message(message.role, self._covering.cover(message), call)
