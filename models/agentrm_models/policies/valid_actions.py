"""A policy that chooses among the environment's valid actions (`--candidates valid`), however small its model is.

Nothing is written freely: the model is asked how likely it finds each valid action as its reply. At temperature 0 the
likeliest come first; above, they are sampled without replacement by the Gumbel top-k trick (Kool et al. 2019, arXiv
1903.06059). What is compared is the mean log-probability of a token, so that short actions have no advantage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from agentrm_models.errors import UsageError
from agentrm_models.notices import Notice, notices_of
from agentrm_models.policies.base import Candidate, Policy, PolicyTraits, ProposeRequest
from agentrm_models.policies.reply_likelihood import ReplyLikelihood, ReplyQuestion, TellsLikelihood
from agentrm_models.replies import ACTION_LIMIT, action_of, format_reply
from agentrm_models.sampling import NoiseStream
from agentrm_models.usage import ProgressHook, Usage, ignore_progress


class ValidActionsPolicy:
    """Candidates are valid actions in the reply format, without a thought.

    Args:
        policy: Tells how likely replies are.
        teller: The same object.
    """

    def __init__(self, policy: Policy, teller: TellsLikelihood) -> None:
        self._policy = policy
        self._teller = teller
        self.notice = policy.notice

    @property
    def traits(self) -> PolicyTraits:
        """The policy's, which wants the valid actions too."""
        return self._policy.traits._replace(wants_valid_actions=True)

    @property
    def usage(self) -> Usage:
        """The policy's; no tokens are generated."""
        return self._policy.usage

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        """Weigh the valid actions of all requests together and choose; none where a state has no valid action."""
        replies = [_replies(request) for request in requests]
        questions = [
            ReplyQuestion(request.conversation, found, request.demonstrations)
            for request, found in zip(requests, replies, strict=True)
        ]
        weighed = self._teller.likelihoods(questions, progress)
        return [
            [
                Candidate(texts[place], told[place].log_probability, told[place].tokens)
                for place in _choose(request, told)
            ]
            for request, texts, told in zip(requests, replies, weighed, strict=True)
        ]

    def new_notices(self) -> list[Notice]:
        """What the policy found out."""
        return notices_of(self._policy)

    def new_episode(self) -> None:
        """Pass it on."""
        self._policy.new_episode()

    def close(self) -> None:
        """Free the policy."""
        self._policy.close()


def among_valid_actions(policy: Policy) -> ValidActionsPolicy:
    """A policy made to choose among valid actions.

    Raises:
        UsageError: It does not tell how likely a given reply is.
    """
    if not isinstance(policy, TellsLikelihood):
        raise UsageError(
            f"--candidates valid: policy {policy.traits.name} does not tell how likely a given action is",
            "Take a model folder, a bundled model or a .gguf file, or leave out --candidates valid.",
        )
    return ValidActionsPolicy(policy, policy)


def _replies(request: ProposeRequest) -> tuple[str, ...]:
    """Each valid action once, as a reply; excluded ones only where there are no others, as in sampling."""
    sayable = {
        action: format_reply("", action)
        for action in request.valid_actions
        if len(action) <= ACTION_LIMIT and action_of(format_reply("", action)) == action.strip() != ""
    }
    left = {action: reply for action, reply in sayable.items() if action.strip() not in request.exclude}
    return tuple(dict.fromkeys((left or sayable).values()))


def _choose(request: ProposeRequest, told: Sequence[ReplyLikelihood]) -> list[int]:
    """Places of the chosen replies, `n` of them; once all have been chosen, all may be chosen again."""
    chosen: list[int] = []
    first, temperature = request.noise.first_candidate, request.decoding.temperature
    if not temperature:
        ranking = _ranked([likelihood.per_token for likelihood in told])
        return [ranking[(first + place) % len(ranking)] for place in range(request.n)] if ranking else []
    while told and len(chosen) < request.n:
        stream = NoiseStream(request.noise, first, len(chosen) // len(told))
        keys = [likelihood.per_token / temperature + _gumbel(stream, place) for place, likelihood in enumerate(told)]
        chosen += _ranked(keys)[: request.n - len(chosen)]
    return chosen


def _ranked(keys: Sequence[float]) -> list[int]:
    """Places from the largest key to the smallest, the lowest place first on ties."""
    return sorted(range(len(keys)), key=lambda place: (-keys[place], place))


def _gumbel(stream: NoiseStream, place: int) -> float:
    return -math.log(-math.log(max(stream.uniform(place), 2.0**-54)))
