"""The run's token trie: how many tokens any method has to compute at least."""

from __future__ import annotations

from collections.abc import Sequence

_START = 0x9E3779B97F4A7C15


class _Runs:
    """How many runs this process has begun."""

    begun = 0


def begin_run() -> None:
    """Let every ledger of this process count from nothing: a model may outlive a run, its trie belongs to one."""
    _Runs.begun += 1


class TokenLedger:
    """Counts the distinct nodes (a token after its history) of everything a model has read or written in a run.

    A node is known by a 64-bit chain of hashes over its history, so a long run costs 8 bytes and a set entry a node.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._before = 0
        self._run = _Runs.begun

    @property
    def unique(self) -> int:
        """Distinct nodes so far, those of each run by themselves."""
        return self._before + len(self._seen)

    def add(self, ids: Sequence[int], after: int = _START) -> int:
        """Count ids that follow the history `after`; gives the history they end."""
        if self._run != _Runs.begun:
            self._before, self._seen, self._run = self.unique, set(), _Runs.begun
        seen, chain = self._seen, after
        for token in ids:
            chain = hash((chain, token))
            seen.add(chain)
        return chain
