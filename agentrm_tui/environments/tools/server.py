"""A local tool server: immutable data, tools over it, and tasks whose subgoals are results an agent has to obtain.

A tool's result names the *facts* it tells. A task is written as a small program of calls (a template) that is run when
the task is made: what its calls tell becomes the subgoals, and the calls are the expert's list. Facts rather than
calls are matched, so that another call that tells the same counts as well.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from agentrm_tui.environments.base import Picture
from agentrm_tui.environments.tools.answers import Answer
from agentrm_tui.environments.tools.calls import Call
from agentrm_tui.environments.tools.signatures import Tool, find_tool

D = TypeVar("D")

Fact: TypeAlias = tuple[str, ...]
"""Something a tool has told: its kind, then what it is about."""

_MOST_TRIES = 200


@dataclass(frozen=True, slots=True)
class Result(Generic[D]):
    """What a tool says (a text, or a value shown as JSON), its facts, and the data afterwards (None: as before)."""

    value: Any
    facts: tuple[Fact, ...] = ()
    data: D | None = None

    @property
    def text(self) -> str:
        """The observation, in ASCII."""
        return self.value if isinstance(self.value, str) else json.dumps(self.value)


class Planned(NamedTuple):
    """A call of the expert's list, why it is made, the facts it tells and the data after it."""

    thought: str
    call: Call
    facts: frozenset[Fact]
    after: Any


class Advice(NamedTuple):
    """The expert's next move."""

    thought: str
    call: Call


class Draft(NamedTuple):
    """What a template has made of the data.

    Attributes:
        goal: The task in words.
        answer: The right answer to `finish` with; None where `finish` takes none.
        thought: The expert's thought when finishing.
        choices: For `valid_actions`: answers of the same kind, or where `finish` takes none, values in the goal.
    """

    goal: str
    answer: Answer | None
    thought: str
    choices: tuple[Answer, ...] = ()


class Plan(Generic[D]):
    """Collects the calls of a template while running them."""

    def __init__(self, tools: Mapping[str, Tool], data: D) -> None:
        self._tools = tools
        self.data = data
        self.steps: list[Planned] = []

    def call(self, thought: str, name: str, /, **arguments: Any) -> Any:
        """Call a tool as the expert will, and return what it says."""
        result = run_tool(self._tools, self.data, Call(name, arguments))
        if result.data is not None:
            self.data = result.data
        self.steps.append(Planned(thought, Call(name, arguments), frozenset(result.facts), self.data))
        return result.value


Template: TypeAlias = Callable[[D, Random, Plan[D]], Draft | None]
"""Writes one kind of task about the data, or gives up (None) where the data does not fit."""


@dataclass(frozen=True)
class Assignment(Generic[D]):
    """A task made ready. `data` is where it starts, `reference` what the data should be at the end."""

    level: str
    seed: int
    template: str
    draft: Draft
    data: D
    reference: D
    plan: tuple[Planned, ...]
    needed: frozenset[Fact] = field(default=frozenset())

    @property
    def subgoals(self) -> tuple[frozenset[Fact], ...]:
        """The facts of each call that tells something, in order and without repetition."""
        return tuple(dict.fromkeys(step.facts for step in self.plan if step.facts))


class ToolServer(ABC, Generic[D]):
    """One set of tools with its data and tasks; it keeps no state, so that instances may share it."""

    name: str
    tools: Mapping[str, Tool]
    handles: frozenset[str]
    """Kinds of facts that are remembered because they allow further calls (ids, coordinates)."""
    templates: tuple[tuple[Template[D], ...], ...]
    """The kinds of tasks of each difficulty, 1 first."""
    introduction: str
    """The first observation."""

    @abstractmethod
    def make_data(self, difficulty: int, rng: Random) -> D:
        """Make up the data of a task."""

    @abstractmethod
    def offers(self, assignment: Assignment[D], data: D, known: frozenset[Fact]) -> Iterator[Call]:
        """Sensible calls, with arguments that the goal or an earlier result has named."""

    def differences(self, data: D, reference: D) -> int:
        """How many changes are still missing or wrong."""
        return 0

    def data_key(self, data: D) -> str:
        """What can change in the data during an episode."""
        return ""

    def repair(self, assignment: Assignment[D], data: D) -> Advice | None:
        """The next change on the way to the reference.

        Raises:
            RefusedError: It cannot be reached any more.
        """
        return None

    def picture(self, data: D) -> Picture:
        """The data as a grid, for servers that declare pictures."""
        raise AssertionError(f"{self.name} draws nothing")

    def assignment(self, difficulty: int, seed: int) -> Assignment[D]:
        """The task of a difficulty (1 is the easiest) and seed."""
        level = f"{self.name}-{difficulty}"
        rng = Random(f"tools/{level}/{seed}")
        template = rng.choice(self.templates[difficulty - 1])
        for _ in range(_MOST_TRIES):
            data = self.make_data(difficulty, rng)
            plan = Plan(self.tools, data)
            draft = template(data, rng, plan)
            if draft is not None:
                steps = tuple(plan.steps)
                needed = frozenset().union(*(step.facts for step in steps))
                return Assignment(level, seed, template.__name__, draft, data, plan.data, steps, needed)
        raise AssertionError(f"{level}:{seed}: {template.__name__} never fits the data")

    def progress(self, assignment: Assignment[D], data: D, known: frozenset[Fact], finished_well: bool) -> float:
        """Matched subgoals / total: results obtained, changes made (less those broken), and the right finish."""
        subgoals = assignment.subgoals
        changes = self.differences(assignment.data, assignment.reference)
        changed = max(0, changes - self.differences(data, assignment.reference))
        matched = sum(facts <= known for facts in subgoals) + changed + finished_well
        return matched / (len(subgoals) + changes + 1)

    def advise(self, assignment: Assignment[D], data: D, known: frozenset[Fact]) -> Advice | None:
        """The first call whose result is missing, else the next change, else nothing: then it is time to finish.

        Raises:
            RefusedError: The task cannot be solved any more.
        """
        change = self.repair(assignment, data)
        for step in assignment.plan:
            if step.facts and not step.facts <= known:
                return Advice(step.thought, step.call)
        if change is None:
            return None
        planned = {repr(step.call): step.thought for step in assignment.plan}
        return change._replace(thought=planned.get(repr(change.call), change.thought))


def run_tool(tools: Mapping[str, Tool], data: D, call: Call) -> Result[D]:
    """Check a call and make it.

    Raises:
        RefusedError: No such tool, wrong arguments, or not possible with this data.
    """
    tool = find_tool(tools, call.name)
    result: Result[D] = tool.function(data, **tool.bind(call.arguments))
    return result


def cached(server: ToolServer[D], most: int = 256) -> Callable[[int, int], Assignment[D]]:
    """A server's assignments by difficulty and seed; they never change, so they may be shared."""
    return lru_cache(maxsize=most)(server.assignment)
