"""The figures of an evaluation: each method's score and cost, paired comparisons, and the reward model's accuracies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import msgspec

from agentrm_trainer.config import EvaluateSection
from agentrm_trainer.data.judged import JudgedGroup, PairAccuracy, pair_accuracy
from agentrm_trainer.reports.bootstrap import Interval, bootstrap_mean
from agentrm_trainer.reports.outcomes import MethodResult, TaskResult

ALL = "all"
"""The name under which figures over all environments stand."""

_VERSUS = ("greedy", "random-of-n", "shortest-of-n", "beam-random", "best-of-n-at-cost")


class MethodFigures(msgspec.Struct, frozen=True):
    """One method on one environment, or on all.

    Attributes:
        score: Mean outcome × 100.
        success: Share of tasks with outcome 1.
        tokens: Generated tokens for each task.
        versus: Paired differences of score × 100 to other methods.
    """

    score: Interval
    success: float
    tokens: float
    tasks: int
    versus: dict[str, Interval]


class AccuracyFigures(msgspec.Struct, frozen=True):
    """How many pairs the reward model ordered right (ties count one half)."""

    accuracy: float | None
    pairs: int


class Results(msgspec.Struct, frozen=True):
    """`results.json`: figures by method and environment (`all` for all of them).

    Attributes:
        early_failures: Share of failed samples that ended before the step limit.
        ends: Accuracy on pairs of a task's trajectories that both ended early.
        siblings: Accuracy on pairs of sibling actions after fresh rollouts.
        passed_over: Test tasks left out because their initial state was seen in training.
    """

    methods: dict[str, dict[str, MethodFigures]]
    early_failures: dict[str, float | None]
    ends: dict[str, AccuracyFigures]
    siblings: dict[str, AccuracyFigures]
    passed_over: dict[str, int]
    n: int
    beam: str


Scored = Sequence[tuple[JudgedGroup, Sequence[float]]]


def summarise(
    methods: Sequence[MethodResult],
    scored: Mapping[str, Scored],
    passed_over: dict[str, int],
    section: EvaluateSection,
    seed: int,
) -> Results:
    """Compute every figure of the report."""
    by_method = {method.method: {(task.environment, task.task): task for task in method.tasks} for method in methods}
    names = [ALL, *passed_over]
    figures = {
        method: {name: _figures(method, name, by_method, section.draws, seed) for name in names} for method in by_method
    }
    return Results(
        figures,
        {name: _early_share(_of(name, by_method.get("random-of-n", {}).values())) for name in names},
        {name: _accuracy(name, scored.get("ends", ()), 0.0) for name in names},
        {name: _accuracy(name, scored.get("siblings", ()), section.sibling_difference) for name in names},
        passed_over,
        section.n,
        f"{section.beam_width}x{section.beam_samples}",
    )


_ByTask = dict[tuple[str, str], TaskResult]


def _of(name: str, tasks: Iterable[TaskResult]) -> list[TaskResult]:
    return [task for task in tasks if name in (ALL, task.environment)]


def _figures(method: str, name: str, by_method: dict[str, _ByTask], draws: int, seed: int) -> MethodFigures:
    tasks = _of(name, by_method[method].values())
    versus = {}
    for other in _VERSUS:
        if other != method and other in by_method:
            differences = [
                100 * (task.score - by_method[other][task.environment, task.task].score)
                for task in tasks
                if (task.environment, task.task) in by_method[other]
            ]
            versus[other] = bootstrap_mean(differences, draws, seed)
    return MethodFigures(
        bootstrap_mean([100 * task.score for task in tasks], draws, seed),
        fmean(task.success for task in tasks),
        fmean(task.tokens for task in tasks),
        len(tasks),
        versus,
    )


def _early_share(tasks: Iterable[TaskResult]) -> float | None:
    counted = [(task.early_failures, task.failures) for task in tasks]
    failures = sum(failed for _, failed in counted)
    return sum(early for early, _ in counted) / failures if failures else None


def _accuracy(name: str, scored: Scored, least: float) -> AccuracyFigures:
    kept = [(group, values) for group, values in scored if name in (ALL, group.environment)]
    found: PairAccuracy = pair_accuracy([group for group, _ in kept], [values for _, values in kept], least)
    return AccuracyFigures(found.accuracy if found.pairs else None, found.pairs)
