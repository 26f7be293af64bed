"""The generation loop: all branches of all requests advance together, one token a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agentrm_models.chat import ChatEncoder
from agentrm_models.functions import Function
from agentrm_models.policies.base import Candidate, Cut, Decoding, NoiseKey
from agentrm_models.reasoning import ALL_MARKS, may_open, split_reasoning
from agentrm_models.replies import action_of, reply_end
from agentrm_models.sampling import NoiseStream, choose_tokens
from agentrm_models.tool_calls import call_end
from agentrm_models.tool_chat import ToolChatEncoder
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
        functions: Offered to the model; a reply ends with its first call of one.
    """

    ids: list[int]
    numbers: tuple[int, ...]
    decoding: Decoding
    noise: NoiseKey
    attempt: int = 0
    whole_turn: bool = False
    input_line: bool = False
    functions: tuple[Function, ...] = ()


class Branch:
    """One reply being written, reasoning before it included.

    Attributes:
        ids: All tokens after the prompt, those that were written in the model's place included.
        sampled, reasoned: Tokens that the model wrote, and how many of them inside its reasoning.
        marks: Of the reasoning that it is in; None while it writes its reply.
        unsettled: What it wrote may still become the opening mark of reasoning.
        undecided: It has an action that may be followed by its input.
        forced: Tokens that are written next in the model's place, to end its reasoning.
    """

    __slots__ = (
        "cut",
        "decoding",
        "ended",
        "forced",
        "functions",
        "ids",
        "implied",
        "input_line",
        "log_probability",
        "marks",
        "noise",
        "opened",
        "reasoned",
        "reasoning",
        "sampled",
        "text",
        "undecided",
        "unsettled",
        "whole_turn",
    )

    def __init__(self, prompt: Prompt, number: int, encoder: ChatEncoder) -> None:
        self.decoding = prompt.decoding
        self.whole_turn = prompt.whole_turn
        self.input_line = prompt.input_line
        self.functions = prompt.functions
        self.noise = NoiseStream(prompt.noise, number, prompt.attempt)
        self.ids: list[int] = []
        self.log_probability = 0.0
        self.sampled = self.reasoned = 0
        self.ended = False
        self.undecided = False
        self.text = self.reasoning = ""
        self.cut: Cut = ""
        self.implied = encoder.implied is not None
        self.opened = self.marks = encoder.opened or encoder.implied
        self.unsettled = self.marks is None
        self.forced: list[int] = []

    def candidate(self) -> Candidate:
        """The finished reply."""
        return Candidate(
            self.text, self.log_probability, self.sampled, "policy", self.reasoning, self.reasoned, self.cut
        )

    @property
    def spent(self) -> bool:
        """Whether its tokens are used up: those of the reply, where reasoning has a budget of its own."""
        most, budget = self.decoding.max_tokens, self.decoding.reasoning_tokens
        if not budget or self.unsettled:
            return self.sampled >= most + budget
        return self.marks is None and self.sampled - self.reasoned >= most


def tokens_at_most(decoding: Decoding, encoder: ChatEncoder) -> int:
    """Tokens that may follow a prompt: reply, reasoning with a budget of its own, and the marks that end it."""
    if not decoding.reasoning_tokens:
        return decoding.max_tokens
    known = encoder.opened or encoder.implied
    closing = max(len(encoder.closing_ids(marks)) for marks in ([known] if known else ALL_MARKS))
    return decoding.max_tokens + decoding.reasoning_tokens + closing


def generate(
    backend: Backend, encoder: ChatEncoder, prompts: Sequence[Prompt], stop_after_action: bool, progress: ProgressHook
) -> list[list[Branch]]:
    """Sample the branches of all prompts; they are ended by a stop token, their limit or the end of their reply.

    Reasoning whose budget is spent is ended by its closing mark, written in the model's place (budget forcing, arXiv
    2501.19393); the reply then has all its tokens.

    Args:
        stop_after_action: End a reply with its action (see `reply_end`); the line break is left out of the text.

    Raises:
        InterruptedRun: Raised by the progress hook, which is called before each token.
    """
    branches = [[Branch(prompt, number, encoder) for number in prompt.numbers] for prompt in prompts]
    flat = [branch for group in branches for branch in group]
    limits = [tokens_at_most(prompt.decoding, encoder) for prompt in prompts]
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
                if branch.forced:
                    _force(branch)
                else:
                    _write(branch, encoder, token, value, stop_after_action and not branch.whole_turn)
            live = [row for row in live if not flat[row].ended]
            progress(Progress("generating", position + 1, total))
            if not live:
                break
            outputs = decoding.step(live, [flat[row].ids[-1] for row in live])
    finally:
        decoding.close()
    return branches


