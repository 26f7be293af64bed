"""Where an errand starts: a real state of the game, reached by commands, that the expert can bring to the goal."""

from __future__ import annotations

from functools import cache, lru_cache
from random import Random
from typing import NamedTuple

from agentrm_tui.environments.adventure.cave import Cave, CaveState
from agentrm_tui.environments.adventure.quests import QUESTS, Errand, Quest, Setup
from agentrm_tui.environments.adventure.routes import exits, is_dark
from agentrm_tui.environments.adventure.rules import advise
from agentrm_tui.environments.adventure.things import Thing

_LONGEST_SETUP = 400
_ATTEMPTS = 60
_LEAD_IN = 10
"""Random commands at most between the end of a setup and the start of an errand."""
_SPARE_STEPS = 5
"""Steps that the expert's way leaves at least."""
_SHORTEST = 2
"""Steps that the expert's way has at least."""


class Start(NamedTuple):
    """A task's first state, its errand, and the facts that hold already."""

    errand: Errand
    state: CaveState
    given: int


@lru_cache(maxsize=64)
def setup_state(setup: Setup) -> CaveState:
    """Carry out the commands that the setup's rules give, from the beginning of the game."""
    cave = Cave()
    cave.begin()
    if setup.before is not None:
        cave.restore(setup_state(setup.before))
    for _ in range(_LONGEST_SETUP):
        advice = advise(cave.state(), setup.rules, None)
        if advice is None:
            return cave.state()
        if not cave.do(advice.command).valid:
            raise AssertionError(f"the way to a subgoal is blocked at {advice}")
    raise AssertionError("the way to a subgoal has no end")


@cache
def errand_of(level: str, seed: int) -> Errand:
    """The errand that a seed chooses."""
    errands = QUESTS[level].errands
    return errands[Random(f"adventure/{level}/{seed}/errand").randrange(len(errands))]


# States never change, so instances may share them.
@lru_cache(maxsize=1024)
def make_start(level: str, seed: int) -> Start:
    """Wander a little from the end of the setup, until the errand takes some steps and leaves some to spare."""
    quest, errand = QUESTS[level], errand_of(level, seed)
    rng = Random(f"adventure/{level}/{seed}/start")
    cave = Cave()
    first = setup_state(errand.setup)
    for attempt in range(_ATTEMPTS):
        cave.restore(first)
        _wander(cave, quest, rng, rng.randrange(_LEAD_IN + 1) if attempt < _ATTEMPTS - 1 else 0)
        state = cave.state()
        state = state._replace(described=bytes(len(state.described)))
        length = expert_length(cave, quest, errand, state)
        if length is not None and _SHORTEST <= length <= quest.step_limit - _SPARE_STEPS:
            return Start(errand, state, sum(fact.holds(state) for fact in errand.facts))
    raise AssertionError(f"{level}:{seed} has no start")


def expert_length(cave: Cave, quest: Quest, errand: Errand, state: CaveState) -> int | None:
    """Commands that the expert needs from a state; None when it does not get there within the step limit."""
    cave.restore(state)
    for length in range(quest.step_limit + 1):
        now = cave.state()
        if all(fact.holds(now) for fact in errand.facts):
            return length
        advice = advise(now, errand.rules, quest.region)
        if advice is None or not cave.do(advice.command).valid or cave.state().scalar("deaths"):
            return None
    return None


def _wander(cave: Cave, quest: Quest, rng: Random, length: int) -> None:
    """Random harmless commands within the region: moves, and things laid down or picked up."""
    for _ in range(length):
        state = cave.state()
        options = [
            word for word, there in exits(state, state.room) if there in quest.region and not is_dark(state, there)
        ]
        handled = [thing for thing in quest.loose if state.thing(thing).held or state.room in state.thing(thing).rooms]
        if handled and rng.random() < 0.3:
            options = [_handle(state, rng.choice(handled))]
        if options:
            cave.do(rng.choice(options))
            if cave.state().scalar("deaths") or cave.state().room not in quest.region:
                cave.restore(state)


def _handle(state: CaveState, thing: Thing) -> str:
    return f"{'drop' if state.thing(thing).held else 'take'} {thing.word}"
