"""Whether a policy is asked for actions as text or as calls of functions: decided once, when it has been loaded."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from agentrm_models.errors import UsageError
from agentrm_models.policies.base import Policy, SpeaksCalls
from agentrm_tui.environments.base import Environment
from agentrm_tui.runs.plan import RunPlan


class Decided(NamedTuple):
    """A plan whose `actions` is `text` or `tools`, and a notice that says why where the plan left it open."""

    plan: RunPlan
    notice: str


def decide_actions(plan: RunPlan, policy: Policy, environment: Environment) -> Decided:
    """Find out whether a policy speaks tool calls, if its plan wants them.

    Raises:
        UsageError: The plan demands calls and the policy speaks none.
    """
    if plan.actions == "text" or not plan.tasks:
        return Decided(msgspec.structs.replace(plan, actions="text"), "")
    why_not = "it speaks no tool calls"
    if isinstance(policy, SpeaksCalls):
        why_not = policy.refuses_functions(environment.functions(environment.task(plan.tasks[0])))
    if not why_not:
        said = "actions are tool calls" if plan.actions == "auto" else ""
        return Decided(msgspec.structs.replace(plan, actions="tools"), said)
    if plan.actions == "tools":
        cause = f"{plan.policy} cannot be asked for tool calls: {why_not}"
        raise UsageError(cause, "Take --actions text, or auto, which takes calls where a policy speaks them.")
    return Decided(msgspec.structs.replace(plan, actions="text"), f"actions are text, not tool calls: {why_not}")
