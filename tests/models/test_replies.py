"""One grammar: generation, parser, players and what is kept of a reply agree on 20,000 random texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import pytest
import torch

from agentrm_models.generation import Prompt, generate
from agentrm_models.messages import Message
from agentrm_models.policies.base import Decoding, NoiseKey, ProposeRequest
from agentrm_models.policies.scripted import ScriptedPolicy, reply_distribution
from agentrm_models.reasoning import MARK_ENDS
from agentrm_models.replies import Reply, action_of, format_reply, may_take_input, parse_reply, reply_end
from agentrm_models.usage import ignore_progress
from agentrm_tui.runs.texts import kept_reply

FRAGMENTS = (
    *("Thought:", "thought: ", "Action:", "Action: ", "action:", "ACTION:", "Actıon:", "\tAction: ", "\nAction: "),
    *("Action Input:", "\nAction Input: ", " with Action Input: ", "\nwith action input:", "\r\nAction Input:{}"),
    *(
        "\nObservation:",
        "Observation: ",
        "\nobservation:",
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        "\t",
        " ",
        "   ",
        "```",
        "```\n",
    ),
    *("\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\u2028", "\u2029", "\ufeff", "\u00a0", "go north", "look", "find", "{}"),
)


def random_texts(number: int, seed: int) -> Iterator[str]:
    noise = Random(seed)
    for count in range(number):
        start = "x" * 4_100 + "\n" if count % 100 == 0 else noise.choice(("", "Thought: a\nAction: "))
        yield start + "".join(noise.choices(FRAGMENTS, k=noise.randint(1, 9)))


def streamed(text: str, input_line: bool) -> str:
    """What is left of a text that is written character by character and stopped where the reply has ended."""
    marks = [at for mark in ("action:", "\nobservation:") if (at := text.lower().find(mark)) >= 0]
    for length in range(min(marks, default=len(text)), len(text) + 1):  # nothing ends before its mark
        end = reply_end(text[:length], input_line)
        if end is not None:
            return text[:end]
    return text


def test_generation_parser_and_players_agree_on_random_texts() -> None:
    stopped = actions = 0
    for text in random_texts(20_000, 15):
        reply = parse_reply(text)
        patient, hasty = streamed(text, True), streamed(text, False)
        assert text.startswith(patient) and patient.startswith(hasty), repr(text)
        assert action_of(patient) == action_of(text) == reply.action, repr(text)
        if action_of(hasty) != reply.action:
            assert reply.action.startswith(f"{action_of(hasty)} with Action Input:".lstrip()), repr(text)
        assert len(reply.action.splitlines()) <= 1 and reply.action == reply.action.strip(), repr(text)
        assert parse_reply(kept_reply(text)).action == reply.action, repr(text)
        if reply.action:
            assert parse_reply(format_reply(*reply)) == reply, repr(text)
            request = ProposeRequest((), 1, Decoding(), NoiseKey(1, "t", "0"), (reply.action,), ("wait",), text)
            assert len(reply_distribution(request)) == 2
            assert ScriptedPolicy().propose([request])[0][0].text == "Action: wait", repr(text)
        stopped += patient != text
        actions += bool(reply.action)
    assert stopped > 5_000 and actions > 7_000


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("Thought: a\nAction: go left ", Reply("a", "go left")),
        ("thought:a\r\n\taction:\tgo left\r\nmore", Reply("a", "go left")),
        ("Thought: a\u2028Action: go\x0bleft", Reply("a", "go")),
        ("a\nb\nAction: go\nAction: stay", Reply("a\nb", "go")),
        ("Thought: a\nAction:\nAction: go", Reply("a\nAction:", "go")),
        ("Thought: a\nAction:  \n", Reply("a\nAction:", "")),
        ("Thought: Action: go", Reply("Action: go", "")),
        ("Thought: a\nObservation: b\nAction: go", Reply("a", "")),
        ("Action: find\nAction Input: {1}\nmore", Reply("", "find with Action Input: {1}")),
        ("Action: find\nwith Action Input: {1}", Reply("", "find with Action Input: {1}")),
        ("Action: find\n\nAction Input: {1}", Reply("", "find")),
        ("Action: find with Action Input: {1}\nAction Input: {2}", Reply("", "find with Action Input: {1}")),
        ("Action: find\nObservation: Action Input: {1}", Reply("", "find")),
        ("", Reply("", "")),
    ],
)
def test_replies_are_read(text: str, reply: Reply) -> None:
    assert parse_reply(text) == reply


@pytest.mark.parametrize(
    ("text", "end", "patient_end"),
    [
        ("Thought: x\nAction: go", None, None),
        ("Thought: x\nAction: go\n", 21, None),
        ("Action: go\nActi", 10, None),
        ("Action: go\nActs", 10, 10),
        ("Action: go\n\n", 10, 10),
        ("Action: find\nAction Input: {}", None, None),
        ("Action: find\nAction Input: {}\n", 29, 29),
        ("Action: find with Action Input: {}\n", 34, 34),
        ("Thought: Action: no\nmore\n", None, None),
        ("Thought: x\nObservation:", 10, 10),
        ("Action:\n", None, None),
    ],
)
def test_a_reply_ends_with_its_action(text: str, end: int | None, patient_end: int | None) -> None:
    assert (reply_end(text), reply_end(text, True)) == (end, patient_end)


def test_an_input_line_is_waited_for_where_the_instruction_speaks_of_one() -> None:
    goal = Message("user", "Find it.")
    assert may_take_input((Message("system", "Action: NAME\nAction Input: JSON"), goal))
    assert may_take_input((Message("user", "Action: find with Action Input: {}"),))
    assert not may_take_input((Message("system", "Action: go north"), goal, Message("user", "Action Input: {}")))


class FakeWriter:
    """Encoder, backend and decoding in one: a character is a token, and the branch writes a given text."""

    stop_ids = (0,)
    opened = implied = None

    def __init__(self, text: str) -> None:
        self.letters = ["", *sorted(set(text))]
        self.ids = [self.letters.index(letter) for letter in text] + [0]
        self.written = 0

    def decode(self, *given: Sequence[Any]) -> Any:
        return self if len(given) == 3 else "".join(self.letters[token] for token in given[0])

    def marked_text(self, ids: Sequence[int]) -> str:
        return "".join(self.letters[token] for token in ids)

    def completes_mark(self, token: int) -> bool:
        return self.letters[token] in MARK_ENDS

    def breaks_line(self, token: int) -> bool:
        return self.letters[token] == "\n"

    @property
    def first(self) -> torch.Tensor:
        return torch.eye(len(self.letters))[[self.ids[self.written]]]

    def step(self, rows: Sequence[int], tokens: Sequence[int]) -> torch.Tensor:
        self.written += 1
        return self.first

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("input_line", "text", "written"),
    [
        (False, "Action: go\nThought: more\n", "Action: go\n"),
        (True, "Action: go\nThought: more\n", "Action: go\nT"),
        (True, "Action: go\nAction Input: {}\nmore\n", "Action: go\nAction Input: {}\n"),
        (True, "Thought: a\nObservation: b\nAction: go\n", "Thought: a\nObservation: b\n"),
    ],
)
def test_no_token_more_than_needed_is_sampled(input_line: bool, text: str, written: str) -> None:
    writer: Any = FakeWriter(text)
    prompt = Prompt([1], (0,), Decoding(0, 1.0, 99), NoiseKey(1, "t", "0"), input_line=input_line)
    branch = generate(writer, writer, [prompt], True, ignore_progress)[0][0]
    assert writer.decode(branch.ids) == written


def test_the_generation_loop_stops_at_the_action_that_the_parser_reads() -> None:
    spared = 0
    for text in random_texts(300, 16):
        writer: Any = FakeWriter(text)
        prompt = Prompt([1], (0,), Decoding(0, 1.0, len(text) + 1), NoiseKey(1, "t", "0"), input_line=True)
        branch = generate(writer, writer, [prompt], True, ignore_progress)[0][0]
        assert text.startswith(branch.text), repr(text)
        assert action_of(branch.text) == action_of(text), repr(text)
        spared += len(branch.ids) < len(text)
        writer.written = 0
        whole = generate(writer, writer, [prompt._replace(whole_turn=True)], True, ignore_progress)[0][0]
        assert whole.text == text
    assert spared > 50
