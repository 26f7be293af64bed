"""Training examples as token ids, and the endless, resumable stream in which behaviour cloning reads them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from agentrm_models.chat import encode_conversation, encoder_of
from agentrm_models.messages import Conversation
from agentrm_trainer.data.synthetic import copy_conversation
from agentrm_trainer.data.trajectories import Trajectory


class Example(NamedTuple):
    """A conversation to learn from.

    Attributes:
        ids: Token ids, shape (length,), int32.
        learnt: Whether the token is the expert's and is predicted in training, shape (length,); the first one never is.
        read: Whether the token is the environment's: goal and observations, shape (length,).
    """

    ids: NDArray[np.int32]
    learnt: NDArray[np.bool_]
    read: NDArray[np.bool_]


def encode_example(tokenizer: Any, conversation: Conversation, train: Sequence[bool], context: int) -> Example | None:
    """Encode a conversation; None when it is longer than the context.

    Args:
        train: For each message whether its trained span is learnt.
    """
    ids: list[int] = []
    learnt: list[bool] = []
    read: list[bool] = []
    segments = encode_conversation(tokenizer, conversation)
    marks = list(train) if len(segments) == len(train) else [all(train)] * len(segments)
    for segment, wanted in zip(segments, marks, strict=True):
        span = range(segment.start, segment.stop) if wanted else range(0)
        learnt += [at in span for at in range(len(segment.ids))]
        read += [segment.role == "user"] * len(segment.ids)
        ids += segment.ids
    if len(ids) > context:
        return None
    return Example(np.asarray(ids, np.int32), np.asarray(learnt, np.bool_), np.asarray(read, np.bool_))


def encode_trajectories(tokenizer: Any, trajectories: Sequence[Trajectory], context: int) -> list[list[Example]]:
    """Encode trajectories in their order; none where one is too long.

    A trajectory is one example. Where the template shows earlier replies otherwise than the model wrote them (R1 and
    Qwen3 take reasoning out of them), or opens reasoning before a reply, each reply is an example of its own, after the
    prompt that the model is given.

    Raises:
        DataError: The template leaves replies out.
    """
    return [_encode_trajectory(tokenizer, trajectory, context) for trajectory in trajectories]


def _encode_trajectory(tokenizer: Any, trajectory: Trajectory, context: int) -> list[Example]:
    conversation, train = trajectory.conversation, [turn.train for turn in trajectory.messages]
    encoder = encoder_of(tokenizer)
    segments = encoder.segments(conversation)
    learnt = [place for place, wanted in enumerate(train) if wanted and conversation[place].role == "assistant"]
    apart = (
        encoder.opened is not None
        or len(segments) != len(train)
        or any(segments[place].start == segments[place].stop for place in learnt)
    )
    if not apart:
        example = encode_example(tokenizer, conversation, train, context)
        return [] if example is None else [example]
    alone = (_encode_last(tokenizer, conversation[: place + 1], context) for place in learnt)
    return [example for example in alone if example is not None]


def _encode_last(tokenizer: Any, conversation: Conversation, context: int) -> Example | None:
    """A conversation of which only the last reply is learnt."""
    encoder = encoder_of(tokenizer)
    opened = encoder.opened is not None
    segments = [encoder.written_turn(conversation)] if opened else encoder.segments(conversation)
    ids = [token for segment in segments for token in segment.ids]
    if len(ids) > context:
        return None
    before, last = len(ids) - len(segments[-1].ids), segments[-1]
    learnt = np.zeros(len(ids), np.bool_)
    learnt[before + last.start : before + last.stop] = True
    read = [segment.role == "user" for segment in segments for _ in segment.ids]
    return Example(np.asarray(ids, np.int32), learnt, np.asarray(read, np.bool_))


class StreamPosition(msgspec.Struct):
    """Where the stream stands: everything that is needed to go on with it.

    Attributes:
        drawn: Examples drawn, synthetic ones included; keys their randomness.
        epoch, index: Place in the shuffled order of the real examples.
    """

    drawn: int = 0
    epoch: int = 0
    index: int = 0


class ExampleStream:
    """Draws shuffled real examples, mixed with synthetic ones; a function of seed and position alone.

    Args:
        examples: The real ones.
        weights: How often each is used in an epoch; fractions are rounded at random.
        words: Vocabulary of the synthetic ones.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        weights: Sequence[float],
        tokenizer: Any,
        words: Sequence[str],
        seed: int,
        position: StreamPosition,
    ) -> None:
        self._examples, self._weights = examples, weights
        self._tokenizer, self._words = tokenizer, words
        self._seed = seed
        self.position = position
        self._order_epoch = -1
        self._order: list[int] = []

    def next_example(self, synthetic_share: float) -> Example:
        """Draw one example; it is synthetic with the given probability."""
        position = self.position
        rng = random.Random(f"stream/{self._seed}/{position.drawn}")
        position.drawn += 1
        if synthetic_share > 0 and rng.random() < synthetic_share:
            conversation = copy_conversation(self._words, rng)
            example = encode_example(self._tokenizer, conversation, [True] * len(conversation), 10**9)
            assert example is not None
            return example
        return self._next_real()

    def next_batch(self, tokens: int, synthetic_share: float) -> list[Example]:
        """Draw examples until they hold about this many tokens; at least one."""
        batch = [self.next_example(synthetic_share)]
        total = len(batch[0].ids)
        while total < tokens - len(batch[-1].ids) // 2:
            batch.append(self.next_example(synthetic_share))
            total += len(batch[-1].ids)
        return batch

    def _next_real(self) -> Example:
        position = self.position
        order = self._order_of(position.epoch)
        while position.index >= len(order):
            position.epoch, position.index = position.epoch + 1, 0
            order = self._order_of(position.epoch)
        example = self._examples[order[position.index]]
        position.index += 1
        return example

    def _order_of(self, epoch: int) -> list[int]:
        if self._order_epoch != epoch:
            rng = random.Random(f"order/{self._seed}/{epoch}")
            order = [
                number
                for number, weight in enumerate(self._weights)
                for _ in range(int(weight) + (rng.random() < weight % 1))
            ] or list(range(len(self._examples)))
            rng.shuffle(order)
            self._order, self._order_epoch = order, epoch
        return self._order
