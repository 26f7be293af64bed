"""Demonstrations in a window that is too small: whole ones go, the first first; goal and roles stay in order."""

from __future__ import annotations

import pytest
from tiny_models import tiny_tokenizer

from agentrm_models.chat import ChatEncoder
from agentrm_models.context import fit_context
from agentrm_models.messages import Conversation, Message, goal_length, without_first_demonstration

ENCODER = ChatEncoder(tiny_tokenizer())
DEMONSTRATIONS = (4, 2)


def chat(steps: int) -> Conversation:
    shown = [Message("user" if k % 2 == 0 else "assistant", f"example {k} " + "x" * 20) for k in range(6)]
    turns = [Message("assistant" if k % 2 == 0 else "user", f"turn {k} " + "y" * 20) for k in range(2 * steps)]
    return (Message("system", "Play."), *shown, Message("user", "Goal: the real one."), *turns)


def roles(ids: list[int]) -> list[str]:
    """Roles of the messages in a prompt, the generation prompt left out."""
    text = ENCODER.tokenizer.decode(ids, skip_special_tokens=False)
    return [part.split("\n", 1)[0] for part in text.split("<|start|>")[1:-1]]


def length(conversation: Conversation) -> int:
    return len(ENCODER.ids(conversation, True))


def test_the_goal_lies_behind_the_demonstrations() -> None:
    assert goal_length(chat(2), DEMONSTRATIONS) == 8
    assert goal_length(chat(2)) == 2
    rest, left = without_first_demonstration(chat(1), DEMONSTRATIONS)
    assert left == (2,) and rest == (chat(1)[0], *chat(1)[5:])


@pytest.mark.parametrize("steps", [0, 1, 6, 12])
def test_oldest_observations_go_and_demonstrations_stay_whole(steps: int) -> None:
    opening = chat(0)
    window = 2 * (length(opening) + 8) + 10
    fitted = fit_context(ENCODER, chat(steps), window, 8, True, DEMONSTRATIONS)
    assert len(fitted.ids) + 8 <= window
    assert fitted.ids[: length(opening) - 4] == ENCODER.ids(opening, True)[: length(opening) - 4]
    found = roles(fitted.ids)
    assert found == ["system", *["user", "assistant"] * (len(found) // 2 - 1), "user"]
    assert bool(fitted.dropped) == (length(chat(steps)) + 8 > window)


@pytest.mark.parametrize(("kept", "begins"), [(1, 5), (0, 7)])
def test_where_they_leave_too_little_room_the_first_ones_go_whole(kept: int, begins: int) -> None:
    conversation = chat(10)
    shorter = (conversation[0], *conversation[begins:8])
    window = 2 * (length(shorter) + 8) + (0 if kept else 40)
    fitted = fit_context(ENCODER, conversation, window, 8, True, DEMONSTRATIONS)
    text = ENCODER.tokenizer.decode(fitted.ids, skip_special_tokens=False)
    assert "Goal: the real one." in text
    assert ("example 4" in text) == bool(kept) and "example 0" not in text
    found = roles(fitted.ids)
    assert found == ["system", *["user", "assistant"] * (len(found) // 2 - 1), "user"]
    assert fitted.dropped >= 2
