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
from agentrm_models.rewards.base import ScoreGroup
from agentrm_trainer.config import Config, EnvironmentSection, EvaluateSection
from agentrm_trainer.data.judged import JudgedGroup, early_end_groups
from agentrm_trainer.data.siblings import SiblingSettings, choose_places, sibling_groups
from agentrm_trainer.data.tasks import initial_state, unseen_tasks
from agentrm_trainer.reports.outcomes import MethodResult, TaskResult, from_episode, from_samples
from agentrm_trainer.reports.results import Results, summarise
from agentrm_trainer.workflow.plays import Sampling, load_policy_once, load_reward_once, make_plan, play
from agentrm_trainer.workflow.workers import run_chunks
from agentrm_trainer.workflow.workspace import StageFolder, Workspace, read_json, write_json
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs.state import RunState
from agentrm_tui.runs.store import load_state
from agentrm_tui.search.beam import Beam
from agentrm_tui.search.best_of_n import BestOfN
from agentrm_tui.search.greedy import Greedy
from agentrm_tui.search.registry import SearchSettings


class TestTasks(msgspec.Struct, frozen=True):
    """The test tasks of an environment, and how many were passed over because their initial state was seen before."""

    tasks: tuple[str, ...]
    passed_over: int


class EvaluateJob(NamedTuple):
    """One chunk of one method."""

    config: Config
    environment: str
    method: str
    n: int
    tasks: tuple[str, ...]
    policy: str
    reward: str
    path: Path


def evaluate(workspace: Workspace, folder: StageFolder) -> None:
    """Run the stage: run files, `results.json`."""
    config = workspace.config
    tasks = _test_tasks(workspace, folder)
    for method in config.evaluate.methods:
        if method != "best-of-n-at-cost":
            _run_method(workspace, folder, tasks, method, dict.fromkeys(tasks, _samples(method, config.evaluate)))
    if "best-of-n-at-cost" in config.evaluate.methods:
        _run_method(workspace, folder, tasks, "best-of-n-at-cost", _samples_at_cost(workspace, folder, tasks))
    siblings = _siblings(workspace, folder, tasks)
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


def _samples(method: str, section: EvaluateSection) -> int:
    return section.n if method == "best-of-n" else 1


def _samples_at_cost(workspace: Workspace, folder: StageFolder, tasks: dict[str, TestTasks]) -> dict[str, int]:
    """N for each environment with which Best-of-N generates about as many tokens as the beam."""
    section = workspace.config.evaluate
    found = {}
    for name in tasks:
        cost = {
            method: sum(state.ledger.policy_tokens_generated for state in _states(folder, name, method))
            for method in ("best-of-n", "beam")
        }
        if not cost["best-of-n"] or not cost["beam"]:
            raise DataError("evaluate: best-of-n-at-cost needs the methods best-of-n and beam")
        wanted = round(section.n * cost["beam"] / cost["best-of-n"])
        found[name] = max(section.n, min(section.max_n_at_cost, wanted))
    return found


def _run_method(
    workspace: Workspace, folder: StageFolder, tasks: dict[str, TestTasks], method: str, samples: dict[str, int]
) -> None:
    jobs = list(_jobs(workspace, folder, tasks, method, samples))
    waiting = [job for job in jobs if not job.path.exists()]
    done = len(jobs) - len(waiting)
    with workspace.display.task(method) as task:
        for job, score in run_chunks(workspace, waiting, evaluate_chunk, workspace.config.evaluate.processes):
            done += 1
            folder.log(method=method, environment=job.environment, n=job.n, tasks=len(job.tasks), score=score)
            folder.save_clock()
            task.update(done / len(jobs), f"{job.environment} {score:.2f}")


def _jobs(
    workspace: Workspace, folder: StageFolder, tasks: dict[str, TestTasks], method: str, samples: dict[str, int]
) -> Iterator[EvaluateJob]:
    config = workspace.config
    policy, reward = str(workspace.folder("sft") / "policy"), str(workspace.folder("fit") / "reward")
    for name, found in tasks.items():
        for first in range(0, len(found.tasks), config.evaluate.chunk):
            chunk = found.tasks[first : first + config.evaluate.chunk]
            path = folder.path / "runs" / f"{method}-{name}-{first:06d}.jsonl"
            yield EvaluateJob(config, name, method, samples[name], chunk, policy, reward, path)


