"""The text models are given, made from a run's events alone, so that playing and training see the same."""

from __future__ import annotations

from agentrm_models.messages import Conversation, Message, PromptStyle
from agentrm_tui.runs.events import EpisodeStarted
from agentrm_tui.search.tree import Node, NodeId, Tree


def policy_conversation(
    start: EpisodeStarted, tree: Tree, node_id: NodeId, style: PromptStyle = "full"
) -> Conversation:
    """The history up to and including a node's observation: ends in a user message, ready for the next reply.

    System is the instruction, the first user message the goal and the first observation; then reply and observation
    take turns. The node must have been acted.
    """
    path = tree.path(node_id)
    turns = [*_opening(start, style), *(message for node in path[1:] for message in _turn(node))]
    return tuple(turns)


def reward_conversation(
    start: EpisodeStarted, tree: Tree, node_id: NodeId, style: PromptStyle = "short"
) -> Conversation:
    """The state to be judged: the history, ending with the node's own reply, never with its observation."""
    path = tree.path(node_id)
    turns = [*_opening(start, style), *(message for node in path[1:-1] for message in _turn(node))]
    return (*turns, Message("assistant", path[-1].reply))


def _opening(start: EpisodeStarted, style: PromptStyle) -> tuple[Message, Message]:
    instruction = start.instruction if style == "full" else start.reward_instruction
    return Message("system", instruction), Message("user", f"Goal: {start.goal}\n{start.observation}")


def _turn(node: Node) -> tuple[Message, Message]:
    return Message("assistant", node.reply), Message("user", node.observation or "")
