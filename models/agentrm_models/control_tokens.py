"""Tokens that mean something to a model beyond their characters, and texts that only look like them.

What people, models and environments write is data. While a chat template is rendered, each text in it that looks like
a control token is covered by one character of a private plane, so that afterwards it is known which are the template's
own and which are plain characters, wherever the template has put them and however often.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NamedTuple

from agentrm_models.messages import Message
from agentrm_models.reasoning import ALL_MARKS

MESSAGES = 2_048
"""Messages that are remembered: a history is rendered again at each step."""

_FIRST = 0xF0000
"""The first character of a plane that Unicode assigns to nobody."""

_TAG = re.compile(r"[<◁]\S*\w\S*[>▷]")
"""Added tokens that are markup, such as `<tool_call>`."""

_BRACKETS = re.compile(r"\[\S*\w\S*\]")
"""Those that are so only where the chat template or a mark of reasoning uses them: `[SEP]` is a shop's own text.

All other added tokens are words, phrases and blanks, which mean what they say.
"""


class Piece(NamedTuple):
    """A part of a rendered text; `plain` if it only looks like a control token."""

    text: str
    plain: bool


def control_tokens(tokenizer: Any) -> dict[int, str]:
    """All special tokens of a tokenizer, those without a role of their own (`<|eot_id|>` of Llama 3) included."""
    found = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=False))
    found |= {token: text for token, (text, special) in _added(tokenizer).items() if special}
    return {token: text for token, text in found.items() if text}


class Covering:
    """Covers texts that look like control tokens of one tokenizer, and encodes what was covered as plain characters.

    Args:
        template: The source of the chat template.
    """

    def __init__(self, tokenizer: Any, template: str) -> None:
        self._tokenizer = tokenizer
        self._known: dict[Message, str] = {}
        control = control_tokens(tokenizer)
        marks = {text for each in ALL_MARKS for text in (each.opening, each.closing)}
        used = (template, *marks)
        markup = {token: text for token, (text, _) in _added(tokenizer).items() if _is_markup(text, used)}
        self._ids = frozenset(control) | frozenset(markup)
        self._texts = sorted({*control.values(), *markup.values()}, key=lambda text: (-len(text), text))
        self._numbers = {text: number for number, text in enumerate(self._texts)}
        self._escape = chr(_FIRST + len(self._texts))
        own = f"[{chr(_FIRST)}-{self._escape}]"
        special = set(control.values())
        self._of_models = [text for text in self._texts if text in special - marks]
        self._own = re.compile(own)
        beginnings = "".join(sorted({re.escape(text[0]) for text in self._texts}))
        self._hint = re.compile(f"[{beginnings}{own[1:]}")
        self._covered = re.compile(f"{self._escape}?{own}", re.DOTALL)

    def cover(self, message: Message) -> str:
        """A message's content with one character in the place of each text that looks like a control token.

        A model's own marks of reasoning and calls stay: templates look for them in replies.
        """
        known = self._known.get(message)
        if known is None:
            if len(self._known) >= MESSAGES:
                self._known.clear()
            known = self._known[message] = self._covered_content(message)
        return known

    def _covered_content(self, message: Message) -> str:
        content = message.content
        if not self._hint.search(content):
            return content
        texts = self._of_models if message.role == "assistant" else self._texts
        present = [re.escape(text) for text in texts if text in content]
        if not present and not self._own.search(content):
            return content
        return re.sub("|".join([*present, self._own.pattern]), self._cover, content)

    def has_covered(self, text: str) -> bool:
        """Whether there is anything to uncover in a rendered text."""
        return self._covered.search(text) is not None

    def pieces(self, text: str) -> list[Piece]:
        """A rendered text, cut where something was covered."""
        found, place = list[Piece](), 0
        for covered in self._covered.finditer(text):
            found += [Piece(text[place : covered.start()], False), Piece(self._uncover(covered[0]), True)]
            place = covered.end()
        return [piece for piece in (*found, Piece(text[place:], False)) if piece.text]

    def uncovered(self, text: str) -> str:
        """A rendered text as a person reads it."""
        return "".join(piece.text for piece in self.pieces(text))

    def plain_ids(self, text: str) -> list[int]:
        """The ids of a text as plain characters, whatever the tokenizer makes of it as a whole."""
        ids = list(self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))
        if len(text) < 2 or self._ids.isdisjoint(ids):
            return ids
        return self.plain_ids(text[:1]) + self.plain_ids(text[1:])

    def _cover(self, found: re.Match[str]) -> str:
        number = self._numbers.get(found[0])
        return self._escape + found[0] if number is None else chr(_FIRST + number)

    def _uncover(self, covered: str) -> str:
        if len(covered) > 1:
            return covered[1]
        number = ord(covered) - _FIRST
        return self._texts[number] if number < len(self._texts) else covered


def _is_markup(text: str, used: Collection[str]) -> bool:
    """Whether an added token is markup; `used` are the texts that tell what brackets are."""
    if _TAG.fullmatch(text):
        return True
    return bool(_BRACKETS.fullmatch(text)) and any(text in each for each in used)


def _added(tokenizer: Any) -> dict[int, tuple[str, bool]]:
    """Tokens that were added to a vocabulary, by id: their texts, and whether they are special."""
    added = getattr(tokenizer, "added_tokens_decoder", None) or {}
    return {int(token): (str(each.content), bool(each.special)) for token, each in added.items() if each.content}