def evaluate_chunk(job: EvaluateJob) -> float:
    """Play one chunk, write its run file and return the mean score."""
    section = job.config.evaluate
    threads = max(1, job.config.threads // section.processes)
    policy = load_policy_once(job.policy, job.config.device, threads)
    spec = {"greedy": "", "single": "random:0", "beam-random": f"random:{job.config.seed}"}.get(job.method, job.reward)
    reward = load_reward_once(spec, job.config.device, threads) if spec else None
    # One sample more: `single` must not repeat the first of the five.
    seed = job.config.seed + (1 if job.method == "single" else 0)
    parallel = max(1, min(section.parallel, section.parallel * section.n // max(1, job.n)))
    sampling = Sampling(section.temperature, section.max_tokens, seed, parallel, threads)
    plan = make_plan(job.environment, job.tasks, _search(job, section), sampling, job.policy, spec)
    job.path.parent.mkdir(parents=True, exist_ok=True)
    state = play(plan, policy, reward, job.path)
    scores = [episode.outcome or 0.0 for episode in state.episodes.values()]
    return round(sum(scores) / max(1, len(job.tasks)), 4)


def _search(job: EvaluateJob, section: EvaluateSection) -> SearchSettings:
    match job.method:
        case "greedy":
            return Greedy()
        case "beam" | "beam-random":
            return Beam(beam=(section.beam_width, section.beam_samples))
        case _:
            return BestOfN(n=job.n)


def _states(folder: StageFolder, environment: str, method: str) -> Iterator[RunState]:
    for path in sorted((folder.path / "runs").glob(f"{method}-{environment}-[0-9]*.jsonl")):
        state = load_state(path)
        if state.finished is None:
            raise DataError(f"{path} is not complete", "Remove it, and go on with --resume.")
        yield state


def _siblings(workspace: Workspace, folder: StageFolder, tasks: dict[str, TestTasks]) -> list[JudgedGroup]:
    """Roll siblings out on states of the sampled test trajectories; each environment once."""
    groups: list[JudgedGroup] = []
    count = workspace.config.evaluate.sibling_states
    if not count or "best-of-n" not in workspace.config.evaluate.methods:
        return groups
    for section in workspace.config.environments:
        path = folder.path / "siblings" / f"{section.name}.json"
        if not path.exists():
            write_json(path, _sibling_groups(workspace, folder, section.name, -(-count // len(tasks))))
        groups += read_json(path, list[JudgedGroup])
    return groups


def _sibling_groups(workspace: Workspace, folder: StageFolder, name: str, count: int) -> list[JudgedGroup]:
    config, section = workspace.config, workspace.config.evaluate
    environment = make_environment(name)
    snapshots = environment.traits.snapshots
    environment.close()
    if not snapshots:
        return []
    policy = load_policy_once(str(workspace.folder("sft") / "policy"), config.device, config.threads)
    settings = SiblingSettings(
        section.sibling_samples,
        section.sibling_rollouts,
        section.temperature,
        section.max_tokens,
        config.seed + 2,
        config.fit.prompt,
    )
    share = max(1, count // max(1, len(list((folder.path / "runs").glob(f"best-of-n-{name}-[0-9]*.jsonl")))))
    places = [
        place for state in _states(folder, name, "best-of-n") for place in choose_places(state, share, config.seed)
    ]
    groups: list[JudgedGroup] = []
    with workspace.display.task(f"siblings {name}") as task:
        for first in range(0, len(places), section.parallel):

            def watch(done: float, first: int = first) -> None:
                workspace.check_stop()
                task.update((first + done * min(section.parallel, len(places) - first)) / len(places))

            part = places[first : first + section.parallel]
            groups += sibling_groups(lambda: make_environment(name), part, policy, settings, watch)
        task.update(1.0, f"{len(groups)} states")
    return groups


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
    reward = load_reward_once(str(workspace.folder("fit") / "reward"), config.device, config.threads)
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
