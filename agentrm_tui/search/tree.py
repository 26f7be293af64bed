"""The search tree: nodes are (state, action) pairs; three numbers on each that are never mixed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import msgspec

NodeId: TypeAlias = str
ROOT: NodeId = "0"
Phase: TypeAlias = Literal["search", "rollout"]
Source: TypeAlias = Literal["policy", "expert", "noise", "human"]
Cut: TypeAlias = Literal["", "reply", "reasoning"]
"""Where a limit ended a reply before it was complete."""


class Node(msgspec.Struct):
    """One thought and action after a history; once acted, also an observation.

    Attributes:
        id: `parent.ordinal`; the root is `0` and has no action, only the first observation.
        reply: The policy's text as sampled, without reasoning.
        log_probability: Of the reply at temperature 1, in nats.
        tokens: Sampled tokens of the reply.
        samples: How many samples gave this parsed action.
        source: Who proposed it.
        reasoning: What the policy wrote for itself before the reply; no model is given it again.
        reasoning_tokens: Tokens of the reasoning, among `tokens`; 0 where nobody tells.
        cut: Where a limit ended the reply before it was complete: in the reply, or inside its reasoning.
        reward_value: The reward model's judgement of history + thought + action; None until scored.
        total_return: Sum of returns backed up through the node; `mean_return` divides it by `visits`.
        outcome: The environment's score after the action, in [0, 1]; None until acted, or where nobody tells it.
        messages: What a client sent after the reply; empty where that is the observation alone. It begins with the
            reply where the client keeps that in another wording.
        steps: Actions on the path from the root, this one included.
        created, acted_at: Number of the event that made it and that acted it; -1 if not.
    """

    id: NodeId
    parent: NodeId | None = None
    depth: int = 0
    reply: str = ""
    thought: str = ""
    action: str = ""
    log_probability: float = 0.0
    tokens: int = 0
    samples: int = 1
    source: Source = "policy"
    reasoning: str = ""
    reasoning_tokens: int = 0
    cut: Cut = ""
    phase: Phase = "search"
    reward_value: float | None = None
    visits: int = 0
    total_return: float = 0.0
    observation: str | None = None
    outcome: float | None = None
    done: bool = False
    valid: bool = True
    state_key: str = ""
    picture: str = ""
    messages: tuple[Any, ...] = ()
    pruned: str = ""
    margin: float | None = None
    chosen: bool = False
    created: int = -1
    acted_at: int = -1
    children: list[NodeId] = msgspec.field(default_factory=list)

    @property
    def acted(self) -> bool:
        """Whether the environment has taken this node's action (true for the root)."""
        return self.observation is not None

    @property
    def mean_return(self) -> float | None:
        """Mean of the returns backed up through the node (MCTS Q); None before the first."""
        return self.total_return / self.visits if self.visits else None


class Tree(msgspec.Struct):
    """All nodes of one episode, in the order in which they were made."""

    nodes: dict[NodeId, Node] = msgspec.field(default_factory=dict)

    def __getitem__(self, node_id: NodeId) -> Node:
        """The node with this id."""
        return self.nodes[node_id]

    def __contains__(self, node_id: object) -> bool:
        return node_id in self.nodes

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def root(self) -> Node:
        """The node before the first action."""
        return self.nodes[ROOT]

    def parent(self, node_id: NodeId) -> Node | None:
        """The node before, or None for the root."""
        parent = self.nodes[node_id].parent
        return None if parent is None else self.nodes[parent]

    def children(self, node_id: NodeId) -> list[Node]:
        """The children of a node, in order of their ordinals."""
        return [self.nodes[child] for child in self.nodes[node_id].children]

    def most_visited(self, node_id: NodeId) -> Node | None:
        """The child of most visits, then of highest mean return, then made first; None where none was visited."""
        visited = [child for child in self.children(node_id) if child.visits]
        return max(visited, key=lambda child: (child.visits, child.mean_return or 0.0), default=None)

    def path(self, node_id: NodeId) -> list[Node]:
        """The nodes from the root to this one, both included."""
        path = [self.nodes[node_id]]
        while path[-1].parent is not None:
            path.append(self.nodes[path[-1].parent])
        return path[::-1]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())
