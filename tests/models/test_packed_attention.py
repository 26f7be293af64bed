"""Packed attention is ordinary attention, sequence by sequence and path by path, in both precisions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrm_models.trie.packed_attention import PackedPass, SequencesPass
from agentrm_models.trie.packing import pack_sequences
from agentrm_models.trie.query_blocks import lay_blocks


def tensors(total: int) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn((total, heads, 16), requires_grad=True) for heads in (4, 2, 2)]


def expected(query, key, value, paths):
    """For each path the outputs of its tokens, from a row of its own."""
    outs = []
    for path in paths:
        q, k, v = (part[path].transpose(0, 1)[None] for part in (query, key, value))
        k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        outs.append(F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.25)[0].transpose(0, 1))
    return outs


def random_tree(seed: int, nodes: int, longest: int) -> list[list[int]]:
    """Sequences that each extend an earlier one by some tokens."""
    draw = np.random.default_rng(seed)
    paths: list[list[int]] = [[7]]
    for _ in range(nodes):
        stem = paths[int(draw.integers(len(paths)))]
        paths.append([*stem, *draw.integers(0, 9, int(draw.integers(1, longest))).tolist()])
    return paths


def assert_equal(found, wanted, inputs, tolerance):
    assert torch.allclose(found.float(), wanted, atol=tolerance)
    direction = torch.randn(wanted.shape)
    pairs = [torch.autograd.grad((out.float() * direction).sum(), inputs) for out in (found, wanted)]
    for one, other in zip(*pairs, strict=True):
        assert torch.allclose(one, other, atol=tolerance * max(1.0, float(other.abs().max())))


@pytest.mark.parametrize("lengths", [[1], [5, 3, 9], [300, 20]])
@pytest.mark.parametrize("bf16", [False, True])
def test_each_sequence_attends_by_itself(lengths, bf16):
    inputs = tensors(sum(lengths))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        found = SequencesPass(lengths).attend(0, *inputs, scaling=0.25)
    wanted = torch.cat(expected(*inputs, torch.arange(sum(lengths)).split(lengths)))
    assert_equal(found, wanted, inputs, 0.05 if bf16 else 1e-5)


@pytest.mark.parametrize("bf16", [False, True])
def test_each_token_of_a_tree_attends_to_its_path(bf16):
    [(_, tokens)] = pack_sequences(random_tree(1, 12, 90), 1 << 40)
    inputs = tensors(len(tokens.ids))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        found = PackedPass(tokens, "cpu").attend(0, *inputs, scaling=0.25)
    paths = [torch.from_numpy(path) for path in tokens.paths()]
    wanted = torch.cat(expected(*inputs, paths))
    assert_equal(found[torch.cat(paths)], wanted, inputs, 0.05 if bf16 else 1e-5)


@given(seed=st.integers(0, 10_000), nodes=st.integers(1, 30), limit=st.integers(20, 500))
@settings(max_examples=30, deadline=None)
def test_each_query_reads_exactly_its_own_path(seed, nodes, limit):
    for _, tokens in pack_sequences(random_tree(seed, nodes, 90), limit):
        layout = lay_blocks(tokens)
        reads = [
            keys[mask].tolist()
            for block in layout.blocks
            for keys, masks in zip(block.keys, block.mask[:, 0], strict=True)
            for mask in masks
        ]
        for path, end in zip(tokens.paths(), tokens.ends.tolist(), strict=True):
            assert reads[int(layout.order[end])] == path.tolist()
