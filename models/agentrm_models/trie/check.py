"""The checks on load: a head must give the model's own logits, and a random tree the same with and without a cache."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from agentrm_models.trie.cached import CachedBackend
from agentrm_models.trie.states import Architecture, Span
from agentrm_models.trie.uncached import UncachedBackend

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-3
"""Largest difference of outputs in float32, relative where outputs are larger than 1."""
COARSE_TOLERANCE = 5e-2
"""The same in 16-bit types."""


def difference(parts: Architecture, backend: CachedBackend) -> float:
    """The largest difference of outputs on a random tree: forks, a second call, branches of ragged length.

    Raises:
        UnsupportedAttentionError: The model's layers do not take their attention from the registry.
    """
    import torch

    vocabulary = int(parts.model.config.get_text_config().vocab_size)
    draw = random.Random(7)

    def text(length: int) -> list[int]:
        return [draw.randrange(vocabulary) for _ in range(length)]

    stem = text(9)
    left, right = stem + text(7), stem + text(4)
    later = [left, [*left, *text(5)], [*left[:12], *text(6)], [*right, *text(3)], text(11)]
    plain = UncachedBackend(parts)
    pairs = [(backend.outputs(batch), plain.outputs(batch)) for batch in ([left, right], later)]
    if parts.vocabulary is not None:
        spans = [Span(5, len(sequence)) for sequence in later]
        both = zip(backend.logs(later, spans), plain.logs(later, spans), strict=True)
        pairs += [(torch.from_numpy(found), torch.from_numpy(expected)) for found, expected in both]
    if pairs[0][0].shape[-1] > 1:
        pairs += _branches(backend, plain, [left, later[3]], text)
    with torch.inference_mode():
        return max(distance(found, expected) for found, expected in pairs)


def random_text(parts: Architecture, draw: random.Random, length: int) -> list[int]:
    """Ids without padding, before which a classifier would look for the end."""
    config = parts.model.config.get_text_config()
    ids = [token for token in range(int(config.vocab_size)) if token != config.pad_token_id]
    return draw.choices(ids, k=length)


def head_difference(parts: Architecture, text: Sequence[int], hidden: Tensor | None = None) -> float:
    """How far what the head makes of a text's hidden states is from the logits that the model gives itself.

    Args:
        hidden: These states (tokens, width), where they were computed otherwise.
    """
    import torch

    assert parts.head is not None
    with torch.inference_mode():
        ids = torch.tensor([text], device=parts.model.device)
        logits = parts.model(input_ids=ids, use_cache=False).logits[0]
        if hidden is None:
            hidden = parts.backbone(input_ids=ids, use_cache=False).last_hidden_state[0]
        return distance(parts.head(hidden if logits.ndim == 2 else hidden[-1]), logits)


def tolerance(parts: Architecture) -> float:
    """What `difference` may be for this model's number type."""
    import torch

    return TOLERANCE if parts.model.dtype in (torch.float32, torch.float64) else COARSE_TOLERANCE


def _branches(
    backend: CachedBackend, plain: UncachedBackend, prompts: list[list[int]], text: Callable[[int], list[int]]
) -> list[tuple[Tensor, Tensor]]:
    decoding = backend.decode(prompts, [2, 3], [4, 4])
    written = [list(prompts[0]), list(prompts[0]), list(prompts[1]), list(prompts[1]), list(prompts[1])]
    pairs = [(decoding.first, plain.outputs(prompts))]
    for rows in ([0, 1, 2, 3, 4], [0, 2, 4], [2, 4]):
        tokens = text(len(rows))
        for row, token in zip(rows, tokens, strict=True):
            written[row].append(token)
        pairs.append((decoding.step(rows, tokens), plain.outputs([written[row] for row in rows])))
    decoding.close()
    return [*pairs, (backend.outputs(written), plain.outputs(written))]


def distance(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative where something larger than 1 is expected."""
    left, right = found.double(), expected.double()
    return float((left - right).abs().max() / max(1.0, float(right.abs().max())))
