"""Chooses how a model is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentrm_models.prefix_cache.states import Architecture, Backend, Decoding, Rows
from agentrm_models.prefix_cache.uncached import UncachedBackend

if TYPE_CHECKING:
    from torch import Tensor


class ClosedBackend:
    """Takes the place of a backend whose model was freed; using it is a bug."""

    computed = 0

    def outputs(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Refuse."""
        raise RuntimeError("the model was closed")

    def decode(self, prompts: Sequence[Sequence[int]], counts: Rows, limits: Rows) -> Decoding:
        """Refuse."""
        raise RuntimeError("the model was closed")


def choose_backend(parts: Architecture, cache_bytes: int, use_cache: bool) -> tuple[Backend, str]:
    """The backend for a model and, where it is not the prefix cache, why."""
    return UncachedBackend(parts), "off"
