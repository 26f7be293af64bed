"""A lean forward pass for Llama-shaped models, for which the library's modules take more operations than are needed.

Rotary positions are one complex product: the rows of the query and key matrices are put in another order for that,
which leaves their dot products as they are. In small models, where calling an operation costs more than computing it,
value joins query and key in one matrix, and gate and up are one. The check on load compares this pass with the
library's own like every other backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from agentrm_models.trie.states import Architecture
from agentrm_models.trie.tree_attention import AttentionPass

if TYPE_CHECKING:
    from torch import Tensor

SMALL = 50_000_000
"""Parameters up to which the matrices of a layer are joined; of larger models only query and key are copied."""

_BACKBONES = ("LlamaModel", "Qwen2Model")


_Linear: TypeAlias = "tuple[Tensor, Tensor | None]"


class _Layer(NamedTuple):
    """The weights of one layer, in the layout described above: matrices and biases.

    Attributes:
        turned: Query and key, in small models value too.
        value: None where it is part of `turned`.
        gate: In small models gate and up.
        up: None where it is part of `gate`.
    """

    norm_in: Tensor
    turned: _Linear
    value: _Linear | None
    out: _Linear
    norm_mlp: Tensor
    gate: _Linear
    up: _Linear | None
    down: _Linear


class LlamaLayers:
    """The layers of a Llama or Qwen2 model in 32 or 64 bits; see `serves`."""

    def __init__(self, parts: Architecture) -> None:
        import torch

        backbone, config = parts.backbone, parts.model.config.get_text_config()
        attention = backbone.layers[0].self_attn
        self.count = len(backbone.layers)
        self._device = parts.model.device
        self._width = int(attention.head_dim)
        self._heads = int(config.num_attention_heads)
        self._shared = int(config.num_key_value_heads)
        self._scaling = float(attention.scaling)
        self._epsilon = float(config.rms_norm_eps)
        self._embedding: Tensor = backbone.embed_tokens.weight.detach()
        self._norm: Tensor = backbone.norm.weight.detach()
        self._frequencies: Tensor = backbone.rotary_emb.inv_freq.to(self._embedding.dtype)
        self._amplitude = float(backbone.rotary_emb.attention_scaling)
        small = sum(weight.numel() for weight in parts.model.parameters()) <= SMALL
        with torch.no_grad():
            self._layers = [self._read(layer, small) for layer in backbone.layers]

    @staticmethod
    def serves(parts: Architecture) -> bool:
        """Whether a model has exactly the parts that this pass computes."""
        import torch

        backbone = parts.backbone
        if type(backbone).__name__ not in _BACKBONES or parts.model.dtype not in (torch.float32, torch.float64):
            return False
        config = parts.model.config.get_text_config()
        linear = [
            module for layer in backbone.layers for name, module in layer.named_modules() if name.endswith("_proj")
        ]
        return config.hidden_act == "silu" and all(type(module) is torch.nn.Linear for module in linear)

    def forward(self, ids: Sequence[int], positions: Sequence[int], attention: AttentionPass) -> Tensor:
        """See `Layers`."""
        import torch

        linear, rms_norm = torch.nn.functional.linear, torch.nn.functional.rms_norm
        turned, heads, shared, width = self._heads + self._shared, self._heads, self._shared, self._width
        with torch.inference_mode():
            hidden = self._embedding[torch.tensor(ids, device=self._device)]
            turns = self._turns(positions)
            shape = hidden.shape[-1:]
            for index, layer in enumerate(self._layers):
                states = rms_norm(hidden, shape, layer.norm_in, self._epsilon)
                found = linear(states, *layer.turned).view(len(ids), -1, width)
                pairs = torch.view_as_complex(found[:, :turned].reshape(len(ids), turned, width // 2, 2))
                rotated = torch.view_as_real(pairs * turns).flatten(-2)
                value = linear(states, *layer.value).view(len(ids), shared, width) if layer.value else found[:, turned:]
                seen = attention.attend(index, rotated[:, :heads], rotated[:, heads:], value, self._scaling)
                hidden = _add_linear(hidden, seen.flatten(1), *layer.out)
                states = rms_norm(hidden, shape, layer.norm_mlp, self._epsilon)
                gate = linear(states, *layer.gate)
                gate, up = (gate, linear(states, *layer.up)) if layer.up else gate.chunk(2, dim=-1)
                hidden = _add_linear(hidden, torch.nn.functional.silu(gate).mul_(up), *layer.down)
            return rms_norm(hidden, shape, self._norm, self._epsilon)

    def _turns(self, positions: Sequence[int]) -> Tensor:
        """The rotation of each row and frequency (rows, 1, width / 2), complex."""
        import torch

        angles = (
            torch.tensor(positions, device=self._device, dtype=self._frequencies.dtype)[:, None] * self._frequencies
        )
        return torch.polar(torch.full_like(angles, self._amplitude), angles)[:, None]

    def _read(self, layer: Any, small: bool) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        query, key, value = attention.q_proj, attention.k_proj, attention.v_proj
        weights = [self._paired(query.weight), self._paired(key.weight), *([value.weight] if small else [])]
        biases = [self._paired(query.bias), self._paired(key.bias), *([value.bias] if small else [])]
        gate = _parts(mlp.gate_proj)
        if small:
            gate = _stack(mlp.gate_proj.weight, mlp.up_proj.weight), _stack(mlp.gate_proj.bias, mlp.up_proj.bias)
        return _Layer(
            layer.input_layernorm.weight.detach(),
            (_stack(*weights), _stack(*biases)),
            None if small else _parts(value),
            _parts(attention.o_proj),
            layer.post_attention_layernorm.weight.detach(),
            gate,
            None if small else _parts(mlp.up_proj),
            _parts(mlp.down_proj),
        )

    def _paired(self, weight: Any) -> Any:
        """Put the two halves that rotate together side by side in every head."""
        if weight is None:
            return None
        halves = weight.unflatten(0, (-1, 2, self._width // 2))
        return halves.transpose(1, 2).flatten(0, 2)


def _stack(*weights: Any) -> Any:
    """One matrix (or bias) from several; None where they have none."""
    import torch

    return None if weights[0] is None else torch.cat(weights).detach().contiguous()


def _parts(module: Any) -> _Linear:
    return module.weight.detach(), None if module.bias is None else module.bias.detach()


def _add_linear(residual: Tensor, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Residual + weight · states (+ bias), in one product."""
    import torch

    found = torch.addmm(residual, states, weight.t())
    return found if bias is None else found + bias
