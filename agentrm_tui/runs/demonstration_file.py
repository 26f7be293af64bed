"""Trajectories of one's own as demonstrations: a run file, or JSON lines of chat messages.

A line is `{"messages": [{"role": …, "content": …}, …]}` or `{"conversations": [{"from": …, "value": …}, …]}`. Roles are
system (left out: the environment has its own instruction), user or human, and assistant or gpt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from agentrm_models.errors import DataError
from agentrm_models.messages import Conversation, Message, Role
from agentrm_models.replies import action_of
from agentrm_tui.runs.conversations import policy_conversation
from agentrm_tui.runs.store import load_state

LARGEST_FILE = 64_000_000
"""Bytes of a file of demonstrations at most; of a run file as much as it has."""

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}


class _Chat(msgspec.Struct):
    """One line."""

    messages: list[dict[str, Any]] | None = None
    conversations: list[dict[str, Any]] | None = None


def read_demonstrations(path: Path) -> list[Conversation]:
    """The episodes of a file; of a run file those that ended with a full score.

    Raises:
        DataError: It is missing, too large, or holds something else; the message names the line.
    """
    try:
        with path.open("rb") as stream:
            beginning = stream.read(200)
            if path.suffix == ".gz" or b'"type":"run_started"' in beginning:
                return _of_run(path)
            raw = beginning + stream.read(LARGEST_FILE)
    except OSError as error:
        raise DataError(f"--demonstrations {path}: {error.strerror or error}") from None
    if len(raw) > LARGEST_FILE:
        raise DataError(f"--demonstrations {path} is larger than {LARGEST_FILE // 1_000_000} MB", "Show fewer.")
    lines = [(number, line) for number, line in enumerate(raw.splitlines(), 1) if line.strip()]
    if not lines:
        raise DataError(f"--demonstrations {path} is empty")
    return [_episode(f"{path}, line {number}", line) for number, line in lines]


def _of_run(path: Path) -> list[Conversation]:
    state = load_state(path)
    found = []
    for episode in state.episodes.values():
        if episode.outcome == 1 and episode.chosen:
            _, *turns = policy_conversation(episode.start, episode.tree, episode.chosen)
            found.append(tuple(turns[:-1]))
    if not found:
        raise DataError(f"--demonstrations {path}: no episode of this run ended with a full score")
    return found


def _episode(where: str, line: bytes) -> Conversation:
    try:
        chat = msgspec.json.decode(line, type=_Chat)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{where} is no trajectory: {str(error)[:120]}", _FORM) from None
    if chat.messages is not None:
        turns = [_message(where, turn.get("role"), turn.get("content")) for turn in chat.messages]
    elif chat.conversations is not None:
        turns = [_message(where, turn.get("from"), turn.get("value")) for turn in chat.conversations]
    else:
        raise DataError(f"{where} has neither messages nor conversations", _FORM)
    turns = [turn for turn in turns if turn.role != "system"]
    while turns and turns[-1].role != "assistant":
        turns.pop()
    for place, turn in enumerate(turns):
        if turn.role != ("assistant" if place % 2 else "user"):
            raise DataError(f"{where}: message {place + 1} is the {turn.role}'s, out of turn", _FORM)
    if not any(turn.role == "assistant" and action_of(turn.content) for turn in turns):
        raise DataError(f"{where}: no reply has a line 'Action: …'", "Write replies as the environment asks for.")
    return tuple(turns)


def _message(where: str, role: object, content: object) -> Message:
    if not isinstance(role, str) or role not in _ROLES:
        raise DataError(f"{where}: role {str(role)[:40]!r} is unknown", f"Known: {', '.join(_ROLES)}.")
    if not isinstance(content, str):
        raise DataError(f"{where}: a message of the {role} has no text", "Write its text as a string.")
    return Message(_ROLES[role], content)


_FORM = 'A line is {"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}, …]}.'
