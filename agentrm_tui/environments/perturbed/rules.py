"""Rules that change an environment's words, each its own inverse: what they do to a text twice leaves it as it was.

So an action that an agent writes in the new words is brought back by the same rule, and an action in the old words
becomes one that the environment does not know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from random import Random
from typing import NamedTuple, Protocol

from agentrm_models.errors import UsageError
from agentrm_models.spelling import did_you_mean
from agentrm_tui.environments.declared import SEED_DIGITS
from agentrm_tui.environments.perturbed.words import THINGS, VERBS


class Rule(Protocol):
    """A change of words."""

    def text(self, text: str) -> str:
        """A goal, an observation, a thought."""
        ...

    def instruction(self, text: str) -> str:
        """What an agent is told before the goal: actions stand there with capital letters for their arguments."""
        ...

    def action(self, action: str) -> str:
        """An action; old words to new ones and back."""
        ...

    def order(self, actions: Sequence[str]) -> Sequence[str]:
        """Valid actions, changed already, in the order in which they are shown."""
        ...


class _Plain:
    """Changes nothing; rules override what they change."""

    def text(self, text: str) -> str:
        """Leave it."""
        return text

    def instruction(self, text: str) -> str:
        """As any text."""
        return self.text(text)

    def action(self, action: str) -> str:
        """Leave it."""
        return action

    def order(self, actions: Sequence[str]) -> Sequence[str]:
        """Leave it."""
        return actions


_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
"""Words, also those inside `snake_case` and `camelCase` names."""


class SwapWords(_Plain):
    """Exchange words everywhere; a plural in s follows its singular.

    Args:
        words: Old word to other words; the seed chooses one of them.
    """

    def __init__(self, words: Mapping[str, Sequence[str]], seed: int) -> None:
        rng = Random(f"swap/{seed}")
        pairs = [(old, rng.choice(list(new))) for old, new in words.items()]
        pairs += [(f"{old}s", f"{new}s") for old, new in pairs if f"{old}s" not in words]
        self._swap = dict(pairs) | {new: old for old, new in pairs}

    def text(self, text: str) -> str:
        """Exchange words, keeping capitals."""
        return _WORD.sub(self._exchange, text)

    def action(self, action: str) -> str:
        """Exchange words."""
        return self.text(action)

    def _exchange(self, match: re.Match[str]) -> str:
        word = match[0]
        new = self._swap.get(word.lower())
        if new is None:
            return word
        return new.upper() if word.isupper() else new.capitalize() if word[0].isupper() else new


_TWO = (
    "fill",
    "grasp",
    "pick",
    "clean",
    "heat",
    "cool",
    "slice",
    "take",
    "fetch",
    "remove",
    "unstack",
    "pour",
    "stack",
    "put",
    "move",
)
_LINKS = r"with|using|from|into|in|onto|on|to"
_TWO_ARGUMENTS = re.compile(rf"({'|'.join(_TWO)}) (?!(?:{_LINKS}) )(\S.*?) ({_LINKS}) (\S.*)")
_TURNED = re.compile(rf"({_LINKS}) (\S.*?) ({'|'.join(_TWO)}) (?!(?:{_LINKS}) )(\S.*)")


def _turn_all(action: str) -> str:
    """`take X from Y` to `from Y take X` and back."""
    if match := _TWO_ARGUMENTS.fullmatch(action):
        turned = f"{match[3]} {match[4]} {match[1]} {match[2]}"
        return turned if _turned_back(turned) == action else action
    return _turned_back(action)


def _turned_back(action: str) -> str:
    match = _TURNED.fullmatch(action)
    back = f"{match[3]} {match[4]} {match[1]} {match[2]}" if match else action
    return back if match and _TWO_ARGUMENTS.fullmatch(back) else action


_USING = re.compile(r"((?:clean|heat|cool) \S.*?) (with|using) (\S.*)")
_GO = re.compile(r"(go|move) to (\S.*)")
_TAKE = re.compile(r"take (\S.*?) from (\S.*)")
_FROM = re.compile(r"from (\S.*?) take (\S.*)")
_NUMBERED = re.compile(r"\b([a-z]{2,})( ?)(\d+)\b")


def _using(action: str) -> str:
    match = _USING.fullmatch(action)
    return f"{match[1]} {'using' if match[2] == 'with' else 'with'} {match[3]}" if match else action


def _move_to(action: str) -> str:
    match = _GO.fullmatch(action)
    return f"{'move' if match[1] == 'go' else 'go'} to {match[2]}" if match else action


def _from_take(action: str) -> str:
    if match := _TAKE.fullmatch(action):
        turned, back = f"from {match[2]} take {match[1]}", _FROM
    elif match := _FROM.fullmatch(action):
        turned, back = f"take {match[2]} from {match[1]}", _TAKE
    else:
        return action
    found = back.fullmatch(turned)
    return turned if found and (found[1], found[2]) == (match[2], match[1]) else action


class TurnActions(_Plain):
    """Write whole actions in another way; texts that list actions follow (see `PerturbedEnvironment`).

    Args:
        turns: Each changes an action and is its own inverse.
    """

    def __init__(self, *turns: Callable[[str], str]) -> None:
        self._turns = turns

    def instruction(self, text: str) -> str:
        """Turn the listed actions and those of an example."""
        text = _EXAMPLE_ACTION.sub(lambda match: self.action(match[0]), text)
        return _PHRASE.sub(lambda match: _by_placeholders(match[0], self.action), text)

    def action(self, action: str) -> str:
        """The first turn that changes the action."""
        return next((turned for turn in self._turns if (turned := turn(action)) != action), action)


_EXAMPLE_ACTION = re.compile(r"(?<=^Action: ).+$", re.MULTILINE)
_PHRASE = re.compile(r"[a-z][a-z/]*(?: (?:[a-z]+|[A-Z]+))* (?:[A-Z]+|[a-z]+ \d+)\b")
"""A listed action: small words, and capitals for what is to be filled in; the last may be a thing with its number."""


def _by_placeholders(phrase: str, turn: Callable[[str], str]) -> str:
    """Turn a listed action; alternatives such as `clean/heat/cool X with Y` turn together."""
    verbs, _, rest = phrase.partition(" ")
    turned = [turn(f"{verb} {rest}") for verb in verbs.split("/")]
    if turned == [f"{verb} {rest}" for verb in verbs.split("/")]:
        return phrase
    return " or ".join(turned)


class JoinNumbers(_Plain):
    """Names without the blank before their number (`sofa1`), or with one where there was none."""

    def text(self, text: str) -> str:
        """Join, or part."""
        return _NUMBERED.sub(lambda match: f"{match[1]}{'' if match[2] else ' '}{match[3]}", text)

    def action(self, action: str) -> str:
        """Join, or part."""
        return self.text(action)


_LISTED = re.compile(r"(?<=: )[^:.]*(?=\.\s)")
"""A sentence behind a colon; lists of more than two items are shuffled."""


class ShuffleActions(_Plain):
    """Lists of actions in another order; the same order for the same actions."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def instruction(self, text: str) -> str:
        """Shuffle its lists."""
        return _LISTED.sub(lambda match: self._shuffled(match[0]), text)

    def order(self, actions: Sequence[str]) -> Sequence[str]:
        """Sort by a seeded digest of each."""
        return sorted(actions, key=self._rank)

    def _shuffled(self, listing: str) -> str:
        items = _split(listing)
        return ", ".join(self.order(items)) if len(items) > 2 else listing

    def _rank(self, item: str) -> bytes:
        return blake2b(f"{self._seed}/{item}".encode("utf-8", "replace"), digest_size=8).digest()


