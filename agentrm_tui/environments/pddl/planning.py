"""The expert's planner: best-first search with the relaxed-plan heuristic and preferred operators.

Heuristic and preferred ("helpful") operators follow Hoffmann and Nebel, "The FF Planning System" (JAIR 14, 2001):
ignore what actions delete, find a plan for that easier task, count its actions. The search takes states reached by
preferred operators first and orders them by plan length so far plus that count, which gives short plans, though not
provably shortest ones. Where two constants are interchangeable (two hands), only the first is tried while the state
does not tell them apart, which halves the work and makes the expert's choice predictable.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import combinations
from typing import NamedTuple

from agentrm_tui.environments.pddl.grounding import GroundTask
from agentrm_tui.environments.pddl.language import Atom

EXPANSION_LIMIT = 20_000
"""States expanded before the planner gives up."""

_CACHE_LIMIT = 4_096


class Effort(NamedTuple):
    """One try at a search.

    Attributes:
        weight: Of the estimated rest of the plan against its length so far: 1 gives short plans, more finds one sooner.
        expansions: States expanded before the try is given up.
    """

    weight: int
    expansions: int


THOROUGH = (Effort(1, EXPANSION_LIMIT),)
"""Short plans, for problems that are known to be small."""

QUICK = (Effort(1, 1_000), Effort(3, 3_000), Effort(50, EXPANSION_LIMIT))
"""Short plans where they come soon, else any plan, without the actions that it does not need."""


class Relaxed(NamedTuple):
    """A plan that ignores deletions.

    Attributes:
        length: Number of its operators.
        preferred: Those of them that can be applied at once.
    """

    length: int
    preferred: frozenset[int]


class RelaxedTask:
    """The task without deletions. Atoms that are needed to be false get a second bit that says so."""

    def __init__(self, task: GroundTask) -> None:
        count = len(task.atoms)
        negated = task.unwanted
        for operator in task.operators:
            negated |= operator.forbids
        self._shift = count
        self._negated = negated
        self._goal = task.wanted | task.unwanted << count
        self._operators = [
            (
                index,
                operator.needs | operator.forbids << count,
                operator.adds | (operator.deletes & ~operator.adds & negated) << count,
            )
            for index, operator in enumerate(task.operators)
        ]

    def solve(self, state: int) -> Relaxed | None:
        """A relaxed plan from a state, or nothing when even the easier task has none."""
        facts = state | (self._negated & ~state) << self._shift
        reached = facts
        achieved: list[tuple[int, int, int]] = []
        waiting = self._operators
        while self._goal & ~reached:
            fresh = 0
            later = []
            for entry in waiting:
                index, needs, adds = entry
                if needs & ~reached:
                    later.append(entry)
                elif gain := adds & ~reached & ~fresh:
                    fresh |= gain
                    achieved.append((index, needs, gain))
            if not fresh:
                return None
            reached |= fresh
            waiting = later
        # Each fact has one achiever, listed after the achievers of what it needs: one pass backwards is enough.
        needed = self._goal & ~facts
        length = 0
        preferred = []
        for index, needs, gain in reversed(achieved):
            if gain & needed:
                needed |= needs & ~facts
                length += 1
                if not needs & ~facts:
                    preferred.append(index)
        return Relaxed(length, frozenset(preferred))


class Twins:
    """Pairs of constants that rules, fixed facts and goal treat alike."""

    def __init__(self, task: GroundTask) -> None:
        domain = task.domain
        named = {
            term
            for schema in domain.schemas
            for literal in (*schema.precondition, *schema.effect)
            for term in literal.atom
        }
        free = [constant for constant in domain.constants if constant.name not in named]
        self._pairs = [
            self._compare(task, first.name, second.name)
            for first, second in combinations(free, 2)
            if first.types == second.types and _alike(task, first.name, second.name)
        ]

    @staticmethod
    def _compare(task: GroundTask, first: str, second: str) -> tuple[list[tuple[int, int]], frozenset[int]]:
        """Bits of atoms that are each other's image, and the operators whose image has a lower index."""
        bits = {atom: 1 << index for index, atom in enumerate(task.atoms)}
        images = [(bit, bits.get(_swap(atom, first, second), 0)) for atom, bit in bits.items() if first in atom]
        numbers = {(operator.name, *operator.arguments): index for index, operator in enumerate(task.operators)}
        later = {index for name, index in numbers.items() if numbers.get(_swap(name, first, second), index) < index}
        return images, frozenset(later)

    def superfluous(self, state: int) -> frozenset[int]:
        """Operators that need not be tried in a state, since an earlier one does the same to the twin."""
        for images, later in self._pairs:
            if all((state & bit == 0) == (state & image == 0) for bit, image in images):
                return later
        return frozenset()


