"""Tool calls as text: `name with Action Input: {json}`, read leniently in form and strictly in content."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple, NoReturn

from agentrm_models.replies import ACTION_LIMIT, ACTION_TOO_LONG
from agentrm_tui.environments.tools.signatures import RefusedError

_FORM = re.compile(r"([^\s{(:]+)[ \t]*(?:\(\))?(.*)\Z", re.DOTALL)
_MARK = re.compile(r"\s*:?\s*(?:with\s+)?(?:action\s+input\s*:?)?\s*", re.IGNORECASE)
_DIGITS = 15
"""Digits a whole number may have: more fit no tool and are not exact as floating-point numbers."""

WRITTEN_AS = 'write NAME with Action Input: {"argument": value}'

MOST_BRACKETS = 300
"""Lists and records of one call: how deep Python itself reads and writes JSON differs between its versions."""


class Call(NamedTuple):
    """A tool's name and its arguments by name."""

    name: str
    arguments: dict[str, Any]


def format_call(call: Call) -> str:
    """Write a call as an action."""
    return f"{call.name} with Action Input: {json.dumps(call.arguments)}"


def parse_call(action: str) -> Call:
    """Read an action as a call; without an Action Input there are no arguments.

    Raises:
        RefusedError: It is empty, too long or not of that form, or the input is not a JSON object; the message says
            which.
    """
    if len(action) > ACTION_LIMIT:
        raise RefusedError(ACTION_TOO_LONG.rstrip("."))
    form = _FORM.match(action.strip())
    if form is None:
        raise RefusedError(f"no tool is named; {WRITTEN_AS}")
    name, rest = form.groups()
    text = rest[mark.end() :] if (mark := _MARK.match(rest)) else rest
    if not text.strip():
        return Call(name, {})
    if not text.startswith("{"):
        raise RefusedError(f"the Action Input must be a JSON object; {WRITTEN_AS}")
    arguments = _decode(text)
    try:
        json.dumps(arguments, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise RefusedError("the Action Input holds half a character") from None
    return Call(name, arguments)


def _decode(text: str) -> dict[str, Any]:
    if text.count("[") + text.count("{") > MOST_BRACKETS:
        raise RefusedError("the Action Input is nested too deeply")
    try:
        arguments = json.loads(text, parse_float=_number, parse_int=_integer, parse_constant=_constant)
    except json.JSONDecodeError as error:
        where = f"at character {error.pos + 1}"
        raise RefusedError(f"the Action Input is not JSON: {error.msg.lower().removesuffix(' at')} {where}") from None
    if not isinstance(arguments, dict):
        raise RefusedError(f"the Action Input must be a JSON object; {WRITTEN_AS}")
    return arguments


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise RefusedError("a number in the Action Input is too large")
    return number


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise RefusedError("a number in the Action Input is too large")
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise RefusedError(f"{name} is no JSON number")
