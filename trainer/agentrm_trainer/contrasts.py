"""Contrasts: trees of expert trajectories with, beside each learnt step, what the policy would have said there.

Each reply is worth what the expert still reaches after it. So a reward model sees many of the policy's own mistakes,
each beside what would have been right, and with targets that have no noise, before it meets the mean returns of the
search, which are noisy and few. The expert of DAgger (arXiv 1011.0686) is asked here for values instead of actions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentrm_models.messages import Conversation, PromptStyle
from agentrm_models.policies.base import Candidate, Decoding, NoiseKey, ProposeRequest
from agentrm_trainer.collect import Trajectory, read_trajectories
from agentrm_trainer.config import Config, LabelSection
from agentrm_trainer.expert_worth import expert_worth
from agentrm_trainer.labelled_trees import LabelledNode, LabelledTree, read_labelled_trees
from agentrm_trainer.plays import load_policy_once
from agentrm_trainer.tasks import episode_started
from agentrm_trainer.workers import check_stop_here, run_chunks
from agentrm_trainer.workspace import StageFolder, Workspace, write_atomically
from agentrm_tui.environments.base import Environment
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.replies import parse_reply
from agentrm_tui.runs.conversations import policy_conversation
from agentrm_tui.runs.texts import kept_reply
from agentrm_tui.search.tree import ROOT, Node, Tree

AT_ONCE = 24
"""Trajectories whose steps are one request to the policy."""


class ContrastJob(NamedTuple):
    """One chunk of trajectories, as lines of JSON."""

    config: Config
    lines: tuple[bytes, ...]
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
    """As many trajectories of each environment, in turn, in chunks."""
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
        lines = tuple(msgspec.json.encode(trajectory) for trajectory in order[first : first + size])
        yield ContrastJob(config, lines, str(workspace.folder("sft") / "policy"), folder / f"{number:05d}.jsonl")


def contrast_chunk(job: ContrastJob) -> ContrastReport:
    """Sample the policy at each learnt step of a chunk's trajectories, and judge what it said."""
    config, section = job.config, job.config.label
    threads = max(1, config.threads // section.processes)
    policy = load_policy_once(job.policy, config.device, threads)
    trajectories = [msgspec.json.decode(line, type=Trajectory) for line in job.lines]
    environments = {name: make_environment(name) for name in sorted({found.environment for found in trajectories})}
    lines, labels = [], 0
    try:
        for first in range(0, len(trajectories), AT_ONCE):
            check_stop_here()
            some = trajectories[first : first + AT_ONCE]
            asked = [_requests(trajectory, section, config.seed) for trajectory in some]
            answers = iter(policy.propose([request for requests in asked for request in requests]))
            for trajectory, requests in zip(some, asked, strict=True):
                said = [next(answers) for _ in requests]
                environment = environments[trajectory.environment]
                tree = contrast_tree(environment, trajectory, said, section.expert_discount, config.fit.prompt)
                found = sum(node.target is not None for node in tree.nodes)
                if found:
                    labels += found
                    lines.append(msgspec.json.encode(tree) + b"\n")
    finally:
        for environment in environments.values():
            environment.close()
    job.path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(job.path, b"".join(lines))
    return ContrastReport(len(lines), labels)


def _requests(trajectory: Trajectory, section: LabelSection, seed: int) -> list[ProposeRequest]:
    conversation = trajectory.conversation
    decoding = Decoding(section.contrast_temperature, max_tokens=section.contrast_tokens)
    return [
        ProposeRequest(
            conversation[:index],
            section.contrast_samples,
            decoding,
            NoiseKey(seed, trajectory.task, f"contrast/{index}"),
        )
        for index, turn in enumerate(trajectory.messages)
        if turn.role == "assistant" and turn.train
    ]


def contrast_tree(
    environment: Environment,
    trajectory: Trajectory,
    said: Sequence[Sequence[Candidate]],
    discount: float,
    style: PromptStyle,
) -> LabelledTree:
    """Play a trajectory again; where the policy would have acted otherwise, all actions are judged.

    Args:
        said: What the policy said at each learnt step.
        discount: Of the expert's worth, for each step.
    """
    task = environment.task(trajectory.task)
    observation = environment.reset(task)
    answers = iter(said)
    nodes: list[LabelledNode] = []
    parent = -1
    turns = (turn for turn in trajectory.messages if turn.role == "assistant")
    for depth, turn in enumerate(turns, start=1):
        action = parse_reply(turn.content).action
        replies = {action: turn.content}
        for candidate in next(answers) if turn.train else ():
            reply = kept_reply(candidate.text)
            replies.setdefault(parse_reply(reply).action, reply)
        judged = len(replies) > 1
        above, parent = parent, len(nodes)
        before = environment.snapshot()
        for tried, reply in replies.items():
            result = environment.step(tried)
            worth = expert_worth(environment, result, task.step_limit - depth, discount) if judged else None
            nodes.append(LabelledNode(above, depth, reply, result.text, worth, 1, float(judged), False))
            environment.restore(before)
        environment.step(action)
    opening = _opening(environment, task.id, observation, style)
    return LabelledTree(trajectory.environment, trajectory.task, trajectory.level, opening, tuple(nodes))


def _opening(environment: Environment, task: str, observation: str, style: PromptStyle) -> Conversation:
    start = episode_started(environment, environment.task(task), observation)
    return policy_conversation(start, Tree({ROOT: Node(ROOT, observation=observation)}), ROOT, style)
