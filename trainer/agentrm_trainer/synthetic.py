"""Copy and look-up conversations: what a small model has to learn before it can name the right thing.

In a trial run a policy played at 0 % for its first million tokens, in perfect format and with wrong names; these short
sequences teach copying first. Words and digits come from the collected actions, so that the right tokens are copied.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from agentrm_models.messages import Conversation, Message
from agentrm_trainer.collect import Trajectory
from agentrm_tui.replies import format_reply, parse_reply

_WORD = re.compile(r"[A-Za-z]+|\d+")


def action_words(trajectories: Sequence[Trajectory], most: int = 400) -> tuple[str, ...]:
    """The words of the expert's actions, the most frequent ones first, ties in alphabetical order."""
    counts: dict[str, int] = {}
    for trajectory in trajectories:
        for turn in trajectory.messages:
            if turn.role == "assistant":
                for word in _WORD.findall(parse_reply(turn.content).action):
                    counts[word] = counts.get(word, 0) + 1
    return tuple(sorted(counts, key=lambda word: (-counts[word], word))[:most])


def copy_conversation(words: Sequence[str], rng: random.Random) -> Conversation:
    """One conversation of two to four questions about a list of names: repeat, look up, or say what comes next."""
    names = [_name(words, rng) for _ in range(rng.randint(3, 7))]
    places = rng.sample(range(1, 100), len(names))
    listing = "; ".join(f"{place}: {name}" for place, name in zip(places, names, strict=True))
    messages = [Message("system", "List. Actions: say NAME.")]
    for number in range(rng.randint(2, 4)):
        index = rng.randrange(len(names))
        question, thought = _question(rng.randrange(3), index, names, places)
        wanted = names[(index + 1) % len(names)] if question.startswith("What follows") else names[index]
        messages.append(Message("user", f"{listing}. {question}" if number == 0 else question))
        messages.append(Message("assistant", format_reply(thought, f"say {wanted}")))
    return tuple(messages)


def _name(words: Sequence[str], rng: random.Random) -> str:
    parts = [rng.choice(words) for _ in range(rng.randint(1, 3))] if words else ["item"]
    if rng.random() < 0.5:
        parts.append(str(rng.randint(1, 99)))
    return " ".join(parts)


def _question(kind: int, index: int, names: Sequence[str], places: Sequence[int]) -> tuple[str, str]:
    match kind:
        case 0:
            return f"What is at {places[index]}?", f"I look for {places[index]}."
        case 1:
            return f"What follows {names[index]}?", f"I look after {names[index]}."
        case _:
            return f"Repeat {names[index]}.", "I repeat it."
