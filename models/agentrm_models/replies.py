"""The reply format of every environment, and the only place that knows it: `Thought: …`, line break, `Action: …`.

```
reply  = text, [action line, [input line]], ["Observation:" line and whatever follows]
action = "Action:" and a text that is not blank, on one line; or that text alone on the line below
       | a JSON object with the key "action" and no arguments
input  = "Action Input:" or "with Action Input:" on the next line, where the action names no input itself (tools)
```
The first action line is the action. Labels and actions may be decorated, as chat models do (see `reply_lines`). Lines
end where `str.splitlines` ends them. What a reply says, where one that is still being written ends, and which action is
compared with excluded ones all follow from `_find`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from agentrm_models.messages import Conversation
from agentrm_models.reply_lines import (
    BREAK,
    BREAKS,
    COLON,
    LEAD,
    LINE_START,
    NUMBER,
    Value,
    is_fence,
    json_action,
    json_reply,
    line_at,
    undecorated,
    value_below,
)

ACTION_LIMIT = 2_000
"""Characters an action may have; longer ones are refused before an environment sees them."""

MISSING_ACTION = "No action found. Reply with 'Thought: ...' on one line and 'Action: ...' on the next."
"""The observation after a reply without `Action:`; the step counts."""

ACTION_TOO_LONG = f"The action is longer than {ACTION_LIMIT} characters and was refused."
"""The observation after an action that is too long; the step counts."""

OBSERVATION = "\nObservation:"
"""Ends a reply: from here on the model plays the environment. Servers get it as a stop text."""

_THOUGHT = re.compile(
    rf"\A\s*+(?:[`~]{{3,}}\w*[ \t]*+[{BREAKS}]\s*+)?{LEAD}(?ai:Thought){NUMBER}{COLON}"
    rf"(?:[*_`~]+(?=[ \t{BREAKS}]|\Z))?[ \t]*"
)
_OPENED = re.compile(rf"\A\s*[`~]{{3,}}\w*[ \t]*(?:[{BREAKS}]|\Z)")
_REOPENED = re.compile(rf"(?:\A|[{BREAKS}])[ \t]*[`~]{{3,}}\w*\s*\Z")
_ACTION = re.compile(
    rf"{LINE_START}(?P<lead>{LEAD})"
    rf"(?:(?ai:Action){NUMBER}(?:{COLON}|(?P<bare>[*_`~]*[ \t]*(?=[{BREAKS}])))|(?P<tag>(?ai:<action>)))"
    rf"(?P<value>[^{BREAKS}]*)"
)
_HEADING = re.compile(r"#|[*_]{2}")
_TAG_END = re.compile(r"(?ai:</action>).*\Z")
_OBSERVATION = re.compile(rf"(?<=[{BREAKS}])(?P<lead>{LEAD})(?ai:Observation)(?P<more>{NUMBER}[*_`~ \t]*)[:：]")
_INPUT = re.compile(rf"\s*+(?P<lead>{LEAD})(?ai:(?:with )?Action Input){NUMBER}{COLON}")
_NAMES_INPUT = re.compile(r"\b(?ai:Action Input:)")
_INPUT_LABELS = ("action input:", "with action input:")
_LEADING = re.compile(LEAD)


class Reply(NamedTuple):
    """A parsed reply. `action` is empty when the reply has none."""

    thought: str
    action: str


class _Parts(NamedTuple):
    """Where the parts of a reply lie in its text.

    Attributes:
        stop: Where an observation begins, or the end of the text: nothing behind it is read.
        start: Where the action begins, its label included; None where there is none.
        action: Its text, without decoration.
        end: Where its line ends.
        next_line: Where the line behind a finished action begins.
        tool_input: Start and end of the text of an input line.
        named: What stands in the action's place names its thought too (JSON).
        lead: What stands before the label of the input.
    """

    stop: int
    start: int | None = None
    action: str = ""
    end: int = 0
    next_line: int | None = None
    tool_input: tuple[int, int] | None = None
    named: str | None = None
    lead: str = ""


def parse_reply(text: str) -> Reply:
    """Split a policy's reply into thought and action.

    The first line `Action: …` that is not blank is the action; an input line behind it is joined to it. Without an
    action the whole text is the thought. What follows a line that begins with `Observation:` is not read.
    """
    parts = _find(text)
    before = text[: parts.stop if parts.start is None else parts.start]
    if parts.start is None:
        return Reply(_THOUGHT.sub("", before).strip(), "")
    thought = parts.named or _thought(before)
    if parts.tool_input is None:
        return Reply(thought, parts.action)
    tool_input = undecorated(text[slice(*parts.tool_input)], parts.lead, quotes=False)
    return Reply(thought, f"{parts.action} with Action Input: {tool_input}".strip())


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
    if parts.start is None:
        return parts.stop if parts.stop < len(text) else None
    if parts.next_line is None:
        return None
    if parts.tool_input is not None:
        end = parts.tool_input[1]
        return end if end < len(text) else None
    waits = input_line and _may_become_input(text[parts.next_line :]) and not _NAMES_INPUT.search(parts.action)
    return None if waits else parts.end


def may_take_input(conversation: Conversation) -> bool:
    """Whether an action may be followed by its input: the instruction (the first two messages) speaks of one."""
    return any(_NAMES_INPUT.search(message.content) for message in conversation[:2])


def _find(text: str) -> _Parts:
    stop = _observation(text)
    found = _action_line(text, stop)
    before = stop if found is None or found.start is None else found.start
    if written := json_reply(text, stop, before):
        return _Parts(stop, written.start, written.action, written.end, written.end, None, written.thought)
    if found is None or found.next_line is None:
        return found or _Parts(stop)
    line, end, _ = line_at(text, found.next_line, stop)
    label = _INPUT.match(line)
    if label is None or _NAMES_INPUT.search(found.action):
        return found
    return found._replace(tool_input=(found.next_line + label.end(), end), lead=label["lead"])


def _observation(text: str) -> int:
    """Where an observation begins that the model invents; the end of the text where there is none."""
    plain = text.find(OBSERVATION)
    stop = plain if plain >= 0 else len(text)
    for label in _OBSERVATION.finditer(text, 0, stop):
        if label["lead"].strip() or label["more"].strip():
            return label.start()
    return stop


def _action_line(text: str, stop: int) -> _Parts | None:
    """The first action line, or an action below the label of one."""
    place = 0
    while label := _ACTION.search(text, place, stop):
        place = label.end()
        if label["bare"] is not None and not _HEADING.search(label["lead"]):
            continue
        if value := _value(text, label, stop):
            line_break = BREAK.match(text, value.end)
            behind = line_break.end() if line_break and value.end < stop else None
            if behind is not None and value.fenced:
                behind = _behind_fence(text, behind, stop)
            return _Parts(stop, label.start(), value.text, value.end, behind)
    return None


def _value(text: str, label: re.Match[str], stop: int) -> Value | None:
    """The action that a label names, on its line or below it."""
    value = _TAG_END.sub("", label["value"]) if label["tag"] else label["value"]
    fenced = is_fence(value) and bool(value.strip())
    action = "" if fenced else undecorated(value, label["lead"])
    if action:
        return Value(json_action(action) or action, label.end())
    line_break = BREAK.match(text, label.end())
    below = line_break.end() if line_break and label.end() < stop else None
    return value_below(text, below, stop, fenced or "```" in label["lead"])


def _behind_fence(text: str, start: int, stop: int) -> int:
    """Where the line behind the end of a code fence begins, if the fence ends at once."""
    line, _, following = line_at(text, start, stop)
    return following if following is not None and is_fence(line) and line.strip() else start


def _thought(before: str) -> str:
    """What stands before an action, without its label and the beginning of a code fence around all or the action."""
    thought = _THOUGHT.sub("", before) if _THOUGHT.match(before) else _OPENED.sub("", before)
    while True:
        stripped = _REOPENED.sub("", thought.strip()).strip()
        if stripped == thought:
            return thought
        thought = stripped


def _may_become_input(rest: str) -> bool:
    """Whether what follows an action may still turn out to be an input line."""
    begun = _LEADING.sub("", rest.lstrip(), count=1).lower()
    return not BREAK.search(rest) and any(label.startswith(begun) for label in _INPUT_LABELS)
