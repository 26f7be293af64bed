"""The run's token trie: how many tokens any method has to compute at least."""

from __future__ import annotations

from collections.abc import Sequence

_START = 0x9E3779B97F4A7C15


class TokenLedger:
    """Counts the distinct nodes (a token after its history) of everything a model has read or written.

    A node is known by a 64-bit chain of hashes over its history, so a long run costs 8 bytes and a set entry a node.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()

    @property
    def unique(self) -> int:
        """Distinct nodes so far."""
        return len(self._seen)

    def add(self, ids: Sequence[int], after: int = _START) -> int:
        """Count ids that follow the history `after`; gives the history they end."""
        seen, chain = self._seen, after
        for token in ids:
            chain = hash((chain, token))
            seen.add(chain)
        return chain
