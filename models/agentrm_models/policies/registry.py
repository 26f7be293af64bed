"""All kinds of policies, in the order in which they are asked whether a spec is theirs."""

from __future__ import annotations

from typing import TypeAlias

from agentrm_models.kinds import ModelSpec, recognise, unknown
from agentrm_models.policies.base import Policy
from agentrm_models.policies.coached import CoachedSpec
from agentrm_models.policies.expert import ExpertSpec
from agentrm_models.policies.gguf import GGUFSpec
from agentrm_models.policies.human import HumanSpec
from agentrm_models.policies.packaged import PackagedSpec
from agentrm_models.policies.script_file import ScriptFileSpec
from agentrm_models.policies.scripted import ScriptedSpec
from agentrm_models.policies.served import ServerSpec
from agentrm_models.policies.transformers import TransformersSpec

PolicySpec: TypeAlias = ModelSpec[Policy]

POLICY_KINDS: tuple[type[PolicySpec], ...] = (
    ServerSpec,
    GGUFSpec,
    HumanSpec,
    ScriptedSpec,
    ScriptFileSpec,
    ExpertSpec,
    CoachedSpec,
    PackagedSpec,
    TransformersSpec,
)


def parse_policy(spec: str) -> PolicySpec:
    """The policy spec that another spec is made of; errors as `specs.parse_spec`."""
    parsed = recognise(spec, POLICY_KINDS)
    if parsed is None:
        raise unknown(spec, "policy", POLICY_KINDS)
    return parsed
