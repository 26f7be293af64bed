"""What is left out when a conversation no longer fits the model: the oldest observations, down to half the window."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from agentrm_models.chat import ChatEncoder
from agentrm_models.messages import Conversation, goal_length, without_first_demonstration
from agentrm_models.trie.states import Span


class Encodes(Protocol):
    """Gives the ids of conversations."""

    def ids(self, conversation: Conversation, add_generation_prompt: bool = False) -> list[int]:
        """The ids that a model reads."""
        ...


class FittedContext(NamedTuple):
    """The ids that a model reads.

    Attributes:
        ids: At most `window - reserve` token ids.
        dropped: Observations left out, each with the reply that had led to it.
    """

    ids: list[int]
    dropped: int


def fit_context(
    encoder: Encodes,
    conversation: Conversation,
    window: int,
    reserve: int,
    add_generation_prompt: bool,
    demonstrations: tuple[int, ...] = (),
) -> FittedContext:
    """Encode a conversation so that it fits `window` tokens with `reserve` to spare (window 0: no limit).

    The goal (all up to the first user message) and the last steps stay; the oldest observations go, each with the reply
    that had led to it, until half of the window is used. How much goes is found by going through the conversation as it
    grew, so it depends on nothing else, and while the conversation grows on the same messages stay: the cache
    survives. A goal or a last observation that alone is too long loses its middle.

    Demonstrations stay whole, as a part of the goal, or go whole, the first one first, where with them the goal would
    fill more than half of the window.

    Args:
        demonstrations: Messages of each of them, between the system message and the goal.
    """
    ids = encoder.ids(conversation, add_generation_prompt)
    if not window or len(ids) + reserve <= window:
        return FittedContext(ids, 0)
    conversation, shown, left_out = _with_room(encoder, conversation, window, reserve, demonstrations)
    goal, dropped = goal_length(conversation, shown), 0
    for end in range(goal, len(conversation) + 1):
        if end < len(conversation) and conversation[end - 1].role not in ("user", "tool"):
            continue
        ids, dropped = _shrink(encoder, conversation[:end], goal, dropped, window, reserve, add_generation_prompt)
    return FittedContext(_cut_middle(ids, window, reserve), dropped + left_out)


def reply_span(encoder: ChatEncoder, conversation: Conversation, length: int) -> Span:
    """Where the last reply, its end-of-turn token included, lies in a conversation fitted to so many ids."""
    last = encoder.segments(conversation)[-1]
    after = len(last.ids) - last.stop
    stop = max(length - after, 1)
    return Span(max(stop - (last.stop - last.start), 1), stop)


def _shrink(
    encoder: Encodes, grown: Conversation, goal: int, dropped: int, window: int, reserve: int, prompt: bool
) -> tuple[list[int], int]:
    """Drop further pairs from a conversation grown to here if it overflows; gives its ids and the number dropped."""
    asks = prompt and grown[-1].role in ("user", "tool")
    ids = encoder.ids(_without(grown, goal, dropped), asks)
    if len(ids) + reserve <= window:
        return ids, dropped
    most = max(dropped, (len(grown) - goal - 1) // 2)
    while len(ids) > window // 2 and dropped < most:
        dropped += 1
        ids = encoder.ids(_without(grown, goal, dropped), asks)
    return ids, dropped


def _with_room(
    encoder: Encodes, conversation: Conversation, window: int, reserve: int, demonstrations: tuple[int, ...]
) -> tuple[Conversation, tuple[int, ...], int]:
    """The conversation with as many demonstrations as half of the window holds with the goal; what is left out."""
    dropped = 0
    while demonstrations:
        opening = conversation[: goal_length(conversation, demonstrations)]
        if len(encoder.ids(opening, True)) + reserve <= window // 2:
            break
        dropped += (demonstrations[0] + 1) // 2
        conversation, demonstrations = without_first_demonstration(conversation, demonstrations)
    return conversation, demonstrations, dropped


def _without(conversation: Conversation, goal: int, dropped: int) -> Conversation:
    return conversation[:goal] + conversation[goal + 2 * dropped :] if dropped else conversation


def _cut_middle(ids: list[int], window: int, reserve: int) -> list[int]:
    room = max(window - reserve, 2)
    if len(ids) <= room:
        return ids
    half = max(window // 4, 1) if window // 2 <= room else room // 2
    return ids[:half] + ids[-half:]
