"""An environment over tool servers: one call a step, subgoals as outcome, `finish` as the way to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from agentrm_models.functions import ActionFunctions
from agentrm_tui.environments.base import Picture, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment
from agentrm_tui.environments.tools.answers import Answer, same_answer
from agentrm_tui.environments.tools.calls import Call, format_call, parse_call
from agentrm_tui.environments.tools.functions import ToolFunctions
from agentrm_tui.environments.tools.server import Assignment, Fact, Result, ToolServer, cached, run_tool
from agentrm_tui.environments.tools.signatures import RefusedError, Tool, tool_table

INVALID_LIMIT = 3
"""The invalid call with this number ends the episode."""

STEP_LIMITS = (10, 14, 20)
"""Step limits of the difficulties, at least twice what the expert needs in most tasks."""

FINISH = "finish"
CHECK = "check_valid_actions"


def finish(data: object, answer: Answer) -> Result[Any]:
    """Give the answer and end the episode."""
    return Result("finished")


def finish_plainly(data: object) -> Result[Any]:
    """End the episode."""
    return Result("finished")


def check_valid_actions(data: object) -> Result[Any]:
    """List the tools; costs a step."""
    return Result("listed")


_COMMON = tool_table((check_valid_actions, finish))
_COMMON_PLAIN = tool_table((check_valid_actions,)) | {FINISH: Tool(FINISH, (), finish_plainly)}


class Moment(NamedTuple):
    """A frozen episode; immutable, so that it can be restored anywhere and any number of times."""

    assignment: Assignment[Any]
    server: ToolServer[Any]
    step_limit: int
    data: Any
    known: frozenset[Fact]
    steps: int
    invalid: int
    finished_well: bool
    done: bool


class ToolEnvironment(BaseEnvironment):
    """Plays the tasks of some servers. Levels are `SERVER-DIFFICULTY`; derive and declare traits and instruction."""

    def __init__(self, servers: Sequence[ToolServer[Any]]) -> None:
        self._now: Moment | None = None
        self._levels: dict[str, tuple[ToolServer[Any], int]] = {
            f"{server.name}-{difficulty}": (server, difficulty)
            for server in servers
            for difficulty in range(1, len(server.templates) + 1)
        }
        self._functions: dict[tuple[str, bool], ToolFunctions] = {}
        self._make: dict[str, Callable[[int, int], Assignment[Any]]] = {s.name: cached(s) for s in servers}

    def make_task(self, level: str, seed: int) -> Task:
        """Write the task of a level and seed."""
        server, difficulty = self._levels[level]
        goal = self._make[server.name](difficulty, seed).draft.goal
        return Task(f"{level}:{seed}", goal, seed, STEP_LIMITS[difficulty - 1], level)

    def reset(self, task: Task) -> str:
        """Start an episode.

        Raises:
            UsageError: The task is not one of this environment's.
        """
        if task.level not in self._levels:
            task = self.task(task.id)
        server, difficulty = self._levels[task.level]
        assignment = self._make[server.name](difficulty, task.seed)
        self._now = Moment(assignment, server, task.step_limit, assignment.data, frozenset(), 0, 0, False, False)
        return server.introduction

    def step(self, action: str) -> StepResult:
        """Make one call; a refused one leaves everything as it was, counts, and the third ends the episode."""
        now = self._episode()
        if now.done:
            raise RuntimeError("step was called after the episode had ended")
        steps = now.steps + 1
        at_limit = steps >= now.step_limit
        try:
            call = parse_call(action)
            result = run_tool(server_tools(now), now.data, call)
        except RefusedError as error:
            invalid = now.invalid + 1
            self._now = now._replace(steps=steps, invalid=invalid, done=at_limit or invalid >= INVALID_LIMIT)
            end = " The episode ends." if invalid >= INVALID_LIMIT else ""
            return self._result(f"Error {invalid} of {INVALID_LIMIT}: {error}.{end}", valid=False)
        if call.name == FINISH:
            return self._finish(now, call, steps)
        known = now.known.union(
            fact for fact in result.facts if fact in now.assignment.needed or fact[0] in now.server.handles
        )
        data = now.data if result.data is None else result.data
        self._now = now._replace(data=data, known=known, steps=steps, done=at_limit)
        return self._result(", ".join(server_tools(now)) if call.name == CHECK else result.text, valid=True)

    def functions(self, task: Task) -> ActionFunctions:
        """The tools of the task's server."""
        if task.level not in self._levels:
            task = self.task(task.id)
        server, difficulty = self._levels[task.level]
        plain = self._make[server.name](difficulty, task.seed).draft.answer is None
        if (server.name, plain) not in self._functions:
            self._functions[server.name, plain] = ToolFunctions(_tools(server, plain).values())
        return self._functions[server.name, plain]

    def valid_actions(self) -> tuple[str, ...]:
        """Sensible calls that are accepted now, `finish` last; empty once the episode has ended."""
        now = self._episode()
        if now.done:
            return ()
        offered = [call for call in now.server.offers(now.assignment, now.data, now.known) if _accepted(now, call)]
        ends = sorted(format_call(Call(FINISH, end)) for end in _ends(now))
        return tuple(dict.fromkeys((*map(format_call, offered), *ends)))

    def snapshot(self) -> Moment:
        """The episode's state; it is immutable, so this costs nothing."""
        return self._episode()

    def restore(self, snapshot: Moment) -> None:
        """Go back to a snapshot of this or another instance."""
        self._now = snapshot

    def expert(self) -> tuple[str, str]:
        """The next of the calls that are left to make from this state; both empty when it cannot be solved any more."""
        now = self._episode()
        if now.done:
            return "", ""
        try:
            advice = now.server.advise(now.assignment, now.data, now.known)
        except RefusedError:
            return "", ""
        if advice is not None:
            return advice.thought, format_call(advice.call)
        draft = now.assignment.draft
        end = {} if draft.answer is None else {"answer": draft.answer}
        return draft.thought, format_call(Call(FINISH, end))

    def picture(self) -> Picture:
        """The server's data as a grid, where the environment declares pictures."""
        if not self.traits.pictures:
            return super().picture()
        now = self._episode()
        return now.server.picture(now.data)

    def state_key(self) -> str:
        """Task, facts known, data, invalid calls so far and whether and how it has ended."""
        now = self._episode()
        known = ";".join("/".join(fact) for fact in sorted(now.known))
        end = f"{now.finished_well:d}{now.done:d}"
        task = f"{now.assignment.level}:{now.assignment.seed}"
        return f"{task}|{known}|{now.server.data_key(now.data)}|{now.invalid}|{end}"

    def _finish(self, now: Moment, call: Call, steps: int) -> StepResult:
        right = now.server.differences(now.data, now.assignment.reference) == 0
        expected = now.assignment.draft.answer
        if expected is not None:
            right = right and same_answer(call.arguments["answer"], expected)
        self._now = now._replace(steps=steps, finished_well=right, done=True)
        return self._result("Right." if right else "Wrong. The episode ends.", valid=True)

    def _result(self, text: str, valid: bool) -> StepResult:
        now = self._episode()
        if now.done and now.invalid < INVALID_LIMIT and now.steps >= now.step_limit:
            text = f"{text} The step limit is reached."
        return StepResult(text, self._outcome(), now.done, valid)

    def _outcome(self) -> float:
        now = self._episode()
        return now.server.progress(now.assignment, now.data, now.known, now.finished_well)

    def _episode(self) -> Moment:
        if self._now is None:
            raise RuntimeError("reset must be called first")
        return self._now


def server_tools(moment: Moment) -> dict[str, Tool]:
    """The tools of an episode's server, with those that every server has."""
    return _tools(moment.server, moment.assignment.draft.answer is None)


def _tools(server: ToolServer[Any], plain: bool) -> dict[str, Tool]:
    """A server's tools and the common ones; `plain`: finishing takes no answer."""
    return {**server.tools, **(_COMMON_PLAIN if plain else _COMMON)}


def _ends(now: Moment) -> list[dict[str, Any]]:
    """Arguments to finish with; possible answers are not offered before anything that is needed is known."""
    draft = now.assignment.draft
    if draft.answer is None:
        return [{}]
    return [{"answer": choice} for choice in draft.choices] if now.known & now.assignment.needed else []


def _accepted(now: Moment, call: Call) -> bool:
    try:
        run_tool(now.server.tools, now.data, call)
    except RefusedError:
        return False
    return True
