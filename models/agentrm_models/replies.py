"""The reply format of every environment, and the only place that knows it: `Thought: …`, line break, `Action: …`.

```
reply  = text, [action line, [input line]], ["Observation:" line and whatever follows]
action = "Action:" and a text that is not blank, on one line
input  = "Action Input:" or "with Action Input:" on the next line, where the action names no input itself (tools)
```
The first action line is the action. Lines end where `str.splitlines` ends them. What a reply says, where one that is
still being written ends, and which action is compared with excluded ones all follow from `_find`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from agentrm_models.messages import Conversation

ACTION_LIMIT = 2_000
"""Characters an action may have; longer ones are refused before an environment sees them."""

MISSING_ACTION = "No action found. Reply with 'Thought: ...' on one line and 'Action: ...' on the next."
"""The observation after a reply without `Action:`; the step counts."""

ACTION_TOO_LONG = f"The action is longer than {ACTION_LIMIT} characters and was refused."
"""The observation after an action that is too long; the step counts."""

OBSERVATION = "\nObservation:"
"""Ends a reply: from here on the model plays the environment. Servers get it as a stop text."""

_BREAKS = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_BREAK = re.compile(rf"\r\n|[{_BREAKS}]")
_THOUGHT = re.compile(r"\A\s*(?ai:Thought:)[ \t]*")
_ACTION = re.compile(rf"(?:\A|(?<=[{_BREAKS}]))[ \t]*(?ai:Action:)[^\S{_BREAKS}]*(\S[^{_BREAKS}]*)")
_INPUT = re.compile(r"\s*(?ai:(?:with )?Action Input:)")
_NAMES_INPUT = re.compile(r"\b(?ai:Action Input:)")
_INPUT_LABELS = ("action input:", "with action input:")


class Reply(NamedTuple):
    """A parsed reply. `action` is empty when the reply has none."""

    thought: str
    action: str


class _Parts(NamedTuple):
    """Where the parts of a reply lie in its text.

    Attributes:
        stop: Where an observation begins, or the end of the text: nothing behind it is read.
        action: The action line, its text as group 1.
        next_line: Where the line behind a finished action line begins.
        tool_input: Start and end of the text of an input line.
    """

    stop: int
    action: re.Match[str] | None = None
    next_line: int | None = None
    tool_input: tuple[int, int] | None = None


def parse_reply(text: str) -> Reply:
    """Split a policy's reply into thought and action.

    The first line `Action: …` that is not blank is the action; an input line behind it is joined to it. Without an
    action the whole text is the thought. What follows a line that begins with `Observation:` is not read.
    """
    parts = _find(text)
    before = text[: parts.action.start() if parts.action else parts.stop]
    thought = _THOUGHT.sub("", before).strip()
    if parts.action is None:
        return Reply(thought, "")
    action = parts.action.group(1).strip()
    if parts.tool_input is None:
        return Reply(thought, action)
    return Reply(thought, f"{action} with Action Input: {text[slice(*parts.tool_input)].strip()}".strip())


def action_of(text: str) -> str:
    """The action that a reply names, to compare with excluded ones; empty where it names none."""
    return parse_reply(text).action


def format_reply(thought: str, action: str) -> str:
    """Write a reply in the common format; without a thought the first line is left out."""
    return f"Thought: {thought}\nAction: {action}" if thought else f"Action: {action}"


def reply_end(text: str, input_line: bool = False) -> int | None:
    """Where a reply that is still being written has ended, so that generation can stop; None while it goes on.

    It ends behind its action, or before an observation that the model invents. An input line that is there belongs
    to the reply.

    Args:
        input_line: Wait until the next line shows whether it is an input line (see `may_take_input`).
    """
    parts = _find(text)
    if parts.action is None:
        return parts.stop if parts.stop < len(text) else None
    if parts.next_line is None:
        return None
    if parts.tool_input is not None:
        end = parts.tool_input[1]
        return end if end < len(text) else None
    waits = input_line and _may_become_input(text[parts.next_line :]) and not _NAMES_INPUT.search(parts.action.group(1))
    return None if waits else parts.action.end()


def may_take_input(conversation: Conversation) -> bool:
    """Whether an action may be followed by its input: the instruction (the first two messages) speaks of one."""
    return any(_NAMES_INPUT.search(message.content) for message in conversation[:2])


def _find(text: str) -> _Parts:
    observation = text.find(OBSERVATION)
    stop = observation if observation >= 0 else len(text)
    action = _ACTION.search(text, 0, stop)
    line_break = _BREAK.match(text, action.end()) if action else None
    if action is None or line_break is None:
        return _Parts(stop, action)
    line = line_break.end()
    next_break = _BREAK.search(text, line, stop)
    end = next_break.start() if next_break else stop
    label = _INPUT.match(text, line, end)
    if label is None or _NAMES_INPUT.search(action.group(1)):
        return _Parts(stop, action, line)
    return _Parts(stop, action, line, (label.end(), end))


def _may_become_input(rest: str) -> bool:
    """Whether what follows an action may still turn out to be an input line."""
    begun = rest.lstrip().lower()
    return not _BREAK.search(rest) and any(label.startswith(begun) for label in _INPUT_LABELS)
