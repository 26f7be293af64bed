"""The text models are given, made from a run's events alone, so that playing and training see the same."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agentrm_models.messages import Conversation, Message, PromptStyle
from agentrm_tui.runs.events import EpisodeStarted
from agentrm_tui.search.tree import Node, NodeId, Tree

CALL_FORMAT = "Think in a sentence, then call one function."
"""What an instruction ends with for policies that are asked for calls."""

_REPLY_FORMAT = re.compile(r"(?:\A|(?<=\n))Reply with [^\n]*:\n(?:Thought|Action):.*\Z", re.DOTALL)


def policy_conversation(
    start: EpisodeStarted,
    tree: Tree,
    node_id: NodeId,
    style: PromptStyle = "full",
    demonstrations: Sequence[Conversation] = (),
    calls: bool = False,
) -> Conversation:
    """The history up to and including a node's observation: ends in a user message, ready for the next reply.

    System is the instruction, the first user message the goal and the first observation; then reply and observation
    take turns. The node must have been acted. Where a client brought the conversation, its own messages are given.

    Args:
        demonstrations: Whole episodes, put between the system message and the goal.
        calls: The policy is asked for calls: the instruction says so, in place of the reply format.
    """
    path = tree.path(node_id)
    instruction, *opening = _opening(start, style)
    if calls and instruction.role == "system":
        instruction = Message("system", _asking_for_calls(instruction.content))
    shown = (message for demonstration in demonstrations for message in demonstration)
    return (instruction, *shown, *opening, *(message for node in path[1:] for message in _turn(node)))


def reward_conversation(
    start: EpisodeStarted, tree: Tree, node_id: NodeId, style: PromptStyle = "short"
) -> Conversation:
    """The state to be judged: the history, ending with the node's own reply, never with its observation."""
    path = tree.path(node_id)
    turns = [*_opening(start, style), *(message for node in path[1:-1] for message in _turn(node))]
    return (*turns, Message("assistant", path[-1].reply))


def _asking_for_calls(instruction: str) -> str:
    """An instruction without its reply format, which all of them end with."""
    return f"{_REPLY_FORMAT.sub('', instruction).rstrip()}\n\n{CALL_FORMAT}"


def _opening(start: EpisodeStarted, style: PromptStyle) -> Conversation:
    if start.messages:
        return _client_opening(start, style)
    instruction = start.instruction if style == "full" else start.reward_instruction
    return Message("system", instruction), Message("user", f"Goal: {start.goal}\n{start.observation}")


def _client_opening(start: EpisodeStarted, style: PromptStyle) -> Conversation:
    """What a client sent; it may have another instruction for the reward model, in the place of its own."""
    if style == "full" or not start.reward_instruction:
        return start.messages
    rest = tuple(message for message in start.messages if message.role != "system")
    return (Message("system", start.reward_instruction), *rest)


def _turn(node: Node) -> Conversation:
    if node.messages and node.messages[0].role == "assistant":
        return node.messages
    return (Message("assistant", node.reply), *(node.messages or (Message("user", node.observation or ""),)))
