"""Fresh rollouts of sibling actions: what two actions in one state are really worth under the policy.

States are taken from sampled trajectories. In each the policy proposes actions; every valid one is followed by
rollouts of its own, advanced in lock-step over all states and started from exact snapshots.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from agentrm_models.messages import PromptStyle
from agentrm_models.policies.base import Decoding, NoiseKey, Policy, ProposeRequest
from agentrm_trainer.judged import Judged, JudgedGroup
from agentrm_tui.environments.base import Environment
from agentrm_tui.replies import ACTION_LIMIT, parse_reply
from agentrm_tui.runs.conversations import policy_conversation, reward_conversation
from agentrm_tui.runs.events import EpisodeStarted
from agentrm_tui.runs.state import RunState
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
    """One place with its tree of actions and rollouts."""

    def __init__(self, place: Place, environment: Environment) -> None:
        self.start = place.start
        self.tree = Tree({node.id: _copy(node) for node in place.path})
        for node in place.path[1:]:
            assert node.parent is not None
            self.tree[node.parent].children = [node.id]
        self.top: NodeId = place.path[-1].id
        self.tree[self.top].children = []
        environment.reset(environment.task(place.start.task))
        for node in place.path[1:]:
            _step(environment, node.action)
        self.snapshots: dict[NodeId, Any] = {self.top: environment.snapshot()}
        self.running: dict[NodeId, int] = {}
        self.returns: dict[NodeId, list[float]] = {}
        self.owner: dict[NodeId, NodeId] = {}

    def request(self, node: NodeId, n: int, settings: SiblingSettings, style: PromptStyle) -> ProposeRequest:
        """Ask for `n` replies at a node of this state's tree."""
        noise = NoiseKey(settings.seed, f"siblings/{self.start.task}", node)
        decoding = Decoding(settings.temperature, max_tokens=settings.max_tokens)
        return ProposeRequest(policy_conversation(self.start, self.tree, node, style), n, decoding, noise)


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
    environment: Environment,
    places: Sequence[Place],
    policy: Policy,
    settings: SiblingSettings,
    watch: Callable[[float], None],
) -> list[JudgedGroup]:
    """Roll siblings out at each place; places with fewer than two valid actions give nothing.

    Args:
        watch: Called between the steps with the share of work that is done; may raise `InterruptedRun`.
    """
    states = [_State(place, environment) for place in places]
    _sample(environment, policy, settings, [(state, state.top, settings.samples) for state in states], first=True)
    states = [state for state in states if len(state.returns) > 1]
    limit = max((state.start.step_limit for state in states), default=0)
    for step in range(limit):
        watch(step / limit)
        asked = [(state, node, count) for state in states for node, count in state.running.items()]
        if not asked:
            break
        for state in states:
            state.running = {}
        _sample(environment, policy, settings, asked, first=False)
    return [_group(environment, state, settings) for state in states]


def _sample(
    environment: Environment,
    policy: Policy,
    settings: SiblingSettings,
    asked: Sequence[tuple[_State, NodeId, int]],
    first: bool,
) -> None:
    """Propose at each asked node, act the distinct actions, and note what goes on and what has ended."""
    style = policy.traits.prompt
    requests = [state.request(node, count, settings, style) for state, node, count in asked]
    for (state, parent, _), candidates in zip(asked, policy.propose(requests), strict=True):
        merged: dict[str, tuple[str, int]] = {}
        for candidate in candidates:
            action = parse_reply(candidate.text).action
            reply, count = merged.get(action, (candidate.text, 0))
            merged[action] = (reply, count + 1)
        for ordinal, (action, (reply, count)) in enumerate(merged.items()):
            _act(environment, state, parent, ordinal, reply, action, settings.rollouts if first else count, first)
        state.snapshots.pop(parent)


def _act(
    environment: Environment,
    state: _State,
    parent: NodeId,
    ordinal: int,
    reply: str,
    action: str,
    count: int,
    first: bool,
) -> None:
    environment.restore(state.snapshots[parent])
    text, outcome, done, valid = _step(environment, action)
    if first and not valid:
        return
    node_id = f"{parent}.{ordinal}"
    depth = state.tree[parent].depth + 1
    state.tree.nodes[node_id] = Node(
        node_id, parent=parent, depth=depth, reply=reply, action=action, observation=text, done=done
    )
    owner = node_id if first else state.owner[parent]
    state.owner[node_id] = owner
    ended = state.returns.setdefault(owner, [])
    if done:
        ended += [outcome] * count
    else:
        state.running[node_id] = count
        state.snapshots[node_id] = environment.snapshot()


def _step(environment: Environment, action: str) -> tuple[str, float, bool, bool]:
    """Step as the runner does: an empty or overlong action is an invalid step of the environment's own."""
    return environment.step(action[:ACTION_LIMIT])


def _group(environment: Environment, state: _State, settings: SiblingSettings) -> JudgedGroup:
    items = tuple(
        Judged(
            reward_conversation(state.start, state.tree, node, settings.style),
            sum(found) / len(found),
            state.tree[node].action,
        )
        for node, found in state.returns.items()
        if found
    )
    return JudgedGroup(environment.traits.name, state.start.task, state.start.level, items)
