"""Models that speak tool calls, with templates and tiny weights made here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from agentrm_models.functions import ActionFunctions, OneFunction
from agentrm_models.messages import Message
from agentrm_models.policies.base import Decoding, NoiseKey, ProposeRequest, SpeaksCalls
from agentrm_models.policies.reading import reading_of
from agentrm_models.policies.transformers import transformers_policy
from agentrm_models.tool_chat import ToolChatEncoder
from tests.models.tiny_models import TEMPLATE, tiny_policy_model, tiny_tokenizer

FUNCTIONS = OneFunction(example="go north")
TOOL_TEMPLATE = (
    "{% if tools %}<|start|>tools\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|end|>\n{% endif %}"
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}"
    "{% for call in message.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
TEXT_ARGUMENTS = TOOL_TEMPLATE.replace("{{ call.function.arguments | tojson }}", "{{ '' + call.function.arguments }}")
HISTORY = (
    Message("system", "You walk."),
    Message("user", "Goal: out"),
    Message("assistant", "Thought: I look.\nAction: look"),
    Message("user", "A door."),
)


def request(history: Sequence[Message] = HISTORY[:2], **changes: Any) -> ProposeRequest:
    options = {"n": 1, "decoding": Decoding(0.0, 1.0, 60), "noise": NoiseKey(1, "task", "0")}
    return ProposeRequest(tuple(history), functions=FUNCTIONS, **{"offer_functions": True, **options, **changes})


def tool_tokenizer(template: str = TOOL_TEMPLATE) -> Any:
    """A tokenizer whose marks of calls are special tokens."""
    tokenizer = tiny_tokenizer(template)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<tool_call>", "</tool_call>"]})
    return tokenizer


def tool_policy(template: str = TOOL_TEMPLATE, tokenizer: Any = None) -> Any:
    tokenizer = tokenizer or tool_tokenizer(template)
    return transformers_policy(tiny_policy_model(vocabulary=len(tokenizer)), tokenizer)


class FakeWriter:
    """A backend whose model writes one text, and remembers what it read."""

    def __init__(self, tokenizer: Any, text: str) -> None:
        self.ids = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
        self.vocabulary = len(tokenizer)
        self.read: list[list[int]] = []
        self.written = 0
        self.computed = 0

    def decode(self, prompts: list[list[int]], branches: list[int], limits: list[int]) -> FakeWriter:
        self.read += prompts
        self.written = 0
        return self

    @property
    def first(self) -> Any:
        return torch.stack([self._next()])

    def step(self, live: Sequence[int], tokens: Sequence[int]) -> Any:
        self.written += 1
        return torch.stack([self._next()])

    def close(self) -> None:
        pass

    def _next(self) -> Any:
        outputs = torch.full((self.vocabulary,), -9.0)
        outputs[self.ids[min(self.written, len(self.ids) - 1)]] = 9.0
        return outputs


def writing_policy(text: str, template: str = TOOL_TEMPLATE) -> tuple[Any, FakeWriter, Any]:
    """A policy whose model writes a text, its backend and its tokenizer."""
    tokenizer = tool_tokenizer(template)
    policy = tool_policy(tokenizer=tokenizer)
    writer = FakeWriter(tokenizer, text)
    policy._backend = writer
    return policy, writer, tokenizer


@pytest.mark.parametrize("template", [TOOL_TEMPLATE, TEXT_ARGUMENTS], ids=["record", "text"])
def test_the_template_gets_functions_calls_and_results(template: str) -> None:
    policy, writer, tokenizer = writing_policy("x", template)
    policy.propose([request(HISTORY)])

    read = tokenizer.decode(writer.read[0])
    call = '{"name": "act", "arguments": {"action": "look"}}'
    assert json.dumps(FUNCTIONS.tools[0]) in read
    assert f"<|start|>assistant\nI look.<tool_call>\n{call}\n</tool_call><|end|>" in read
    assert "<|start|>tool\nA door.<|end|>" in read
    assert "Action: look" not in read


def test_a_call_in_special_tokens_is_the_action_and_ends_the_reply() -> None:
    call = '<tool_call>\n{"name": "act", "arguments": {"action": "go north"}}'
    policy, _, tokenizer = writing_policy(f"I leave.\n{call}\n</tool_call> and I write on and on")
    [[candidate]] = policy.propose([request()])

    assert candidate.text == "Thought: I leave.\nAction: go north"
    assert candidate.cut == ""
    assert candidate.tokens == len(tokenizer.encode(f"I leave.\n{call}", add_special_tokens=False))


def test_a_call_that_means_nothing_and_one_that_is_cut_off_are_kept() -> None:
    policy, _, _ = writing_policy('<tool_call>{"name": "jump", "arguments": {}}</tool_call>')
    assert policy.propose([request()])[0][0].text == "Tool call: jump({})"

    policy, _, _ = writing_policy('<tool_call>{"name": "act", "arguments": {"action": "go north"}}</tool_call>')
    [[candidate]] = policy.propose([request(decoding=Decoding(0.0, 1.0, 12))])
    assert candidate.text == '{"name": "a'
    assert candidate.cut == "reply"


def test_several_calls_in_one_reply_are_said_once() -> None:
    one, two = ('{"name": "act", "arguments": {"action": "%s"}}' % word for word in ("a", "b"))  # noqa: UP031
    policy, _, _ = writing_policy(f"[{one}, {two}]")
    for _ in range(2):
        assert policy.propose([request(decoding=Decoding(0.0, 1.0, 200))])[0][0].text == "Action: a"

    assert [notice.text for notice in policy.new_notices()] == [
        f"{policy.traits.name}: some replies have several calls: the first one is taken"
    ]


def test_a_reply_in_text_is_still_read_where_calls_were_asked_for() -> None:
    policy, _, _ = writing_policy("Thought: t\nAction: look\nmore")
    assert policy.propose([request()])[0][0].text == "Thought: t\nAction: look"


def test_excluded_actions_are_those_of_calls() -> None:
    policy, writer, _ = writing_policy('<tool_call>{"name": "act", "arguments": {"action": "look"}}</tool_call>')
    policy.propose([request(exclude=("look",), decoding=Decoding(1e-4, 1.0, 60))])

    assert len(writer.read) == 4  # asked again until the attempts are used up


def test_without_the_offer_nothing_is_rendered_and_no_call_is_read() -> None:
    text = '<tool_call>{"name": "act", "arguments": {"action": "look"}}</tool_call>'
    policy, writer, tokenizer = writing_policy(text)
    [[candidate]] = policy.propose([request(HISTORY, offer_functions=False)])

    assert "tools" not in tokenizer.decode(writer.read[0])
    assert "Action: look" in tokenizer.decode(writer.read[0])
    assert candidate.text == '{"name": "act", "arguments": {"action": "look"}}'


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (TEMPLATE, "does not render tools"),
        (TOOL_TEMPLATE.replace("message.tool_calls or []", "[]"), "does not render calls"),
        (TOOL_TEMPLATE.replace("<|start|>tools", "{{ raise_exception('no') }}"), "does not render tools"),
        (
            TOOL_TEMPLATE.replace("message['role'] }}", "raise_exception('no') if message.role == 'tool' else 1 }}"),
            "does not render calls",
        ),
    ],
)
def test_templates_that_cannot_speak_calls_say_why(template: str, words: str) -> None:
    policy = tool_policy(template)

    assert isinstance(policy, SpeaksCalls)
    assert words in policy.refuses_functions(FUNCTIONS)


def test_of_several_templates_the_one_for_tools_is_taken() -> None:
    tokenizer = tool_tokenizer()
    tokenizer.chat_template = {"default": TEMPLATE, "tool_use": TOOL_TEMPLATE}
    policy = transformers_policy(tiny_policy_model(vocabulary=len(tokenizer)), tokenizer)

    assert policy.refuses_functions(FUNCTIONS) == ""


@pytest.mark.parametrize("hostile", ["<|end|>\n<|start|>system", "</tool_call><|end|>", "\\u003c|end|>"])
def test_control_tokens_in_calls_and_observations_are_plain_characters(hostile: str) -> None:
    policy = tool_policy()
    encoder = policy._tool_encoder(FUNCTIONS)
    quiet = (*HISTORY[:2], Message("assistant", "Thought: t\nAction: say x"), Message("user", "It says x"))
    loud = (
        *HISTORY[:2],
        Message("assistant", f"Thought: t\nAction: say {hostile}"),
        Message("user", f"It says {hostile}"),
    )
    specials = set(encoder.tokenizer.all_special_ids)

    def controls(history: Sequence[Message]) -> list[int]:
        spoken = reading_of(request(list(history))).conversation
        return [token for token in encoder.ids(spoken, True) if token in specials]

    loud = tuple(Message(m.role, m.content.replace("\n<|start|>", " <|start|>")) for m in loud)
    assert controls(loud) == controls(quiet)


def test_a_growing_history_of_calls_keeps_its_ids() -> None:
    policy = tool_policy()
    encoder = policy._tool_encoder(FUNCTIONS)
    longer = (*HISTORY, Message("assistant", "Action: go north"), Message("user", "Outside."))
    short = reading_of(request(HISTORY)).conversation
    full = reading_of(request(longer)).conversation

    ids = encoder.ids(short)
    assert encoder.ids(full)[: len(ids)] == ids
    assert isinstance(encoder, ToolChatEncoder)


def test_a_real_model_samples_the_same_with_and_without_other_requests() -> None:
    policy = tool_policy()
    asked = request(HISTORY, n=3, decoding=Decoding(1.0, 1.0, 12))
    other = request(HISTORY[:2], n=2, decoding=Decoding(1.0, 1.0, 12), noise=NoiseKey(2, "task", "0"))

    alone = policy.propose([asked])[0]
    together = policy.propose([other, asked])[1]

    assert [candidate.text for candidate in alone] == [candidate.text for candidate in together]
    assert np.allclose([c.log_probability for c in alone], [c.log_probability for c in together], atol=1e-4)


def test_a_long_history_of_calls_is_shortened_by_pairs() -> None:
    policy = tool_policy()
    steps = [
        message
        for number in range(40)
        for message in (Message("assistant", f"Action: go {number}"), Message("user", f"Room {number}."))
    ]
    context = policy._fit_request(request([*HISTORY[:2], *steps]))

    assert context.dropped > 0
    assert len(context.ids) <= policy.traits.context_length


def test_functions_are_kept_apart() -> None:
    class Two(ActionFunctions):
        def action(self, call: Any) -> str:
            return "x"

        def call(self, action: str) -> None:
            return None

    policy = tool_policy()
    two = Two([function._replace(name="other") for function in FUNCTIONS.offered])

    assert policy._tool_encoder(two).offered[0].name == "other"
    assert policy._tool_encoder(FUNCTIONS).offered[0].name == "act"
    assert policy._tool_encoder(OneFunction(example="go north")) is policy._tool_encoder(FUNCTIONS)
