"""What a state is worth to the expert: whether it still succeeds from there, and how soon.

A mean of few returns of a weak policy is noisy: two actions beside each other differ by chance more often than by what
they do. Where an environment has an expert, their worth can be known.
"""

from __future__ import annotations

import msgspec

from agentrm_models.replies import parse_reply
from agentrm_trainer.data.labelled_trees import LabelledNode, LabelledTree
from agentrm_tui.environments.base import Environment, StepResult
from agentrm_tui.runs.texts import printable
from agentrm_tui.runs.transitions import refusal


def played(environment: Environment, action: str) -> StepResult:
    """Take a step as a run does: what no environment is given (no action, a megabyte) changes nothing."""
    if text := refusal(action):
        return StepResult(text, 0.0, False, valid=False)
    result = environment.step(action)
    return result._replace(text=printable(result.text))


def expert_worth(environment: Environment, result: StepResult, left: int, discount: float) -> float:
    """Outcome that the expert reaches from the present state, discounted by its steps; changes the state.

    Args:
        result: Of the step that led here; where it ended the episode, its outcome is the worth.
        left: Steps that the task still allows.
        discount: Factor for each step.

    Returns:
        A number in [0, 1]; 0 where the expert does not end the episode with success in time.
    """
    if result.done:
        return result.outcome
    for step in range(1, left + 1):
        action = environment.expert()[1]
        if not action:
            return 0.0
        result = environment.step(action)
        if result.done:
            return result.outcome * discount**step if result.outcome == 1 else 0.0
    return 0.0


def with_expert_worth(environment: Environment, tree: LabelledTree, share: float, discount: float) -> LabelledTree:
    """The tree with targets of which a share is what the expert makes of each state, the rest the mean return.

    The episode is played again from its task; nodes keep the targets they have where its environment has no expert.
    """
    traits = environment.traits
    if not (traits.expert and traits.snapshots):
        return tree
    task = environment.task(tree.task)
    environment.reset(task)
    states = {-1: environment.snapshot()}
    nodes: list[LabelledNode] = []
    for index, node in enumerate(tree.nodes):
        if node.parent not in states:
            raise AssertionError(f"{tree.task}: a node follows the end of the episode")
        environment.restore(states[node.parent])
        result = played(environment, parse_reply(node.reply).action)
        if not result.done:
            states[index] = environment.snapshot()
        if node.target is not None:
            worth = expert_worth(environment, result, task.step_limit - node.depth, discount)
            node = msgspec.structs.replace(node, target=(1 - share) * node.target + share * worth)
        nodes.append(node)
    return msgspec.structs.replace(tree, nodes=tuple(nodes))
