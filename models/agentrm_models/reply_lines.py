"""What labels and actions look like beneath the decoration that chat models put around them.

Markdown marks, list bullets, headings, numbers, code fences and quotes mean nothing here: `**Action 2:** `go north`` is
the label `Action:` and the action `go north`. A text without such decoration comes out as it went in.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

BREAKS = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
"""Characters that end a line, as `str.splitlines` sees it, for a character class."""

BREAK = re.compile(rf"\r\n|[{BREAKS}]")

LEAD = r"(?:[ \t]*+\d{1,3}[.)][ \t]++)?[-+*>•#_`~ \t]*+"
"""What may stand before a label: bullets, list numbers, headings, quotation and emphasis marks."""

NUMBER = r"(?:[ \t]*+(?:#|(?i:no\.?))?[ \t]*+\d{1,3}|[ \t]*+\(\d{1,3}\))?"
COLON = r"[*_`~ \t]*+[:：]"
LINE_START = rf"(?:\A|(?<=[{BREAKS}]))"

FENCE = re.compile(
    r"[ \t]*(?:`{3,}|~{3,})[ \t]*(?ai:text|txt|plaintext|plain|json|bash|sh|shell|console|python|action|"
    r"markdown|md|yaml|xml|tool_code|tool)?[ \t]*"
)
"""A line that opens or closes a code fence, when it is the whole line."""

_WRAPS = ("```", "``", "`", "***", "**", "*", "~~", "__")
_QUOTES = (('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("«", "»"))
_EDGE = re.compile(r"\A(?:`{1,3}|\*{2,3}|~~)|(?:`{1,3}|\*{2,3}|~~)\Z")
_ONLY_MARKS = re.compile(r"[*_`~]+")
_CLOSING_MARKS = re.compile(r"[*_`~]+(?=\s|\Z)")
_BULLET = re.compile(r"[ \t]*(?:[-+*•>]|\d{1,3}[.)])[ \t]+")
_LABEL_WORDS = re.compile(
    rf"{LEAD}(?ai:Thought|Action|Observation|(?:with )?Action Input){NUMBER}{COLON}|{LEAD}(?ai:</?action>)"
)
_JSON_START = re.compile(rf"{LINE_START}[ \t]*(?=\{{)")
_CALL_KEYS = frozenset(
    {"action_input", "arguments", "args", "input", "kwargs", "parameters", "params", "name", "tool", "function"}
)
_THOUGHT_KEYS = ("thought", "thoughts", "reasoning", "reason", "explanation")
_decoder = json.JSONDecoder()


class Value(NamedTuple):
    """The text of an action.

    Attributes:
        text: Without decoration, on one line.
        end: Where its line ends in the reply.
        fenced: Whether a code fence was opened before it, which a line behind it may close.
    """

    text: str
    end: int
    fenced: bool = False


class JsonReply(NamedTuple):
    """A reply written as a JSON object with an action; where it lies in the text."""

    start: int
    end: int
    thought: str
    action: str


def undecorated(text: str, lead: str = "", quotes: bool = True) -> str:
    """A text without the marks around it; empty where there is nothing else.

    Args:
        lead: What stands before its label, whose marks may be closed behind the label or behind the text.
        quotes: Quotation marks around the whole text are decoration.
    """
    found = text.strip()
    closing = _CLOSING_MARKS.match(found)
    if closing and closing[0][0] in lead:
        found = found[closing.end() :].strip()
    while True:
        before = found
        found = _unwrapped(found, quotes)
        for mark in ("*", "_"):
            if mark in lead and found.endswith(mark) and mark not in found.rstrip(mark):
                found = found.rstrip(mark).rstrip()
        edge = _EDGE.search(found)
        if edge and edge[0][0] not in found[: edge.start()] + found[edge.end() :]:
            found = (found[: edge.start()] + found[edge.end() :]).strip()
        if found == before:
            return "" if _ONLY_MARKS.fullmatch(found) else found


def is_fence(line: str) -> bool:
    """Whether a line opens or closes a code fence and does nothing else."""
    return FENCE.fullmatch(line) is not None


def line_at(text: str, start: int, stop: int) -> tuple[str, int, int | None]:
    """The line that begins at `start`: its text, its end, and where the next one begins (None behind the last)."""
    found = BREAK.search(text, start, stop)
    return (text[start : found.start()], found.start(), found.end()) if found else (text[start:stop], stop, None)


def value_below(text: str, start: int | None, stop: int, fenced: bool) -> Value | None:
    """The first line with something on it below a label that names nothing itself; None where another label comes."""
    while start is not None:
        line, end, start = line_at(text, start, stop)
        if not line.strip():
            continue
        if is_fence(line):
            if fenced:
                return None
            fenced = True
            continue
        value = "" if _LABEL_WORDS.match(line) else undecorated(_BULLET.sub("", line, count=1))
        return Value(value, end, fenced) if value else None
    return None


def json_reply(text: str, stop: int, before: int) -> JsonReply | None:
    """The first JSON object that begins a line before `before` and holds one action, and no arguments of a call."""
    for begin in _JSON_START.finditer(text, 0, min(stop, before)):
        start = begin.end()
        if found := _json_at(text[:stop], start):
            return found._replace(start=begin.start())
    return None


def json_action(value: str) -> str:
    """The action in an action line that is such an object; empty where it is none."""
    found = _json_at(value, 0) if value.startswith("{") else None
    return found.action if found and found.end == len(value) else ""


def _json_at(text: str, start: int) -> JsonReply | None:
    try:
        record, end = _decoder.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    keys = {str(key).lower(): value for key, value in record.items()}
    action = keys.get("action")
    if not isinstance(action, str) or _CALL_KEYS & keys.keys():
        return None
    name = undecorated(" ".join(action.split()))
    thought = next((value for key in _THOUGHT_KEYS if isinstance(value := keys.get(key), str)), "")
    return JsonReply(start, end, thought.strip(), name) if name else None


def _unwrapped(text: str, quotes: bool) -> str:
    pairs = [(mark, mark) for mark in _WRAPS] + (list(_QUOTES) if quotes else [])
    for opening, closing in pairs:
        inner = text[len(opening) : len(text) - len(closing)]
        if (
            len(text) > len(opening) + len(closing)
            and text.startswith(opening)
            and text.endswith(closing)
            and inner.strip()
            and opening not in inner
            and closing not in inner
        ):
            return inner.strip()
    return text
