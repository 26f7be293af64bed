"""From the flags of `serve` to a plan and an endpoint, each checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentrm_models.errors import MissingExtraError, UsageError
from agentrm_models.specs import parse_spec
from agentrm_tui.environments.served import SERVED
from agentrm_tui.flags import load_from
from agentrm_tui.headless.display import DisplayName
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.store import new_run_path
from agentrm_tui.search.beam import Beam
from agentrm_tui.search.registry import SearchSettings
from agentrm_tui.search.walk import Walk
from agentrm_tui.serve.access import read_access


def run_serve(flags: Mapping[str, Any], out: Path | None, display: DisplayName) -> None:
    """Serve what the flags say; errors as in `server.serve`."""
    plan = serving_plan(flags)
    access = read_access(flags["host"], flags["key_file"])
    try:
        from agentrm_tui.serve.server import Endpoint, serve
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"serve needs the package {error.name}, which is not installed", "pip install starlette uvicorn"
        ) from None
    endpoint = Endpoint(
        host=flags["host"],
        port=flags["port"],
        access=access,
        name=flags["name"],
        samples=flags["samples"],
        room=flags["room"],
        idle=flags["idle"],
    )
    serve(plan, out or new_run_path(plan), endpoint, display)


def serving_plan(flags: Mapping[str, Any]) -> RunPlan:
    """The plan of a serving run: no task, and at each step the best of N replies.

    Raises:
        UsageError: No policy, no reward model for several replies, or a spec that names none.
    """
    policy, reward, samples = flags["policy"], flags["reward"], flags["samples"]
    if not policy:
        raise UsageError("serve lacks the policy whose replies it gives", "Name one with --policy.")
    if not reward and samples > 1:
        raise UsageError(f"nothing says which of {samples} replies is the best", "Name a --reward, or take -n 1.")
    parse_spec(policy, "policy")
    if reward:
        parse_spec(reward, "reward")
    search: SearchSettings = Beam(beam=(1, samples)) if reward else Walk(candidates=1)
    return RunPlan(
        environment=SERVED,
        tasks=(),
        policy=policy,
        reward=reward,
        search=search,
        temperature=flags["temperature"],
        top_p=flags["top_p"],
        max_tokens=flags["max_tokens"],
        reasoning_tokens=flags["reasoning_tokens"],
        seed=flags["seed"],
        parallel=flags["parallel"],
        load=load_from(flags),
    )
