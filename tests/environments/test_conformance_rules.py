"""The rules of `conformance.py` catch what they are there for: one broken environment for each."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import ClassVar

import conformance
import pytest
from conformance import Make

from agentrm_models.messages import PromptStyle
from agentrm_tui.environments.base import Cell, Environment, EnvironmentTraits, Picture, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment

Counted = tuple[Task, tuple[int, ...], bool]


class FakeEnvironment(BaseEnvironment):
    """Counts up to 5, or to 6, from a seeded number; keeps every rule."""

    def __init__(self) -> None:
        self.task_now = Task("", "", 0, 0)
        self.counts: tuple[int, ...] = ()
        self.done = False

    @property
    def traits(self) -> EnvironmentTraits:
        return EnvironmentTraits(
            name="fake",
            origin="own",
            summary="Count.",
            levels=("five", "six"),
            snapshots=True,
            valid_actions=True,
            expert=True,
            pictures=True,
            state_keys=True,
            procedural=True,
        )

    def instruction(self, style: PromptStyle) -> str:
        return "Count. Reply with Thought: and Action: lines." if style == "full" else "Count."

    def make_task(self, level: str, seed: int) -> Task:
        return Task(f"{level}:{seed}", f"Count to {level}.", seed, 12, level)

    def reset(self, task: Task) -> str:
        self.task_now, self.done = task, False
        self.counts = (random.Random(f"{task.level}/{task.seed}").randrange(3),)
        return self.describe()

    def step(self, action: str) -> StepResult:
        valid = action in self.valid_actions()
        self.counts += (self.counts[-1] + (1 if action == "up" else -1) * valid,)
        goal = 5 if self.task_now.level == "five" else 6
        self.done = self.counts[-1] == goal or len(self.counts) > self.task_now.step_limit
        return StepResult(self.describe(), max(0.0, self.counts[-1] / goal), self.done, valid)

    def describe(self) -> str:
        return f"The count is {self.counts[-1]}."

    def valid_actions(self) -> tuple[str, ...]:
        return ("up", "down") if self.counts[-1] else ("up",)

    def snapshot(self) -> Counted:
        return self.task_now, self.counts, self.done

    def restore(self, snapshot: Counted) -> None:
        self.task_now, self.counts, self.done = snapshot

    def expert(self) -> tuple[str, str]:
        return "One more.", "up"

    def picture(self) -> Picture:
        cells = tuple(Cell("#" if place < self.counts[-1] else ".", "floor") for place in range(7))
        return Picture((cells, cells), f"count {self.counts[-1]}")

    def state_key(self) -> str:
        return f"{self.task_now.level}@{self.counts[-1]}"


class Leaking(FakeEnvironment):
    """The second episode of an instance begins where the first ended."""

    def reset(self, task: Task) -> str:
        before = self.counts
        super().reset(task)
        self.counts = before[-1:] if len(before) > 3 else self.counts
        return self.describe()


class Shared(FakeEnvironment):
    """All instances count together."""

    together: ClassVar[list[int]] = [0]

    def reset(self, task: Task) -> str:
        self.together[0] = 0
        return super().reset(task)

    def step(self, action: str) -> StepResult:
        self.together[0] += 1
        result = super().step(action)
        return result._replace(text=f"{result.text} {self.together[0]}")


class Forgetful(FakeEnvironment):
    """A snapshot leaves out how many steps were taken."""

    def restore(self, snapshot: Counted) -> None:
        super().restore((snapshot[0], snapshot[1][-1:], snapshot[2]))


class Random(FakeEnvironment):
    """Draws from global randomness."""

    def describe(self) -> str:
        return f"{super().describe()} {random.random()}"


class Raising(FakeEnvironment):
    """Does not survive an empty action."""

    def step(self, action: str) -> StepResult:
        return super().step(action if action.split()[0] else "")


class Excessive(FakeEnvironment):
    """Counts beyond the goal."""

    def step(self, action: str) -> StepResult:
        result = super().step(action)
        return result._replace(outcome=result.outcome * 1.01)


class Endless(FakeEnvironment):
    """Knows no step limit."""

    def step(self, action: str) -> StepResult:
        result = super().step(action)
        return result._replace(done=len(self.counts) > 20)


class Escaping(FakeEnvironment):
    """Writes a terminal escape."""

    def describe(self) -> str:
        return f"\x1b[1m{super().describe()}"


class Echoing(FakeEnvironment):
    """Repeats what it did not understand."""

    def step(self, action: str) -> StepResult:
        result = super().step(action)
        return result if result.valid else result._replace(text=f"What is {action}?")


class Refusing(FakeEnvironment):
    """Offers what it does not accept."""

    def valid_actions(self) -> tuple[str, ...]:
        return ("up", "down")

    def step(self, action: str) -> StepResult:
        refused = action == "down" and self.counts[-1] == 0
        return super().step("" if refused else action)._replace(valid=not refused)


class Acting(FakeEnvironment):
    """Does something although the action was not understood."""

    def step(self, action: str) -> StepResult:
        result = super().step(action)
        if not result.valid:
            self.counts = (*self.counts[:-1], self.counts[-1] + 1)
        return result


class Confusing(FakeEnvironment):
    """Gives different states one key."""

    def state_key(self) -> str:
        return self.task_now.level


class Wide(FakeEnvironment):
    """Draws with a glyph two cells wide."""

    def picture(self) -> Picture:
        return Picture(((Cell("漢", "floor"),),))


class Ragged(FakeEnvironment):
    """Draws rows of different lengths."""

    def picture(self) -> Picture:
        first, second = super().picture().rows
        return Picture((first, second[1:]))


class Nudging(FakeEnvironment):
    """Its expert plays the move it was only asked about."""

    def expert(self) -> tuple[str, str]:
        self.counts += (self.counts[-1],)
        return "One more.", ("up", "down")[len(self.counts) % 2]


class Talkative(FakeEnvironment):
    """Its expert thinks at length."""

    def expert(self) -> tuple[str, str]:
        return "one more " * 8, "up"


class Undeclared(FakeEnvironment):
    """Has an expert that it does not declare."""

    @property
    def traits(self) -> EnvironmentTraits:
        return super().traits._replace(expert=False)


class Misnamed(FakeEnvironment):
    """Names tasks that it does not find again."""

    def make_task(self, level: str, seed: int) -> Task:
        return super().make_task(level, seed // 2)


def tasks(make: Make) -> list[Task]:
    return conformance.sample_tasks(make(), 8)


RULES: dict[str, Callable[[Make], object]] = {
    "traits": lambda make: conformance.check_traits(make, "fake"),
    "tasks": conformance.check_tasks,
    "instructions": conformance.check_instructions,
    "determinism": lambda make: conformance.check_determinism(make, tasks(make)),
    "snapshots": lambda make: conformance.check_snapshots(make, tasks(make)),
    "leak": lambda make: conformance.check_no_leak(make, tasks(make)),
    "apart": lambda make: conformance.check_instances_apart(make, tasks(make)),
    "valid": lambda make: conformance.check_valid_actions(make, tasks(make)),
    "any text": lambda make: conformance.check_any_text(make, tasks(make), conformance.HOSTILE),
    "limit": lambda make: conformance.check_step_limit(make, tasks(make)),
    "observations": lambda make: conformance.check_observations(make, tasks(make)),
    "pictures": lambda make: conformance.check_pictures(make, tasks(make)),
    "keys": lambda make: conformance.check_state_keys(make, tasks(make)),
    "expert": lambda make: conformance.check_expert(make, tasks(make)),
    "middle": lambda make: conformance.check_expert_from_anywhere(make, tasks(make)),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_good_environment_keeps_the_rule(rule: str) -> None:
    RULES[rule](FakeEnvironment)


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (Leaking, "leak"),
        (Shared, "apart"),
        (Forgetful, "snapshots"),
        (Random, "determinism"),
        (Raising, "any text"),
        (Excessive, "limit"),
        (Endless, "limit"),
        (Escaping, "observations"),
        (Echoing, "any text"),
        (Refusing, "valid"),
        (Acting, "any text"),
        (Confusing, "keys"),
        (Wide, "pictures"),
        (Ragged, "pictures"),
        (Nudging, "middle"),
        (Talkative, "expert"),
        (Undeclared, "traits"),
        (Misnamed, "tasks"),
    ],
)
def test_a_broken_environment_is_caught(broken: type[Environment], rule: str) -> None:
    with pytest.raises((AssertionError, IndexError)):
        RULES[rule](broken)
