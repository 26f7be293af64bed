"""Search without a runner: a table says what is sampled, what it is worth, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentrm_tui.search.registry import SearchSettings
from agentrm_tui.search.requests import (
    Act,
    Answer,
    Backpropagate,
    Choose,
    Propose,
    Prune,
    Request,
    Score,
)
from agentrm_tui.search.tree import ROOT, Node, NodeId, Tree


@dataclass
class FakeWorld:
    """Answers requests from tables whose keys are action paths, for example `ab` for `b` after `a`.

    `samples` gives the actions that are drawn at a path, in order, over all proposals together; the last one repeats.
    """

    samples: dict[str, str]
    rewards: dict[str, float] = field(default_factory=dict)
    outcomes: dict[str, float] = field(default_factory=dict)
    done: tuple[str, ...] = ()
    keys: dict[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()
    tree: Tree = field(default_factory=lambda: Tree({ROOT: Node(ROOT, observation="start")}))
    log: list[Request] = field(default_factory=list)
    drawn: dict[str, int] = field(default_factory=dict)

    def run(self, settings: SearchSettings, limit: int = 10_000) -> list[Request]:
        search = settings.start(self.tree)
        request = next(search, None)
        while request is not None and len(self.log) < limit:
            self.log.append(request)
            try:
                request = search.send(self.answer(request))
            except StopIteration:
                request = None
        assert len(self.log) < limit, "the search does not end"
        return self.log

    def path(self, node: NodeId) -> str:
        return "".join(step.action for step in self.tree.path(node))

    def node(self, path: str) -> Node:
        return next(node for node in self.tree if self.path(node.id) == path)

    def answer(self, request: Request) -> Answer:
        match request:
            case Propose():
                return tuple(self.propose(*asked, request) for asked in zip(request.nodes, request.counts, strict=True))
            case Score():
                for node in (node for group in request.groups for node in group):
                    self.tree[node].reward_value = self.rewards.get(self.path(node), 0.0)
                return tuple(node for group in request.groups for node in group)
            case Act():
                for node in request.nodes:
                    path = self.path(node)
                    assert not self.tree[node].acted
                    self.tree[node].observation = f"after {path}"
                    self.tree[node].outcome = self.outcomes.get(path, 0.0)
                    self.tree[node].done = path in self.done
                    self.tree[node].valid = path not in self.invalid
                    self.tree[node].state_key = self.keys.get(path, "")
                return request.nodes
            case Prune():
                cut = tuple(node for node in request.nodes if self.path(node) not in self.kept)
                for node in cut:
                    self.tree[node].pruned = request.why
                return cut
            case Choose():
                return None
            case Backpropagate():
                for node, value in zip(request.path, request.values, strict=True):
                    self.tree[node].visits += 1
                    self.tree[node].total_return += value
                return None

    def propose(self, node: NodeId, count: int, request: Propose) -> tuple[NodeId, ...]:
        parent = self.tree[node]
        assert parent.acted and not parent.done
        path = self.path(node)
        actions = self.samples[path]
        found: dict[NodeId, None] = {}
        for _ in range(count):
            place = self.drawn.get(path, 0)
            self.drawn[path] = place + 1
            action = actions[min(place, len(actions) - 1)]
            same = [child for child in self.tree.children(node) if child.action == action]
            if same:
                same[0].samples += 1
                found[same[0].id] = None
                continue
            child = f"{node}.{len(parent.children)}"
            self.tree.nodes[child] = Node(
                child, parent=node, depth=parent.depth + 1, action=action, phase=request.phase, reply=action
            )
            parent.children.append(child)
            found[child] = None
        return tuple(found)

    def told(self, requests: list[Request]) -> list[str]:
        """Requests as short lines with action paths, for comparing with a search worked out by hand."""
        return [self._line(request) for request in requests]

    def _line(self, request: Request) -> str:
        def paths(nodes: tuple[NodeId, ...]) -> str:
            return ",".join(self.path(node) or "-" for node in nodes)

        match request:
            case Propose():
                asked = zip(request.nodes, request.counts, strict=True)
                phase = " rollout" if request.phase == "rollout" else ""
                return "propose " + ",".join(f"{self.path(node) or '-'}*{count}" for node, count in asked) + phase
            case Score():
                return "score " + " | ".join(paths(group) for group in request.groups)
            case Act():
                return f"act {paths(request.nodes)}"
            case Prune():
                margins = ",".join(f"{margin:.2f}" for margin in request.margins)
                return f"prune {paths(request.nodes)} {margins}"
            case Choose():
                return f"choose {paths((request.node,))}{' final' if request.final else ''}"
            case Backpropagate():
                values = ",".join(f"{value:g}" for value in request.values)
                return f"back {paths(request.path[-1:])} {values}"
