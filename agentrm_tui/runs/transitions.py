"""Environment steps for one episode's tree: each transition is taken once where snapshots exist, else by replay."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

from agentrm_models.call_replies import missing_call, unread_call, why_unread
from agentrm_models.functions import ActionFunctions
from agentrm_models.replies import ACTION_LIMIT, ACTION_TOO_LONG, MISSING_ACTION
from agentrm_tui.environments.base import Environment, StepResult, Task
from agentrm_tui.environments.pictures import encode_picture
from agentrm_tui.runs.events import ActedNode, Drifted
from agentrm_tui.runs.texts import printable
from agentrm_tui.search.tree import ROOT, Node, NodeId, Tree

SNAPSHOT_LIMIT = 1_024
"""Snapshots kept for each episode; the least recently used go first, the root's stays."""


class Opening(NamedTuple):
    """What an episode begins with."""

    observation: str
    state_key: str
    picture: str


class Taken(NamedTuple):
    """A transition as an event tells it.

    Attributes:
        refused: The environment never saw the action.
    """

    acted: ActedNode
    refused: bool


def refusal(action: str) -> str:
    """The observation of an action that no environment is given; empty for all others."""
    if not action:
        return MISSING_ACTION
    return ACTION_TOO_LONG if len(action) > ACTION_LIMIT else ""


class Transitions:
    """One environment instance that is moved about one episode's tree.

    Args:
        drifted: Told about each replayed observation that differs from the recorded one.
        asks_calls: The policy is asked for calls, so a reply without one is told so.
    """

    def __init__(
        self,
        environment: Environment,
        task: Task,
        episode: str,
        drifted: Callable[[Drifted], None],
        asks_calls: bool = False,
    ) -> None:
        self.environment = environment
        self._asks_calls = asks_calls
        self._task = task
        self._episode = episode
        self._drifted = drifted
        self._snapshots: OrderedDict[NodeId, Any] = OrderedDict()
        self._at: NodeId | None = None
        self._ended = False
        self._steps = 0

    def open(self) -> Opening:
        """Reset the environment to the episode's first state."""
        observation = printable(self.environment.reset(self._task))
        self._at, self._ended = ROOT, False
        self._keep(ROOT)
        return Opening(observation, *self._look())

    def take(self, tree: Tree, node_id: NodeId) -> Taken:
        """Take a node's action from its parent's state."""
        node = tree[node_id]
        parent = tree[node.parent or ROOT]
        text = self._refusal(node)
        if text:
            acted = ActedNode(node_id, text, parent.outcome or 0.0, False, False, parent.state_key, parent.picture)
            return Taken(acted, True)
        self.stand_at(tree, parent.id)
        result = self._step(node)
        look = self._look()
        if not result.done:
            self._keep(node_id)
        acted = ActedNode(node_id, printable(result.text), result.outcome, result.done, result.valid, *look)
        return Taken(acted, False)

    def stand_at(self, tree: Tree, node_id: NodeId) -> Environment:
        """Bring the environment into the state after an acted node, by snapshot or by replay, and return it."""
        path = tree.path(node_id)
        start = self._nearest(path)
        for node in path[start + 1 :]:
            if not self._refusal(node):
                self._replay(node)
            self._at = node.id
        return self.environment

    @cached_property
    def functions(self) -> ActionFunctions:
        """The episode's actions as functions."""
        return self.environment.functions(self._task)

    def spent(self) -> int:
        """Environment steps taken since this was last asked, replayed ones included."""
        steps, self._steps = self._steps, 0
        return steps

    def valid_actions(self, tree: Tree, node_id: NodeId) -> tuple[str, ...]:
        """Actions accepted after an acted node; empty where the environment does not list them or has ended."""
        if not self.environment.traits.valid_actions or tree[node_id].done or not tree[node_id].acted:
            return ()
        return self.stand_at(tree, node_id).valid_actions()

    def lend(self, environment: Environment) -> None:
        """Use another instance from now on."""
        self.environment, self._at = environment, None

    def forget(self) -> None:
        """Drop all snapshots; what is asked later is replayed."""
        self._snapshots.clear()
        self._at = None

    def _refusal(self, node: Node) -> str:
        """The observation of an action that no environment is given; a call that was not understood says why."""
        if not node.action and (call := unread_call(node.reply)):
            return printable(why_unread(call, self.functions))
        if not node.action and self._asks_calls:
            return missing_call(self.functions)
        return refusal(node.action)

    def _nearest(self, path: list[Node]) -> int:
        """Stand at the last node of a path that can be reached without a step; returns its place in the path."""
        if path[-1].id == self._at:
            return len(path) - 1
        for place in range(len(path) - 1, -1, -1):
            node = path[place].id
            if node in self._snapshots:
                self.environment.restore(self._snapshots[node])
                self._snapshots.move_to_end(node)
                self._at, self._ended = node, False
                return place
            if node == self._at:
                return place
        seen = printable(self.environment.reset(self._task))
        self._at, self._ended = ROOT, False
        expected = path[0].observation or ""
        if seen != expected:
            self._drifted(Drifted(episode=self._episode, node=ROOT, expected=expected, seen=seen))
        return 0

    def _replay(self, node: Node) -> None:
        seen = printable(self._step(node).text)
        if seen != node.observation:
            self._drifted(Drifted(episode=self._episode, node=node.id, expected=node.observation or "", seen=seen))
        self._keep(node.id)

    def _step(self, node: Node) -> StepResult:
        if self._ended:
            return StepResult("The episode has already ended here.", node.outcome or 0.0, True, False)
        self._at = None
        result = self.environment.step(node.action)
        self._steps += 1
        self._at, self._ended = node.id, result.done
        return result

    def _keep(self, node: NodeId) -> None:
        if not self.environment.traits.snapshots or self._ended:
            return
        self._snapshots[node] = self.environment.snapshot()
        if len(self._snapshots) > SNAPSHOT_LIMIT:
            oldest = next(key for key in self._snapshots if key != ROOT)
            del self._snapshots[oldest]

    def _look(self) -> tuple[str, str]:
        traits = self.environment.traits
        key = printable(self.environment.state_key()) if traits.state_keys else ""
        picture = printable(encode_picture(self.environment.picture())) if traits.pictures else ""
        return key, picture
