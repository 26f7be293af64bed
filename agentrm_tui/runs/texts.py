"""What is kept of a model's or an environment's text: everything a file can hold, and no megabytes."""

from __future__ import annotations

from agentrm_models.replies import ACTION_LIMIT, format_reply, parse_reply

REPLY_LIMIT = 4_000
"""Characters of a reply that are kept."""

REASONING_LIMIT = 16_000
"""Characters of reasoning that are kept: its beginning and its end, the end twice as long."""

_ACTION_KEPT = ACTION_LIMIT + 500
_THOUGHT_KEPT = 1_000


def printable(text: str) -> str:
    """Replace what UTF-8 cannot write (lone surrogates) by question marks."""
    written = text.encode("utf-8", "replace").decode("utf-8")
    return text if written == text else written  # one text in many events is held once


def kept_reasoning(text: str) -> str:
    """Reasoning as it is stored: whole up to the limit, else its beginning and its end, with a line that says so."""
    reasoning = printable(text)
    if len(reasoning) <= REASONING_LIMIT:
        return reasoning
    head = REASONING_LIMIT // 3
    tail = REASONING_LIMIT - head
    left_out = len(reasoning) - REASONING_LIMIT
    return f"{reasoning[:head]}\n[… {left_out:,} characters left out …]\n{reasoning[-tail:]}"


def kept_reply(text: str) -> str:
    """A reply as it is stored: whole up to the limit, else thought and action cut apart.

    What is cut keeps its meaning: an action that is too long stays too long, and a missing one stays missing.
    """
    reply = printable(text)
    if len(reply) <= REPLY_LIMIT:
        return reply
    parsed = parse_reply(reply)
    if not parsed.action:
        return reply[:REPLY_LIMIT]
    return format_reply(parsed.thought[:_THOUGHT_KEPT], parsed.action[:_ACTION_KEPT])
