"""An environment in other words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentrm_models.errors import UsageError
from agentrm_models.functions import ActionFunctions
from agentrm_models.messages import PromptStyle
from agentrm_models.replies import ACTION_LIMIT
from agentrm_tui.environments.action_function import one_function
from agentrm_tui.environments.base import Environment, EnvironmentTraits, Picture, Split, StepResult, Task
from agentrm_tui.environments.perturbed.rules import make_rule

REMEMBERED = 256
"""Tasks whose original is remembered, so that a reset need not make them again."""


class PerturbedEnvironment:
    """Another environment behind one rule: everything it says is changed, everything it is told is changed back.

    State, outcome, snapshots and state keys are the other environment's own.

    Args:
        inner: The environment.
        spec: `NAME` or `NAME@SEED` of the rule; it becomes a part of the environment's name.

    Raises:
        UsageError: No such rule, or it would change nothing here.
    """

    def __init__(self, inner: Environment, spec: str) -> None:
        self._inner = inner
        self._rule = make_rule(spec)
        traits = inner.traits
        self._traits = traits._replace(name=f"{traits.name}+{spec}", summary=f"{traits.summary} ({spec})")
        self._originals: dict[str, Task] = {}
        told = inner.instruction("full") + "\n\n" + inner.instruction("short")
        goals = [task.goal for task in inner.tasks("test", None, 3)]
        if self._rule.instruction(told) == told and all(self._rule.text(goal) == goal for goal in goals):
            inner.close()
            remedy = "See agentrm-tui list perturbations."
            if "+" in traits.name:
                remedy = "Another rule may have taken the words that it looks for: give this one first."
            raise UsageError(f"{spec} changes nothing in {traits.name}", remedy)

    @property
    def traits(self) -> EnvironmentTraits:
        """Those of the environment, with the rule in the name."""
        return self._traits

    def instruction(self, style: PromptStyle) -> str:
        """The instruction in the new words."""
        return self._rule.instruction(self._inner.instruction(style))

    def tasks(self, split: Split, first_seed: int | None = None, count: int | None = None) -> Sequence[Task]:
        """The same tasks, their goals in the new words."""
        return [self._told(task) for task in self._inner.tasks(split, first_seed, count)]

    def task(self, task_id: str) -> Task:
        """Find a task by its id, which does not change."""
        return self._told(self._inner.task(task_id))

    def reset(self, task: Task) -> str:
        """Start an episode."""
        original = self._originals.get(task.id)
        text = self._inner.reset(original if original is not None else self._inner.task(task.id))
        return self._seen(text)

    def step(self, action: str) -> StepResult:
        """Take an action in the new words; in the old ones it means something else, or nothing."""
        result = self._inner.step(self._rule.action(action) if len(action) <= ACTION_LIMIT else action)
        return result._replace(text=self._seen(result.text, result.done))

    def functions(self, task: Task) -> ActionFunctions:
        """One function: the other environment's own would be in the old words."""
        return one_function(self.instruction("full"))

    def valid_actions(self) -> tuple[str, ...]:
        """Valid actions in the new words and order."""
        return tuple(self._rule.order([self._rule.action(action) for action in self._inner.valid_actions()]))

    def snapshot(self) -> Any:
        """The environment's own."""
        return self._inner.snapshot()

    def restore(self, snapshot: Any) -> None:
        """Go back to a snapshot."""
        self._inner.restore(snapshot)

    def expert(self) -> tuple[str, str]:
        """The expert, in the new words."""
        thought, action = self._inner.expert()
        return self._rule.text(thought), self._rule.action(action)

    def picture(self) -> Picture:
        """The same picture; its caption in the new words."""
        picture = self._inner.picture()
        return picture._replace(caption=self._rule.text(picture.caption))

    def state_key(self) -> str:
        """The environment's own."""
        return self._inner.state_key()

    def close(self) -> None:
        """End the environment."""
        self._inner.close()

    def _told(self, task: Task) -> Task:
        if len(self._originals) >= REMEMBERED:
            self._originals.clear()
        self._originals[task.id] = task
        return Task(task.id, self._rule.text(task.goal), task.seed, task.step_limit, task.level)

    def _seen(self, text: str, done: bool = False) -> str:
        """An observation; actions that it lists are written as they must be."""
        changed = self._rule.text(text)
        if changed != text or done or not self._traits.valid_actions or "ctions" not in text:
            return changed
        for action in sorted(self._inner.valid_actions(), key=len, reverse=True):
            changed = changed.replace(action, self._rule.action(action))
        return changed
