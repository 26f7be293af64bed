"""Contrasts: trajectories with, beside each action, others that the policy would have taken and the expert's.

Each action is worth what the expert still reaches after it. So a reward model sees many of the policy's own mistakes,
in the states into which they lead and each beside what would have been better, with targets that have no noise, before
it meets the mean returns of the search, which are noisy and few. As in DAgger (arXiv 1011.0686) the policy chooses the
states, or in a share of the trajectories the expert does, and the expert judges, but it is asked for values instead of
actions. The trajectories are runs: walks of a policy with the expert beside it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import PromptStyle
from agentrm_trainer.config import LabelSection
from agentrm_trainer.data.expert_worth import with_expert_worth
from agentrm_trainer.data.labelled_trees import LabelledNode, LabelledTree, read_labelled_trees
from agentrm_trainer.data.trajectories import Trajectory, read_trajectories
from agentrm_trainer.workflow.plays import Sampling, make_plan, play
from agentrm_trainer.workflow.workers import run_chunks
from agentrm_trainer.workflow.workspace import StageFolder, Workspace, write_atomically
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs.conversations import reward_conversation
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import EpisodeState
from agentrm_tui.search.tree import NodeId
from agentrm_tui.search.walk import Walk


class ContrastJob(NamedTuple):
    """One chunk: what is walked, how it is judged, and where both go."""

    plan: RunPlan
    section: LabelSection
    style: PromptStyle
    run: Path
    path: Path


class ContrastReport(msgspec.Struct, frozen=True):
    """What a chunk gave: trees, and replies with a target in them."""

    trees: int
    labels: int


def write_contrasts(workspace: Workspace, folder: StageFolder) -> ContrastReport:
    """Make the contrasts that `label.contrasts` asks for: `contrasts/*.jsonl`, a file for each chunk."""
    section = workspace.config.label
    jobs = list(_jobs(workspace, folder.path)) if section.contrasts else []
    waiting = [job for job in jobs if not job.path.exists()]
    done = len(jobs) - len(waiting)
    trees = labels = 0
    if waiting:
        with workspace.display.task("contrasts") as task:
            for job, report in run_chunks(workspace, waiting, contrast_chunk, section.processes):
                done += 1
                folder.log(contrasts=job.path.stem, **msgspec.to_builtins(report))
                folder.save_clock()
                task.update(done / len(jobs), f"{report.labels} judged replies in {report.trees} trajectories")
    for job in jobs:
        for tree in read_labelled_trees(job.path):
            trees += 1
            labels += sum(node.target is not None for node in tree.nodes)
    return ContrastReport(trees, labels)


def _jobs(workspace: Workspace, folder: Path) -> Iterator[ContrastJob]:
    """As many of the collected tasks of each environment, in turn, in chunks.

    These are tasks that the policy has learnt from: what it says there is a little better than elsewhere, and no
    further initial state is lost to the test.
    """
    config, section = workspace.config, workspace.config.label
    found: dict[str, list[Trajectory]] = {}
    for trajectory in read_trajectories(workspace.folder("collect") / "train.jsonl"):
        found.setdefault(trajectory.environment, []).append(trajectory)
    policy = f"coached:{section.contrast_expert:g}:{workspace.folder('sft') / 'policy'}"
    load = LoadOptions(device=config.device, threads=max(1, config.threads // section.processes))
    sampling = Sampling(section.contrast_temperature, section.contrast_tokens, config.seed, section.chunk, load)
    for name, trajectories in found.items():
        random.Random(f"contrasts/{config.seed}/{name}").shuffle(trajectories)
        tasks = [trajectory.task for trajectory in trajectories[: -(-section.contrasts // len(found))]]
        for first in range(0, len(tasks), section.chunk):
            search = Walk(candidates=section.contrast_samples + 1)
            plan = make_plan(name, tasks[first : first + section.chunk], search, sampling, policy)
            file = f"{name}-{first:07d}.jsonl"
            run, path = folder / "contrast_runs" / file, folder / "contrasts" / file
            yield ContrastJob(plan, section, config.fit.prompt, run, path)


def contrast_chunk(job: ContrastJob) -> ContrastReport:
    """Walk a chunk's tasks, and let the expert judge every reply that stands beside another one."""
    state = play(job.plan, job.run)
    environment = make_environment(job.plan.environment)
    lines, labels = [], 0
    try:
        for episode in state.episodes.values():
            tree = contrast_tree(job.plan.environment, episode, job.style)
            if tree is not None:
                tree = with_expert_worth(environment, tree, 1.0, job.section.expert_discount)
                labels += sum(node.target is not None for node in tree.nodes)
                lines.append(msgspec.json.encode(tree) + b"\n")
    finally:
        environment.close()
    write_atomically(job.path, b"".join(lines))
    return ContrastReport(len(lines), labels)


def contrast_tree(environment: str, episode: EpisodeState, style: PromptStyle) -> LabelledTree | None:
    """A walk as a tree whose replies wait for their targets where others stand beside them; None where none does."""
    nodes: list[LabelledNode] = []
    place: dict[NodeId, int] = {}
    first: NodeId | None = None
    for node in episode.tree:
        children = episode.tree.children(node.id)
        judged = len(children) > 1
        for child in children:
            first = first or child.id
            place[child.id] = len(nodes)
            target = 0.0 if judged else None
            above, observation = place.get(node.id, -1), child.observation or ""
            nodes.append(LabelledNode(above, child.depth, child.reply, observation, target, 1, float(judged), False))
    if first is None or all(node.target is None for node in nodes):
        return None
    opening = reward_conversation(episode.start, episode.tree, first, style)[:-1]
    return LabelledTree(environment, episode.start.task, episode.start.level, opening, tuple(nodes))
