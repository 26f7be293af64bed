"""A lean forward pass for small Llama-shaped models, where calling the library's modules costs more than computing.

Query, key and value projections are one matrix, gate and up projections another, and rotary positions are one complex
product: the rows of the query and key matrices are put in another order for that, which leaves their dot products as
they are. The check on load compares it with the library's own forward pass like every other backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from agentrm_models.prefix_cache.states import Architecture
from agentrm_models.prefix_cache.tree_attention import AttentionPass

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 50_000_000
"""Parameters up to which the copied matrices and the lean pass are worth it."""

_BACKBONES = ("LlamaModel", "Qwen2Model")


class _Layer(NamedTuple):
    """The weights of one layer, in the layout described above."""

    norm_in: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    norm_mlp: Tensor
    gate_up: Tensor
    gate_up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None


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
        with torch.no_grad():
            self._layers = [self._copy(layer) for layer in backbone.layers]

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
        return (
            config.hidden_act == "silu"
            and all(type(module) is torch.nn.Linear for module in linear)
            and sum(weight.numel() for weight in parts.model.parameters()) <= LARGEST
        )

    def forward(self, ids: Sequence[int], positions: Sequence[int], attention: AttentionPass) -> Tensor:
        """See `Layers`."""
        import torch

        linear, rms_norm = torch.nn.functional.linear, torch.nn.functional.rms_norm
        turned, heads, width = self._heads + self._shared, self._heads, self._width
        with torch.inference_mode():
            hidden = self._embedding[torch.tensor(ids, device=self._device)]
            turns = self._turns(positions)
            shape = hidden.shape[-1:]
            for index, layer in enumerate(self._layers):
                states = rms_norm(hidden, shape, layer.norm_in, self._epsilon)
                states = linear(states, layer.qkv, layer.qkv_bias).view(len(ids), turned + self._shared, width)
                pairs = torch.view_as_complex(states[:, :turned].reshape(len(ids), turned, width // 2, 2))
                rotated = torch.view_as_real(pairs * turns).flatten(-2)
                query, key, value = rotated[:, :heads], rotated[:, heads:], states[:, turned:]
                seen = attention.attend(index, query, key, value, self._scaling)
                hidden = _add_linear(hidden, seen.flatten(1), layer.out, layer.out_bias)
                states = rms_norm(hidden, shape, layer.norm_mlp, self._epsilon)
                gate, up = linear(states, layer.gate_up, layer.gate_up_bias).chunk(2, dim=-1)
                states = torch.nn.functional.silu(gate).mul_(up)
                hidden = _add_linear(hidden, states, layer.down, layer.down_bias)
            return rms_norm(hidden, shape, self._norm, self._epsilon)

    def _turns(self, positions: Sequence[int]) -> Tensor:
        """The rotation of each row and frequency (rows, 1, width / 2), complex."""
        import torch

        angles = (
            torch.tensor(positions, device=self._device, dtype=self._frequencies.dtype)[:, None] * self._frequencies
        )
        return torch.polar(torch.full_like(angles, self._amplitude), angles)[:, None]

    def _copy(self, layer: Any) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        query, key, value = attention.q_proj, attention.k_proj, attention.v_proj
        return _Layer(
            layer.input_layernorm.weight.detach(),
            _stack(self._paired(query.weight), self._paired(key.weight), value.weight),
            _stack(self._paired(query.bias), self._paired(key.bias), value.bias),
            attention.o_proj.weight.detach(),
            _detached(attention.o_proj.bias),
            layer.post_attention_layernorm.weight.detach(),
            _stack(mlp.gate_proj.weight, mlp.up_proj.weight),
            _stack(mlp.gate_proj.bias, mlp.up_proj.bias),
            mlp.down_proj.weight.detach(),
            _detached(mlp.down_proj.bias),
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


def _detached(weight: Any) -> Any:
    return None if weight is None else weight.detach()


def _add_linear(residual: Tensor, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Residual + weight · states (+ bias), in one product."""
    import torch

    found = torch.addmm(residual, states, weight.t())
    return found if bias is None else found + bias
