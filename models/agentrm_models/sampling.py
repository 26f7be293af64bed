"""Counter-based sampling: which token comes next depends on the noise key and the position, never on the batch.

Each draw is one uniform number from BLAKE2b over (seed, task, node, candidate, attempt, position), turned into a token
by the inverse of the cumulative distribution in float64 (counter-based generators: Salmon et al. 2011).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agentrm_models.errors import DataError, UsageError
from agentrm_models.policies.base import Decoding, NoiseKey

if TYPE_CHECKING:
    from torch import Tensor


class NoiseStream:
    """The uniform numbers of one candidate, one for each token position.

    Args:
        key: Names the run, the task and the node.
        candidate: Number of the candidate among all ever sampled from the node.
        attempt: Counts samples thrown away because their action was excluded.
    """

    __slots__ = ("_hash",)

    def __init__(self, key: NoiseKey, candidate: int, attempt: int = 0) -> None:
        name = "\x1f".join((str(key.seed), key.task, key.node, str(candidate), str(attempt)))
        self._hash = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8)

    def uniform(self, position: int) -> float:
        """A number in [0, 1) with 53 random bits."""
        counter = self._hash.copy()
        counter.update(b"\x1f%d" % position)
        return (int.from_bytes(counter.digest(), "little") >> 11) * 2.0**-53


def check_decoding(decoding: Decoding, n: int) -> None:
    """Refuse settings that cannot be sampled with.

    Raises:
        UsageError: Temperature 0 with several candidates, or a value out of its range.
    """
    if decoding.temperature == 0 and n > 1:
        raise UsageError(f"Temperature 0 gives one candidate, {n} were asked for", "Set --temperature above 0 or -n 1.")
    if not 0 <= decoding.temperature < float("inf"):
        raise UsageError(f"Temperature {decoding.temperature} is not a number from 0 up", "0.7 is usual.")
    if not 0 < decoding.top_p <= 1:
        raise UsageError(f"top_p {decoding.top_p} is not above 0 and at most 1", "1 keeps every token.")
    if decoding.max_tokens < 1:
        raise UsageError(f"max_tokens {decoding.max_tokens} is less than 1")


def choose_tokens(
    logits: Tensor, temperatures: Sequence[float], top_ps: Sequence[float], uniforms: Sequence[float]
) -> tuple[list[int], list[float]]:
    """Choose one token for each row of logits (rows, vocabulary).

    Args:
        logits: Any float type; the arithmetic is float64.
        temperatures: One for each row; 0 is argmax, the lowest id on ties.
        top_ps: Share of the probability mass (after temperature) that is kept, one for each row.
        uniforms: One number in [0, 1) for each row.

    Returns:
        The ids and their log-probabilities at temperature 1, in nats.

    Raises:
        DataError: The logits are no numbers.
    """
    import torch

    with torch.inference_mode():
        wide = logits.to(torch.float64)
        wide = wide - wide.amax(dim=-1, keepdim=True)
        odds = wide.exp()
        normaliser = odds.sum(dim=-1).log()
        cold = [temperature == 0 for temperature in temperatures]
        heated = any(temperature not in (0, 1) for temperature in temperatures)
        if all(cold):
            chosen = _lowest_argmax(wide)
        else:
            chosen = _draw(_heat(wide, temperatures) if heated else odds, top_ps, uniforms)
        if any(cold) and not all(cold):
            chosen = torch.where(torch.tensor(cold, device=wide.device), _lowest_argmax(wide), chosen)
        log_probabilities = wide.gather(-1, chosen[:, None])[:, 0] - normaliser
    ids: list[int] = chosen.tolist()
    values: list[float] = log_probabilities.tolist()
    if any(math.isnan(value) for value in values):
        raise DataError("the policy's outputs are no numbers: its weights are damaged", "Download or export it again.")
    return ids, values


def _lowest_argmax(wide: Tensor) -> Tensor:
    """Index of the largest entry, the lowest one on ties (rows were shifted so that the largest is 0)."""
    import torch

    return (wide == 0).to(torch.uint8).argmax(dim=-1)


def _heat(wide: Tensor, temperatures: Sequence[float]) -> Tensor:
    """Unnormalised probabilities at the temperature of each row; 1 in place of 0."""
    import torch

    heat = torch.tensor([temperature or 1.0 for temperature in temperatures], dtype=wide.dtype, device=wide.device)
    return (wide / heat[:, None]).exp_()


def _draw(mass: Tensor, top_ps: Sequence[float], uniforms: Sequence[float]) -> Tensor:
    """Where each row's uniform number falls among its unnormalised probabilities."""
    import torch

    options: dict[str, Any] = {"dtype": mass.dtype, "device": mass.device}
    if any(top_p < 1 for top_p in top_ps):
        mass = _keep_top(mass, torch.tensor(list(top_ps), **options))
    cumulated = mass.cumsum(dim=-1)
    target = torch.tensor(list(uniforms), **options)[:, None] * cumulated[:, -1:]
    chosen = torch.searchsorted(cumulated, target, right=True).clamp_(max=mass.shape[-1] - 1)
    if bool((mass.gather(-1, chosen) > 0).all()):
        return chosen[:, 0]
    # Rounded up, a target may reach the whole sum: then it is the last token that has any probability.
    last = mass.shape[-1] - 1 - (mass > 0).flip(-1).to(torch.uint8).argmax(dim=-1)
    return torch.minimum(chosen[:, 0], last)


def _keep_top(mass: Tensor, top_ps: Tensor) -> Tensor:
    """Zero what lies beyond the smallest set of likeliest tokens whose share reaches `top_p` (Holtzman et al. 2020)."""
    import torch

    ordered, order = torch.sort(mass, dim=-1, descending=True, stable=True)
    before = ordered.cumsum(dim=-1) - ordered
    ordered = torch.where(before < top_ps[:, None] * mass.sum(dim=-1, keepdim=True), ordered, 0.0)
    return torch.zeros_like(mass).scatter_(-1, order, ordered)
