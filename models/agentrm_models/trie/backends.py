"""Chooses how a model is run: with the prefix cache where a check on load finds it exact, plainly otherwise."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentrm_models.trie.cached import CachedBackend
from agentrm_models.trie.check import Trial, is_exact, layers_alone
from agentrm_models.trie.layers import Layers, LibraryLayers
from agentrm_models.trie.llama_layers import LlamaLayers
from agentrm_models.trie.reach import check_reach, length_positions, named_lengths, weights
from agentrm_models.trie.states import (
    Architecture,
    Decoding,
    Rows,
    ScoringBackend,
    Span,
    TokenLogs,
    architecture_of,
)
from agentrm_models.trie.tree_attention import UnsupportedAttentionError
from agentrm_models.trie.uncached import WAYS, UncachedBackend

if TYPE_CHECKING:
    from torch import Tensor

ONLY_WHOLE = "only the whole model gives its outputs"
TWIN_WEIGHTS = 300_000_000
"""Parameters up to which a 16-bit model is copied to float32 for the checks."""


class ClosedBackend:
    """Takes the place of a backend whose model was freed; using it is a bug."""

    computed = 0

    def outputs(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Refuse."""
        raise RuntimeError("the model was closed")

    def logs(self, sequences: Sequence[Sequence[int]], spans: Sequence[Span]) -> list[TokenLogs]:
        """Refuse."""
        raise RuntimeError("the model was closed")

    def decode(self, prompts: Sequence[Sequence[int]], counts: Rows, limits: Rows) -> Decoding:
        """Refuse."""
        raise RuntimeError("the model was closed")


def choose_backend(parts: Architecture, cache_bytes: int, use_cache: bool) -> tuple[ScoringBackend, str]:
    """The backend for a model and, where it is not the prefix cache, a line that says why.

    A 16-bit model is tried in float32 first, where a copy of it is small: rounding hides much.

    Args:
        cache_bytes: Limit of the prefix cache; 0 takes a share of the memory that is free.
        use_cache: False asks for the plain backend.

    Raises:
        DataError: The model gives nothing on plain text, no numbers, or is a language model that reads both ways.
    """
    trial = Trial(parts)
    exact = _float_twin(parts)
    trials = [trial] if exact is None else [Trial(exact), trial]
    if not all(each.has_own_head for each in trials):
        parts = parts._replace(head=None)
        exact = None if exact is None else exact._replace(head=None)
    tried = list(zip([parts] if exact is None else [exact, parts], trials, strict=True))
    why = ONLY_WHOLE if parts.head is None else "not wanted"
    if use_cache and parts.head is not None:
        lean = LlamaLayers.serves(parts)
        try:
            for each, own in tried:
                backend = _cached(each, own, cache_bytes, lean)
        except UnsupportedAttentionError as error:
            why = str(error)
        else:
            backend.clear()
            return backend, ""
    plain, more = _plain(tried)
    return plain, f"prefix cache off: {why}{more}" if why == "not wanted" else cache_notice(parts, f"{why}{more}")


def _cached(parts: Architecture, trial: Trial, cache_bytes: int, lean: bool) -> CachedBackend:
    """The prefix cache, if it gives what the model gives.

    Args:
        lean: Whether its layers are those of `LlamaLayers`.

    Raises:
        UnsupportedAttentionError: It does not.
    """
    with layers_alone():
        check_reach(parts)
    layers: Layers = LlamaLayers(parts) if lean else LibraryLayers(parts)
    backend = CachedBackend(parts, layers, cache_bytes)
    found = trial.difference(backend)
    if not found <= trial.tolerance():
        raise UnsupportedAttentionError(f"outputs differ by {found:.2g} on a random tree")
    return backend


def _plain(tried: list[tuple[Architecture, Trial]]) -> tuple[UncachedBackend, str]:
    """The fastest way that gives what the model gives, and what is to be said of it."""
    parts, trial = tried[-1]
    positions = length_positions(parts.model.config.get_text_config())
    ways = WAYS if positions is None else WAYS[2:] if positions.kind == "longrope" else WAYS[3:]
    if named_lengths(parts) and len(ways) == len(WAYS):
        ways = WAYS[2:]  # what a layer selects may depend on padding in texts that are longer than those tried
    for way in ways[:-1]:
        if all(_agrees(UncachedBackend(each, way=way), own) for each, own in tried):
            return UncachedBackend(parts, way=way), ""
    return UncachedBackend(parts, way=ways[-1]), "; every token is computed anew" if trial.generates else ""


def _agrees(backend: UncachedBackend, trial: Trial) -> bool:
    try:
        return trial.difference(backend) <= trial.tolerance()
    except UnsupportedAttentionError:
        return False


def _float_twin(parts: Architecture) -> Architecture | None:
    """A float32 copy of a small 16-bit model; None for others."""
    if is_exact(parts) or weights(parts) > TWIN_WEIGHTS:
        return None
    return architecture_of(copy.deepcopy(parts.model).float())


def has_own_head(parts: Architecture) -> bool:
    """Whether the model's outputs are what its head makes of its hidden states, tried on a random text."""
    return parts.head is not None and Trial(parts).has_own_head


def cache_notice(parts: Architecture, why: str) -> str:
    """The line that says why a model has no prefix cache."""
    return f"prefix cache off for {type(parts.model).__name__}: {why}"
