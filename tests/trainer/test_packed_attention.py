"""Packed attention is ordinary attention, sequence by sequence, in both precisions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from agentrm_models.trie.packed_attention import Sequences, packed_attention


class FakeLayer:
    """Stands for a model's attention module."""


def tensors(lengths, dtype=torch.float32):
    torch.manual_seed(0)
    total = sum(lengths)
    shapes = ((1, 4, total, 16), (1, 2, total, 16), (1, 2, total, 16))
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


def expected(query, key, value, lengths):
    key, value = key.repeat_interleave(2, 1), value.repeat_interleave(2, 1)
    parts = zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    outs = [F.scaled_dot_product_attention(*part, is_causal=True, scale=0.25) for part in parts]
    return torch.cat(outs, 2).transpose(1, 2)


@pytest.mark.parametrize("lengths", [[1], [5, 3, 9], [300, 20]])
@pytest.mark.parametrize("bf16", [False, True])
def test_packed_attention_equals_each_sequence_alone(lengths, bf16):
    inputs = tensors(lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        out, _ = packed_attention(FakeLayer(), *inputs, None, scaling=0.25, layout=Sequences(lengths))
    direction = torch.randn(out.shape)
    found = torch.autograd.grad((out.float() * direction).sum(), inputs)
    wanted_out = expected(*inputs, lengths)
    wanted = torch.autograd.grad((wanted_out * direction).sum(), inputs)
    tolerance = 0.05 if bf16 else 1e-5
    assert torch.allclose(out.float(), wanted_out, atol=tolerance)
    for one, other in zip(found, wanted, strict=True):
        scale = max(1.0, float(other.abs().max()))
        assert torch.allclose(one, other, atol=tolerance * scale)


def test_without_a_layout_it_is_causal_attention():
    query, key, value = tensors([7])
    out, _ = packed_attention(FakeLayer(), query, key, value, None, scaling=0.25)
    assert torch.allclose(out, expected(query, key, value, [7]), atol=1e-6)
