"""Requests with typed answers: what every algorithm uses to ask the runner (`children = yield from propose(...)`)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple, TypeVar

from agentrm_tui.search.requests import Act, Answer, Propose, Prune, Request, Score
from agentrm_tui.search.tree import Node, NodeId, Phase, Tree

Result = TypeVar("Result")
Asking = Generator[Request, Answer, Result]
"""A part of a search that ends with a result."""


class Sampled(NamedTuple):
    """A child and how many of the samples just drawn gave its action."""

    node: NodeId
    samples: int


def propose(
    tree: Tree,
    nodes: Sequence[NodeId],
    counts: Sequence[int],
    *,
    temperature: float | None = None,
    phase: Phase = "search",
) -> Asking[list[list[Sampled]]]:
    """Sample replies and return each node's distinct children with their new samples, in order."""
    before = {child.id: child.samples for node in nodes for child in tree.children(node)}
    answer = yield Propose(tuple(nodes), tuple(counts), temperature=temperature, phase=phase)
    return [
        [Sampled(child, tree[child].samples - before.get(child, 0)) for child in children]
        for children in _ids_by_node(answer)
    ]


def score(nodes: Sequence[NodeId]) -> Asking[None]:
    """Judge nodes as one group."""
    yield Score((tuple(nodes),))


def act(tree: Tree, nodes: Sequence[NodeId]) -> Asking[None]:
    """Take the actions of those nodes that have not been taken yet."""
    waiting = tuple(node for node in nodes if not tree[node].acted)
    if waiting:
        yield Act(waiting)


def prune(nodes: Sequence[NodeId], why: str, margins: Sequence[float]) -> Asking[tuple[NodeId, ...]]:
    """Cut nodes and return those that really were; asks nothing for an empty list."""
    return _ids((yield Prune(tuple(nodes), why, tuple(margins)))) if nodes else ()


def value(node: Node) -> float:
    """A node's `reward_value` for ranking; unscored nodes come last."""
    return float("-inf") if node.reward_value is None else node.reward_value


def _ids_by_node(answer: Answer) -> list[tuple[NodeId, ...]]:
    if answer is None:
        raise TypeError("a proposal was answered with nothing")
    return [children if isinstance(children, tuple) else (children,) for children in answer]


def _ids(answer: Answer) -> tuple[NodeId, ...]:
    if answer is None:
        raise TypeError("a request about nodes was answered with nothing")
    return tuple(node for node in answer if isinstance(node, str))
