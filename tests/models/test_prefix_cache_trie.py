from __future__ import annotations

import numpy as np
import pytest

from agentrm_models.trie import passes
from agentrm_models.trie.ledger import TokenLedger
from agentrm_models.trie.passes import Group, forward_passes
from agentrm_models.trie.token_trie import Slots, TokenTrie


class FakePool:
    """Slots in order of asking, and a list of those given back."""

    def __init__(self, room: int = 1000) -> None:
        self.next = 0
        self.room = room
        self.returned: list[int] = []

    def take(self, count: int) -> Slots:
        if self.next + count > self.room:
            raise MemoryError
        self.next += count
        return np.arange(self.next - count, self.next)

    def give_back(self, slots: Slots) -> None:
        self.returned += slots.tolist()


def trie(room: int = 1000) -> tuple[TokenTrie, FakePool]:
    pool = FakePool(room)
    return TokenTrie(pool.take, pool.give_back), pool


def finish(tokens: TokenTrie) -> None:
    for node in tokens:
        node.state = "ready"


def test_common_beginnings_share_their_slots() -> None:
    tokens, pool = trie()
    left, _ = tokens.insert([1, 2, 3, 4])
    right, made = tokens.insert([1, 2, 9])
    assert [node.ids for node in made] == [(9,)]
    assert [node.ids for node in left.path()] == [(1, 2), (3, 4)]
    assert left.path_slots().tolist() == [0, 1, 2, 3]
    assert right.path_slots().tolist() == [0, 1, 4]
    assert pool.next == 5
    again, made = tokens.insert([1, 2, 3, 4])
    assert again is left and made == []
    middle, made = tokens.insert([1])
    assert middle.end == 1 and made == []
    assert left.path_slots().tolist() == [0, 1, 2, 3]


def test_the_least_recently_used_leaf_goes_first_and_what_is_held_stays() -> None:
    tokens, pool = trie()
    first, _ = tokens.insert([1, 2, 3])
    second, _ = tokens.insert([1, 5, 6, 7])
    third, _ = tokens.insert([8, 9])
    finish(tokens)
    tokens.insert([1, 2, 3])
    third.pins += 1
    assert tokens.evict(1) == 3
    assert pool.returned == second.slots.tolist()
    assert tokens.evict(100) == 3  # the rest of the first sequence; the held one stays
    assert [node.ids for node in tokens] == [(8, 9)]
    assert first.parent is not None


def test_running_out_of_slots_takes_back_what_was_made() -> None:
    tokens, pool = trie(room=6)
    tokens.insert([1, 2, 3, 4])
    finish(tokens)
    with pytest.raises(MemoryError):
        tokens.insert([1, 2, 5, 6, 7])
    assert sorted(node.ids for node in tokens) == [(1, 2), (3, 4)]
    tokens.insert([1, 2, 5])
    tokens.drop_unfinished()
    assert sorted(node.ids for node in tokens) == [(1, 2), (3, 4)]
    assert pool.returned == [4]


def test_a_group_mask_shows_each_token_its_ancestors_only() -> None:
    tokens, _ = trie()
    attach, _ = tokens.insert([1, 2])
    finish(tokens)
    tokens.insert([1, 2, 3, 4])
    tokens.insert([1, 2, 3, 5])
    tokens.insert([1, 2, 6])
    ((group,),) = forward_passes([node for node in tokens if node.state == "new"])
    order = {node.ids: node for node in group.nodes}
    assert group.attach is attach and set(order) == {(3,), (4,), (5,), (6,)}
    rows = [node.ids[0] for node in group.nodes]
    mask = group.mask()
    assert mask is not None and mask[:, :2].all()
    seen = {rows[k]: {rows[j] for j in range(4) if mask[k, 2 + j]} for k in range(4)}
    assert seen == {3: {3}, 4: {3, 4}, 5: {3, 5}, 6: {6}}


def test_a_plain_text_needs_no_mask() -> None:
    tokens, _ = trie()
    node, _ = tokens.insert([1, 2, 3])
    assert Group(tokens.root, [node]).mask() is None


def test_large_subtrees_are_cut_below_their_top_and_passes_keep_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "GROUP_TOKENS", 4)
    monkeypatch.setattr(passes, "FORWARD_TOKENS", 6)
    tokens, _ = trie()
    for branch in range(4):
        tokens.insert([1, 2, 3, 10 + branch, 20, 21])
    unfinished = list(tokens)
    found = forward_passes(unfinished)
    assert [[group.tokens for group in one] for one in found] == [[3, 3], [3, 3], [3]]
    done = {id(tokens.root)}
    for one in found:
        done |= {id(node) for group in one for node in group.nodes}
        assert all(id(group.attach) in done for group in one)
    assert len(done) == 1 + len(unfinished)


def test_the_ledger_counts_a_token_after_the_same_history_once() -> None:
    ledger = TokenLedger()
    end = ledger.add([1, 2, 3])
    assert ledger.unique == 3
    ledger.add([4, 5], end)
    assert ledger.unique == 5
    ledger.add([1, 2, 3, 4, 6])
    assert ledger.unique == 6
    ledger.add([2, 3])
    assert ledger.unique == 8
