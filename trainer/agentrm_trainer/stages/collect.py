"""Stage `collect`: expert trajectories on training seeds, as chat-format JSON lines.

The expert may be interrupted by random valid actions (`noise`): it then shows how to go on from a state that it would
never reach itself, which a cloned policy does (DART, arXiv 1703.09327). Such turns are marked `"train": false`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agentrm_models.errors import DataError
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import PromptStyle
from agentrm_trainer.config import EnvironmentSection
from agentrm_trainer.data.tasks import task_ids
from agentrm_trainer.data.trajectories import Trajectory, read_trajectories, trajectory_of
from agentrm_trainer.workflow.plays import Sampling, make_plan, play
from agentrm_trainer.workflow.workers import run_chunks
from agentrm_trainer.workflow.workspace import StageFolder, Workspace, write_atomically, write_json
from agentrm_tui.search.greedy import Greedy

EXPERTS_AT_ONCE = 16
"""Episodes of the expert that are driven at once."""


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
    """Play one chunk's tasks with the expert and write the solved ones; those that noise spoilt are played without."""
    tasks = task_ids(job.section, "train", job.first, job.size)
    found: dict[str, Trajectory] = {}
    for noise in dict.fromkeys((job.noise, 0.0)):
        left = [task for task in tasks if task not in found]
        if left:
            found |= _played(job, left, noise)
    lines = [msgspec.json.encode(found[task]) + b"\n" for task in tasks if task in found]
    write_atomically(job.path, b"".join(lines))
    return ChunkReport(len(lines), len(tasks) - len(lines))


def _played(job: CollectJob, tasks: list[str], noise: float) -> dict[str, Trajectory]:
    """What the expert solves of some tasks, by task."""
    policy = f"expert:{noise:g}" if noise else "expert"
    sampling = Sampling(0.0, 1, job.seed, EXPERTS_AT_ONCE, LoadOptions())
    plan = make_plan(job.section.name, tasks, Greedy(), sampling, policy)
    run = job.path.parent.parent / "runs" / f"{job.path.stem}-{'noise' if noise else 'plain'}.jsonl"
    state = play(plan, run, all_may_fail=True)
    trajectories = (trajectory_of(job.section.name, episode, job.prompt) for episode in state.episodes.values())
    return {found.task: found for found in trajectories if found is not None}


def _merge(workspace: Workspace, folder: StageFolder, jobs: list[CollectJob]) -> None:
    """Drop repeated initial states, hold some trajectories out, and note every initial state."""
    rng = random.Random(f"held out/{workspace.config.seed}")
    kept: list[bytes] = []
    held_out: list[bytes] = []
    counts: dict[str, int] = {}
    seen: dict[str, None] = {}
    repeated = 0
    for job in jobs:
        for trajectory in read_trajectories(job.path):
            if trajectory.initial_state in seen:
                repeated += 1
                continue
            seen[trajectory.initial_state] = None
            counts[trajectory.environment] = counts.get(trajectory.environment, 0) + 1
            line = msgspec.json.encode(trajectory) + b"\n"
            (held_out if rng.random() < workspace.config.collect.held_out else kept).append(line)
    if not kept:
        raise DataError("the expert solved no task", "Check the environments of the configuration.")
    write_atomically(folder.path / "train.jsonl", b"".join(kept))
    write_atomically(folder.path / "held_out.jsonl", b"".join(held_out))
    write_json(folder.path / "initial_states.json", sorted(seen))
    figures: dict[str, Any] = {"trajectories": counts, "held_out": len(held_out), "repeated_initial_states": repeated}
    folder.finish(**figures)
