"""Conversations: the only text that models are given."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


class Call(msgspec.Struct, frozen=True):
    """A call of a function, as a model writes it: nothing is known yet about its name or its arguments.

    Attributes:
        name: The function's name.
        arguments: A JSON object as text, or what a model wrote in its place.
    """

    name: str
    arguments: str = "{}"


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of a conversation.

    Attributes:
        call: An assistant's call, behind its content; in a message of role `tool` the call that it answers.
    """

    role: Role
    content: str
    call: Call | None = None


Conversation: TypeAlias = tuple[Message, ...]
PromptStyle: TypeAlias = Literal["full", "short"]
"""Which instruction a model is given: the full one, or the reward model's short one (goal and action list)."""


def merge_system(conversation: Conversation) -> Conversation:
    """Put the system message in front of the first user message, for models that know no system role."""
    if not conversation or conversation[0].role != "system":
        return conversation
    system, rest = conversation[0], conversation[1:]
    if rest and rest[0].role == "user":
        return (Message("user", f"{system.content}\n\n{rest[0].content}"), *rest[1:])
    return (Message("user", system.content), *rest)


def goal_length(conversation: Conversation, demonstrations: tuple[int, ...] = ()) -> int:
    """Messages up to the goal, demonstrations before it included."""
    first = next((index for index, message in enumerate(conversation) if message.role == "user"), 0)
    return min(first + sum(demonstrations) + 1, len(conversation))


def without_first_demonstration(
    conversation: Conversation, demonstrations: tuple[int, ...]
) -> tuple[Conversation, tuple[int, ...]]:
    """The conversation without the first of its demonstrations, and those that are left."""
    begin = goal_length(conversation) - 1
    return conversation[:begin] + conversation[begin + demonstrations[0] :], demonstrations[1:]


def without_older_half(conversation: Conversation, goal: int) -> Conversation:
    """Without the older half of the steps after the goal, which ends there; the same where there is only one."""
    steps = (len(conversation) - goal) // 2
    return conversation[:goal] + conversation[goal + 2 * ((steps + 1) // 2) :] if steps > 1 else conversation
