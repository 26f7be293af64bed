"""Reasoning is taken out of what a model writes, with all marks that are known, and never cut in the wrong place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrm_models.reasoning import ALL_MARKS, HARMONY, Marks, may_open, opened_by, split_reasoning

REASONED = "I could write\nAction: dig a hole\nbut no.\nObservation: a hole"
REPLY = "Thought: left\nAction: move left"


@pytest.mark.parametrize("marks", ALL_MARKS, ids=lambda marks: marks.opening)
def test_reasoning_is_taken_out_with_and_without_its_opening(marks: Marks) -> None:
    for ending in (marks.closing, marks.forced):
        whole = split_reasoning(f"{marks.opening}\n{REASONED}\n{ending}\n\n{REPLY}")
        assert (whole.reasoning, whole.reply, whole.open) == (REASONED, REPLY, None)
        assert split_reasoning(f"{REASONED}\n{ending}\n\n{REPLY}") == whole
        assert split_reasoning(f"{REASONED}\n{ending}\n\n{REPLY}", marks) == whole
    cut = split_reasoning(f"{marks.opening}{REASONED}")
    assert (cut.reasoning, cut.reply, cut.open) == (REASONED, "", marks)
    assert split_reasoning(REASONED, marks) == cut
    assert opened_by(f"<|start|>assistant\n{marks.opening}\n") is marks


def test_several_parts_are_taken_out_wherever_a_line_begins_with_one() -> None:
    split = split_reasoning(f"<think>a</think>\n<think>b</think>Thought: x\n<thought>c\n</thought>\n{REPLY}")
    assert split == ("a\n\nb\n\nc", f"Thought: x\n\n{REPLY}", None, True)
    assert split_reasoning(f"<think>\n<think>a</think>{REPLY}").reasoning == "a"
    assert split_reasoning(f"<think>\n\n</think>\n\n{REPLY}") == ("", REPLY, None, True)


def test_harmony_is_read_in_all_the_shapes_that_servers_leave() -> None:
    again = "<|end|><|start|>assistant"
    two = f"{HARMONY.opening}a{again}{HARMONY.opening}b{again}{HARMONY.closing}{REPLY}"
    assert split_reasoning(two).reply == REPLY
    assert split_reasoning(HARMONY.closing + REPLY)[:2] == ("", REPLY)
    assert split_reasoning(f"analysis{REASONED}assistantfinal{REPLY}")[:2] == (REASONED, REPLY)
    assert split_reasoning("analysis of the maze: go on").reply == "analysis of the maze: go on"
    call = "<|channel|>commentary to=functions.move<|message|>{}"
    assert split_reasoning(f"{HARMONY.opening}a{again}{call}")[:2] == ("a", call)


@given(st.text(alphabet=st.sampled_from("aA: \n<>/[]|thinkTHINK"), max_size=60))
@settings(max_examples=300, deadline=None)
def test_a_text_without_marks_is_left_alone_and_nothing_is_lost(text: str) -> None:
    split = split_reasoning(text)
    if not any(marks.closing in text or marks.opening in text for marks in ALL_MARKS):
        assert split == ("", text, None, False)
    else:
        assert len(split.reasoning) + len(split.reply) <= len(text) + 2 * text.count("<")


def test_a_beginning_may_become_an_opening_until_it_is_none() -> None:
    assert all(may_open(text) for text in ("", "\n", "<", " <thi", "[TH", "<|channel|>ana", "\ufffd", "◁th\ufffd"))
    assert not any(may_open(text) for text in ("T", "<think>", "<x", "Thought: <", "[A", "<|channel|>final"))
