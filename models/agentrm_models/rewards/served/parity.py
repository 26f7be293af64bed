"""A few random conversations scored by a server and by the folder that it is said to serve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from agentrm_models.errors import AgentRMError
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.rewards.heads.choice import choice_of
from agentrm_models.rewards.served.values import log_odds

LARGEST_COMPARED = 8_000_000_000
"""Bytes of weights that are loaded to be compared; larger folders are not."""

ROUNDING = 1e-3
"""Relative difference that is not worth a word."""

ALIKE = 0.1
"""Relative difference that 16-bit arithmetic explains; beyond, the server has another model or reads another text."""


class Compared(NamedTuple):
    """What the comparison says.

    Attributes:
        notice: Differences in words; empty where there are none.
        loud: They change results.
        odds: The folder's values are the log-odds of the server's.
    """

    notice: str = ""
    loud: bool = False
    odds: bool = False


def local_values(
    folder: Path, conversations: Sequence[Conversation], output: str, options: LoadOptions
) -> list[float] | str:
    """The folder's own values; where there are none, why."""
    from agentrm_models.rewards.explicit import ExplicitReward

    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if not size:
        return "it has no weights"
    if size > LARGEST_COMPARED:
        return f"its weights have {size / 1e9:.0f} GB"
    try:
        model = ExplicitReward.load(folder, options, head=choice_of({"output": output} if output else {}, str(folder)))
    except AgentRMError as error:
        return error.cause
    try:
        return [part.value for part in model.parts([ScoreGroup(tuple(conversations))])[0]]
    finally:
        model.close()


def compare(mine: Sequence[float], served: Sequence[float], where: str) -> Compared:
    """Say how a server's values differ from the folder's."""
    scale = max(1.0, max(map(abs, mine)))
    if all(0 <= value <= 1 for value in served):
        difference = max(abs(x - log_odds(y)) for x, y in zip(mine, served, strict=True)) / scale
        if difference < ALIKE < max(abs(x - y) for x, y in zip(mine, served, strict=True)) / scale:
            return Compared(f"{where} gives probabilities; their log-odds are the folder's raw values", odds=True)
    pairs = list(zip(mine, served, strict=True))
    x, y = max(pairs, key=lambda pair: abs(pair[0] - pair[1]))
    difference = abs(x - y) / scale
    if difference < ROUNDING:
        return Compared()
    words = f"{where} scores otherwise than the folder: {y:.4g} in place of {x:.4g} (of {len(pairs)} conversations)"
    if difference < ALIKE:
        return Compared(f"{words}, as another number format does")
    return Compared(f"{words}: it serves another model, or reads another text", loud=True)
