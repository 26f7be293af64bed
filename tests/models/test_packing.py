"""Packed sequences hold each distinct token once and give every sequence back."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from agentrm_models.trie.ledger import TokenLedger
from agentrm_models.trie.packing import join_tokens, pack_sequences

SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=12)


@given(SEQUENCES, st.integers(1, 40))
def test_every_sequence_is_its_path(sequences, limit):
    parts = list(pack_sequences(sequences, limit))
    assert sorted(member for part in parts for member in part.members) == list(range(len(sequences)))
    for members, tokens in parts:
        for member, path, end in zip(members, tokens.paths(), tokens.ends.tolist(), strict=True):
            assert tokens.ids[path].tolist() == sequences[member]
            assert tokens.positions[path].tolist() == list(range(len(path)))
            assert path[-1] == end


@given(SEQUENCES, st.integers(1, 40))
def test_parts_hold_distinct_tokens_within_the_limit(sequences, limit):
    for members, tokens in pack_sequences(sequences, limit):
        ledger = TokenLedger()
        for member in members:
            ledger.add(sequences[member])
        assert len(tokens.ids) == ledger.unique
        assert ledger.unique <= limit or len(members) == 1


@given(st.lists(SEQUENCES, min_size=1, max_size=3))
def test_packs_end_to_end_keep_their_sequences_apart(trees):
    packs = [tokens for tree in trees for _, tokens in pack_sequences(tree, 1 << 40)]
    joined = join_tokens(packs)
    expected = [pack.ids[torch.from_numpy(path)].tolist() for pack in packs for path in pack.paths()]
    assert [joined.ids[torch.from_numpy(path)].tolist() for path in joined.paths()] == expected
    assert joined.positions.tolist() == [position for pack in packs for position in pack.positions.tolist()]


def test_a_trunk_is_there_once_and_again_in_each_part():
    trunk = list(range(1, 31))
    sequences = [[*trunk, token] for token in (33, 31, 32)]
    [(members, tokens)] = pack_sequences(sequences, 1 << 40)
    assert members == [1, 2, 0]
    assert tokens.positions.tolist() == [*range(30), 30, 30, 30]
    assert tokens.ends.tolist() == [30, 31, 32]
    assert [len(part.tokens.ids) for part in pack_sequences(sequences, 32)] == [32, 31]
