"""The reply format of every environment: `Thought: …` newline `Action: …`."""

from __future__ import annotations

import re
from typing import NamedTuple

ACTION_LIMIT = 2_000
"""Characters an action may have; longer ones are refused before an environment sees them."""

_ACTION = re.compile(r"(?:^|\n)[ \t]*Action:[ \t]*(.*)\Z", re.DOTALL | re.IGNORECASE)
_THOUGHT = re.compile(r"\A\s*Thought:[ \t]*(.*)\Z", re.DOTALL | re.IGNORECASE)

MISSING_ACTION = "No action found. Reply with 'Thought: ...' on one line and 'Action: ...' on the next."
"""The observation after a reply without `Action:`; the step counts."""

ACTION_TOO_LONG = f"The action is longer than {ACTION_LIMIT} characters and was refused."
"""The observation after an action that is too long; the step counts."""


class Reply(NamedTuple):
    """A parsed reply. `action` is empty when the reply has none."""

    thought: str
    action: str


def parse_reply(text: str) -> Reply:
    """Split a policy's reply into thought and action.

    The first line that starts with `Action:` begins the action, which ends at the first line break unless an
    `Action Input:` line follows (tools), and is stripped. Without such a line the whole text is the thought.
    """
    head, found, _ = text.partition("\nObservation:")
    body = head if found else text
    match = _ACTION.search(body)
    before = body[: match.start()] if match else body
    thought = _THOUGHT.match(before)
    return Reply((thought.group(1) if thought else before).strip(), _first_action(match.group(1)) if match else "")


def _first_action(rest: str) -> str:
    lines = rest.splitlines()
    if not lines:
        return ""
    first = lines[0].strip()
    if len(lines) > 1 and lines[1].lstrip().lower().startswith(("action input:", "with action input:")):
        return f"{first} with Action Input: {lines[1].partition(':')[2].strip()}"
    return first


def format_reply(thought: str, action: str) -> str:
    """Write a reply in the common format; without a thought the first line is left out."""
    return f"Thought: {thought}\nAction: {action}" if thought else f"Action: {action}"
