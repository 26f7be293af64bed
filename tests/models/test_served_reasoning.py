"""What servers tell of reasoning: in fields, in parts, in marks; and where a limit of tokens ended a reply."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_openai import fake_server

from agentrm_models.messages import Message
from agentrm_models.policies.base import Candidate, Decoding, NoiseKey, ProposeRequest
from agentrm_models.policies.openai_answers import read_completion
from agentrm_models.policies.openai_api import OpenAIPolicy

REPLY = "Thought: t\nAction: move left"
HIDDEN = "I could write\nAction: dig a hole"


def read(message: dict[str, Any], finish: str = "stop", **usage: Any) -> Candidate:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return read_completion(json.dumps({"choices": [choice], "usage": usage}).encode(), "http://server").candidates[0]


MESSAGES: list[dict[str, Any]] = [
    {"content": REPLY, "reasoning_content": HIDDEN},
    {"content": REPLY, "reasoning": HIDDEN, "reasoning_content": None},
    {"content": REPLY, "thinking": HIDDEN},
    {"content": REPLY, "reasoning_details": [{"type": "reasoning.text", "text": HIDDEN}]},
    {"content": REPLY, "reasoning": {"summary": [{"type": "summary_text", "text": HIDDEN}]}},
    {"content": f"<think>\n{HIDDEN}\n</think>\n\n{REPLY}"},
    {"content": f"{HIDDEN}\n</think>\n{REPLY}", "reasoning_content": ""},
    {"content": f"[THINK]{HIDDEN}[/THINK]{REPLY}"},
    {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": HIDDEN}]}, {"text": REPLY}]},
    {"content": [{"type": "reasoning", "text": HIDDEN}, {"type": "output_text", "text": REPLY}]},
    {"content": [{"type": "thinking", "thinking": HIDDEN, "signature": "x"}, REPLY]},
    {"content": f"analysis{HIDDEN}assistantfinal{REPLY}"},
]


@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
def test_reasoning_is_told_apart_however_a_server_tells_it(message: dict[str, Any]) -> None:
    found = read(message)
    assert (found.text, found.reasoning, found.cut) == (REPLY, HIDDEN, "")


@pytest.mark.parametrize(
    ("message", "usage", "cut"),
    [
        ({"content": None, "reasoning_content": "Let me see"}, {}, "reasoning"),
        ({"content": "", "reasoning": "Let me see"}, {}, "reasoning"),
        ({"content": "<think>Let me see\nAction: dig\n"}, {}, "reasoning"),
        ({"content": [{"type": "thinking", "thinking": "Let me"}]}, {}, "reasoning"),
        ({"content": None}, {"completion_tokens_details": {"reasoning_tokens": 64}}, "reasoning"),
        ({"content": None}, {}, "reply"),
        ({"content": "Thought: I"}, {}, "reply"),
        ({"content": "Thought: I\nAction: mo", "reasoning_content": "hm"}, {}, "reply"),
        ({"content": "Thought: I\nAction: move left\nAnd then"}, {}, ""),
    ],
)
def test_a_limit_ended_the_reply_or_its_reasoning(message: dict[str, Any], usage: dict[str, Any], cut: str) -> None:
    assert read(message, "length", **usage).cut == cut
    assert read(message, "stop", **usage).cut == ""


def test_reasoning_tokens_are_counted_where_the_server_counts_them() -> None:
    details = {"completion_tokens": 90, "completion_tokens_details": {"reasoning_tokens": 70}}
    assert read(MESSAGES[0], **details)[2:6] == (90, "policy", HIDDEN, 70)
    for odd in (None, 5, {"reasoning_tokens": None}, {"reasoning_tokens": "x"}, {}):
        assert read(MESSAGES[0], completion_tokens_details=odd).reasoning_tokens == 0


def test_a_budget_for_reasoning_is_asked_for_on_top() -> None:
    with fake_server() as server:
        policy = OpenAIPolicy(server.address)
        for budget in (0, 500):
            chat = (Message("user", "go"),)
            policy.propose([ProposeRequest(chat, 1, Decoding(0.7, 1.0, 64, budget), NoiseKey(1, "t", "0"))])
        policy.close()
    plain, reasoning = server.asked
    assert (plain["max_tokens"], reasoning["max_tokens"]) == (64, 564)
    assert "stop" in plain and "stop" not in reasoning  # reasoning may hold the stop text
