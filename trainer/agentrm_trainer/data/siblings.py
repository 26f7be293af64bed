"""Fresh rollouts of sibling actions: what two actions in one state are really worth under the policy.

States are taken from sampled trajectories. In each the policy proposes actions; every valid one is followed by
rollouts of its own, advanced in lock-step over all states and started from exact snapshots.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from agentrm_models.messages import PromptStyle
from agentrm_models.policies.base import Decoding, NoiseKey, Policy, ProposeRequest
from agentrm_models.replies import parse_reply
from agentrm_trainer.data.judged import Judged, JudgedGroup
from agentrm_tui.environments.base import Environment
from agentrm_tui.runs.conversations import policy_conversation, reward_conversation
from agentrm_tui.runs.events import Drifted, EpisodeStarted
from agentrm_tui.runs.state import RunState
from agentrm_tui.runs.texts import kept_reply
from agentrm_tui.runs.transitions import Transitions
from agentrm_tui.search.tree import Node, NodeId, Tree


class SiblingSettings(NamedTuple):
    """How siblings are made.

    Attributes:
        samples: Actions sampled at each state; equal ones are merged.
        rollouts: Rollouts of each valid action.
        style: Which instruction the judged conversations have.
    """

    samples: int
    rollouts: int
    temperature: float
    max_tokens: int
    seed: int
    style: PromptStyle


class Place(NamedTuple):
    """A state to compare actions in: an episode and a node that has been acted."""

    start: EpisodeStarted
    path: tuple[Node, ...]


def choose_places(state: RunState, count: int, seed: int) -> list[Place]:
    """Draw states from the trajectories of a run, spread evenly over its tasks: every task once before any twice."""
    queues = []
    for episode in state.episodes.values():
        rng = random.Random(f"places/{seed}/{episode.start.task}")
        nodes = [node for node in episode.tree if node.acted and not node.done and node.phase == "search"]
        rng.shuffle(nodes)
        queues.append([Place(episode.start, tuple(episode.tree.path(node.id))) for node in nodes])
    places: list[Place] = []
    for turn in range(max(map(len, queues), default=0)):
        places += [queue[turn] for queue in queues if turn < len(queue)]
        if len(places) >= count:
            break
    return places[:count]


class _State:
    """One place with its tree of actions and rollouts, and an environment of its own."""

    def __init__(self, place: Place, environment: Environment) -> None:
        self.start = place.start
        self.tree = Tree({node.id: _copy(node) for node in place.path})
        for node in place.path[1:]:
            assert node.parent is not None
            self.tree[node.parent].children = [node.id]
        self.top: NodeId = place.path[-1].id
        self.tree[self.top].children = []
        self.drifts: list[Drifted] = []
        task = environment.task(place.start.task)
        self.transitions = Transitions(environment, task, place.start.task, self.drifts.append)
        self.transitions.open()
        self.transitions.stand_at(self.tree, self.top)
        self.running: dict[NodeId, int] = {}
        self.returns: dict[NodeId, list[float]] = {}
        self.owner: dict[NodeId, NodeId] = {}

    def request(self, node: NodeId, n: int, settings: SiblingSettings, style: PromptStyle) -> ProposeRequest:
        """Ask for `n` replies at a node of this state's tree."""
        noise = NoiseKey(settings.seed, f"siblings/{self.start.task}", node)
        decoding = Decoding(settings.temperature, max_tokens=settings.max_tokens)
        return ProposeRequest(policy_conversation(self.start, self.tree, node, style), n, decoding, noise)

    def grow(self, parent: NodeId, ordinal: int, reply: str, count: int, first: bool) -> None:
        """Act one reply; a first action that is not valid is no sibling."""
        depth = self.tree[parent].depth + 1
        node = Node(f"{parent}.{ordinal}", parent=parent, depth=depth, reply=reply, action=parse_reply(reply).action)
        self.tree.nodes[node.id] = node
        acted = self.transitions.take(self.tree, node.id).acted
        if first and not acted.valid:
            return
        node.observation, node.outcome = acted.observation, acted.outcome
        node.done = acted.done or depth >= self.start.step_limit
        owner = node.id if first else self.owner[parent]
        self.owner[node.id] = owner
        ended = self.returns.setdefault(owner, [])
        if node.done:
            ended += [acted.outcome] * count
        else:
            self.running[node.id] = count


def _copy(node: Node) -> Node:
    return Node(
        node.id,
        parent=node.parent,
        depth=node.depth,
        reply=node.reply,
        thought=node.thought,
        action=node.action,
        observation=node.observation,
        done=node.done,
    )


def sibling_groups(
    make: Callable[[], Environment],
    places: Sequence[Place],
    policy: Policy,
    settings: SiblingSettings,
    watch: Callable[[float], None],
) -> list[JudgedGroup]:
    """Roll siblings out at each place; places with fewer than two valid actions give nothing.

    Args:
        make: Makes an environment; each place gets one.
        watch: Called between the steps with the share of work that is done; may raise `InterruptedRun`.
    """
    environments = [make() for _ in places]
    every = [_State(place, environment) for place, environment in zip(places, environments, strict=True)]
    _sample(policy, settings, [(state, state.top, settings.samples) for state in every], first=True)
    states = [state for state in every if len(state.returns) > 1 and not state.drifts]
    limit = max((state.start.step_limit for state in states), default=0)
    for step in range(limit):
        watch(step / limit)
        asked = [(state, node, count) for state in states for node, count in state.running.items()]
        if not asked:
            break
        for state in states:
            state.running = {}
        _sample(policy, settings, asked, first=False)
    for environment in environments:
        environment.close()
    return [_group(environments[0].traits.name, state, settings) for state in states]


def _sample(
    policy: Policy, settings: SiblingSettings, asked: Sequence[tuple[_State, NodeId, int]], first: bool
) -> None:
    """Propose at each asked node and act the distinct actions."""
    requests = [state.request(node, count, settings, policy.traits.prompt) for state, node, count in asked]
    for (state, parent, _), candidates in zip(asked, policy.propose(requests), strict=True):
        merged: dict[str, list[str]] = {}
        for candidate in candidates:
            reply = kept_reply(candidate.text)
            merged.setdefault(parse_reply(reply).action, []).append(reply)
        for ordinal, replies in enumerate(merged.values()):
            state.grow(parent, ordinal, replies[0], settings.rollouts if first else len(replies), first)


def _group(environment: str, state: _State, settings: SiblingSettings) -> JudgedGroup:
    items = tuple(
        Judged(
            reward_conversation(state.start, state.tree, node, settings.style),
            sum(found) / len(found),
            state.tree[node].action,
        )
        for node, found in state.returns.items()
    )
    return JudgedGroup(environment, state.start.task, state.start.level, items)
