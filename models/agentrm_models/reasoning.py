"""Reasoning that a model writes before its reply, and the only place that knows the marks around it.

The marks are those that models of 2024 to 2026 are trained with: `<think>` (DeepSeek R1, Qwen3, QwQ and most others),
`[THINK]` (Magistral), the channels of gpt-oss (harmony), and their relatives. A chat template may have opened reasoning
already, so that a model writes the closing mark alone.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Marks(NamedTuple):
    """One way in which models set reasoning apart.

    Attributes:
        opening, closing: The texts before and behind it.
        ends: Finds where reasoning ends, closing text included.
        forced: What is written in the model's place to end reasoning whose budget is spent.
    """

    opening: str
    closing: str
    ends: re.Pattern[str]
    forced: str


class Split(NamedTuple):
    """A text without its reasoning.

    Attributes:
        reasoning: Without its marks; several parts are separated by an empty line.
        reply: What is left; the whole text, unchanged, where nothing was reasoned.
        open: The marks of reasoning that has not ended; None where all has.
        reasoned: Whether there was a mark at all.
    """

    reasoning: str
    reply: str
    open: Marks | None = None
    reasoned: bool = False


def _tags(opening: str, closing: str) -> Marks:
    return Marks(opening, closing, re.compile(re.escape(closing)), f"\n{closing}\n\n")


HARMONY = Marks(
    "<|channel|>analysis<|message|>",
    "<|channel|>final<|message|>",
    re.compile(
        r"(?:<\|end\|>\s*+)?(?=<\|start\|>assistant\s+to=)"
        r"|(?:<\|end\|>\s*+)?(?:<\|start\|>assistant\s*+)?"
        r"(?:<\|channel\|>final[^<\n]*+<\|message\|>|(?=<\|channel\|>commentary))"
    ),
    "<|end|><|start|>assistant<|channel|>final<|message|>",
)
"""Channels of gpt-oss: the final one ends reasoning, and so does a commentary, which calls a tool."""

ALL_MARKS = (
    _tags("<think>", "</think>"),
    _tags("<thinking>", "</thinking>"),
    _tags("<thought>", "</thought>"),
    _tags("<reasoning>", "</reasoning>"),
    _tags("<seed:think>", "</seed:think>"),
    _tags("[THINK]", "[/THINK]"),
    _tags("◁think▷", "◁/think▷"),
    _tags("<|START_THINKING|>", "<|END_THINKING|>"),
    _tags("<|begin_of_thought|>", "<|end_of_thought|>"),
    _tags("<|channel>thought", "<channel|>"),
    HARMONY,
)

MARK_ENDS = frozenset(marks.closing[-1] for marks in ALL_MARKS)
"""Characters in which closing marks end: no other character can complete one."""

_OPENINGS = re.compile("|".join(f"(?P<m{place}>{re.escape(marks.opening)})" for place, marks in enumerate(ALL_MARKS)))
_BEHIND = re.compile(rf"\s*+(?:{_OPENINGS.pattern})")
_AT_LINE = re.compile(rf"(?:\A|(?<=\n))[ \t]*+(?:{_OPENINGS.pattern})")
_HARMONY_PARTS = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>")
_FLAT_HARMONY = re.compile(r"\Aanalysis(?P<reasoning>.+?)assistantfinal(?P<reply>.*)\Z", re.DOTALL)
"""What is left of harmony's channels where a server has dropped their marks."""


def split_reasoning(text: str, opened: Marks | None = None) -> Split:
    """Take the reasoning out of what a model wrote.

    Reasoning begins with a mark at the beginning of a line. A closing mark without an opening one ends reasoning that
    began with the text.

    Args:
        opened: Marks whose opening the prompt ends with.
    """
    if flat := _FLAT_HARMONY.match(text):
        return Split(flat["reasoning"].strip(), flat["reply"], None, True)
    parts: list[str] = []
    replies: list[str] = []
    place = 0
    open_marks = opened or _closed_only(text)
    while True:
        if open_marks is None:
            begin = _next_opening(text, place)
            replies.append(text[place : begin.start() if begin else len(text)])
            if begin is None:
                break
            open_marks, place = _marks_of(begin), begin.end()
        end = open_marks.ends.search(text, place)
        parts.append(text[place : end.start() if end else len(text)])
        if end is None:
            break
        open_marks, place = None, end.end()
    if not parts:
        return Split("", text)
    return Split(_joined(parts), "".join(replies).lstrip(), open_marks, True)


def may_open(text: str) -> bool:
    """Whether what a model has written so far may still become an opening mark."""
    begun = text.lstrip().rstrip("\ufffd")  # part of a character
    return any(marks.opening.startswith(begun) and marks.opening != begun for marks in ALL_MARKS)


def opened_by(prompt: str) -> Marks | None:
    """The marks that a prompt ends with, so that what follows is reasoning."""
    end = prompt.rstrip()
    return next((marks for marks in ALL_MARKS if end.endswith(marks.opening)), None)


def closed_by(template: str, prompt: str) -> Marks | None:
    """Marks that a chat template takes out of replies by their closing text alone: a reply may begin inside them.

    Args:
        template: The template's source.
        prompt: What it puts before a reply.
    """
    for marks in ALL_MARKS:
        if marks.closing in template and marks.opening not in template and marks.closing not in prompt:
            return marks
    return None


def marker_tokens(tokens: dict[int, str]) -> dict[int, str]:
    """Of a tokenizer's special tokens those that marks are made of; decoding must not drop them."""
    texts = {text for marks in ALL_MARKS if marks is not HARMONY for text in (marks.opening, marks.closing)}
    texts |= {"<|channel>", "<channel|>"}
    if _HARMONY_PARTS[0] in tokens.values():
        texts |= set(_HARMONY_PARTS)
    return {token: text for token, text in tokens.items() if text in texts}


def _closed_only(text: str) -> Marks | None:
    """Marks whose first closing text stands before any opening one."""
    begin = _next_opening(text, 0)
    ends = [(end.start(), marks) for marks in ALL_MARKS if (end := marks.ends.search(text)) and end.end() > end.start()]
    first = min(ends, key=lambda found: found[0], default=None)
    return first[1] if first and (begin is None or first[0] < begin.start()) else None


def _next_opening(text: str, place: int) -> re.Match[str] | None:
    """The next opening mark at the beginning of a line, or right behind what has ended at `place`."""
    behind = _BEHIND.match(text, place) if place else None
    return behind or _AT_LINE.search(text, place)


def _marks_of(begin: re.Match[str]) -> Marks:
    return ALL_MARKS[int((begin.lastgroup or "m0")[1:])]


def _joined(parts: list[str]) -> str:
    stripped = (_OPENINGS.sub("", part.lstrip(), count=1) if _OPENINGS.match(part.lstrip()) else part for part in parts)
    return "\n\n".join(part for each in stripped if (part := each.strip()))
