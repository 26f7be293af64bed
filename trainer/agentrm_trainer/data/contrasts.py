"""Contrasts: trajectories with, beside each action, others that the policy would have taken and the expert's.

Each action is worth what the expert still reaches after it. So a reward model sees many of the policy's own mistakes,
in the states into which they lead and each beside what would have been better, with targets that have no noise, before
it meets the mean returns of the search, which are noisy and few. As in DAgger (arXiv 1011.0686) the policy chooses the
states, or in a share of the trajectories the expert does, and the expert judges, but it is asked for values instead of
actions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentrm_models.messages import Conversation, Message, PromptStyle
from agentrm_models.policies.base import Candidate, Decoding, NoiseKey, ProposeRequest
from agentrm_models.replies import format_reply, parse_reply
from agentrm_trainer.config import Config
from agentrm_trainer.data.expert_worth import expert_worth, played
from agentrm_trainer.data.labelled_trees import LabelledNode, LabelledTree, read_labelled_trees
from agentrm_trainer.data.tasks import episode_started
from agentrm_trainer.stages.collect import Trajectory, read_trajectories
from agentrm_trainer.workflow.plays import load_policy_once
from agentrm_trainer.workflow.workers import check_stop_here, run_chunks
from agentrm_trainer.workflow.workspace import StageFolder, Workspace, write_atomically
from agentrm_tui.environments.base import Environment, StepResult, Task
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs.conversations import policy_conversation
from agentrm_tui.runs.texts import kept_reply
from agentrm_tui.search.tree import ROOT, Node, Tree


class ContrastJob(NamedTuple):
    """One chunk of tasks: their environments and ids."""

    config: Config
    tasks: tuple[tuple[str, str], ...]
    policy: str
    path: Path


class ContrastReport(msgspec.Struct, frozen=True):
    """What a chunk gave: trees, and replies with a target in them."""

    trees: int
    labels: int


def write_contrasts(workspace: Workspace, folder: StageFolder) -> ContrastReport:
    """Make the contrasts that `label.contrasts` asks for: `contrasts/*.jsonl`, a file for each chunk."""
    section = workspace.config.label
    jobs = list(_jobs(workspace, folder.path / "contrasts")) if section.contrasts else []
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
    config = workspace.config
    found: dict[str, list[Trajectory]] = {}
    for trajectory in read_trajectories(workspace.folder("collect") / "train.jsonl"):
        found.setdefault(trajectory.environment, []).append(trajectory)
    for name, trajectories in found.items():
        random.Random(f"contrasts/{config.seed}/{name}").shuffle(trajectories)
        del trajectories[-(-config.label.contrasts // len(found)) :]
    longest = max(map(len, found.values()), default=0)
    order = [rows[index] for index in range(longest) for rows in found.values() if index < len(rows)]
    size = config.label.chunk
    for number, first in enumerate(range(0, len(order), size)):
        tasks = tuple((trajectory.environment, trajectory.task) for trajectory in order[first : first + size])
        yield ContrastJob(config, tasks, str(workspace.folder("sft") / "policy"), folder / f"{number:05d}.jsonl")


def contrast_chunk(job: ContrastJob) -> ContrastReport:
    """Play a chunk's tasks and judge what the policy says, and what the expert says, at each step."""
    config, section = job.config, job.config.label
    policy = load_policy_once(job.policy, config.device, max(1, config.threads // section.processes))
    decoding = Decoding(section.contrast_temperature, max_tokens=section.contrast_tokens)
    episodes = [ContrastEpisode(*task, config) for task in job.tasks]
    try:
        # In lock-step: one request to the policy for a step of all of them.
        while running := [episode for episode in episodes if not episode.done]:
            check_stop_here()
            requests = [
                ProposeRequest(
                    episode.conversation,
                    section.contrast_samples,
                    decoding,
                    NoiseKey(config.seed, episode.task.id, f"contrast/{episode.depth}"),
                )
                for episode in running
            ]
            for episode, said in zip(running, policy.propose(requests), strict=True):
                episode.take(said)
    finally:
        for episode in episodes:
            episode.close()
    lines, labels = [], 0
    for tree in (episode.tree() for episode in episodes):
        found = sum(node.target is not None for node in tree.nodes)
        if found:
            labels += found
            lines.append(msgspec.json.encode(tree) + b"\n")
    job.path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(job.path, b"".join(lines))
    return ContrastReport(len(lines), labels)


class ContrastEpisode:
    """One episode of the policy or the expert in which every action that somebody would take is judged.

    Attributes:
        task: What is played.
        depth: Steps taken.
        done: The episode has ended.
    """

    def __init__(self, environment: str, task: str, config: Config) -> None:
        self._environment = make_environment(environment)
        self._section = config.label
        self.task = self._environment.task(task)
        observation = self._environment.reset(self.task)
        draw = random.Random(f"contrast/{config.seed}/{environment}/{task}").random()
        self._expert_plays = draw < self._section.contrast_expert
        self._opening = _opening(self._environment, self.task, observation, config.sft.prompt)
        self._reward_opening = _opening(self._environment, self.task, observation, config.fit.prompt)
        self._turns: list[Message] = []
        self._nodes: list[LabelledNode] = []
        self._parent = -1
        self.depth = 0
        self.done = False

    @property
    def conversation(self) -> Conversation:
        """What the policy is asked."""
        return (*self._opening, *self._turns)

    def take(self, said: Sequence[Candidate]) -> None:
        """Judge what the policy said and what the expert says; then take the first of the player's actions."""
        replies: dict[str, str] = {}
        for candidate in said:
            reply = kept_reply(candidate.text)
            replies.setdefault(parse_reply(reply).action, reply)
        chosen = next(iter(replies))
        thought, action = self._environment.expert()
        if action:
            replies.setdefault(action, format_reply(thought, action))
            chosen = action if self._expert_plays else chosen
        self.depth += 1
        above, self._parent = self._parent, len(self._nodes) + list(replies).index(chosen)
        judged = len(replies) > 1
        before = self._environment.snapshot()
        for tried, reply in replies.items():
            result = played(self._environment, tried)
            worth = self._worth(result) if judged else None
            self._nodes.append(LabelledNode(above, self.depth, reply, result.text, worth, 1, float(judged), False))
            self._environment.restore(before)
        result = played(self._environment, chosen)
        self._turns += [Message("assistant", replies[chosen]), Message("user", result.text)]
        self.done = result.done or self.depth >= self.task.step_limit

    def tree(self) -> LabelledTree:
        """What was judged."""
        name = self._environment.traits.name
        return LabelledTree(name, self.task.id, self.task.level, self._reward_opening, tuple(self._nodes))

    def close(self) -> None:
        """End the environment."""
        self._environment.close()

    def _worth(self, result: StepResult) -> float:
        left = self.task.step_limit - self.depth
        return expert_worth(self._environment, result, left, self._section.expert_discount)


def _opening(environment: Environment, task: Task, observation: str, style: PromptStyle) -> Conversation:
    start = episode_started(environment, task, observation)
    return policy_conversation(start, Tree({ROOT: Node(ROOT, observation=observation)}), ROOT, style)
