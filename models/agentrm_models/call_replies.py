"""Calls in replies and in histories: a model that speaks tool calls reads and writes them, all others see text.

A call that means an action becomes `Thought: …`, `Action: …`. One that means none is kept in a line of its own,
`Tool call: NAME(ARGUMENTS)`, so that the step is invalid, its observation can say why, and the history repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from agentrm_models.functions import ActionFunctions, UnreadCallError, read_arguments
from agentrm_models.messages import Call, Conversation, Message, goal_length
from agentrm_models.replies import ACTION_LIMIT, format_reply, parse_reply
from agentrm_models.tool_calls import find_calls

_UNREAD = re.compile(r"(?:\A|\n)Tool call: ([^(\n]*)\(([^\n]*)\)\Z")
_NAME_LIMIT = 100

DONE = "Done."
"""The result of the last call of a demonstration."""


class ReadReply(NamedTuple):
    """A reply in the common format, and how many calls stood in what it was read from."""

    text: str
    calls: int


def read_reply(text: str, functions: ActionFunctions) -> ReadReply:
    """A sampled reply in the common format: its first call is its action; one without a call stays as it is."""
    found = find_calls(text, functions.offered)
    if found is None or not found.calls:
        return ReadReply(text, 0)
    return ReadReply(reply_of_call(found.thought, found.calls[0], functions), len(found.calls))


def reply_of_call(thought: str, call: Call, functions: ActionFunctions) -> str:
    """A thought and a call in the common format."""
    thought = parse_reply(thought).thought
    try:
        action = functions.action(call)
    except UnreadCallError:
        return _unread(thought, call)
    for words in (thought, " ".join(thought.split())):
        reply = format_reply(words, action)
        if parse_reply(reply).action == action:
            return reply
    return _unread(thought, call)


def unread_call(reply: str) -> Call | None:
    """The call that a reply names in place of an action."""
    found = _UNREAD.search(reply)
    return Call(found[1], found[2]) if found else None


def why_unread(call: Call, functions: ActionFunctions) -> str:
    """The observation after a call that means no action."""
    try:
        action = functions.action(call)
    except UnreadCallError as error:
        return f"The call was not understood: {error}."
    return f"The call was not understood: {action[:80]!r} is no action on one line."


def missing_call(functions: ActionFunctions) -> str:
    """The observation after a reply without a call, where calls were asked for."""
    return f"No call found. Reply with one call of a function: {functions.names}."


def in_calls(
    conversation: Conversation, functions: ActionFunctions, demonstrations: Sequence[int] = ()
) -> tuple[Conversation, tuple[int, ...]]:
    """A history of text as a model that speaks tool calls has to read it, and the lengths of its demonstrations.

    Replies become assistant messages with a call, the observations behind them messages of role `tool`. A reply that
    names no action, or one that no call means, stays text, and so does its observation. The last call of a
    demonstration, whose result is not in it, is answered by a word.

    Args:
        demonstrations: Messages of each example episode between the instruction and the goal.
    """
    begin = goal_length(conversation) - 1 if demonstrations else 0
    told, lengths = _turns(conversation[:begin], functions), list[int]()
    for length in demonstrations:
        turns = _turns(conversation[begin : begin + length], functions)
        if turns and turns[-1].role == "assistant" and turns[-1].call is not None:
            turns.append(Message("tool", DONE, turns[-1].call))
        told += turns
        lengths.append(len(turns))
        begin += length
    return (*told, *_turns(conversation[begin:], functions)), tuple(lengths)


def _turns(conversation: Conversation, functions: ActionFunctions) -> list[Message]:
    turns: list[Message] = []
    for message in conversation:
        if message.role == "assistant":
            message = _with_call(message, functions)
        elif message.role == "user" and turns and turns[-1].role == "assistant" and turns[-1].call is not None:
            message = Message("tool", message.content, turns[-1].call)
        turns.append(message)
    return turns


def _with_call(message: Message, functions: ActionFunctions) -> Message:
    thought, action = parse_reply(message.content)
    if action:
        call = functions.call(action)
        return message if call is None else Message("assistant", thought, call)
    call = unread_call(message.content)
    if call is None or not _is_object(call):
        return message
    return Message("assistant", parse_reply(_UNREAD.sub("", message.content)).thought, call)


def _is_object(call: Call) -> bool:
    """Whether arguments can be repeated as a template wants them."""
    try:
        read_arguments(call)
    except UnreadCallError:
        return False
    return True


def _unread(thought: str, call: Call) -> str:
    name = " ".join(call.name.replace("(", " ").split())[:_NAME_LIMIT]
    line = f"Tool call: {name}({' '.join(call.arguments.split())[:ACTION_LIMIT]})"
    words = " ".join(thought.split())
    return f"Thought: {words}\n{line}" if words else line
