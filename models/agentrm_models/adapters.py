"""LoRA adapters in the format of the peft library: which base they stand on, and merging them into it.

The merged weight is W + s·B·A with s = alpha / r (alpha / √r for rank-stabilised LoRA, arXiv 2312.03732), computed in
float32; layers that were trained as a whole (`modules_to_save`, such as the head of a reward model) take the place of
the base's. Adapters of other kinds are refused by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from agentrm_models.errors import DataError, UsageError
from agentrm_models.hub import HubName
from agentrm_models.load_options import LoadOptions
from agentrm_models.typed_path import typed_path
from agentrm_models.weight_files import check_safetensors

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_MERGE_IT = "Merge it with peft (merge_and_unload), save the result, and give that folder."
_ANOTHER_WAY = (
    "use_dora",
    "use_qalora",
    "lora_bias",
    "layer_replication",
    "alora_invocation_tokens",
    "target_parameters",
    "trainable_token_indices",
    "loftq_config",
    "arrow_config",
    "megatron_config",
)
"""Settings of peft's LoRA that make more of it than W + s·B·A."""

_HARMLESS_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Ways to begin a LoRA (`init_lora_weights`) that leave the base as it was."""

_SIMPLE_PATTERN = re.compile(r"[\w.\\+|^$]{1,200}")
"""Patterns without groups, which no name can keep a regular expression busy with."""

_LORA = re.compile(r"(.+)\.lora_(embedding_)?([AB])(?:\.weight)?")


class AdapterConfig(msgspec.Struct, frozen=True):
    """What is read of an `adapter_config.json`."""

    peft_type: str = "LORA"
    base_model_name_or_path: str | None = None
    task_type: str | None = None
    lora_alpha: float = 8
    use_rslora: bool = False
    alpha_pattern: dict[str, float] = {}
    modules_to_save: list[str] | None = None
    init_lora_weights: bool | str | None = True


class AdapterChoice(NamedTuple):
    """What a person may choose of an adapter.

    Attributes:
        base: The base to take instead of the one that the adapter names: a folder or `hf:ORG/REPO`.
        merged: Whether it is merged; False takes the weights beside it as they are.
    """

    base: str = ""
    merged: bool = True


AS_NAMED = AdapterChoice()
"""What holds where nothing is said."""

OPTIONS = ("base", "adapter")
"""The keys behind `#` in a spec that choose it."""


def adapter_choice_of(options: Mapping[str, str], spec: str) -> AdapterChoice:
    """The choice that the options behind a spec's `#` make.

    Raises:
        UsageError: A value that its key does not take.
    """
    if options.get("adapter", "yes") not in ("yes", "no"):
        raise UsageError(f"{spec[:80]!r}: adapter is yes or no")
    return AdapterChoice(options.get("base", ""), options.get("adapter") != "no")


class Adapter(NamedTuple):
    """An adapter folder that can be merged.

    Attributes:
        folder: Where it is.
        config: What it says of itself.
        base: The folder it stands on, or its name on the hub.
    """

    folder: Path
    config: AdapterConfig
    base: Path | HubName

    @property
    def weights(self) -> Path:
        """The file with its tensors."""
        return self.folder / WEIGHTS

    def fetch_base(self, options: LoadOptions) -> Path:
        """The base's folder, downloaded where it is not here; errors as `HubName.fetch`."""
        return self.base.fetch(options.trust_remote_code) if isinstance(self.base, HubName) else self.base


def find_adapter(folder: Path, choice: AdapterChoice = AS_NAMED) -> Adapter | None:
    """The adapter in a folder; None where there is none, or where it is not wanted.

    Raises:
        DataError: It cannot be read, is no LoRA adapter, holds no safetensors, or its base is not here.
    """
    file = folder / CONFIG
    if not file.is_file() or not choice.merged:
        return None
    try:
        raw = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
        config = msgspec.convert(raw, AdapterConfig)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{file} cannot be read: {str(error)[:200]}") from None
    _check_kind(file, config, raw)
    if not (folder / WEIGHTS).is_file():
        other = " (pickled weights are never read)" if (folder / "adapter_model.bin").exists() else ""
        raise DataError(f"{folder} holds no {WEIGHTS}{other}", "Save the adapter with safe_serialization.")
    check_safetensors(folder / WEIGHTS)
    return Adapter(folder, config, _base(folder, config, choice.base))


