"""What a search algorithm may ask for. The runner alone answers.

The answer sent back into the generator:

- `Propose`: one tuple of child ids for each asked node, in order (merged siblings once, existing children again
  when they were sampled again). A person may have replaced or reduced it; a node may get no child.
- `Score`: the ids that were scored (the values are on the tree).
- `Act`: the ids that were acted (observation, done, valid are on the tree).
- `Prune`: the ids that were really cut; a person may have kept some.
- `Choose`, `Backpropagate`: None.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias

import msgspec

from agentrm_tui.search.tree import NodeId, Phase


class Propose(msgspec.Struct, frozen=True):
    """Sample `counts[i]` replies from `nodes[i]`, which have been acted and are not done.

    Attributes:
        temperature: None takes the run's setting.
        exclude: For each node the parsed actions that are not wanted again; empty for none.
    """

    nodes: tuple[NodeId, ...]
    counts: tuple[int, ...]
    temperature: float | None = None
    phase: Phase = "search"
    exclude: tuple[tuple[str, ...], ...] = ()


class Score(msgspec.Struct, frozen=True):
    """Judge nodes; nodes of one group are compared with each other."""

    groups: tuple[tuple[NodeId, ...], ...]


class Act(msgspec.Struct, frozen=True):
    """Take the actions of these nodes in the environment."""

    nodes: tuple[NodeId, ...]


class Prune(msgspec.Struct, frozen=True):
    """Cut nodes. `margins[i]` is how far node i was from staying, in units of reward; NaN where it has none."""

    nodes: tuple[NodeId, ...]
    why: str
    margins: tuple[float, ...] = ()


class Choose(msgspec.Struct, frozen=True):
    """Name the node whose path is the answer so far; the last one named is the result of the episode."""

    node: NodeId
    final: bool = False


class Backpropagate(msgspec.Struct, frozen=True):
    """Add a return to every node of a path (root first); `values[i]` goes to `path[i]`."""

    path: tuple[NodeId, ...]
    values: tuple[float, ...]


Request: TypeAlias = Propose | Score | Act | Prune | Choose | Backpropagate
Answer: TypeAlias = tuple[tuple[NodeId, ...], ...] | tuple[NodeId, ...] | None
Search: TypeAlias = Generator[Request, Answer, None]
"""A running algorithm. `next()` gives the first request; `send(answer)` gives the next."""
