"""Conversations: the only text that models are given."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Role: TypeAlias = Literal["system", "user", "assistant"]


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation."""

    role: Role
    content: str


Conversation: TypeAlias = tuple[Message, ...]
PromptStyle: TypeAlias = Literal["full", "short"]
"""Which instruction a model is given: the full one, or the reward model's short one (goal and action list)."""