def _check_kind(file: Path, config: AdapterConfig, raw: Mapping[str, Any]) -> None:
    if config.peft_type != "LORA":
        raise DataError(f"{file}: {config.peft_type[:40]} adapters cannot be merged here, only LORA", _MERGE_IT)
    for name in _ANOTHER_WAY:
        if raw.get(name):
            raise DataError(f"{file}: adapters with {name} cannot be merged here", _MERGE_IT)
    for pattern in config.alpha_pattern:
        if not _SIMPLE_PATTERN.fullmatch(pattern):
            raise DataError(f"{file}: the alpha_pattern {pattern[:40]!r} is not understood here", _MERGE_IT)
    if config.init_lora_weights not in _HARMLESS_STARTS:
        cause = f"{file}: init_lora_weights {str(config.init_lora_weights)[:40]!r} may have changed the base"
        raise DataError(cause, _MERGE_IT)


def _base(folder: Path, config: AdapterConfig, chosen: str) -> Path | HubName:
    """Where the base is: chosen, this very folder, a folder by its path, or a repository of the hub.

    A path that a person typed starts where the program was started; one that the adapter names, at the adapter first.
    """
    from agentrm_models.kinds import take_apart

    if not chosen and (folder / "config.json").is_file():
        return folder
    name = chosen or config.base_model_name_or_path or ""
    if hub := HubName.parse(take_apart(name)):
        return hub
    if name:
        places = (typed_path(name), folder / name)
        for path in places if chosen else places[::-1]:
            if path.is_dir():
                return path
    if not chosen and re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return HubName(name, "")
    where = f"stands on {name[:200]!r}, which is no folder here" if name else "does not name its base"
    raise DataError(f"{folder}: the adapter {where}", "Write FOLDER#base=PATH, or #base=hf:ORG/REPO.")


def whole_layers(adapter: Adapter) -> dict[str, tuple[int, ...]]:
    """The shapes of what the adapter replaces as a whole, by the base's own names."""
    from agentrm_models.checkpoint_files import tensor_shapes

    return {
        plain: shape
        for name, shape in tensor_shapes(adapter.weights).items()
        if not _LORA.fullmatch(plain := _plain_name(name))
    }


def merge_adapter(model: Any, adapter: Adapter) -> set[str]:
    """Merge an adapter into its base, and return the names of the parameters that it brought whole.

    Raises:
        DataError: It names a layer that the base does not have, shapes differ, or a layer to save is missing.
    """
    from safetensors.torch import load_file

    tensors = {_plain_name(name): value for name, value in load_file(adapter.weights).items()}
    pairs: dict[str, dict[str, Tensor]] = {}
    whole: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if match := _LORA.fullmatch(name):
            pairs.setdefault(match[1], {})[(match[2] or "") + match[3]] = value
        else:
            whole[name] = value
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    for listed in adapter.config.modules_to_save or ():
        # peft lists `classifier` and `score` for every classifier, whichever of them it has.
        if listed in names and not any(listed in name.split(".") for name in whole):
            cause = f"{adapter.folder}: the adapter was trained with {listed[:80]!r}, but {WEIGHTS} does not hold it"
            raise DataError(cause, "Save the adapter again, with its modules_to_save.")
    rows = model.get_input_embeddings().weight.shape[0]
    replaced = {_replace(model, adapter, name, value) for name, value in whole.items()}
    _check_rows(model, adapter, rows, whole)
    for name, pair in pairs.items():
        _add(model, adapter, name, pair)
    return replaced


def _check_rows(model: Any, adapter: Adapter, rows: int, whole: Mapping[str, Tensor]) -> None:
    """Refuse a vocabulary that grew in the embedding or in the head alone: the other one's new rows are nowhere."""
    grown = [layer for layer in (model.get_input_embeddings(), model.get_output_embeddings()) if layer is not None]
    brought = sum(value.ndim == 2 and value.shape[0] == grown[0].weight.shape[0] != rows for value in whole.values())
    if grown[0].weight.shape[0] != rows and brought < len(grown):
        raise DataError(f"{adapter.folder}: the adapter has more tokens than its base, but not all of their rows")


