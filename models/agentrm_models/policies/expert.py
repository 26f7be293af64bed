"""The environment's own expert as a policy: an upper bound, and a way to watch an episode without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from agentrm_models.errors import UsageError
from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.load_options import LoadOptions
from agentrm_models.policies.base import Candidate, Policy, PolicyTraits, ProposeRequest
from agentrm_models.sampling import check_decoding
from agentrm_models.usage import Progress, ProgressHook, Usage, ignore_progress


@dataclass(frozen=True)
class ExpertSpec(ModelSpec[Policy]):
    """`expert`."""

    syntax = words = ("expert",)

    spec: str

    @classmethod
    def parse(cls, text: SpecText) -> ExpertSpec | None:
        """The word alone."""
        return cls(text.whole) if text.whole == "expert" else None

    def describe(self) -> str:
        """Who plays."""
        return "the environment's own expert"

    def load(self, options: LoadOptions) -> Policy:
        """There is nothing to load."""
        return ExpertPolicy()


class ExpertPolicy:
    """Replies what the environment's expert would do from the current state."""

    notice = ""

    def __init__(self) -> None:
        self._usage = Usage()

    @property
    def traits(self) -> PolicyTraits:
        """It wants the expert's reply with each request, and always gives that one."""
        return PolicyTraits(name="expert", wants_expert=True, deterministic=True)

    @property
    def usage(self) -> Usage:
        """No tokens are computed; requests and time are counted."""
        return self._usage

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        """Answer each request with `n` equal candidates of log-probability 0.

        Raises:
            UsageError: The environment has no expert, or its expert sees no way to win from here.
        """
        started = perf_counter()
        answers = []
        for done, request in enumerate(requests):
            progress(Progress("asking the expert", done, len(requests)))
            check_decoding(request.decoding, request.n)
            if not request.expert_action:
                raise UsageError(
                    "the expert has no action here",
                    "The environment has no expert, or the task cannot be won from this state.",
                )
            reply = Candidate(request.expert_action, 0.0, len(request.expert_action.split()))
            answers.append([reply] * request.n)
        self._usage += Usage(
            tokens_generated=sum(reply.tokens for replies in answers for reply in replies),
            requests=1,
            milliseconds=(perf_counter() - started) * 1e3,
        )
        return answers

    def new_episode(self) -> None:
        """Nothing is kept between calls."""

    def close(self) -> None:
        """Nothing is held."""
