"""A policy with the expert beside it: its own candidates and what the expert would do, in one list.

So a run shows what a policy would do wrong in the very states it leads itself into (DAgger, arXiv 1011.0686), or, in a
share of the tasks, in those the expert leads it into.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from agentrm_models.errors import UsageError
from agentrm_models.functions import ActionFunctions
from agentrm_models.kinds import ModelSpec, SpecText, recognise, unknown
from agentrm_models.load_options import LoadOptions
from agentrm_models.notices import Notice, notices_of
from agentrm_models.policies.base import Candidate, NoiseKey, Policy, PolicyTraits, ProposeRequest, SpeaksCalls
from agentrm_models.policies.expert import read_share
from agentrm_models.sampling import NoiseStream
from agentrm_models.usage import ProgressHook, Usage, ignore_progress


@dataclass(frozen=True)
class CoachedSpec(ModelSpec[Policy]):
    """`coached:SHARE:POLICY`."""

    syntax = ("coached:SHARE:POLICY",)

    spec: str
    share: float
    policy: ModelSpec[Policy]

    @classmethod
    def parse(cls, text: SpecText) -> CoachedSpec | None:
        """A share, and the policy that is coached."""
        if text.head != "coached" or text.rest is None:
            return None
        share, _, policy = text.rest.partition(":")
        coached = recognise(policy, text.kinds)
        if coached is None:
            raise unknown(policy, "policy", text.kinds)
        if not coached.reads:
            raise UsageError(f"{text.whole[:80]!r}: {policy[:40]} is no language model", "A language model is coached.")
        return cls(text.whole, read_share(text.whole, share, "coached:0.5:bundled:small"), coached)

    def describe(self) -> str:
        """Who plays."""
        return f"{self.policy.spec} with the expert beside it, who leads in {100 * self.share:g} % of the tasks"

    def load(self, options: LoadOptions) -> Policy:
        """Load the policy."""
        return CoachedPolicy(self.policy.load(options), self.share)


class CoachedPolicy:
    """A policy's candidates with the expert's reply as the last of them, or, where the expert leads, as the first.

    Args:
        share: Share of the tasks in which the expert leads; the task and the seed decide.
    """

    def __init__(self, policy: Policy, share: float) -> None:
        self._policy = policy
        self._share = share
        self.notice = policy.notice

    @property
    def traits(self) -> PolicyTraits:
        """The policy's, which wants the expert's reply too."""
        traits = self._policy.traits
        return traits._replace(name=f"coached:{self._share:g}:{traits.name}", wants_expert=True)

    @property
    def usage(self) -> Usage:
        """The policy's."""
        return self._policy.usage

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        """Sample one candidate less than asked for, and put the expert's reply beside them, where it has one."""
        own = [self._own(request) for request in requests]
        asked = [msgspec.structs.replace(request, n=n) for request, n in zip(requests, own, strict=True) if n]
        sampled = iter(self._policy.propose(asked, progress) if asked else ())
        answers = []
        for request, n in zip(requests, own, strict=True):
            candidates = next(sampled) if n else []
            if n < request.n:
                reply = request.expert_action
                expert = Candidate(reply, float("nan"), len(reply.split()), "expert")
                candidates = [expert, *candidates] if self._expert_leads(request.noise) else [*candidates, expert]
            answers.append(candidates)
        return answers

    def refuses_functions(self, functions: ActionFunctions) -> str:
        """What the policy says of them."""
        if not isinstance(self._policy, SpeaksCalls):
            return "it speaks no tool calls"
        return self._policy.refuses_functions(functions)

    def new_notices(self) -> list[Notice]:
        """What the policy found out."""
        return notices_of(self._policy)

    def new_episode(self) -> None:
        """Pass it on."""
        self._policy.new_episode()

    def close(self) -> None:
        """Free the policy."""
        self._policy.close()

    def _own(self, request: ProposeRequest) -> int:
        """How many candidates the policy itself is asked for."""
        if not request.expert_action:
            return request.n
        return request.n - 1 if request.n > 1 else int(not self._expert_leads(request.noise))

    def _expert_leads(self, noise: NoiseKey) -> bool:
        return NoiseStream(NoiseKey(noise.seed, noise.task, "coach"), 0).uniform(0) < self._share
