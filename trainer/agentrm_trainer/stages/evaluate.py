"""Stage `evaluate`: every method on the same unseen test tasks, with its cost, and what the reward model is worth.

One run of five samples serves many rows: a random one, the shortest, the likeliest, the reward model's choice and the
best. No test task starts in a state that was seen in collection or exploration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentrm_models.errors import DataError
from agentrm_models.load_options import LoadOptions
from agentrm_models.rewards.base import ScoreGroup
from agentrm_trainer.config import EnvironmentSection
from agentrm_trainer.data.judged import JudgedGroup, early_end_groups
from agentrm_trainer.data.methods import method_named, search_of
from agentrm_trainer.data.siblings import sibling_groups, siblings_search
from agentrm_trainer.data.tasks import initial_state, unseen_tasks
from agentrm_trainer.reports.outcomes import MethodResult, TaskResult, from_episode, from_samples
from agentrm_trainer.reports.results import Results, summarise
from agentrm_trainer.workflow.plays import Sampling, kept_reward, make_plan, outcomes, play
from agentrm_trainer.workflow.workers import run_chunks
from agentrm_trainer.workflow.workspace import StageFolder, Workspace, read_json, write_json
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import RunState
from agentrm_tui.runs.store import load_state

SIBLINGS = "siblings-of-policy"
"""Name of the run files in which siblings are compared."""


class TestTasks(msgspec.Struct, frozen=True):
    """The test tasks of an environment, and how many were passed over because their initial state was seen before."""

    tasks: tuple[str, ...]
    passed_over: int


class EvaluateJob(NamedTuple):
    """One chunk of one method: a plan, and its run file."""

    method: str
    plan: RunPlan
    path: Path


def evaluate(workspace: Workspace, folder: StageFolder) -> None:
    """Run the stage: run files, `results.json`."""
    tasks = _test_tasks(workspace, folder)
    methods = workspace.config.evaluate.methods
    at_cost = [name for name in methods if method_named(name).at_cost_of]
    for name in [*(name for name in methods if name not in at_cost), *at_cost]:
        _run_jobs(workspace, folder, name, list(_jobs(workspace, folder, tasks, name)))
    _run_jobs(workspace, folder, SIBLINGS, list(_sibling_jobs(workspace, folder, tasks)))
    compared = [state for name in tasks for state in _states(folder, name, SIBLINGS)]
    siblings = [group for state in compared for group in sibling_groups(state, workspace.config.fit.prompt)]
    results = _summary(workspace, folder, tasks, siblings)
    write_json(folder.path / "results.json", results)
    folder.finish(test_tasks={name: len(found.tasks) for name, found in tasks.items()})


def _test_tasks(workspace: Workspace, folder: StageFolder) -> dict[str, TestTasks]:
    """Choose test tasks whose initial state occurs in no training task; noted once for resumed runs."""
    path = folder.path / "tasks.json"
    if path.exists():
        known: dict[str, TestTasks] = read_json(path, dict[str, TestTasks])
        return known
    seen = frozenset(
        key
        for stage in ("collect", "explore")
        for key in read_json(workspace.folder(stage) / "initial_states.json", list[str])
    )
    found = {}
    with workspace.display.task("test tasks") as task:
        for number, section in enumerate(workspace.config.environments):
            workspace.check_stop()
            task.update(number / len(workspace.config.environments), section.name)
            found[section.name] = _unseen(section, seen)
    write_json(path, found)
    return found


def _unseen(section: EnvironmentSection, seen: frozenset[str]) -> TestTasks:
    environment = make_environment(section.name)
    tasks, passed_over = [], 0
    for task, new in unseen_tasks(environment, section, "test", section.test_tasks, seen):
        if new:
            tasks.append(task)
        else:
            passed_over += 1
    if len(tasks) < section.test_tasks:
        raise DataError(f"{section.name}: only {len(tasks)} test tasks start in a state not seen in training")
    keys = [initial_state(environment, task, environment.reset(task)) for task in tasks]
    if seen.intersection(keys):
        raise AssertionError(f"{section.name}: a test task starts in a state that occurs in training")
    environment.close()
    return TestTasks(tuple(task.id for task in tasks), passed_over)


def _samples_at_cost(workspace: Workspace, folder: StageFolder, environment: str, other: str) -> int:
    """N with which Best-of-N generates about as many tokens in an environment as another method."""
    section = workspace.config.evaluate
    cost = {
        method: sum(state.ledger.policy_tokens_generated for state in _states(folder, environment, method))
        for method in ("best-of-n", other)
    }
    if not all(cost.values()):
        raise DataError(f"evaluate: best-of-n-at-cost needs the methods best-of-n and {other}")
    wanted = round(section.n * cost[other] / cost["best-of-n"])
    return max(section.n, min(section.max_n_at_cost, wanted))


def _run_jobs(workspace: Workspace, folder: StageFolder, name: str, jobs: list[EvaluateJob]) -> None:
    waiting = [job for job in jobs if not job.path.exists()]
    done = len(jobs) - len(waiting)
    with workspace.display.task(name) as task:
        for job, score in run_chunks(workspace, waiting, evaluate_chunk, workspace.config.evaluate.processes):
            done += 1
            environment, search = job.plan.environment, job.plan.search.words
            folder.log(method=name, environment=environment, search=search, tasks=len(job.plan.tasks), score=score)
            folder.save_clock()
            task.update(done / len(jobs), f"{environment} {score:.2f}")


def _jobs(workspace: Workspace, folder: StageFolder, tasks: dict[str, TestTasks], name: str) -> Iterator[EvaluateJob]:
    config, section, method = workspace.config, workspace.config.evaluate, method_named(name)
    for environment, found in tasks.items():
        n = _samples_at_cost(workspace, folder, environment, method.at_cost_of) if method.at_cost_of else 0
        search = search_of(name, section, n)
        fitted = str(workspace.folder("fit") / "reward")
        reward = f"random:{config.seed}" if method.judge == "random" else fitted
        parallel = max(1, min(section.parallel, section.parallel * section.n // max(1, n)))
        sampling = _sampling(workspace, method.seed_offset)._replace(parallel=parallel)
        for first in range(0, len(found.tasks), section.chunk):
            chunk = found.tasks[first : first + section.chunk]
            judge = reward if search.needs_reward else ""
            plan = make_plan(environment, chunk, search, sampling, _policy(workspace), judge)
            yield EvaluateJob(name, plan, _run_file(folder, name, environment, first))


def _sibling_jobs(workspace: Workspace, folder: StageFolder, tasks: dict[str, TestTasks]) -> Iterator[EvaluateJob]:
    """Compare siblings on states of sampled test trajectories, in environments that can go back exactly."""
    section = workspace.config.evaluate
    wanted = -(-section.sibling_states // len(tasks))
    for environment, found in tasks.items():
        if not wanted or not _goes_back(environment):
            continue
        chosen = found.tasks[:wanted]
        search = siblings_search(wanted, len(chosen), section.sibling_samples, section.sibling_rollouts)
        for first in range(0, len(chosen), section.chunk):
            chunk = chosen[first : first + section.chunk]
            plan = make_plan(environment, chunk, search, _sampling(workspace, 2), _policy(workspace))
            yield EvaluateJob(SIBLINGS, plan, _run_file(folder, SIBLINGS, environment, first))


def _run_file(folder: StageFolder, method: str, environment: str, first: int) -> Path:
    return folder.path / "runs" / f"{method}-{environment}-{first:06d}.jsonl"


def _policy(workspace: Workspace) -> str:
    return str(workspace.folder("sft") / "policy")


def _sampling(workspace: Workspace, seed_offset: int) -> Sampling:
    config, section = workspace.config, workspace.config.evaluate
    load = LoadOptions(device=config.device, threads=max(1, config.threads // section.processes))
    return Sampling(section.temperature, section.max_tokens, config.seed + seed_offset, section.parallel, load)


def _goes_back(name: str) -> bool:
    environment = make_environment(name)
    try:
        return environment.traits.snapshots
    finally:
        environment.close()


def evaluate_chunk(job: EvaluateJob) -> float:
    """Play one chunk and return the mean score."""
    scores = outcomes(play(job.plan, job.path))
    return round(sum(scores) / max(1, len(scores)), 4)


def _states(folder: StageFolder, environment: str, method: str) -> Iterator[RunState]:
    for path in sorted((folder.path / "runs").glob(f"{method}-{environment}-[0-9]*.jsonl")):
        state = load_state(path)
        if state.finished is None:
            raise DataError(f"{path} is not complete", "Remove it, and go on with --resume.")
        yield state


def _summary(
    workspace: Workspace, folder: StageFolder, tasks: dict[str, TestTasks], siblings: Sequence[JudgedGroup]
) -> Results:
    config = workspace.config
    methods: dict[str, list[TaskResult]] = {}
    ends: list[JudgedGroup] = []
    for name in tasks:
        for method in config.evaluate.methods:
            for state in _states(folder, name, method):
                methods.setdefault(method, []).extend(from_episode(name, state))
                if method == "best-of-n":
                    ends += early_end_groups(state, config.fit.prompt)
                    for row, results in from_samples(name, state).items():
                        methods.setdefault(row, []).extend(results)
    options = LoadOptions(device=config.device, threads=config.threads)
    reward = kept_reward(str(workspace.folder("fit") / "reward"), options)
    scored = {
        kind: [
            (group, reward.score([ScoreGroup(tuple(item.conversation for item in group.items))])[0]) for group in groups
        ]
        for kind, groups in (("ends", ends), ("siblings", siblings))
    }
    counts = {name: found.passed_over for name, found in tasks.items()}
    return summarise(
        [MethodResult(name, tuple(results)) for name, results in methods.items()],
        scored,
        counts,
        config.evaluate,
        config.seed,
    )
