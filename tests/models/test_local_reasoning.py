"""Local models that reason: through templates that open it or not, marks that are special tokens, and a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from tiny_models import TEMPLATE, tiny_tokenizer

from agentrm_models.chat import ChatEncoder
from agentrm_models.messages import Message
from agentrm_models.policies.base import Candidate, Decoding, NoiseKey, PolicyTraits, ProposeRequest
from agentrm_models.policies.language_model import LanguageModelPolicy
from agentrm_models.reasoning import ALL_MARKS, HARMONY, Marks

REASONED = "I could\nAction: dig a hole\nObservation: a hole\nbut no."
REPLY = "Thought: left\nAction: move left"
CHAT = (Message("system", "Play."), Message("user", "Goal."))
OPENING = TEMPLATE.replace("<|start|>assistant\n{% endif", "<|start|>assistant\n<think>\n{% endif")
STRIPPING = TEMPLATE.replace("message['content'] }}", "message['content'].split('</think>')[-1] }}")
WAYS = [
    (marks, special)
    for marks in ALL_MARKS
    for special in (False, True)
    if special or (marks is not HARMONY and marks.opening.isascii())
]
"""Marks as text and as special tokens; channels are always tokens, and the fake model writes whole characters."""


class FakeModel:
    """A backend that writes what a script says should follow the tokens after the prompt."""

    computed = 0

    def __init__(self, encoder: ChatEncoder, script: Callable[[str], str]) -> None:
        self.encoder, self.script = encoder, script
        self.size = len(encoder.tokenizer)
        self.ids: list[int] = []
        self.fed = 0

    def decode(self, prompts: Sequence[Sequence[int]], counts: Sequence[int], limits: Sequence[int]) -> FakeModel:
        assert list(counts) == [1]
        self.limit, self.ids = limits[0], []
        return self

    @property
    def first(self) -> torch.Tensor:
        text = self.encoder.tokenizer.decode(self.ids)
        rest = self.script(text)
        token = self.encoder.tokenizer.encode(rest)[0] if rest else self.encoder.end_of_turn
        return torch.eye(self.size)[[token]] * 50

    def step(self, rows: Sequence[int], tokens: Sequence[int]) -> torch.Tensor:
        self.ids += tokens
        assert len(self.ids) < self.limit
        return self.first

    def close(self) -> None:
        pass


def scripted(text: str) -> Callable[[str], str]:
    """Write a text, whatever was put in."""
    return lambda before: text.removeprefix(before) if text.startswith(before) else ""


def endless(opening: str = "") -> Callable[[str], str]:
    """Reason for ever; reply once the reasoning is closed."""

    def rest(before: str) -> str:
        closed = next((end for marks in ALL_MARKS for end in marks.ends.finditer(before) if end.end() > 3), None)
        if closed is not None:
            return REPLY.removeprefix(before[closed.end() :].lstrip())
        return opening.removeprefix(before) if len(before) < len(opening) else "x y\nAction: dig\n"[len(before) % 16 :]

    return rest


def encoder_with(template: str = TEMPLATE, special: Sequence[str] = ()) -> ChatEncoder:
    tokenizer = tiny_tokenizer(template)
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return ChatEncoder(tokenizer)


def play(
    encoder: ChatEncoder,
    script: Callable[[str], str],
    budget: int = 0,
    most: int = 400,
    stop: tuple[str, ...] = (),
    **more: Any,
) -> tuple[Candidate, FakeModel]:
    model = FakeModel(encoder, script)
    policy = LanguageModelPolicy(model, encoder, PolicyTraits("fake"))  # type: ignore[arg-type]
    request = ProposeRequest(CHAT, 1, Decoding(0.0, 1.0, most, budget, stop), NoiseKey(1, "t", "0"), **more)
    return policy.propose([request])[0][0], model


@pytest.mark.parametrize(("marks", "special"), WAYS, ids=lambda way: getattr(way, "opening", way))
def test_generation_does_not_stop_inside_reasoning(marks: Marks, special: bool) -> None:
    tokens = ["<|channel|>", "<|message|>"] if marks is HARMONY else [marks.opening, marks.closing]
    encoder = encoder_with(special=tokens if special else ())
    found, model = play(encoder, scripted(f"{marks.opening}{REASONED}{marks.forced}{REPLY}\nmore"))
    assert (found.text, found.reasoning, found.cut) == (REPLY, REASONED, "")
    assert 0 < found.reasoning_tokens < found.tokens == len(model.ids) + 1
    assert encoder.tokenizer.decode(model.ids).endswith("move left")  # nothing behind the action but the line break


def test_a_template_that_has_opened_reasoning_is_noticed() -> None:
    encoder = encoder_with(OPENING)
    assert encoder.opened is not None and encoder.opened.opening == "<think>"
    found, _ = play(encoder, scripted(f"{REASONED}\n</think>\n\n{REPLY}\nmore"))
    assert (found.text, found.reasoning, found.cut) == (REPLY, REASONED, "")


def test_a_template_that_names_the_closing_mark_alone_leaves_both_ways_open() -> None:
    encoder = encoder_with(STRIPPING)
    assert encoder.opened is None and encoder.implied is not None
    reasoned, _ = play(encoder, scripted(f"{REASONED}\n</think>\n\n{REPLY}\nmore"))
    assert (reasoned.text, reasoned.reasoning) == (REPLY, REASONED)
    plain, _ = play(encoder, scripted(f"{REPLY}\nmore"))
    assert (plain.text, plain.reasoning, plain.reasoning_tokens, plain.cut) == (REPLY, "", 0, "")
    opened, _ = play(encoder, scripted(f"<think>{REASONED}</think>{REPLY}"))
    assert (opened.text, opened.reasoning) == (REPLY, REASONED)


@pytest.mark.parametrize("template", [TEMPLATE, OPENING], ids=["plain", "opening"])
def test_a_limit_inside_reasoning_is_told(template: str) -> None:
    encoder = encoder_with(template)
    found, _ = play(encoder, endless("" if encoder.opened else "<think>"), most=60)
    assert (found.text, found.cut, found.tokens, found.reasoning_tokens) == ("", "reasoning", 60, 60)
    assert "Action: dig" in found.reasoning
    short, _ = play(encoder_with(), scripted(REPLY), most=5)
    assert (short.cut, short.tokens, short.reasoning) == ("reply", 5, "")
    assert REPLY.startswith(short.text)


@pytest.mark.parametrize(("marks", "special"), WAYS, ids=lambda way: getattr(way, "opening", way))
def test_a_budget_closes_reasoning_and_the_reply_has_all_its_tokens(marks: Marks, special: bool) -> None:
    tokens = ["<|channel|>", "<|message|>"] if marks is HARMONY else [marks.opening, marks.closing]
    encoder = encoder_with(special=tokens if special else ())
    reply = len(encoder.tokenizer.encode(REPLY))
    found, model = play(encoder, endless(marks.opening), budget=50, most=reply)
    assert (found.text, found.cut, found.reasoning_tokens) == (REPLY, "reply", 50)  # the last token is no line break
    assert found.tokens == 50 + reply == len(model.ids) + 1 - len(encoder.closing_ids(marks))
    assert found.log_probability == pytest.approx(0.0, abs=1e-6)  # forced tokens are none that the model has chosen
    whole, _ = play(encoder, endless(marks.opening), budget=50, most=reply + 1)
    assert (whole.text, whole.cut) == (REPLY, "")
    assert play(encoder, endless(marks.opening), budget=50, most=reply)[0] == found


def test_a_budget_leaves_replies_without_reasoning_their_own_limit() -> None:
    found, _ = play(encoder_with(), scripted(REPLY), budget=100, most=8)
    assert (found.tokens, found.cut, found.reasoning_tokens) == (8, "reply", 0)
    encoder = encoder_with(OPENING)
    short, _ = play(encoder, scripted(f"hm</think>{REPLY}\nmore"), budget=100, most=40)
    assert (short.text, short.reasoning, short.cut) == (REPLY, "hm", "")


def test_whole_turns_are_read_after_the_reasoning() -> None:
    text = f"<think>{REASONED}</think>\n\nRanking: 2, 1"
    found, _ = play(encoder_with(), scripted(text), whole_turn=True)
    assert (found.text, found.reasoning, found.cut) == ("Ranking: 2, 1", REASONED, "")


def test_a_whole_turn_that_a_limit_ends_behind_its_action_was_cut() -> None:
    most = 4 + len(encoder_with().tokenizer.encode(REPLY))
    found, _ = play(encoder_with(), scripted(f"{REPLY}\nAnd more than that."), most=most, whole_turn=True)
    assert found.text.startswith(f"{REPLY}\n")
    assert (found.tokens, found.cut) == (most, "reply")


@pytest.mark.parametrize(
    ("stop", "left"),
    [(("more",), "Said "), (("than", "re th"), "Said mo"), (("nowhere", "d mor"), "Sai")],
)
def test_a_whole_turn_ends_before_a_stop_text(stop: tuple[str, ...], left: str) -> None:
    text = "<think>more than that</think>\n\nSaid more than that."
    found, model = play(encoder_with(), scripted(text), whole_turn=True, stop=stop)
    assert (found.text, found.reasoning, found.cut) == (left, "more than that", "")
    assert len(model.ids) < len(encoder_with().tokenizer.encode(text))


def test_reasoning_that_is_never_closed_holds_no_action() -> None:
    found, _ = play(encoder_with(), scripted(f"<think>\n{REASONED}"))
    assert (found.text, found.reasoning, found.cut) == ("", REASONED, "")
