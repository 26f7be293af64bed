"""Model specs: the one line of text that names a policy or a reward model, on the command line and in run files.

Each kind knows how its specs are written (see `policies.registry` and `rewards.registry`); `docs/models.md` lists them.
"""

from __future__ import annotations

from typing import Literal, overload

from agentrm_models.bundled import BundledModel, ModelRole, bundled_models, role_name
from agentrm_models.errors import UsageError
from agentrm_models.kinds import claims, recognise, unknown
from agentrm_models.load_options import DEFAULT_OPTIONS, LoadOptions
from agentrm_models.policies.base import Policy
from agentrm_models.policies.registry import POLICY_KINDS, PolicySpec
from agentrm_models.rewards.base import RewardModel
from agentrm_models.rewards.registry import REWARD_KINDS, RewardSpec
from agentrm_models.server_address import without_secrets


def policy_kinds() -> tuple[str, ...]:
    """How policies can be named, for help texts."""
    return tuple(form for kind in POLICY_KINDS for form in kind.syntax)


def reward_kinds() -> tuple[str, ...]:
    """How reward models can be named, for help texts."""
    return tuple(form for kind in REWARD_KINDS for form in kind.syntax)


def list_models() -> list[BundledModel]:
    """Models that work offline, sorted by name."""
    return bundled_models()


@overload
def parse_spec(spec: str, role: Literal["policy"]) -> PolicySpec: ...


@overload
def parse_spec(spec: str, role: Literal["reward"]) -> RewardSpec: ...


@overload
def parse_spec(spec: str, role: ModelRole) -> PolicySpec | RewardSpec: ...


def parse_spec(spec: str, role: ModelRole) -> PolicySpec | RewardSpec:
    """Take a spec apart and check that what it names can be loaded, as far as that is known without loading.

    Raises:
        UsageError: No such kind or bundled name, or one of the other role; the message offers the nearest spelling.
        DataError: A file or folder that does not exist, is cut off or foreign.
    """
    parsed = recognise(spec, POLICY_KINDS) if role == "policy" else recognise(spec, REWARD_KINDS)
    if parsed is not None:
        return parsed
    if claims(spec, REWARD_KINDS if role == "policy" else POLICY_KINDS):
        other: ModelRole = "reward" if role == "policy" else "policy"
        remedy = f"Give it with --{other}."
        raise UsageError(f"{without_secrets(spec)[:80]!r} is a {role_name(other)}, not a {role_name(role)}", remedy)
    raise unknown(spec, role, POLICY_KINDS if role == "policy" else REWARD_KINDS)


def describe_spec(spec: str, role: ModelRole = "policy") -> str:
    """Say in one line what a spec stands for, without loading it; errors as `parse_spec`."""
    return parse_spec(spec, role).describe()


def load_policy(spec: str, options: LoadOptions = DEFAULT_OPTIONS) -> Policy:
    """Load the policy that a spec names.

    Raises:
        UsageError: Unknown spec, a reward model where a policy is wanted, or a device that cannot be used here.
        DataError: A file is missing, cut off or foreign; a download or a server failed; a package is missing.
        MemoryExhaustedError: The weights do not fit.
    """
    return parse_spec(spec, "policy").load(options)


def load_reward(spec: str, options: LoadOptions = DEFAULT_OPTIONS) -> RewardModel:
    """Load the reward model that a spec names; errors as `load_policy`."""
    return parse_spec(spec, "reward").load(options)
