"""The generation loop: all branches of all requests advance together, one token a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agentrm_models.chat import ChatEncoder
from agentrm_models.policies.base import Candidate, Decoding, NoiseKey
from agentrm_models.replies import action_of, reply_end
from agentrm_models.sampling import NoiseStream, choose_tokens
from agentrm_models.trie.states import Backend
from agentrm_models.usage import Progress, ProgressHook


class Prompt(NamedTuple):
    """One request, encoded.

    Attributes:
        ids: The prompt's token ids, ending in the generation prompt.
        numbers: For each candidate its number in the noise key.
        attempt: How often candidates of these numbers were thrown away before.
        whole_turn: Replies end with their turn, not after their action.
        input_line: An action may be followed by a line with its input (see `replies.reply_end`).
    """

    ids: list[int]
    numbers: tuple[int, ...]
    decoding: Decoding
    noise: NoiseKey
    attempt: int = 0
    whole_turn: bool = False
    input_line: bool = False


class Branch:
    """One reply being written; `undecided` once it has an action that may be followed by its input."""

    __slots__ = (
        "decoding",
        "ended",
        "ids",
        "input_line",
        "log_probability",
        "noise",
        "text",
        "undecided",
        "whole_turn",
    )

    def __init__(self, prompt: Prompt, number: int) -> None:
        self.decoding = prompt.decoding
        self.whole_turn = prompt.whole_turn
        self.input_line = prompt.input_line
        self.noise = NoiseStream(prompt.noise, number, prompt.attempt)
        self.ids: list[int] = []
        self.log_probability = 0.0
        self.ended = False
        self.undecided = False
        self.text = ""

    def candidate(self) -> Candidate:
        """The finished reply."""
        return Candidate(self.text, self.log_probability, len(self.ids))


def generate(
    backend: Backend, encoder: ChatEncoder, prompts: Sequence[Prompt], stop_after_action: bool, progress: ProgressHook
) -> list[list[Branch]]:
    """Sample the branches of all prompts; they are ended by a stop token, their limit or the end of their reply.

    Args:
        stop_after_action: End a reply with its action (see `reply_end`); the line break is left out of the text.

    Raises:
        InterruptedRun: Raised by the progress hook, which is called before each token.
    """
    branches = [[Branch(prompt, number) for number in prompt.numbers] for prompt in prompts]
    flat = [branch for group in branches for branch in group]
    limits = [prompt.decoding.max_tokens for prompt in prompts]
    total = max(limits)
    progress(Progress("generating", 0, total))
    decoding = backend.decode([prompt.ids for prompt in prompts], [len(prompt.numbers) for prompt in prompts], limits)
    try:
        repeats = [request for request, group in enumerate(branches) for _ in group]
        outputs, live = decoding.first[repeats], list(range(len(flat)))
        for position in range(total):
            writers = [flat[row] for row in live]
            tokens, log_probabilities = choose_tokens(
                outputs,
                [branch.decoding.temperature for branch in writers],
                [branch.decoding.top_p for branch in writers],
                [branch.noise.uniform(position) if branch.decoding.temperature else 0.0 for branch in writers],
            )
            for branch, token, value in zip(writers, tokens, log_probabilities, strict=True):
                _write(branch, encoder, token, value, stop_after_action and not branch.whole_turn)
            live = [row for row in live if not flat[row].ended]
            progress(Progress("generating", position + 1, total))
            if not live:
                break
            outputs = decoding.step(live, [flat[row].ids[-1] for row in live])
    finally:
        decoding.close()
    return branches


def _write(branch: Branch, encoder: ChatEncoder, token: int, log_probability: float, stop_after_action: bool) -> None:
    branch.ids.append(token)
    branch.log_probability += log_probability
    turn_over = token in encoder.stop_ids
    branch.ended = turn_over or len(branch.ids) >= branch.decoding.max_tokens
    watched = stop_after_action and (branch.undecided or encoder.breaks_line(token))
    if not branch.ended and not watched:
        return
    branch.text = encoder.decode(branch.ids[:-1] if turn_over else branch.ids)
    if not stop_after_action:
        return
    end = reply_end(branch.text, branch.input_line and not branch.ended)
    if end is not None:
        branch.ended, branch.text = True, branch.text[:end]
    branch.undecided = branch.input_line and bool(action_of(branch.text))
