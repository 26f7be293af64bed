"""The household environment: one episode at a time in a home that is fixed by its task."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from agentrm_models.messages import PromptStyle
from agentrm_tui.environments.base import EnvironmentTraits, Picture, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment
from agentrm_tui.environments.household import prompts
from agentrm_tui.environments.household.commands import read_command
from agentrm_tui.environments.household.drawing import caption, draw
from agentrm_tui.environments.household.expert import advise
from agentrm_tui.environments.household.homes import Home
from agentrm_tui.environments.household.levels import LEVELS, make_home
from agentrm_tui.environments.household.world import (
    NOTHING_HAPPENS,
    State,
    act,
    first_state,
    look,
    progress,
    valid_commands,
)

REFUSAL_LIMIT = 5
"""Actions that are not possible, in total, after which an episode in a small home ends."""

_TRAITS = EnvironmentTraits(
    name="household",
    origin="compatible",
    summary="Find, clean, heat, cool and place things in a home: the texts and six task types of ALFWorld.",
    levels=tuple(LEVELS),
    mix=tuple(name for name, level in LEVELS.items() if level.size == "small"),
    snapshots=True,
    valid_actions=True,
    expert=True,
    pictures=True,
    state_keys=True,
    procedural=True,
)


class Moment(NamedTuple):
    """A frozen episode; immutable, so that it can be restored anywhere and any number of times."""

    task: Task
    home: Home
    state: State
    steps: int = 0
    refused: int = 0
    done: bool = False


class HouseholdEnvironment(BaseEnvironment):
    """Household tasks as in ALFWorld.

    The outcome is the share of the goal's conditions that hold now: the thing was had, was treated, is placed (for
    two things, each had and placed; for the lamp: thing in hand, lamp on, both together). It is 1 only at success,
    which ends the episode. In small homes so do five refused actions and actions that the goal speaks against.
    """

    def __init__(self) -> None:
        self._now: Moment | None = None

    @property
    def traits(self) -> EnvironmentTraits:
        """Fixed facts about this environment."""
        return _TRAITS

    def instruction(self, style: PromptStyle) -> str:
        """Rules and reply format, or the action list alone."""
        return prompts.FULL if style == "full" else prompts.SHORT

    def make_task(self, level: str, seed: int) -> Task:
        """A home and a goal of this level; `seed` fixes both."""
        goal = make_home(level, seed).goal.text
        return Task(f"{level}:{seed}", goal, seed, LEVELS[level].step_limit, level)

    def reset(self, task: Task) -> str:
        """Stand in the middle of the room.

        Raises:
            UsageError: The task is not one of this environment's.
        """
        if task.level not in LEVELS:
            task = self.task(task.id)
        home = make_home(task.level, task.seed)
        self._now = Moment(task, home, first_state(home))
        return look(home, self._now.state)

    def step(self, action: str) -> StepResult:
        """Take one action; one that is not possible changes nothing but counts."""
        now = self._episode()
        if now.done:
            raise RuntimeError("step was called after the episode had ended")
        strict = LEVELS[now.task.level].strict
        steps = now.steps + 1
        at_limit = steps >= now.task.step_limit
        command = read_command(action)
        effect = act(now.home, now.state, command) if command else None
        if effect is None:
            refused = now.refused + 1
            ends = strict and refused >= REFUSAL_LIMIT
            self._now = now._replace(steps=steps, refused=refused, done=at_limit or ends)
            text = f"{NOTHING_HAPPENS} That was number {REFUSAL_LIMIT}: the episode ends." if ends else NOTHING_HAPPENS
            return StepResult(text, progress(now.home, now.state), self._now.done, valid=False)
        outcome = progress(now.home, effect.state)
        failed = strict and effect.amiss
        done = at_limit or failed or outcome == 1.0
        self._now = now._replace(state=effect.state, steps=steps, done=done)
        text = f"{effect.text} That was wrong: the task has failed." if failed else effect.text
        return StepResult(text, outcome, done, valid=True)

    def valid_actions(self) -> tuple[str, ...]:
        """All actions that are possible now, in a fixed order; none once the episode has ended."""
        now = self._episode()
        return () if now.done else valid_commands(now.home, now.state)

    def snapshot(self) -> Moment:
        """The episode's state; it is immutable, so this costs nothing."""
        return self._episode()

    def restore(self, snapshot: Moment) -> None:
        """Go back to a snapshot of this or another instance."""
        self._now = snapshot

    def expert(self) -> tuple[str, str]:
        """What someone does who knows where things are usually kept, and of this home what has been seen."""
        now = self._episode()
        return ("", "") if now.done else advise(now.home, now.state)

    def picture(self) -> Picture:
        """All places with what has been seen there."""
        now = self._episode()
        steps = f"step {now.steps}/{now.task.step_limit}"
        return Picture(draw(now.home, now.state), f"{caption(now.home, now.state)} · {steps}")

    def state_key(self) -> str:
        """The task, the state with what has been seen, and how many actions were refused."""
        now = self._episode()
        content = repr((tuple(now.state), now.refused, now.done))
        return f"{now.task.id}@{blake2b(content.encode(), digest_size=12).hexdigest()}"

    def _episode(self) -> Moment:
        if self._now is None:
            raise RuntimeError("reset must be called first")
        return self._now
