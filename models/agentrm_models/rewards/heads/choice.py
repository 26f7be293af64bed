"""What a person may choose of a reward head: in a folder's `agentrm.json`, or behind `#` in a spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

import msgspec

from agentrm_models.errors import UsageError
from agentrm_models.spelling import did_you_mean

HeadKind: TypeAlias = Literal["classifier", "token-classifier", "good-bad", "yes-no", "value-head"]

HEAD_KINDS: tuple[HeadKind, ...] = get_args(HeadKind)

QUESTION = "Will the agent reach its goal from here? Answer with one word, YES or NO."
"""What a yes-no head asks unless another question is chosen."""


class HeadChoice(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The `head` of an `agentrm.json`; all keys are optional, and the folder itself says most of them.

    Attributes:
        kind: How the reward is read.
        output: Of several outputs the one that is the reward, by index or by its name in `id2label`; of a token
            classifier the label whose probability is the reward.
        step: The text that ends a step, after which the reward is read.
        good, bad: The two tokens of a language model that are compared.
        question: What a language model is asked after the reply.
        normalise: Whether the mean and standard deviation saved with a value head are used.
    """

    kind: HeadKind | None = None
    output: str | int | None = None
    step: str | None = None
    good: str | None = None
    bad: str | None = None
    question: str | None = None
    normalise: bool | None = None

    def over(self, other: HeadChoice | None) -> HeadChoice:
        """This choice, and what another one says of a head of the same kind."""
        if other is None or (self.kind and other.kind and self.kind != other.kind):
            return self
        mine = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(other, **mine)


NO_CHOICE = HeadChoice()
"""What holds where nothing is said."""

OPTIONS = ("head", "output", "step", "good", "bad", "question", "normalise")
"""The keys behind `#` in a spec that choose a head."""


def choice_of(options: Mapping[str, str], spec: str) -> HeadChoice:
    """The choice that the options behind a spec's `#` make.

    Raises:
        UsageError: A value that its key does not take.
    """
    values: dict[str, object] = {key: options[key] for key in OPTIONS if key in options}
    kind = values.pop("head", None)
    if kind is not None:
        if kind not in HEAD_KINDS:
            raise UsageError(f"{spec[:80]!r}: there is no head {str(kind)[:40]!r}", did_you_mean(str(kind), HEAD_KINDS))
        values["kind"] = kind
    if "normalise" in values:
        if values["normalise"] not in ("yes", "no"):
            raise UsageError(f"{spec[:80]!r}: normalise is yes or no")
        values["normalise"] = values["normalise"] == "yes"
    for key in ("step", "good", "bad", "question"):
        if values.get(key) == "":
            raise UsageError(f"{spec[:80]!r}: {key} is empty")
    return msgspec.convert(values, HeadChoice)