def _force(branch: Branch) -> None:
    """Write the next token that ends reasoning; behind the last one the reply begins."""
    branch.ids.append(branch.forced.pop(0))
    if not branch.forced:
        branch.marks = None


def _write(branch: Branch, encoder: ChatEncoder, token: int, log_probability: float, stop_after_action: bool) -> None:
    branch.ids.append(token)
    branch.log_probability += log_probability
    branch.sampled += 1
    branch.reasoned += branch.marks is not None
    turn_over = token in encoder.stop_ids and not _goes_on(branch, encoder, token)
    if not turn_over:
        _follow_reasoning(branch, encoder, token)
    branch.ended = turn_over or branch.spent
    if not branch.ended and branch.marks is not None:
        _spend(branch, encoder, stop_after_action)
        if not branch.ended:
            return
    telling = branch.undecided or encoder.breaks_line(token) or _may_end_call(branch, encoder, token)
    watched = stop_after_action and not branch.unsettled and telling
    if branch.ended or watched or _at_stop_text(branch, encoder):
        _read(branch, encoder, turn_over, stop_after_action)


def _may_end_call(branch: Branch, encoder: ChatEncoder, token: int) -> bool:
    return bool(branch.functions) and isinstance(encoder, ToolChatEncoder) and encoder.closes_call(token)


def _at_stop_text(branch: Branch, encoder: ChatEncoder) -> bool:
    """Whether one of the stop texts ends in the last tokens, each of which holds a byte at least."""
    stop = branch.decoding.stop
    if not stop or branch.unsettled or branch.marks is not None:
        return False
    tail = encoder.decode(branch.ids[-1 - max(len(text.encode()) for text in stop) :])
    return any(text in tail for text in stop)


def _goes_on(branch: Branch, encoder: ChatEncoder, token: int) -> bool:
    """Whether what ends a turn ends reasoning only, as in harmony, where each channel is a message of its own."""
    mark = encoder.mark_of(token) if branch.marks is not None else ""
    return bool(mark) and branch.marks is not None and branch.marks.forced.startswith(mark)


def _follow_reasoning(branch: Branch, encoder: ChatEncoder, token: int) -> None:
    """Notice where reasoning begins and where it ends."""
    if not branch.unsettled and not encoder.completes_mark(token):
        return
    text = encoder.marked_text(branch.ids)
    if branch.unsettled and may_open(text):
        return
    before, branch.marks = branch.marks, split_reasoning(text, branch.opened).open
    if branch.unsettled and branch.marks is not None:
        branch.reasoned = branch.sampled
    elif before is None and branch.marks is not None:
        branch.reasoned += 1
    branch.unsettled = False


def _spend(branch: Branch, encoder: ChatEncoder, stop_after_action: bool) -> None:
    """End reasoning whose budget is spent; a reply that may have begun inside it is taken if it is complete."""
    budget = branch.decoding.reasoning_tokens
    if not budget or branch.reasoned < budget or branch.marks is None:
        return
    if branch.implied and stop_after_action and reply_end(encoder.marked_text(branch.ids)) is not None:
        branch.ended = True
    else:
        branch.forced = encoder.closing_ids(branch.marks)


def _read(branch: Branch, encoder: ChatEncoder, turn_over: bool, stop_after_action: bool) -> None:
    """Take reasoning and reply out of what was written, and end the branch where the reply has ended."""
    written = encoder.marked_text(branch.ids[:-1] if turn_over else branch.ids)
    split = split_reasoning(written, branch.opened)
    if branch.ended and branch.implied and split.open is not None:  # it never closed: there was no reasoning
        split, branch.reasoned = split_reasoning(written), 0
    branch.text, branch.reasoning = split.reply, split.reasoning
    cut: Cut = "reasoning" if split.open is not None else "reply"
    end = call_end(branch.text, branch.functions) if branch.functions else None
    if end is None:
        end = reply_end(branch.text, stop_after_action and branch.input_line and not branch.ended)
    if branch.ended and not turn_over and (branch.whole_turn or split.open is not None or end is None):
        branch.cut = cut
    places = [place for text in branch.decoding.stop if (place := branch.text.find(text)) >= 0]
    if places and split.open is None:
        branch.ended, branch.text, branch.cut = True, branch.text[: min(places)], ""
    if not stop_after_action:
        return
    if end is not None:
        branch.ended, branch.text = True, branch.text[:end]
    branch.undecided = branch.input_line and bool(action_of(branch.text))
