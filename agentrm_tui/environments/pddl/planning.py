"""The expert's planner: best-first search with the relaxed-plan heuristic and preferred operators.

Heuristic and preferred ("helpful") operators follow Hoffmann and Nebel, "The FF Planning System" (JAIR 14, 2001):
ignore what actions delete, find a plan for that easier task, count its actions. The search orders states by
plan length so far plus that count, which gives short plans, though not provably shortest ones.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

from agentrm_tui.environments.pddl.grounding import GroundTask

EXPANSION_LIMIT = 20_000
"""States expanded before the planner gives up."""

_CACHE_LIMIT = 4_096


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


class Planner:
    """Plans from any state of one task. The answer depends on task and state only, never on earlier questions."""

    def __init__(self, task: GroundTask) -> None:
        self._task = task
        self._relaxed = RelaxedTask(task)
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
        task = self._task
        first = self._relaxed.solve(start)
        if first is None:
            return None
        cost = {start: 0}
        came: dict[int, tuple[int, int]] = {}
        relaxed: dict[int, Relaxed | None] = {start: first}
        closed: set[int] = set()
        order = 0
        queue: list[tuple[int, int, bool, int, int]] = [(first.length, first.length, False, order, start)]
        while queue and len(closed) < EXPANSION_LIMIT:
            state = heappop(queue)[-1]
            if state in closed:
                continue
            closed.add(state)
            if task.is_goal(state):
                return _trace(came, start, state)
            here = relaxed[state]
            helpful = here.preferred if here else frozenset()
            for index in task.applicable(state):
                child = task.apply(state, index)
                if cost[state] + 1 >= cost.get(child, 1 << 30) or child in closed:
                    continue
                if child not in relaxed:
                    relaxed[child] = self._relaxed.solve(child)
                estimate = relaxed[child]
                if estimate is None:
                    continue
                cost[child] = cost[state] + 1
                came[child] = (state, index)
                order += 1
                rank = (cost[child] + estimate.length, estimate.length, index not in helpful, order, child)
                heappush(queue, rank)
        return None


def _trace(came: dict[int, tuple[int, int]], start: int, state: int) -> tuple[int, ...]:
    plan = []
    while state != start:
        state, index = came[state]
        plan.append(index)
    return tuple(reversed(plan))
