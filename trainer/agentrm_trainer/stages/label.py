"""Stage `label`: reward targets from the explored trees, read through the same reducer as everything else.

A label belongs to a node: the history that ends in its action. Its target is the mean of the returns backed up through
it. Trees are stored whole (each text once), so that fitting can run a tree through the model in one pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec

from agentrm_models.errors import DataError
from agentrm_trainer.config import LabelSection
from agentrm_trainer.data.contrasts import write_contrasts
from agentrm_trainer.data.expert_worth import with_expert_worth
from agentrm_trainer.data.labelled_trees import LabelledNode, LabelledTree
from agentrm_trainer.workflow.workspace import StageFolder, Workspace, write_atomically
from agentrm_tui.environments.base import Environment
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs.conversations import reward_conversation
from agentrm_tui.runs.events import Backpropagated
from agentrm_tui.runs.state import EpisodeState
from agentrm_tui.runs.store import load_state
from agentrm_tui.search.tree import ROOT, NodeId


class _Experts:
    """The environments whose experts are asked, each made when it is first needed."""

    def __init__(self, section: LabelSection) -> None:
        self._section = section
        self._environments: dict[str, Environment] = {}

    def __enter__(self) -> _Experts:
        return self

    def __exit__(self, *failure: object) -> None:
        for environment in self._environments.values():
            environment.close()

    def judge(self, tree: LabelledTree) -> LabelledTree:
        """Mix what the expert makes of each state into its target, as far as the settings say."""
        if not self._section.expert_share:
            return tree
        if tree.environment not in self._environments:
            self._environments[tree.environment] = make_environment(tree.environment)
        environment = self._environments[tree.environment]
        return with_expert_worth(environment, tree, self._section.expert_share, self._section.expert_discount)


class _Statistics(msgspec.Struct):
    visits: int = 0
    total: float = 0.0


def label(workspace: Workspace, folder: StageFolder) -> None:
    """Run the stage: `trees.jsonl`."""
    config = workspace.config
    runs = sorted((workspace.folder("explore") / "runs").glob("*.jsonl"))
    lines, labels, rollout_labels, total = [], 0, 0, 0.0
    with workspace.display.task("label") as task, _Experts(config.label) as experts:
        for number, path in enumerate(runs):
            workspace.check_stop()
            for tree in labelled_trees(path, config.label, config.fit.prompt):
                tree = experts.judge(tree)
                lines.append(msgspec.json.encode(tree) + b"\n")
                found = [node for node in tree.nodes if node.target is not None]
                labels += len(found)
                rollout_labels += sum(node.rollout for node in found)
                total += sum(node.target or 0.0 for node in found)
            task.update((number + 1) / len(runs), f"{labels} labels")
    if not labels:
        raise DataError("the explored trees give no label", "Lower label.min_visits, or explore more.")
    write_atomically(folder.path / "trees.jsonl", b"".join(lines))
    contrasts = write_contrasts(workspace, folder)
    folder.finish(
        trees=len(lines),
        labels=labels,
        rollout_labels=rollout_labels,
        mean_target=round(total / labels, 4),
        contrasts=msgspec.to_builtins(contrasts),
    )


def labelled_trees(path: Path, section: LabelSection, style: str) -> Iterator[LabelledTree]:
    """Label the trees of one run file; trees without a label are left out."""
    state = load_state(path)
    environment = state.run.plan.environment if state.run else ""
    for episode in state.episodes.values():
        tree = labelled_tree(environment, episode, section, style)
        if tree is not None:
            yield tree


def labelled_tree(environment: str, episode: EpisodeState, section: LabelSection, style: str) -> LabelledTree | None:
    """Label one tree; None where nothing in it deserves a label."""
    statistics = returns_of(episode, section)
    wanted = {node_id: None for node_id, found in statistics.items() if _deserves(found, section)}
    kept: dict[NodeId, None] = {}
    for node_id in wanted:
        for node in episode.tree.path(node_id)[1:]:
            kept[node.id] = None
    order = [node.id for node in episode.tree if node.id in kept]
    if not order:
        return None
    place = {node_id: index for index, node_id in enumerate(order)}
    nodes = []
    for node_id in order:
        node, found = episode.tree[node_id], statistics.get(node_id, _Statistics())
        labelled = node_id in wanted
        nodes.append(
            LabelledNode(
                parent=place.get(node.parent or ROOT, -1),
                depth=node.depth,
                reply=node.reply,
                observation=node.observation or "",
                target=found.total / found.visits if labelled else None,
                visits=found.visits,
                weight=_weight(found.visits, section) if labelled else 0.0,
                rollout=node.phase == "rollout",
            )
        )
    return _checked(environment, episode, tuple(nodes), order, style)


def returns_of(episode: EpisodeState, section: LabelSection) -> dict[NodeId, _Statistics]:
    """Visits and discounted returns of every node, recounted from the backed-up paths.

    With `merge_states` nodes of equal environment state and depth (hence equal steps left) share their statistics.
    """
    found: dict[NodeId, _Statistics] = {}
    tree = episode.tree
    for recorded in episode.history:
        if isinstance(recorded.event, Backpropagated):
            path = recorded.event.path
            outcome = tree[path[-1]].outcome or 0.0
            for depth, node_id in enumerate(path[1:], start=1):
                entry = found.setdefault(node_id, _Statistics())
                entry.visits += 1
                entry.total += outcome * section.discount ** (len(path) - 1 - depth)
    return _merged(episode, found) if section.merge_states else found


def _merged(episode: EpisodeState, found: dict[NodeId, _Statistics]) -> dict[NodeId, _Statistics]:
    shared: dict[tuple[str, int], _Statistics] = {}
    for node_id, entry in found.items():
        node = episode.tree[node_id]
        twin = shared.setdefault((node.state_key or node_id, node.depth), _Statistics())
        twin.visits += entry.visits
        twin.total += entry.total
    return {
        node_id: shared[(episode.tree[node_id].state_key or node_id, episode.tree[node_id].depth)] for node_id in found
    }


def _deserves(found: _Statistics, section: LabelSection) -> bool:
    return found.visits >= (section.min_visits if section.variant == "visits" else 1)


def _weight(visits: int, section: LabelSection) -> float:
    return 1.0 if section.variant == "visits" else math.sqrt(min(visits, section.max_weight_visits))


def _checked(
    environment: str, episode: EpisodeState, nodes: tuple[LabelledNode, ...], order: list[NodeId], style: str
) -> LabelledTree:
    """Build the record, and make sure that its conversations are the ones a reward model is given when it plays."""
    last = reward_conversation(episode.start, episode.tree, order[-1], "full" if style == "full" else "short")
    opening = last[: len(last) - 2 * nodes[-1].depth + 1]
    tree = LabelledTree(environment, episode.start.task, episode.start.level, opening, nodes)
    if tree.conversation(len(nodes) - 1) != last:
        raise AssertionError(f"{episode.start.task}: a stored tree gives another conversation than the run")
    return tree
