"""Stage `collect`: expert trajectories on training seeds, as chat-format JSON lines.

The expert may be interrupted by random valid actions (`noise`): it then shows how to go on from a state that it would
never reach itself, which a cloned policy does (DART, arXiv 1703.09327). Such turns are marked `"train": false`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from agentrm_models.errors import DataError
from agentrm_models.messages import Conversation, Message, PromptStyle, Role
from agentrm_models.replies import format_reply
from agentrm_trainer.config import EnvironmentSection
from agentrm_trainer.data.tasks import episode_started, initial_state, tasks_from
from agentrm_trainer.workflow.workers import run_chunks
from agentrm_trainer.workflow.workspace import StageFolder, Workspace, read_json_lines, write_atomically, write_json
from agentrm_tui.environments.base import Environment, Task
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs.conversations import policy_conversation
from agentrm_tui.search.tree import ROOT, Node, Tree


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message; `train` is false for turns that are read but not learnt."""

    role: str
    content: str
    train: bool = True


class Trajectory(msgspec.Struct, frozen=True):
    """One line of `train.jsonl`: a whole episode of the expert.

    Attributes:
        initial_state: Identity of the state it started from.
        score: The outcome, always 1 here.
    """

    environment: str
    task: str
    level: str
    initial_state: str
    score: float
    steps: int
    messages: tuple[Turn, ...]

    @property
    def conversation(self) -> Conversation:
        """The messages without their marks."""
        return tuple(Message(cast(Role, turn.role), turn.content) for turn in self.messages)


class CollectJob(NamedTuple):
    """One chunk: training tasks number `first` … `first + size - 1` of an environment."""

    section: EnvironmentSection
    first: int
    size: int
    noise: float
    seed: int
    prompt: PromptStyle
    path: Path


class ChunkReport(msgspec.Struct, frozen=True):
    """What a chunk gave: trajectories kept, and tasks the expert did not solve."""

    kept: int
    failed: int


def collect(workspace: Workspace, folder: StageFolder) -> None:
    """Run the stage: `train.jsonl`, `held_out.jsonl`, `initial_states.json`."""
    config = workspace.config
    jobs = list(_jobs(workspace, folder.path))
    waiting = [job for job in jobs if not job.path.exists()]
    done = len(jobs) - len(waiting)
    with workspace.display.task("collect") as task:
        for job, report in run_chunks(workspace, waiting, collect_chunk, config.collect.processes):
            done += 1
            folder.log(environment=job.section.name, first=job.first, kept=report.kept, failed=report.failed)
            folder.save_clock()
            task.update(done / len(jobs), f"{job.section.name}: {report.kept} kept, {report.failed} not solved")
    _merge(workspace, folder, jobs)


def _jobs(workspace: Workspace, path: Path) -> Iterator[CollectJob]:
    config = workspace.config
    for section in config.environments:
        for first in range(0, section.train_tasks, config.collect.chunk):
            count = min(config.collect.chunk, section.train_tasks - first)
            chunk = path / "chunks" / f"{section.name}-{first:07d}.jsonl"
            yield CollectJob(section, first, count, config.collect.noise, config.seed, config.sft.prompt, chunk)


def collect_chunk(job: CollectJob) -> ChunkReport:
    """Play one chunk's tasks with the expert and write the solved ones."""
    environment = make_environment(job.section.name)
    lines, failed = [], 0
    for task in tasks_from(environment, job.section, "train", job.first, job.size):
        trajectory = expert_trajectory(environment, task, job.noise, job.seed, job.prompt)
        if trajectory is None and job.noise:
            trajectory = expert_trajectory(environment, task, 0.0, job.seed, job.prompt)
        if trajectory is None:
            failed += 1
        else:
            lines.append(msgspec.json.encode(trajectory))
    environment.close()
    write_atomically(job.path, b"".join(line + b"\n" for line in lines))
    return ChunkReport(len(lines), failed)


def expert_trajectory(
    environment: Environment, task: Task, noise: float, seed: int, prompt: PromptStyle
) -> Trajectory | None:
    """Play a task with the expert; None when it does not end with outcome 1."""
    rng = random.Random(f"collect/{seed}/{environment.traits.name}/{task.id}")
    observation = environment.reset(task)
    key = initial_state(environment, task, observation)
    tree = Tree({ROOT: Node(ROOT, observation=observation)})
    last, learnt, outcome = tree.root, [], 0.0
    while not last.done:
        thought, action = environment.expert()
        if not action:
            return None
        disturbed = noise > 0 and environment.traits.valid_actions and rng.random() < noise
        if disturbed:
            action = rng.choice(environment.valid_actions() or (action,))
        result = environment.step(action)
        last = _grow(tree, last, thought, action, result.text, result.done)
        learnt.append(not disturbed)
        outcome = result.outcome
    if outcome < 1:
        return None
    conversation = policy_conversation(episode_started(environment, task, observation), tree, last.id, prompt)
    turns = _turns([(message.role, message.content) for message in conversation], learnt)
    return Trajectory(environment.traits.name, task.id, task.level, key, outcome, last.depth, turns)


def _grow(tree: Tree, parent: Node, thought: str, action: str, observation: str, done: bool) -> Node:
    node = Node(
        f"{parent.id}.0",
        parent=parent.id,
        depth=parent.depth + 1,
        reply=format_reply(thought, action),
        thought=thought,
        action=action,
        observation=observation,
        done=done,
    )
    tree.nodes[node.id] = node
    parent.children.append(node.id)
    return node


def _turns(messages: list[tuple[str, str]], learnt: list[bool]) -> tuple[Turn, ...]:
    """Mark the assistant's turns; what comes after the last of them teaches nothing and is dropped."""
    marks = iter(learnt)
    turns = [Turn(role, content, next(marks) if role == "assistant" else True) for role, content in messages]
    while turns and turns[-1].role != "assistant":
        turns.pop()
    return tuple(turns)


def _merge(workspace: Workspace, folder: StageFolder, jobs: list[CollectJob]) -> None:
    """Drop repeated initial states, hold some trajectories out, and note every initial state."""
    rng = random.Random(f"held out/{workspace.config.seed}")
    kept: list[bytes] = []
    held_out: list[bytes] = []
    counts: dict[str, int] = {}
    seen: dict[str, None] = {}
    repeated = 0
    for job in jobs:
        for line in job.path.read_bytes().splitlines():
            trajectory = msgspec.json.decode(line, type=Trajectory)
            if trajectory.initial_state in seen:
                repeated += 1
                continue
            seen[trajectory.initial_state] = None
            counts[trajectory.environment] = counts.get(trajectory.environment, 0) + 1
            (held_out if rng.random() < workspace.config.collect.held_out else kept).append(line + b"\n")
    if not kept:
        raise DataError("the expert solved no task", "Check the environments of the configuration.")
    write_atomically(folder.path / "train.jsonl", b"".join(kept))
    write_atomically(folder.path / "held_out.jsonl", b"".join(held_out))
    write_json(folder.path / "initial_states.json", sorted(seen))
    figures: dict[str, Any] = {"trajectories": counts, "held_out": len(held_out), "repeated_initial_states": repeated}
    folder.finish(**figures)


def read_trajectories(path: Path) -> list[Trajectory]:
    """Read a file of trajectories.

    Raises:
        DataError: It is missing or damaged.
    """
    found: list[Trajectory] = read_json_lines(path, Trajectory, "collect")
    return found
