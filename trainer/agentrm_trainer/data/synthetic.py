"""Copy and look-up conversations: what a small model has to learn before it can name the right thing.

In a trial run a policy played at 0 % for its first million tokens, in perfect format and with wrong names; these short
sequences teach copying first. Words and digits come from the collected actions, so that the right tokens are copied.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from agentrm_models.messages import Conversation, Message
from agentrm_models.replies import format_reply, parse_reply
from agentrm_trainer.data.trajectories import Trajectory

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
    """One conversation of two to four requests about a list of names: repeat one or all, look up, or what follows."""
    names = [_name(words, rng) for _ in range(rng.randint(3, 7))]
    places = rng.sample(range(1, 100), len(names))
    listing = "; ".join(f"{place}: {name}" for place, name in zip(places, names, strict=True))
    messages = [Message("system", "List. Actions: say NAME.")]
    for number in range(rng.randint(2, 4)):
        question, thought, wanted = _request(rng.randrange(4), rng.randrange(len(names)), names, places)
        messages.append(Message("user", f"{listing}. {question}" if number == 0 else question))
        messages.append(Message("assistant", format_reply(thought, f"say {wanted}")))
    return tuple(messages)


def _name(words: Sequence[str], rng: random.Random) -> str:
    parts = [rng.choice(words) for _ in range(rng.randint(1, 3))] if words else ["item"]
    if rng.random() < 0.5:
        parts.append(str(rng.randint(1, 99)))
    return " ".join(parts)


def _request(kind: int, index: int, names: Sequence[str], places: Sequence[int]) -> tuple[str, str, str]:
    """Question, thought and answer; a thought quotes the list, so that the next word is the one that stood there."""
    place, name, following = places[index], names[index], (index + 1) % len(names)
    match kind:
        case 0:
            return f"What is at {place}?", f"{place}: {name}", name
        case 1:
            return f"What follows {name}?", f"{name}; {places[following]}: {names[following]}", names[following]
        case 2:
            return f"Repeat {name}.", "I repeat it.", name
        case _:
            return "Repeat all.", "I repeat all.", "; ".join(names)
