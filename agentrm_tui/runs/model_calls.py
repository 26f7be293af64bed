"""The model calls of several episodes, merged: one `propose` and one `score` a round, the cost shared out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from agentrm_models.errors import DataError, InterruptedRun, MemoryExhaustedError
from agentrm_models.notices import Notice, notices_of
from agentrm_models.policies.base import Policy, ReportsPrompts
from agentrm_models.rewards.base import RewardModel
from agentrm_models.usage import Usage
from agentrm_tui.runs.calls import ModelAnswer, ModelCall, Proposals, ProposeCall, ScoreCall, Scores
from agentrm_tui.runs.control import Control

Item = TypeVar("Item")
Call: TypeAlias = tuple[str, ModelCall]
"""An episode's id and its work."""


class Answered(NamedTuple):
    """What came of a round's calls, by episode."""

    answers: dict[str, ModelAnswer]
    errors: dict[str, Exception]


class ModelCalls:
    """Owns no state but the models; usage is what their counters say before and after a call."""

    def __init__(self, policy: Policy, reward: RewardModel | None, control: Control) -> None:
        self._policy = policy
        self._reward = reward
        self._control = control

    def answer(self, calls: Sequence[Call]) -> Answered:
        """Do a round's work. Where a merged call fails, each episode's part is tried by itself.

        Raises:
            InterruptedRun: Raised by the control's progress hook.
            MemoryExhaustedError: Not even one sequence at a time fits.
        """
        answered = Answered({}, {})
        for kind, work in ((ProposeCall, self._propose), (ScoreCall, self._score)):
            part = [call for call in calls if isinstance(call[1], kind)]
            if part:
                _isolate(part, work, answered)
        return answered

    def found_out(self) -> list[tuple[Literal["policy", "reward"], Notice]]:
        """What the models found out since the last call."""
        found: list[tuple[Literal["policy", "reward"], Notice]] = []
        found += [("policy", notice) for notice in notices_of(self._policy)]
        found += [("reward", notice) for notice in notices_of(self._reward)]
        return found

    def _propose(self, calls: Sequence[Call]) -> dict[str, ModelAnswer]:
        work = [(episode, call) for episode, call in calls if isinstance(call, ProposeCall)]
        requests = [request for _, call in work for request in call.requests]
        before, began = self._policy.usage, perf_counter()
        candidates = self._policy.propose(requests, self._control.progress)
        usage = _spent(before, self._policy.usage, began)
        counts = [(len(found), request.n) for found, request in zip(candidates, requests, strict=False)]
        if len(candidates) != len(requests) or any(count not in (0, n) for count, n in counts):
            raise DataError(f"policy {self._policy.traits.name} did not give as many candidates as were asked for")
        sizes = [len(call.requests) for _, call in work]
        parts = _split(candidates, sizes)
        told = self._policy.prompt_tokens if isinstance(self._policy, ReportsPrompts) else ()
        read = _split(told, sizes)
        weights = [sum(candidate.tokens for found in part for candidate in found) for part in parts]
        return {
            episode: Proposals(part, share, prompts)
            for (episode, _), part, share, prompts in zip(work, parts, shares(usage, weights), read, strict=True)
        }

    def _score(self, calls: Sequence[Call]) -> dict[str, ModelAnswer]:
        if self._reward is None:
            raise DataError("scores were asked for, but the run has no reward model")
        work = [(episode, call) for episode, call in calls if isinstance(call, ScoreCall)]
        groups = [group for _, call in work for group in call.groups]
        before, began = self._reward.usage, perf_counter()
        values = self._reward.score(groups, self._control.progress)
        usage = _spent(before, self._reward.usage, began)
        if not all(math.isfinite(value) for group in values for value in group):
            raise DataError(f"reward model {self._reward.traits.name} gave a score that is not a finite number")
        if [len(group) for group in values] != [len(group.items) for group in groups]:
            raise DataError(f"reward model {self._reward.traits.name} did not score everything it was given")
        parts = _split(values, [len(call.groups) for _, call in work])
        weights = [sum(len(group.items) for group in call.groups) for _, call in work]
        return {
            episode: Scores(part, share)
            for (episode, _), part, share in zip(work, parts, shares(usage, weights), strict=True)
        }


def _isolate(
    calls: Sequence[Call], work: Callable[[Sequence[Call]], dict[str, ModelAnswer]], answered: Answered
) -> None:
    """Do the work of all calls at once; if that fails, of each by itself, so that one cannot stop the others."""
    try:
        answered.answers.update(work(calls))
    except (InterruptedRun, MemoryExhaustedError):
        raise
    except Exception as error:
        if len(calls) == 1:
            answered.errors[calls[0][0]] = error
            return
        for call in calls:
            _isolate([call], work, answered)


def shares(usage: Usage, weights: Sequence[int]) -> list[Usage]:
    """Share out the cost of a merged call in proportion to weights; the sum is the whole, to the token.

    A merged call is one request, which the first share has.
    """
    even = list(weights) if any(weights) else [1] * len(weights)
    total, passed = sum(even), 0
    result: list[Usage] = []
    for place, weight in enumerate(even):
        counts = {
            name: getattr(usage, name) * (passed + weight) // total - getattr(usage, name) * passed // total
            for name in _COUNTS
        }
        passed += weight
        requests = 0 if place else usage.requests
        milliseconds = round(usage.milliseconds * weight / total, 3)
        result.append(Usage(**counts, requests=requests, milliseconds=milliseconds))
    return result


_COUNTS = ("tokens_computed", "tokens_unique", "tokens_generated", "dropped_observations")


def _spent(before: Usage, after: Usage, began: float) -> Usage:
    """What a call cost: the model's own counts, and the time that passed here."""
    counts = {name: getattr(after, name) - getattr(before, name) for name in (*_COUNTS, "requests")}
    return Usage(**counts, milliseconds=round((perf_counter() - began) * 1e3, 3))


def _split(items: Sequence[Item], sizes: Sequence[int]) -> list[list[Item]]:
    """Cut a list into consecutive parts."""
    parts, start = list[list[Item]](), 0
    for size in sizes:
        parts.append(list(items[start : start + size]))
        start += size
    return parts
