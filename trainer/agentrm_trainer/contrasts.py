"""Contrasts: trees of expert trajectories with, beside each learnt step, valid actions that the expert passed over.

They cost no model call. A reward model that first learns to tell the expert's action from the others has learnt to
read them (which thing is named in the action, in the goal, in view) before it meets the mean returns of the search,
which are noisy and few.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec

from agentrm_models.errors import DataError
from agentrm_models.messages import PromptStyle
from agentrm_trainer.collect import Trajectory
from agentrm_trainer.labelled_trees import LabelledNode, LabelledTree
from agentrm_trainer.tasks import episode_started
from agentrm_tui.environments.base import Environment
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.replies import format_reply, parse_reply
from agentrm_tui.runs.conversations import policy_conversation
from agentrm_tui.search.tree import ROOT, Node, Tree


def contrast_trees(path: Path, count: int, others: int, style: PromptStyle, seed: int) -> Iterator[LabelledTree]:
    """Contrasts from `count` trajectories of `train.jsonl`, as many from each environment, in turn.

    Args:
        others: Actions beside each of the expert's, at most; half of them begin with the same word.
        style: Instruction that the reward model is given.

    Raises:
        DataError: The file is missing or damaged.
    """
    chosen = _chosen(path, count, seed)
    environments = {name: make_environment(name) for name in chosen}
    try:
        for row in range(max((len(found) for found in chosen.values()), default=0)):
            for name, found in chosen.items():
                if row < len(found):
                    yield contrast_tree(environments[name], found[row], others, style, seed)
    finally:
        for environment in environments.values():
            environment.close()


def _chosen(path: Path, count: int, seed: int) -> dict[str, list[Trajectory]]:
    if not path.exists():
        raise DataError(f"{path} does not exist", "Run the collect stage first.")
    found: dict[str, list[Trajectory]] = {}
    try:
        for line in path.read_bytes().splitlines():
            trajectory = msgspec.json.decode(line, type=Trajectory)
            found.setdefault(trajectory.environment, []).append(trajectory)
    except msgspec.DecodeError as error:
        raise DataError(f"{path} is damaged: {error}") from None
    for name, trajectories in found.items():
        random.Random(f"contrasts/{seed}/{name}").shuffle(trajectories)
        del trajectories[-(-count // len(found)) :]
    return found


def contrast_tree(
    environment: Environment, trajectory: Trajectory, others: int, style: PromptStyle, seed: int
) -> LabelledTree:
    """Play a trajectory again: its learnt steps are worth 1, the actions beside them 0."""
    rng = random.Random(f"contrasts/{seed}/{trajectory.task}")
    task = environment.task(trajectory.task)
    observation = environment.reset(task)
    start = episode_started(environment, task, observation)
    tree = Tree({ROOT: Node(ROOT, observation=observation)})
    opening = policy_conversation(start, tree, ROOT, style)
    nodes: list[LabelledNode] = []
    parent = -1
    for depth, turn in enumerate((turn for turn in trajectory.messages if turn.role == "assistant"), start=1):
        thought, action = parse_reply(turn.content)
        beside = _others(environment.valid_actions(), action, others, rng) if turn.train else []
        result = environment.step(action)
        worth = 1.0 if turn.train else None
        nodes.append(LabelledNode(parent, depth, turn.content, result.text, worth, 1, float(turn.train), False))
        for other in beside:
            reply = format_reply(swapped(thought, action, other), other)
            nodes.append(LabelledNode(parent, depth, reply, "", 0.0, 1, 1.0, False))
        parent = len(nodes) - 1 - len(beside)
    return LabelledTree(trajectory.environment, trajectory.task, trajectory.level, opening, tuple(nodes))


def _others(valid: tuple[str, ...], action: str, count: int, rng: random.Random) -> list[str]:
    """Draw actions to set beside one: those that begin with the same word are half of them, where there are any."""
    rest = sorted({other for other in valid if other != action})
    near = [other for other in rest if other.split()[:1] == action.split()[:1]]
    drawn = rng.sample(near, min(len(near), -(-count // 2)))
    left = [other for other in rest if other not in drawn]
    return drawn + rng.sample(left, min(len(left), count - len(drawn)))


def swapped(thought: str, action: str, other: str) -> str:
    """The thought with the words of one action replaced by those of the other, as a policy would have thought it.

    Actions of as many words are compared word by word, others by what follows their common beginning.
    """
    mine, theirs = action.split(), other.split()
    if len(mine) == len(theirs):
        instead = {a: b for a, b in zip(mine, theirs, strict=True) if a != b}
        return " ".join(_with_its_mark(word, instead) for word in thought.split())
    common = 0
    while common < min(len(mine), len(theirs)) and mine[common] == theirs[common]:
        common += 1
    ending = " ".join(mine[common:])
    return thought.replace(ending, " ".join(theirs[common:])) if ending else thought


def _with_its_mark(word: str, instead: dict[str, str]) -> str:
    bare = word.rstrip(".,;:!?")
    return instead.get(bare, bare) + word[len(bare) :]