def _split(listing: str) -> list[str]:
    """Split at commas that are not inside brackets."""
    items, depth = [""], 0
    for character in listing:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            items.append("")
        else:
            items[-1] += character
    return [item.strip() for item in items]


class Perturbation(NamedTuple):
    """A rule by name.

    Attributes:
        summary: One line.
        make: Gives the rule for a seed; rules without a choice ignore it.
    """

    summary: str
    make: Callable[[int], Rule]


PERTURBATIONS: Mapping[str, Perturbation] = {
    "paper-1": Perturbation("AgentRM's rule 1: clean, heat, cool X using Y", lambda seed: TurnActions(_using)),
    "paper-2": Perturbation("rule 2: rule 1, and move to X for go to X", lambda seed: TurnActions(_using, _move_to)),
    "paper-3": Perturbation(
        "rule 3: rule 2, and from Y take X", lambda seed: TurnActions(_using, _move_to, _from_take)
    ),
    "paper-4": Perturbation("rule 4: names and numbers without a blank, as in sofa1", lambda seed: JoinNumbers()),
    "rename-verbs": Perturbation("other words for what can be done", lambda seed: SwapWords(VERBS, seed)),
    "rename-objects": Perturbation("other words for things", lambda seed: SwapWords(THINGS, seed)),
    "reorder-arguments": Perturbation("from Y take X, with Y clean X, …", lambda seed: TurnActions(_turn_all)),
    "shuffle-actions": Perturbation("lists of actions in another order", ShuffleActions),
}
"""Rules 1 to 4 are those of the paper's ALFWorld test; 1 to 3 add up, as its rule 2 says."""


def make_rule(spec: str) -> Rule:
    """The rule of `NAME` or `NAME@SEED`.

    Raises:
        UsageError: No such name, or the seed is not a number.
    """
    name, at, seed = spec.partition("@")
    if name not in PERTURBATIONS:
        raise UsageError(f"unknown perturbation {name[:80]!r}", did_you_mean(name, PERTURBATIONS))
    if at and not (seed.isascii() and seed.isdigit() and len(seed) <= SEED_DIGITS):
        raise UsageError(f"perturbation {spec[:80]!r}: the seed is not a whole number", f"Write {name}@0.")
    return PERTURBATIONS[name].make(int(seed or "0"))
