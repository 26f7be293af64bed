"""Stage `explore`: tree search with the cloned policy on training tasks it was not cloned from.

First some dev tasks are sampled, to choose the reward model by; then trees are grown in chunks, one run file each,
until the number of trees or the time is reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentrm_models.rewards.scripted import RandomReward
from agentrm_trainer.config import Config, EnvironmentSection
from agentrm_trainer.data.judged import JudgedGroup, early_end_groups
from agentrm_trainer.data.siblings import SiblingSettings, choose_places, sibling_groups
from agentrm_trainer.data.tasks import EXPLORE_FIRST_SEED, initial_state, tasks_from
from agentrm_trainer.workflow.plays import Sampling, load_policy_once, make_plan, play
from agentrm_trainer.workflow.workers import run_chunks
from agentrm_trainer.workflow.workspace import StageFolder, Workspace, read_json, write_json
from agentrm_tui.environments.registry import make_environment
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

    @property
    def states(self) -> Path:
        """The initial states of its tasks."""
        return self.folder / "initial_states" / f"{self.section.name}-{self.first:07d}.json"


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
    environment = make_environment(job.section.name)
    tasks = tasks_from(environment, job.section, "train", first, job.size)
    states = [initial_state(environment, task, environment.reset(task)) for task in tasks]
    environment.close()
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
    threads = max(1, job.config.threads // section.processes)
    sampling = Sampling(section.temperature, section.max_tokens, job.config.seed, section.parallel, threads)
    plan = make_plan(job.section.name, [task.id for task in tasks], search, sampling, job.policy)
    job.run.parent.mkdir(parents=True, exist_ok=True)
    write_json(job.states, states)
    state = play(plan, load_policy_once(job.policy, job.config.device, threads), path=job.run)
    ends = [node.outcome or 0.0 for episode in state.episodes.values() for node in episode.tree if node.done]
    return TreeReport(
        len(tasks), sum(ends) / max(1, len(ends)), state.ledger.env_steps, state.ledger.policy_tokens_generated
    )


def _sample_dev(workspace: Workspace, folder: StageFolder, policy_folder: str) -> None:
    """Sample trajectories and sibling rollouts on dev tasks, each environment once."""
    config = workspace.config
    section = config.explore
    ends: list[JudgedGroup] = []
    siblings: list[JudgedGroup] = []
    for part in config.environments:
        path = folder.path / "dev" / f"{part.name}.json"
        if section.dev_samples > 1 and not path.exists():
            write_json(path, _dev_groups(workspace, part, policy_folder))
        if path.exists():
            found: list[list[JudgedGroup]] = read_json(path, list[list[JudgedGroup]])
            ends += found[0]
            siblings += found[1]
    write_json(folder.path / "dev" / "ends.json", ends)
    write_json(folder.path / "dev" / "siblings.json", siblings)


def _dev_groups(
    workspace: Workspace, part: EnvironmentSection, policy_folder: str
) -> tuple[list[JudgedGroup], list[JudgedGroup]]:
    config = workspace.config
    section = config.explore
    policy = load_policy_once(policy_folder, config.device, config.threads)
    environment = make_environment(part.name)
    tasks = tasks_from(environment, part, "dev", 0, part.dev_tasks)
    sampling = Sampling(section.temperature, section.max_tokens, config.seed, section.parallel, config.threads)
    search = BestOfN(n=section.dev_samples)
    plan = make_plan(part.name, [task.id for task in tasks], search, sampling, policy_folder, "random:0")
    with workspace.display.task(f"dev {part.name}") as task:
        state = play(plan, policy, RandomReward(0), watch=lambda event: workspace.check_stop())
        task.update(0.3)
        settings = SiblingSettings(
            config.evaluate.sibling_samples,
            section.dev_sibling_rollouts,
            section.temperature,
            section.max_tokens,
            config.seed,
            config.fit.prompt,
        )

        def watch(share: float) -> None:
            workspace.check_stop()
            task.update(0.3 + 0.7 * share)

        places = choose_places(state, section.dev_sibling_states, config.seed)
        siblings = (
            sibling_groups(lambda: make_environment(part.name), places, policy, settings, watch)
            if environment.traits.snapshots
            else []
        )
        task.update(1.0)
    environment.close()
    return list(early_end_groups(state, config.fit.prompt)), siblings


def _finish(workspace: Workspace, folder: StageFolder) -> None:
    """Count the trees of finished chunks and note the states that they began in; nothing else was explored."""
    keys: set[str] = set()
    trees: dict[str, int] = {}
    for path in sorted((folder.path / "runs").glob("*.jsonl")):
        name = path.stem.rpartition("-")[0]
        states = read_json(folder.path / "initial_states" / f"{path.stem}.json", list[str])
        trees[name] = trees.get(name, 0) + len(states)
        keys.update(states)
    write_json(folder.path / "initial_states.json", sorted(keys))
    folder.finish(trees=trees, initial_states=len(keys))
