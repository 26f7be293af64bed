"""A reward head that was found: after which token it is read, and what number its outputs make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from agentrm_models.errors import DataError
from agentrm_models.rewards.heads.files import HeadTensors, Normaliser

ModelClass: TypeAlias = Literal["causal", "classifier", "token-classifier"]
"""Which of the library's classes loads the model."""


class Place(NamedTuple):
    """After which token the outputs are read: the last one of the conversation, unless one of these is given.

    Attributes:
        step: Text put behind every reply; outputs are read at the last token of the last one.
        question: What is asked after the reply; outputs are read where the answer begins.
        turns: The answer that every earlier step is given: a step is a turn of a conversation in which the model is
            the judge, and outputs are read where its next answer begins.
    """

    step: str = ""
    question: str = ""
    turns: str = ""


class HeadPlan(NamedTuple):
    """What a folder and a choice say of a reward head; nothing is loaded yet.

    Attributes:
        words: Which number is the reward, in words: for the screen and the run file.
        loads: The class that loads the model.
        place: Where it is read.
        outputs: How many outputs the classifier has; 0 where the folder does not say.
        columns: The outputs that count, the reward's first.
        compared: The two tokens that are compared, the reward's first; empty where outputs are labels.
        share: Whether the reward is the first output's share of the softmax over all that count.
        tensors: The head's layer, where it lies beside the backbone.
        normaliser: What the reward is normalised by.
        remote: Whether the model's own code is needed.
    """

    words: str
    loads: ModelClass
    place: Place = Place()
    outputs: int = 0
    columns: tuple[int, ...] = (0,)
    compared: tuple[str, ...] = ()
    share: bool = False
    tensors: HeadTensors | None = None
    normaliser: Normaliser | None = None
    remote: bool = False

    def bind(self, tokenizer: Any, name: str) -> RewardHead:
        """The head with the ids of its tokens.

        Raises:
            DataError: A text is no single token of this vocabulary, or none at all.
        """
        columns = self.columns
        if self.compared:
            columns = tuple(_token(tokenizer, text, name) for text in self.compared)
            if columns[0] == columns[1]:
                raise DataError(f"{name}: {self.compared[0]!r} and {self.compared[1]!r} are the same token")
        step: tuple[int, ...] = ()
        if self.place.step:
            step = tuple(tokenizer.encode(self.place.step, add_special_tokens=False))
            if not step or getattr(tokenizer, "unk_token_id", None) in step:
                cause = f"{name}: its vocabulary does not have the step token {self.place.step[:40]!r}"
                raise DataError(cause, "Write FOLDER#step=TEXT.")
        return RewardHead(self.words, self.place, step, columns, self.share, self.normaliser or Normaliser())


class RewardHead(NamedTuple):
    """How a number is read from a model's outputs.

    Attributes:
        step: The ids put behind every reply.
    """

    words: str = "the only output"
    place: Place = Place()
    step: tuple[int, ...] = ()
    columns: tuple[int, ...] = (0,)
    share: bool = False
    normaliser: Normaliser = Normaliser()

    def reward(self, outputs: Sequence[float]) -> float:
        """The reward, of the outputs that count in their order."""
        if self.share:
            return 1 / math.fsum(_power(other - outputs[0]) for other in outputs)
        return (outputs[0] - self.normaliser.mean) / self.normaliser.deviation


ONLY_OUTPUT = RewardHead()
"""The head of a classifier with one output, read at the last token."""


def _power(exponent: float) -> float:
    """e to this power; beyond what a float holds, infinity, of which the share is 0."""
    return math.exp(exponent) if exponent < 700 else math.inf


def _token(tokenizer: Any, text: str, name: str) -> int:
    ids = list(tokenizer.encode(text, add_special_tokens=False))
    if len(ids) != 1 or ids[0] == getattr(tokenizer, "unk_token_id", None):
        cause = f"{name}: {text[:40]!r} is {len(ids)} tokens of its vocabulary, one is needed"
        raise DataError(cause, "Name other words: FOLDER#good=WORD&bad=WORD.")
    return int(ids[0])
