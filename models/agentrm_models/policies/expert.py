"""The environment's own expert as a policy: an upper bound, and a way to watch an episode without a model.

A disturbed expert (`expert:0.1`) takes a random valid action now and then. It then shows how to go on from a state that
it would never reach itself, which a policy cloned from it does (DART, arXiv 1703.09327).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from agentrm_models.errors import UsageError
from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.load_options import LoadOptions
from agentrm_models.policies.base import Candidate, Policy, PolicyTraits, ProposeRequest
from agentrm_models.replies import format_reply, parse_reply
from agentrm_models.sampling import NoiseStream, check_decoding
from agentrm_models.usage import Progress, ProgressHook, Usage, ignore_progress


@dataclass(frozen=True)
class ExpertSpec(ModelSpec[Policy]):
    """`expert`, or `expert:NOISE`."""

    syntax = ("expert[:NOISE]",)
    words = ("expert",)

    spec: str
    noise: float

    @classmethod
    def parse(cls, text: SpecText) -> ExpertSpec | None:
        """The word alone, or with the share of disturbed steps behind a colon."""
        if text.head != "expert":
            return None
        return cls(text.whole, 0.0 if text.rest is None else read_share(text.whole, text.rest, "expert:0.1"))

    def describe(self) -> str:
        """Who plays."""
        disturbed = f", disturbed in {100 * self.noise:g} % of its steps" if self.noise else ""
        return f"the environment's own expert{disturbed}"

    def load(self, options: LoadOptions) -> Policy:
        """There is nothing to load."""
        return ExpertPolicy(self.noise)


def read_share(spec: str, text: str, example: str) -> float:
    """A number from 0 to 1 inside a spec.

    Raises:
        UsageError: It is none.
    """
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"{spec[:80]!r}: {text[:40]!r} is not a number from 0 to 1", f"For example {example}.")
    return share


class ExpertPolicy:
    """Replies what the environment's expert would do from the current state.

    Args:
        noise: Probability that a random valid action is taken instead, under the expert's thought.
    """

    notice = ""

    def __init__(self, noise: float = 0.0) -> None:
        self._noise = noise
        self._usage = Usage()

    @property
    def traits(self) -> PolicyTraits:
        """It wants the expert's reply with each request, and always gives that one unless it is disturbed."""
        name = f"expert:{self._noise:g}" if self._noise else "expert"
        disturbed = self._noise > 0
        return PolicyTraits(name=name, wants_expert=True, wants_valid_actions=disturbed, deterministic=not disturbed)

    @property
    def usage(self) -> Usage:
        """No tokens are computed; requests and time are counted."""
        return self._usage

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        """Answer each request with the expert's reply; a disturbed expert that sees no way to win proposes nothing.

        Raises:
            UsageError: The environment has no expert, or an undisturbed one sees no way to win from here.
        """
        started = perf_counter()
        answers = []
        for done, request in enumerate(requests):
            progress(Progress("asking the expert", done, len(requests)))
            check_decoding(request.decoding, request.n)
            if not request.expert_action and not self._noise:
                raise UsageError(
                    "the expert has no action here",
                    "The environment has no expert, or the task cannot be won from this state.",
                )
            first = request.noise.first_candidate
            numbers = range(first, first + request.n) if request.expert_action else ()
            answers.append([self._answer(request, number) for number in numbers])
        self._usage += Usage(
            tokens_generated=sum(reply.tokens for replies in answers for reply in replies),
            requests=1,
            milliseconds=(perf_counter() - started) * 1e3,
        )
        return answers

    def _answer(self, request: ProposeRequest, number: int) -> Candidate:
        reply, actions = request.expert_action, request.valid_actions
        stream = NoiseStream(request.noise, number)
        if not actions or stream.uniform(0) >= self._noise:
            likelihood = math.log(1 - self._noise) if actions and self._noise < 1 else 0.0
            return Candidate(reply, likelihood, len(reply.split()))
        action = actions[int(stream.uniform(1) * len(actions))]
        text = format_reply(parse_reply(reply).thought, action)
        return Candidate(text, math.log(self._noise / len(actions)), len(text.split()), "noise")

    def new_episode(self) -> None:
        """Nothing is kept between calls."""

    def close(self) -> None:
        """Nothing is held."""
