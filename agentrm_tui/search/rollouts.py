"""Rollouts: trajectories that the policy alone continues, many at once, to see how they end."""

from __future__ import annotations

from collections.abc import Mapping

from agentrm_tui.search.asking import Asking, act, propose
from agentrm_tui.search.tree import NodeId, Tree


def roll_out(tree: Tree, leaves: Mapping[NodeId, int]) -> Asking[list[NodeId]]:
    """Play rollouts from acted nodes to the end in lock-step; returns the end of each, equal ones repeated.

    Args:
        leaves: How many rollouts begin at each node.
    """
    running, ends = dict(leaves), list[NodeId]()
    while running:
        ends += [node for node, count in running.items() if tree[node].done for _ in range(count)]
        running = {node: count for node, count in running.items() if not tree[node].done}
        if not running:
            break
        children = yield from propose(tree, list(running), list(running.values()), phase="rollout")
        running = {child.node: child.samples for siblings in children for child in siblings}
        yield from act(tree, list(running))
    return ends