def _swap(atom: Atom, first: str, second: str) -> Atom:
    other = {first: second, second: first}
    return tuple(other.get(term, term) for term in atom)


def _alike(task: GroundTask, first: str, second: str) -> bool:
    """Whether exchanging two constants changes neither the fixed facts nor the goal."""
    goal = {literal.atom for literal in task.problem.goal}
    return all(_swap(atom, first, second) in task.static for atom in task.static) and all(
        _swap(atom, first, second) == atom for atom in goal
    )


class Planner:
    """Plans from any state of one task. The answer depends on task and state only, never on earlier questions."""

    def __init__(self, task: GroundTask, efforts: Sequence[Effort] = THOROUGH) -> None:
        self._task = task
        self._efforts = efforts
        self._relaxed = RelaxedTask(task)
        self._twins = Twins(task)
        self._main: dict[int, tuple[int, ...]] | None = None
        self._others: dict[int, tuple[int, ...] | None] = {}

    def plan(self, state: int) -> tuple[int, ...] | None:
        """Operators that lead from the state to the goal; nothing when none were found.

        States on the plan from the task's first state continue that plan, so that an expert that starts there
        pays for one search only.
        """
        if self._main is None:
            self._main = self._follow(self._task.initial)
        if state in self._main:
            return self._main[state]
        if state not in self._others:
            if len(self._others) >= _CACHE_LIMIT:
                self._others.clear()
            self._others[state] = self._search(state)
        return self._others[state]

    def _follow(self, state: int) -> dict[int, tuple[int, ...]]:
        plan = self._search(state)
        if plan is None:
            return {}
        rest = {state: plan}
        for position, index in enumerate(plan):
            state = self._task.apply(state, index)
            rest[state] = plan[position + 1 :]
        return rest

    def _search(self, start: int) -> tuple[int, ...] | None:
        relaxed = {start: self._relaxed.solve(start)}
        for effort in self._efforts if relaxed[start] else ():
            plan, everywhere = self._try(start, effort, relaxed)
            if plan is not None:
                return plan if effort.weight == 1 else without_needless(self._task, start, plan)
            if everywhere:
                return None
        return None

    def _try(
        self, start: int, effort: Effort, relaxed: dict[int, Relaxed | None]
    ) -> tuple[tuple[int, ...] | None, bool]:
        """A plan, if one was found, and whether all states that can be reached were seen."""
        task = self._task
        cost = {start: 0}
        came: dict[int, tuple[int, int]] = {}
        closed: set[int] = set()
        order = 0
        queue: list[tuple[bool, int, int, int, int]] = [(False, 0, 0, order, start)]
        while queue and len(closed) < effort.expansions:
            state = heappop(queue)[-1]
            if state in closed:
                continue
            closed.add(state)
            if task.is_goal(state):
                return _trace(came, start, state), False
            here = relaxed[state]
            helpful = here.preferred if here else frozenset()
            superfluous = self._twins.superfluous(state)
            for index in task.applicable(state):
                child = task.apply(state, index)
                if index in superfluous or cost[state] + 1 >= cost.get(child, 1 << 30) or child in closed:
                    continue
                if child not in relaxed:
                    relaxed[child] = self._relaxed.solve(child)
                estimate = relaxed[child]
                if estimate is None:
                    continue
                cost[child] = cost[state] + 1
                came[child] = (state, index)
                order += 1
                guess = cost[child] + effort.weight * estimate.length
                heappush(queue, (index not in helpful, guess, estimate.length, order, child))
        return None, not queue


def without_needless(task: GroundTask, start: int, plan: Sequence[int]) -> tuple[int, ...]:
    """A plan without actions that can be left out together with those that then cannot be done.

    Greedy action elimination after Nakhost and Müller, "Action Elimination and Plan Neighborhood Graph Search"
    (ICAPS 2010).
    """
    kept = list(plan)
    place = 0
    while place < len(kept):
        state = start
        rest = []
        for position, index in enumerate(kept):
            operator = task.operators[index]
            possible = operator.needs & state == operator.needs and not operator.forbids & state
            if position != place and possible:
                rest.append(index)
                state = task.apply(state, index)
        if task.is_goal(state):
            kept = rest
        else:
            place += 1
    return tuple(kept)


def _trace(came: dict[int, tuple[int, int]], start: int, state: int) -> tuple[int, ...]:
    plan = []
    while state != start:
        state, index = came[state]
        plan.append(index)
    return tuple(reversed(plan))
