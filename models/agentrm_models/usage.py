"""What model calls cost, counted where the work is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Cost of one or several model calls.

    Attributes:
        tokens_computed: Rows that went through the model's layers, padding included.
        tokens_unique: Nodes added to the run's token trie: the least any method has to compute.
        tokens_generated: Tokens sampled (policies only).
        requests: Model calls as the caller sees them (one `propose` or `score`).
        dropped_observations: Observations left out because the context was full.
        milliseconds: Wall-clock time.
    """

    tokens_computed: int = 0
    tokens_unique: int = 0
    tokens_generated: int = 0
    requests: int = 0
    dropped_observations: int = 0
    milliseconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        """Sum field by field."""
        return Usage(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))


class Progress(msgspec.Struct, frozen=True):
    """What a model call is doing now.

    Attributes:
        what: For example `generating`, `scoring`, `loading`.
        done: Units finished, tokens for generation.
        total: Units expected at most; 0 if unknown.
        held_up: Why nothing is done now, such as a server's rate limit; empty while work goes on.
    """

    what: str
    done: int
    total: int = 0
    held_up: str = ""


ProgressHook: TypeAlias = Callable[[Progress], None]
"""Called between tokens or batches. It may block (pause) and may raise `InterruptedRun` (stop)."""


def ignore_progress(progress: Progress) -> None:
    """Discard progress: the default hook."""