def _plain_name(name: str) -> str:
    """A tensor's name without what peft puts around the base's own."""
    name = name.removeprefix("base_model.model.")
    return re.sub(r"\.(modules_to_save|base_layer)(\.default)?(?=\.)", "", name)


def _layer(model: Any, adapter: Adapter, name: str) -> tuple[Any, str]:
    """The base's layer of this name, which may be told from the layers below the head; and its name there."""
    for full in (name, f"{model.base_model_prefix}.{name}"):
        try:
            return model.get_submodule(full), full
        except AttributeError:
            continue
    raise DataError(
        f"{adapter.folder}: the adapter changes {name[:120]!r}, which its base {adapter.base} does not have"
    )


def _replace(model: Any, adapter: Adapter, name: str, value: Tensor) -> str:
    path, _, kind = name.rpartition(".")
    layer, full = _layer(model, adapter, path)
    old = getattr(layer, kind, None)
    if old is None:
        raise DataError(f"{adapter.folder}: the adapter holds {name[:120]!r}, which its base does not have")
    if layer in (model.get_input_embeddings(), model.get_output_embeddings()) and old.shape[0] != value.shape[0]:
        model.resize_token_embeddings(value.shape[0])
        layer, full = _layer(model, adapter, path)
        old = getattr(layer, kind)
    if old.shape != value.shape:
        shapes = f"{tuple(value.shape)} for the base's {tuple(old.shape)}"
        raise DataError(f"{adapter.folder}: the adapter's {name[:120]} has the shape {shapes}")
    _put(model, layer, kind, value)
    return f"{full}.{kind}"


def _add(model: Any, adapter: Adapter, name: str, pair: Mapping[str, Tensor]) -> None:
    layer, _ = _layer(model, adapter, name)
    embedding = "embedding_A" in pair
    try:
        left, right = (pair["embedding_B"], pair["embedding_A"]) if embedding else (pair["B"], pair["A"])
    except KeyError:
        raise DataError(f"{adapter.folder}: half of the adapter of {name[:120]!r} is missing") from None
    delta = left.float() @ right.float() if left.ndim == right.ndim == 2 else None
    turned = embedding or type(layer).__name__ == "Conv1D"
    if delta is None or (delta.T if turned else delta).shape != layer.weight.shape:
        shapes = f"{tuple(left.shape)} · {tuple(right.shape)} for a weight of {tuple(layer.weight.shape)}"
        raise DataError(f"{adapter.folder}: the adapter of {name[:120]!r} does not fit its base: {shapes}")
    scale = _alpha(adapter.config, name) / (math.sqrt(right.shape[0]) if adapter.config.use_rslora else right.shape[0])
    old = layer.weight.detach()
    _put(model, layer, "weight", old.float() + (delta.T if turned else delta).to(old.device) * scale)


def _put(model: Any, layer: Any, kind: str, value: Tensor) -> None:
    """Give a layer a tensor of its own: an embedding and a head that were one are two from here on."""
    import torch

    old = getattr(layer, kind)
    if layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        model.config.get_text_config().tie_word_embeddings = False
    setattr(layer, kind, torch.nn.Parameter(value.to(old.dtype).to(old.device), requires_grad=False))


def _alpha(config: AdapterConfig, name: str) -> float:
    """A layer's alpha: that of the first pattern that its name ends with, as in peft."""
    for pattern, alpha in config.alpha_pattern.items():
        if re.fullmatch(rf"(.*\.)?({pattern})", name):
            return alpha
    return config.lora_alpha


@contextmanager
def without_adapters() -> Iterator[None]:
    """Let the library load a folder's own weights: where peft is installed, it would follow an adapter in it."""
    from transformers.integrations import peft
    from transformers.models.auto import auto_factory

    places = (peft, auto_factory)
    before = [place.is_peft_available for place in places]
    for place in places:
        place.is_peft_available = lambda: False
    try:
        yield
    finally:
        for place, found in zip(places, before, strict=True):
            place.is_peft_available = found
