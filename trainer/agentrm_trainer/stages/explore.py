"""Stage `explore`: tree search with the cloned policy on training tasks it was not cloned from.

First some dev tasks are sampled, to choose the reward model by; then trees are grown in chunks, one run file each,
until the number of trees or the time is reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentrm_models.load_options import LoadOptions
from agentrm_trainer.config import Config, EnvironmentSection
from agentrm_trainer.data.judged import JudgedGroup, early_end_groups
from agentrm_trainer.data.siblings import sibling_groups, siblings_search
from agentrm_trainer.data.tasks import EXPLORE_FIRST_SEED, state_at_start, task_ids
from agentrm_trainer.workflow.plays import Sampling, make_plan, play
from agentrm_trainer.workflow.workers import run_chunks
from agentrm_trainer.workflow.workspace import StageFolder, Workspace, write_json
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs.events import EpisodeStarted
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import RunState
from agentrm_tui.runs.store import read_events
from agentrm_tui.search.best_of_n import BestOfN
from agentrm_tui.search.mcts import MCTS


class ExploreJob(NamedTuple):
    """One chunk: trees of tasks number `first` … of an environment's exploration seeds."""

    config: Config
    section: EnvironmentSection
    first: int
    size: int
    policy: str
    folder: Path

    @property
    def run(self) -> Path:
        """The run file."""
        return self.folder / "runs" / f"{self.section.name}-{self.first:07d}.jsonl"


class TreeReport(msgspec.Struct, frozen=True):
    """What a chunk gave."""

    trees: int
    outcome: float
    env_steps: int
    tokens_generated: int


def explore(workspace: Workspace, folder: StageFolder) -> None:
    """Run the stage: `runs/*.jsonl`, `dev/ends.json`, `dev/siblings.json`."""
    policy = str(workspace.folder("sft") / "policy")
    _sample_dev(workspace, folder, policy)
    _grow_trees(workspace, folder, policy)
    _finish(workspace, folder)


def _grow_trees(workspace: Workspace, folder: StageFolder, policy: str) -> None:
    section = workspace.config.explore
    with workspace.display.task("explore") as task:
        jobs = _jobs(workspace, folder, policy)
        for job, report in run_chunks(workspace, jobs, explore_chunk, section.processes):
            folder.log(environment=job.section.name, first=job.first, **msgspec.to_builtins(report))
            folder.save_clock()
            grown = len(list((folder.path / "runs").glob("*.jsonl"))) * section.chunk
            task.update(min(1.0, _share(workspace, folder, grown)), f"{grown} trees, outcome {report.outcome:.2f}")


def _share(workspace: Workspace, folder: StageFolder, trees: int) -> float:
    section = workspace.config.explore
    by_trees = trees / section.trees if section.trees else 0.0
    return max(by_trees, folder.minutes / section.max_minutes if section.max_minutes else 0.0)


def _jobs(workspace: Workspace, folder: StageFolder, policy: str) -> Iterator[ExploreJob]:
    """Chunks of the environments in turn, by weight, until the budget is used; finished ones are passed over."""
    config = workspace.config
    used = {section.name: 0 for section in config.environments}
    while _share(workspace, folder, sum(used.values())) < 1:
        section = min(config.environments, key=lambda section: used[section.name] / section.tree_weight)
        count = config.explore.chunk
        if config.explore.trees:
            count = min(count, config.explore.trees - sum(used.values()))
        job = ExploreJob(config, section, used[section.name], count, policy, folder.path)
        used[section.name] += count
        if not job.run.exists():
            yield job


def explore_chunk(job: ExploreJob) -> TreeReport:
    """Grow one chunk's trees and write its run file."""
    section = job.config.explore
    first = EXPLORE_FIRST_SEED + job.first
    tasks = task_ids(job.section, "train", first, job.size)
    search = MCTS(
        iterations=section.iterations,
        simulations=section.simulations,
        branching=section.branching,
        exploration=section.exploration,
        depth=section.depth,
        discount=section.discount,
        share_states=section.share_states,
        leaf="rollout",
    )
    sampling = _sampling(job.config, job.config.threads // section.processes)
    state = play(make_plan(job.section.name, tasks, search, sampling, job.policy), job.run)
    ends = [node.outcome or 0.0 for episode in state.episodes.values() for node in episode.tree if node.done]
    return TreeReport(
        len(tasks), sum(ends) / max(1, len(ends)), state.ledger.env_steps, state.ledger.policy_tokens_generated
    )


def _sampling(config: Config, threads: int) -> Sampling:
    section = config.explore
    load = LoadOptions(device=config.device, threads=max(1, threads))
    return Sampling(section.temperature, section.max_tokens, config.seed, section.parallel, load)


def _sample_dev(workspace: Workspace, folder: StageFolder, policy: str) -> None:
    """Sample trajectories and sibling rollouts on dev tasks of each environment, a run file each."""
    ends: list[JudgedGroup] = []
    siblings: list[JudgedGroup] = []
    for section in workspace.config.environments if workspace.config.explore.dev_samples > 1 else ():
        with workspace.display.task(f"dev {section.name}") as task:
            found = _dev_groups(workspace, folder, section, policy)
            ends += found[0]
            siblings += found[1]
            task.update(1.0)
    write_json(folder.path / "dev" / "ends.json", ends)
    write_json(folder.path / "dev" / "siblings.json", siblings)


def _dev_groups(
    workspace: Workspace, folder: StageFolder, part: EnvironmentSection, policy: str
) -> tuple[list[JudgedGroup], list[JudgedGroup]]:
    config, section = workspace.config, workspace.config.explore
    tasks = task_ids(part, "dev", 0, part.dev_tasks)
    sampling = _sampling(config, config.threads)

    def played(name: str, plan: RunPlan) -> RunState:
        path = folder.path / "dev" / "runs" / f"{part.name}-{name}.jsonl"
        return play(plan, path, watch=lambda event: workspace.check_stop())

    best = make_plan(part.name, tasks, BestOfN(n=section.dev_samples), sampling, policy, "random:0")
    ends = list(early_end_groups(played("ends", best), config.fit.prompt))
    wanted = section.dev_sibling_states
    if not wanted or not _goes_back(part.name):
        return ends, []
    search = siblings_search(wanted, len(tasks), config.evaluate.sibling_samples, section.dev_sibling_rollouts)
    compared = played("siblings", make_plan(part.name, tasks[:wanted], search, sampling, policy))
    return ends, list(sibling_groups(compared, config.fit.prompt))


def _goes_back(name: str) -> bool:
    environment = make_environment(name)
    try:
        return environment.traits.snapshots
    finally:
        environment.close()


def _finish(workspace: Workspace, folder: StageFolder) -> None:
    """Count the trees of finished chunks and note the states that they began in; nothing else was explored."""
    keys: set[str] = set()
    trees: dict[str, int] = {}
    for path in sorted((folder.path / "runs").glob("*.jsonl")):
        name = path.stem.rpartition("-")[0]
        starts = [event for event in read_events(path) if isinstance(event, EpisodeStarted)]
        trees[name] = trees.get(name, 0) + len(starts)
        keys.update(state_at_start(name, start) for start in starts)
    write_json(folder.path / "initial_states.json", sorted(keys))
    folder.finish(trees=trees, initial_states=len(keys))
