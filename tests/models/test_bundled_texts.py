"""Bundled models are given the very tokens that they were trained on, in every environment of theirs."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from agentrm_models.bundled import BundledModel, bundled_models
from agentrm_models.chat import ChatEncoder
from agentrm_models.messages import Conversation, Message
from agentrm_models.replies import format_reply
from agentrm_tui.environments.registry import make_environment

ENVIRONMENTS = ("adventure", "babyai", "household", "maze", "pddl", "tooloperation", "toolquery", "webshop")
STEPS = 6


def expert_episode(name: str, number: int) -> Conversation:
    """An instruction, a goal, and steps of the expert with what they show."""
    environment = make_environment(name)
    try:
        task = environment.tasks("test", count=number + 1)[number]
        first = f"Goal: {task.goal}\n{environment.reset(task)}"
        messages = [Message("system", environment.instruction("short")), Message("user", first)]
        for _ in range(STEPS):
            thought, action = environment.expert()
            if not action:
                break
            result = environment.step(action)
            messages += [Message("assistant", format_reply(thought, action)), Message("user", result.text)]
            if result.done:
                break
        return tuple(messages)
    finally:
        environment.close()


POLICIES = [model for model in bundled_models() if model.role == "policy"]


@pytest.mark.parametrize("model", POLICIES, ids=lambda model: model.name)
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_each_message_is_what_the_tokenizer_makes_of_it(name: str, model: BundledModel) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model.folder)
    encoder = ChatEncoder(tokenizer)
    for number in range(3):
        conversation = expert_episode(name, number)
        plain = [f"<|{message.role}|>{message.content}<|end|>" for message in conversation]
        expected = [token for text in plain for token in tokenizer.encode(text, add_special_tokens=False)]
        assert encoder.ids(conversation) == expected
