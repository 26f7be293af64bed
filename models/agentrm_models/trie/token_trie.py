"""The token trie: every history that a model has read, each common beginning once, with where its states lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentrm_models.trie.states import TokenLogs

if TYPE_CHECKING:
    from torch import Tensor

Slots: TypeAlias = NDArray[np.int64]
NodeState: TypeAlias = Literal["ready", "new", "again"]

LONGEST_EDGE = 1_024
"""Tokens of one node at most, so that long texts are computed in pieces."""


class TrieNode:
    """A run of tokens after a history, and the slots that hold their keys and values.

    Attributes:
        ids, slots: The tokens and their slots; equally long.
        start: Position of the first token in its sequence.
        children: By first token.
        state: `new` until its tokens are computed; `again` when outputs are missing that only a new pass gives.
        hidden: The backbone's output after the last token, where it was wanted.
        logs: How likely each token is; NaN where it was not wanted, None where none was.
        pins: Sequences in use that end here; such nodes are not evicted.
        used: Clock of the last use.
    """

    __slots__ = ("children", "hidden", "ids", "logs", "parent", "pins", "slots", "start", "state", "used")

    def __init__(self, ids: tuple[int, ...], slots: Slots, parent: TrieNode | None, start: int) -> None:
        self.ids = ids
        self.slots = slots
        self.parent = parent
        self.start = start
        self.children: dict[int, TrieNode] = {}
        self.state: NodeState = "ready"
        self.hidden: Tensor | None = None
        self.logs: TokenLogs | None = None
        self.pins = 0
        self.used = 0

    @property
    def end(self) -> int:
        """Length of the sequence that ends here."""
        return self.start + len(self.ids)

    def path(self) -> list[TrieNode]:
        """The nodes from the root's child down to this one."""
        path: list[TrieNode] = []
        node: TrieNode | None = self
        while node is not None and node.parent is not None:
            path.append(node)
            node = node.parent
        return path[::-1]

    def path_slots(self) -> Slots:
        """The slots of the whole sequence that ends here."""
        path = self.path()
        return np.concatenate([node.slots for node in path]) if path else np.empty(0, np.int64)


class TokenTrie:
    """A radix trie over token ids.

    Args:
        allocate: Gives slots for so many new tokens, or raises.
        release: Takes slots back.
    """

    def __init__(self, allocate: Callable[[int], Slots], release: Callable[[Slots], None]) -> None:
        self.root = TrieNode((), np.empty(0, np.int64), None, 0)
        self._allocate = allocate
        self._release = release
        self._clock = 0

    def insert(self, ids: Sequence[int], after: TrieNode | None = None) -> tuple[TrieNode, list[TrieNode]]:
        """Find or make the node at which a sequence ends.

        Args:
            ids: Tokens that follow the sequence ending in `after` (the root: whole sequences).

        Returns:
            The node whose last token is the last of `ids`, and the nodes made for it, in order. Their states are `new`.
            When slots run out, what was made is taken back before the error goes on.
        """
        tokens, node, at = tuple(ids), after or self.root, 0
        self._clock += 1
        self._touch(node)
        while at < len(tokens) and (child := node.children.get(tokens[at])) is not None:
            same = common_prefix(child.ids, tokens[at : at + len(child.ids)])
            node = child if same == len(child.ids) else self.split(child, same)
            node.used = self._clock
            at += same
        made: list[TrieNode] = []
        node.pins += 1
        try:
            bottom = node
            for begin in range(at, len(tokens), LONGEST_EDGE):
                bottom = self._append(bottom, tokens[begin : begin + LONGEST_EDGE])
                made.append(bottom)
        except MemoryError:
            for fresh in reversed(made):
                self.remove(fresh)
            raise
        finally:
            node.pins -= 1
        return bottom, made

    def split(self, node: TrieNode, at: int) -> TrieNode:
        """Cut a node in two after `at` tokens; the object keeps the lower part. Gives the upper one."""
        assert node.parent is not None
        upper = TrieNode(node.ids[:at], node.slots[:at], node.parent, node.start)
        upper.state, upper.used = ("new" if node.state == "new" else "ready"), node.used
        upper.children[node.ids[at]] = node
        node.parent.children[node.ids[0]] = upper
        node.ids, node.slots, node.parent, node.start = node.ids[at:], node.slots[at:], upper, node.start + at
        if node.logs is not None:
            upper.logs, node.logs = node.logs[:at], node.logs[at:]
        return upper

    def remove(self, leaf: TrieNode) -> None:
        """Forget a leaf and give its slots back."""
        assert leaf.parent is not None and not leaf.children
        del leaf.parent.children[leaf.ids[0]]
        self._release(leaf.slots)

    def evict(self, tokens: int) -> int:
        """Forget least recently used leaves that nobody uses until so many tokens are gone; gives the number gone."""
        gone = 0
        while gone < tokens:
            leaves = [node for node in self if not node.children and not node.pins and node.state == "ready"]
            if not leaves:
                break
            leaves.sort(key=lambda leaf: (leaf.used, leaf.start))
            for leaf in leaves:
                self.remove(leaf)
                gone += len(leaf.ids)
                if gone >= tokens:
                    break
        return gone

    def drop_unfinished(self) -> None:
        """Forget nodes whose states were never computed (a run was interrupted)."""
        for node in reversed(list(self)):
            if node.state == "again":
                node.state = "ready"
            elif node.state == "new":
                self.remove(node)

    def __iter__(self) -> Iterator[TrieNode]:
        """All nodes but the root, parents before children."""
        stack = list(self.root.children.values())
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())

    def _append(self, parent: TrieNode, ids: tuple[int, ...]) -> TrieNode:
        node = TrieNode(ids, self._allocate(len(ids)), parent, parent.end)
        node.state, node.used = "new", self._clock
        parent.children[ids[0]] = node
        return node

    def _touch(self, node: TrieNode) -> None:
        for passed in node.path():
            passed.used = self._clock


def common_prefix(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many first tokens agree."""
    if one == other[: len(one)]:
        return len(one)
    shorter = min(len(one), len(other))
    return next((k for k, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), shorter)
