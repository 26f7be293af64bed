"""Words in and out: what a person or a model may write as commands of one or two words, and capitals made readable."""

from __future__ import annotations

import re

_LONGEST = 60
"""Characters that a command can sensibly have."""

_PLAIN = re.compile(r"[a-z0-9? ]+")
_ARTICLES = frozenset(("the", "a", "an"))
_PHRASES: tuple[tuple[str, str], ...] = (
    ("turn on ", "light "),
    ("switch on ", "light "),
    ("turn off ", "extinguish "),
    ("switch off ", "extinguish "),
    ("pick up ", "take "),
    ("put down ", "drop "),
    ("go to ", ""),
    ("go ", ""),
)
"""Beginnings that English needs three words for, and what the game calls them."""

_SHORTHANDS = {"i": "inventory", "inv": "inventory", "l": "look", "look around": "look", "turn lamp on": "light lamp"}


def command_words(action: str) -> tuple[str, ...]:
    """One or two words for the game; none where the text cannot be a command."""
    if len(action) > _LONGEST:
        return ()
    text = " ".join(action.lower().split()).rstrip(".!")
    if not _PLAIN.fullmatch(text):
        return ()
    text = " ".join(word for word in text.split() if word not in _ARTICLES)
    text = _SHORTHANDS.get(text, text)
    for phrase, verb in _PHRASES:
        if text.startswith(phrase):
            text = verb + text.removeprefix(phrase)
            break
    words = tuple(text.split())
    return words if len(words) <= 2 else ()


_SENTENCE = re.compile(r"(^|[.!?:]\s+)([\"(*]*)([a-z])")
_QUOTED = re.compile(r"\"([^\"]{1,24})\"")
_MAGIC = re.compile(r"\b(xyzzy|plugh|y2|ming|persian|i|i'm|i'll|i've|i'd)\b")


def readable(text: str) -> str:
    """The game writes capitals only: sentences in lower case, short inscriptions and magic words left as they are."""
    return " ".join(_sentences(message) for message in text.split("\n\n") if message.strip())


def _sentences(message: str) -> str:
    flat = " ".join(message.split())
    plain = _SENTENCE.sub(lambda match: match[1] + match[2] + match[3].upper(), flat.lower())
    plain = _MAGIC.sub(lambda match: _magic(match[1]), plain)
    plain = _QUOTED.sub(lambda match: f'"{match[1].upper()}"', plain)
    return plain if plain[-1] in '.!?:"' else f"{plain}."


def _magic(word: str) -> str:
    if word in ("ming", "persian") or word.startswith("i"):
        return word[0].upper() + word[1:]
    return word.upper()
