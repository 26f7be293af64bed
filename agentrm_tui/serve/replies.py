"""What a request is answered with: the replies that were sampled for it, judged, and put in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from agentrm_models.policies.base import Candidate
from agentrm_tui.search.tree import NodeId

Ending: TypeAlias = Literal["stop", "length"]


class Judged(NamedTuple):
    """One distinct reply.

    Attributes:
        reward: Of the reward model; None where the run has none.
        margin: How far its reward lies below that of the chosen reply, so 0 or less.
        tokens: Sampled for it, end of turn included; those behind a stop text count too.
        samples: How many of the samples it stands for.
        log_probability: Of the reply at temperature 1, in nats; None where nobody tells it.
        reasoning: What the policy wrote for itself before the reply, and its tokens among `tokens`.
    """

    node: NodeId
    text: str
    reward: float | None
    margin: float | None
    tokens: int
    samples: int
    log_probability: float | None
    ending: Ending
    reasoning: str = ""
    reasoning_tokens: int = 0


class Guided(NamedTuple):
    """The answer to a request.

    Attributes:
        replies: All distinct replies, the best first; on ties the one that was sampled first.
        choices: For each choice of the answer the place of its reply in `replies`.
        prompt_tokens: Of the conversation; None where nobody counts.
        sampled_tokens: Of all samples together.
    """

    run: str
    episode: str
    replies: tuple[Judged, ...]
    choices: tuple[int, ...]
    prompt_tokens: int | None
    sampled_tokens: int

    @property
    def chosen(self) -> tuple[Judged, ...]:
        """The replies of the answer."""
        return tuple(self.replies[place] for place in self.choices)


class Sample(NamedTuple):
    """A candidate as far as it is kept, and how it ended."""

    candidate: Candidate
    ending: Ending


def ended(candidate: Candidate, stop: Sequence[str]) -> Sample:
    """End a reply before the first of the stop texts in it; its likelihood is then unknown."""
    ends = [place for text in stop if (place := candidate.text.find(text)) >= 0]
    if ends:
        return Sample(candidate._replace(text=candidate.text[: min(ends)], log_probability=float("nan")), "stop")
    return Sample(candidate, "length" if candidate.cut else "stop")


def fill(order: Sequence[int], samples: Sequence[int], count: int) -> tuple[int, ...]:
    """Places of `count` choices: each distinct reply once, the best first; then again those sampled several times.

    Args:
        order: Places of the replies, the best first.
        samples: For each place how many samples gave the reply.
    """
    chosen = list(order[:count])
    for place in order:
        chosen += [place] * min(samples[place] - 1, count - len(chosen))
    return tuple(chosen + [order[0]] * (count - len(chosen)))
