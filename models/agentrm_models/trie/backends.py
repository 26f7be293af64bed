"""Chooses how a model is run: with the prefix cache where a check on load finds it exact, plainly otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from agentrm_models.trie.cached import CachedBackend
from agentrm_models.trie.check import difference, head_difference, random_text, tolerance
from agentrm_models.trie.layers import Layers, LibraryLayers, check_config
from agentrm_models.trie.llama_layers import LlamaLayers
from agentrm_models.trie.states import Architecture, Decoding, Rows, ScoringBackend, Span, TokenLogs
from agentrm_models.trie.tree_attention import UnsupportedAttentionError
from agentrm_models.trie.uncached import UncachedBackend

if TYPE_CHECKING:
    from torch import Tensor

ONLY_WHOLE = "only the whole model gives its outputs"


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

    Args:
        cache_bytes: Limit of the prefix cache; 0 takes a share of the memory that is free.
        use_cache: False asks for the plain backend.
    """
    if not has_own_head(parts):
        parts = parts._replace(head=None)
    if not use_cache:
        return UncachedBackend(parts), "prefix cache off: not wanted"
    why = ""
    if parts.head is None:
        why = ONLY_WHOLE
    else:
        try:
            check_config(parts)
            layers: Layers = LlamaLayers(parts) if LlamaLayers.serves(parts) else LibraryLayers(parts)
            backend = CachedBackend(parts, layers, cache_bytes)
            found = difference(parts, backend)
        except UnsupportedAttentionError as error:
            why = str(error)
        else:
            if found <= tolerance(parts):
                backend.clear()
                return backend, ""
            why = f"outputs differ by {found:.2g} on a random tree"
    return UncachedBackend(parts), cache_notice(parts, why)


def has_own_head(parts: Architecture) -> bool:
    """Whether the model's outputs are what its head makes of its hidden states, tried on a random text."""
    if parts.head is None:
        return False
    return head_difference(parts, random_text(parts, Random(7), 12)) <= tolerance(parts)


def cache_notice(parts: Architecture, why: str) -> str:
    """The line that says why a model has no prefix cache."""
    return f"prefix cache off for {type(parts.model).__name__}: {why}"
