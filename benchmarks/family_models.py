"""Small random models of every family that the installed transformers maps to causal models or classifiers."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf
from transformers import PreTrainedConfig
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

WINDOW = 48
"""Tokens of every window, chunk and selection: longer than the texts that a check on load reads, shorter than ours."""
VOCABULARY = 96
LARGEST = 20_000_000
"""Parameters of a model that is small."""

KINDS = {
    "policy": (hf.AutoModelForCausalLM, modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
    "reward": (hf.AutoModelForSequenceClassification, modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES),
}

_SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embedding_size", "emb_dim"), 32),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff", "n_inner", "decoder_ffn_dim", "encoder_ffn_dim"), 48),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), 4),
    **dict.fromkeys(("head_dim", "d_kv", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "index_head_dim", "moe_intermediate_size"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), 512),
    **dict.fromkeys(("sliding_window", "index_topk", "chunk_size", "mamba_chunk_size", "window_size"), WINDOW),
    **dict.fromkeys(("attention_chunk_size", "local_attention", "attention_window_size", "keep_window_size"), WINDOW),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "top_k_experts", "num_key_value_heads", "index_n_heads"), 2),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "num_labels", "mamba_n_groups", "n_groups"), 1),
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size"), 8),
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "time_step_rank": 4,
    "mamba_dt_rank": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_head_dim": 8,
    "linear_num_heads": 4,
    "rotary_dim": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "attention_window": [16, 16],
    "is_decoder": True,
    "use_mamba_kernels": False,
    "shared_expert_intermediate_size": 16,
    "type_vocab_size": 2,
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 8,
}
_HYBRID = {"layer_types": ["linear_attention", "full_attention"]}
_LATENT = {"num_key_value_heads": 4}
"""Multi-head latent attention has as many key/value heads as heads."""

OVERRIDES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite"), _LATENT),
    **dict.fromkeys(("glm_moe_dsa", "minicpm3", "youtu", "mistral4", "longcat_flash"), _LATENT),
    **dict.fromkeys(("qwen3_5_text", "qwen3_5_moe_text", "qwen3_next", "granitemoehybrid"), _HYBRID),
    "bailing_hybrid": {**_HYBRID, **_LATENT, "mlp_layer_types": ["dense", "sparse"]},
    "kimi_linear": {**_HYBRID, **_LATENT, "mlp_layer_types": ["dense", "sparse"]},
    "qwen4_exp_text": {"layer_types": ["linear_attention", "indexed_attention"]},
    "bamba": {"attn_layer_indices": [1]},
    "cohere": {"logit_scale": 0.5},
    "cohere2": {"logit_scale": 2.0},
    "dots1": {"n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_expand": 2, "mamba_n_heads": 4, "mamba_d_head": 16},
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2,
        "laurel_rank": 8,
        "activation_sparsity_pattern": [0.0] * 4,
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granite": {
        "logits_scaling": 4.0,
        "embedding_multiplier": 3.0,
        "residual_multiplier": 0.5,
        "attention_multiplier": 0.3,
    },
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "lfm3": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8, "head_dim": 8, "expand": 2},
    "recurrent_gemma": {"num_hidden_layers": 3, "block_types": ["recurrent", "recurrent", "attention"]},
    "reformer": {
        "axial_pos_embds": False,
        "attention_head_size": 8,
        "attn_layers": ["local", "lsh"],
        "num_hashes": 1,
        "num_buckets": 4,
        "feed_forward_size": 48,
    },
    "roberta": {"max_position_embeddings": 514, "pad_token_id": 1, "bos_token_id": 3},
    "t5": {"decoder_start_token_id": 0},
    "zamba2": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "n_mamba_heads": 4,
        "mamba_headdim": 16,
        "attention_head_dim": 16,
        "attention_hidden_size": 64,
    },
}
_WITHOUT: dict[str, tuple[str, ...]] = {
    "falcon": ("head_dim",),
    "xlstm": ("v_head_dim",),
    "gemma4_text": ("head_dim", "num_key_value_heads"),
    "gemma4": ("head_dim",),
    "prophetnet": ("num_hidden_layers",),
    "xlnet": ("max_position_embeddings",),
    "longcat_flash": ("head_dim",),
    "doge": ("sliding_window",),
    "dots3_note_text": ("num_attention_heads", "num_key_value_heads", "head_dim"),
}
"""Sizes that a configuration does not let be set."""


class NotBuiltError(Exception):
    """A family cannot be built small from its configuration alone, or does not read plain text."""


def small_config(kind: type[PreTrainedConfig], family: str, **more: Any) -> Any:
    """A configuration with every size made small that it has, and the same of the configurations inside it."""
    usual = kind()
    sizes = {"vocab_size": VOCABULARY, **_SIZES}
    given = {key: value for key, value in sizes.items() if key not in _WITHOUT.get(family, ()) and hasattr(usual, key)}
    for key, inner in vars(usual).items():
        if isinstance(inner, PreTrainedConfig):
            given[key] = small_config(type(inner), str(inner.model_type))
    return kind(**{**given, **OVERRIDES.get(family, {}), **more})


def build(role: str, family: str, **more: Any) -> Any:
    """A model with random weights that are large enough for faults to show.

    Raises:
        NotBuiltError: It cannot be built so, or gives no outputs for a plain text.
    """
    auto, _ = KINDS[role]
    torch.manual_seed(0)
    try:
        kind = CONFIG_MAPPING[family]
        if role == "policy" and hasattr(kind(), "is_decoder"):
            more = {"is_decoder": True, **more}
        model = auto.from_config(small_config(kind, family, **more)).eval()
        size = sum(weight.numel() for weight in model.parameters())
        if size > LARGEST:
            raise NotBuiltError(f"{size / 1e6:.0f} million parameters")
        if family == "xmod":
            model.set_default_language("en_XX")
        _spread(model)
        with torch.inference_mode():
            ids = torch.arange(3, WINDOW + 3)
            logits = model(input_ids=torch.cat([ids, ids, torch.tensor([2])])[None]).logits
    except NotBuiltError:
        raise
    except Exception as error:
        raise NotBuiltError((str(error).strip().splitlines() or [type(error).__name__])[0][:120]) from error
    if not bool(torch.isfinite(logits).all()):
        raise NotBuiltError("its random weights give no numbers")
    return model


def _spread(model: Any) -> None:
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not weight.is_floating_point():
                continue
            if weight.ndim >= 2:
                weight.mul_(2.0 if "emb" in name else 4.0)
            else:
                weight.add_(0.2 * torch.randn(weight.shape, generator=draw))
