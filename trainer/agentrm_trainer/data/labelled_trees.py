"""Trees of states with reward targets: what `label` writes and `fit` reads."""

from __future__ import annotations

from pathlib import Path

import msgspec

from agentrm_models.messages import Conversation, Message
from agentrm_trainer.workflow.workspace import read_json_lines


class LabelledNode(msgspec.Struct, frozen=True):
    """A node of an explored tree or of a contrast.

    Attributes:
        parent: Index of the parent in the tree's list; -1 for children of the root.
        target: In [0, 1]: mean return, what the expert makes of the state, or a mix; None for nodes that are only on
            the way to labelled ones.
        visits: Returns the target is a mean of.
        weight: Of the label in the loss.
        rollout: Made in a rollout, not in the search tree.
    """

    parent: int
    depth: int
    reply: str
    observation: str
    target: float | None
    visits: int
    weight: float
    rollout: bool


class LabelledTree(msgspec.Struct, frozen=True):
    """One line of `trees.jsonl`.

    Attributes:
        opening: The messages before the first reply.
    """

    environment: str
    task: str
    level: str
    opening: Conversation
    nodes: tuple[LabelledNode, ...]

    def conversation(self, index: int) -> Conversation:
        """The state of a node: opening and history, ending in its reply."""
        node = self.nodes[index]
        turns: list[Message] = [Message("assistant", node.reply)]
        while node.parent >= 0:
            node = self.nodes[node.parent]
            turns += [Message("user", node.observation), Message("assistant", node.reply)]
        return (*self.opening, *reversed(turns))


def read_labelled_trees(path: Path) -> list[LabelledTree]:
    """Read `trees.jsonl`.

    Raises:
        DataError: It is missing or damaged.
    """
    found: list[LabelledTree] = read_json_lines(path, LabelledTree, "label")
    return found
