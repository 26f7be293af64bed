"""Models as folders: a Llama-form model from scratch, other people's models, and how both are saved."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import torch

from agentrm_models.errors import DataError, UsageError
from agentrm_models.folder_settings import SETTINGS_FILE, FolderSettings
from agentrm_models.trie.packed_check import PACKED_TOLERANCE, packed_difference
from agentrm_models.trie.states import architecture_of
from agentrm_models.trie.tree_attention import UnsupportedAttentionError
from agentrm_trainer.config import ModelSection
from agentrm_trainer.workflow.workspace import replace_folder, write_atomically


def new_policy(section: ModelSection, tokenizer: Any, seed: int) -> Any:
    """A `LlamaForCausalLM` with tied embeddings and random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    if section.width % section.heads or section.heads % section.key_value_heads:
        raise UsageError("model: heads must divide width, and key_value_heads must divide heads")
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=section.width,
        num_hidden_layers=section.layers,
        num_attention_heads=section.heads,
        num_key_value_heads=section.key_value_heads,
        intermediate_size=section.feed_forward,
        max_position_embeddings=section.context,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def load_policy_model(source: str) -> Any:
    """A causal language model from a folder or the hub, in float32."""
    from transformers import AutoModelForCausalLM

    return _load(AutoModelForCausalLM, source)


def load_reward_model(source: str, **options: Any) -> Any:
    """A sequence classifier with one output from a folder or the hub, in float32."""
    from transformers import AutoModelForSequenceClassification

    return _load(AutoModelForSequenceClassification, source, num_labels=1, **options)


def _load(kind: Any, source: str, **options: Any) -> Any:
    from transformers.utils import logging

    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        return kind.from_pretrained(source, dtype=torch.float32, use_safetensors=True, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{source} cannot be loaded: {str(error).splitlines()[0][:300]}") from None
    finally:
        logging.set_verbosity(verbosity)


def new_reward_model(policy_folder: Path, tokenizer: Any, seed: int) -> Any:
    """A sequence classifier on a policy's backbone; its bias-free head starts small.

    Starting from the policy's weights follows the trial run, and the paper's use of one base model for both.
    """
    torch.manual_seed(seed)
    model = load_reward_model(str(policy_folder), pad_token_id=tokenizer.pad_token_id)
    with torch.no_grad():
        model.score.weight.normal_(0.0, 0.1 / model.score.weight.shape[1] ** 0.5)
    return model


def prepare_for_training(model: Any, device: str) -> Any:
    """Move a model to its device, once a packed random tree gives what its own forward pass gives.

    Raises:
        UsageError: It does not, or its layers attend in a way that packed trees cannot give.
    """
    model = model.to(device).eval()
    try:
        found = packed_difference(architecture_of(model))
    except UnsupportedAttentionError as error:
        why = str(error)
    else:
        if found <= PACKED_TOLERANCE:
            return model.train()
        why = f"outputs differ by {found:.2g}"
    raise UsageError(
        f"{type(model).__name__} cannot be trained packed: {why}",
        "Use a Llama, Qwen or Granite model without a sliding window; docs/families.md lists others.",
    )


class Provenance(NamedTuple):
    """What a model folder says of its training.

    Attributes:
        settings: How the model is to be used, and what it was trained on.
        card: Text of its model card.
        inside: Folders of further models that are stored inside, by the names that the settings give them.
    """

    settings: FolderSettings
    card: str
    inside: Mapping[str, Path] = MappingProxyType({})


def save_model(folder: Path, model: Any, tokenizer: Any, provenance: Provenance, half: bool = True) -> None:
    """Write a model folder as a whole: safetensors, tokenizer, `agentrm.json` and the card.

    Args:
        half: Store 16-bit floats; the weights in memory are left as they are.
    """
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    state = {name: tensor.detach().half() if half else tensor for name, tensor in model.state_dict().items()}
    if getattr(model.config, "tie_word_embeddings", False):
        state.pop("lm_head.weight", None)
    _save_weights(model, state, new, half)
    tokenizer.save_pretrained(new)
    write_atomically(new / SETTINGS_FILE, msgspec.json.encode(provenance.settings).decode() + "\n")
    write_atomically(new / "README.md", provenance.card)
    for name, source in provenance.inside.items():
        shutil.copytree(source, new / name)
    replace_folder(new, folder)


def _save_weights(model: Any, state: dict[str, torch.Tensor], folder: Path, half: bool) -> None:
    from safetensors.torch import save_file

    save_file(
        {name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    config = model.config.to_dict()
    config.pop("_name_or_path", None)  # the folder it was made from, on the machine where it was made
    config["dtype"] = "float16" if half else "float32"
    config["architectures"] = [type(model).__name__]
    write_atomically(folder / "config.json", json.dumps(config, indent=2) + "\n")
