"""How a model is to be loaded: the one record that plans hold and every loader takes."""

from __future__ import annotations

import msgspec


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model computes, and what it may use.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; 0 lets the backend choose.
        cache_bytes: Limit of the prefix cache; 0 lets the backend choose.
        trust_remote_code: Whether a hub model may bring its own code.
    """

    device: str = "auto"
    threads: int = 0
    cache_bytes: int = 0
    trust_remote_code: bool = False


DEFAULT_OPTIONS = LoadOptions()
"""What holds where nothing is said."""
