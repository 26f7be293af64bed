from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import tiny_policy_model

from agentrm_models.trie import kv_pool
from agentrm_models.trie.backends import choose_backend
from agentrm_models.trie.cached import CachedBackend
from agentrm_models.trie.kv_pool import FIRST_SLOTS, KEPT_TOKENS, KVPool, places
from agentrm_models.trie.states import architecture_of

CPU = torch.device("cpu")


def test_an_emptied_pool_hands_its_slots_out_in_order_again() -> None:
    pool = KVPool(1, 1 << 24, CPU)
    taken = [pool.take(count) for count in (3, 5, 2)]
    for slots in (taken[1], taken[0]):
        pool.give_back(slots)
    assert pool.used == 2
    pool.give_back(taken[2])
    assert pool.used == 0
    assert pool.take(FIRST_SLOTS).tolist() == list(range(FIRST_SLOTS))


def test_no_slot_is_given_twice_while_it_is_in_use() -> None:
    pool = KVPool(1, 1 << 24, CPU)
    kept, gone = pool.take(1_500), pool.take(400)
    pool.give_back(gone)
    fresh = pool.take(700)
    assert not set(kept.tolist()) & set(fresh.tolist())
    assert len(set(fresh.tolist())) == 700


@pytest.mark.parametrize(
    ("slots", "expected"),
    [([4], slice(4, 5)), ([2, 3, 4], slice(2, 5)), ([2, 4, 3], None), ([5, 4, 3], None), ([2, 3, 3, 5], None)],
)
def test_slots_are_a_slice_only_where_each_follows_the_last(slots: list[int], expected: slice | None) -> None:
    found = places(np.array(slots), CPU)
    if expected is None:
        assert isinstance(found, torch.Tensor) and found.tolist() == slots
    else:
        assert found == expected


@pytest.mark.parametrize("slots", [[6, 7, 8], [8, 2, 5]])
def test_states_are_found_where_they_were_written(slots: list[int]) -> None:
    pool = KVPool(1, 1 << 24, CPU)
    pool.take(16)
    states = torch.randn(3, 2, 4, 8)
    pool.write(0, places(np.array(slots), CPU), states)
    assert torch.equal(pool.layer(0, states[:, 0])[slots], states)


def test_without_a_limit_no_more_is_kept_than_was_used_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_pool, "KEPT_TOKENS", 1_000)
    backend, notice = choose_backend(architecture_of(tiny_policy_model()), 0, True)
    assert isinstance(backend, CachedBackend), notice
    shared = list(range(3, 53))
    for episode in range(40):
        backend.outputs([[*shared, *([100 + episode] * 150)]])
        assert backend.tokens_cached() <= 1_000
    assert backend.computed == 50 + 40 * 150, "what all have in common was computed again"


def test_what_is_in_use_at_once_is_kept_several_times_over_whatever_it_takes() -> None:
    pool = KVPool(1, 0, CPU)
    pool.take(KEPT_TOKENS)
    assert pool.room_to_keep <= 0
    pool.keep_more(2 * KEPT_TOKENS)
    assert pool.room_to_keep == min(pool.room, 7 * KEPT_TOKENS)
    limited = KVPool(1, 1 << 24, CPU)
    limited.keep_more(10**6)
    assert limited.room_to_keep == limited.room
