"""Reading model folders: safetensors only, and one clear line for every way a folder can be wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agentrm_models.bundled import ModelRole
from agentrm_models.errors import DataError, MemoryExhaustedError, UsageError
from agentrm_models.folder_settings import FolderSettings, read_settings
from agentrm_models.load_options import LoadOptions
from agentrm_models.model_folder import weight_files
from agentrm_models.torch_environment import import_torch, prepare_torch
from agentrm_models.weight_files import check_finite


class LoadedModel(NamedTuple):
    """A model folder in memory.

    Attributes:
        model: A `transformers` model in evaluation mode.
        tokenizer: Its tokenizer.
        digest: First 16 hex digits of the SHA-256 of the weight files, and of what the likelihood counts.
        settings: What the folder says about its use.
    """

    model: Any
    tokenizer: Any
    digest: str
    settings: FolderSettings


def load_folder(path: Path, purpose: ModelRole, options: LoadOptions) -> LoadedModel:
    """Load a folder as a causal language model (policy) or a one-output sequence classifier (reward model).

    Raises:
        DataError: The folder is missing, incomplete, cut off or of another kind.
        UsageError: There is no such device.
        MemoryExhaustedError: The weights do not fit.
    """
    weights = weight_files(path, purpose)
    settings = read_settings(path)
    prepare_torch()
    import_torch()
    import torch

    if options.threads > 0:
        torch.set_num_threads(options.threads)
    target = choose_device(options.device)
    config = _read_config(path, options.trust_remote_code)
    model = _read_model(path, config, purpose, options.trust_remote_code, target)
    tokenizer = _read_tokenizer(path, options.trust_remote_code)
    _check_sizes(path, model, tokenizer)
    return LoadedModel(model, tokenizer, _digest(weights, _likelihood_text(settings)), settings)


def choose_device(name: str) -> Any:
    """The torch device of this name; `auto` takes the first GPU where there is one.

    Raises:
        UsageError: There is no such device.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"--device {name[:80]} is not usable here", "Use cpu or auto.") from error
    return device


def digest_of_weights(model: Any) -> str:
    """First 16 hex digits of the SHA-256 of a model in memory, over its parameters in order."""
    import torch

    digest = hashlib.sha256()
    for name, weight in model.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _likelihood_text(settings: FolderSettings) -> str:
    """What the likelihood counts, as a part of a model's identity; empty where it counts nothing."""
    each = msgspec.json.encode(settings.likelihoods).decode() if settings.likelihoods else ""
    return f"{settings.likelihood or ''}{each}"


def _digest(files: list[Path], settings: str) -> str:
    digest = hashlib.sha256(settings.encode())
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def _read_config(path: Path, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code, local_files_only=True)
    except Exception as error:  # a foreign file can make the library's own arithmetic fail in any way
        raise DataError(f"{path / 'config.json'}: {first_line(error)}") from error


def _read_model(path: Path, config: Any, purpose: ModelRole, trust_remote_code: bool, device: Any) -> Any:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
    from transformers.utils import logging

    auto = AutoModelForCausalLM if purpose == "policy" else AutoModelForSequenceClassification
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model, report = auto.from_pretrained(
            path,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            output_loading_info=True,
        )
        model = model.to(device).eval()
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise MemoryExhaustedError(f"{path}: the weights do not fit into memory", "Take a smaller model.") from error
    except SafetensorError as error:
        raise DataError(f"{path}: a weight file is cut off or damaged ({first_line(error)})") from error
    except Exception as error:  # as above
        if "ignore_mismatched_sizes" in str(error):
            raise DataError(f"{path}: the weights do not have the shapes that config.json promises") from error
        raise DataError(f"{path}: {first_line(error)}") from error
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
    if missing := sorted(report["missing_keys"]):
        raise DataError(
            f"{path}: the weights lack {missing[0]}" + (f" and {len(missing) - 1} more" * (len(missing) > 1))
        )
    check_finite(model, path)
    return model


def _read_tokenizer(path: Path, trust_remote_code: bool) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception for damaged files
        raise DataError(f"{path}: no usable tokenizer ({first_line(error)})") from error
    if not tokenizer.encode("Action: go", add_special_tokens=False):
        raise DataError(f"{path}: no usable tokenizer (it has no vocabulary)", "Save the tokenizer beside the model.")
    return tokenizer


def _check_sizes(path: Path, model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer that gives ids which the model has no row for.

    Special tokens that neither end a text nor stand in the template do not count: no text gives them, and some
    tokenizer classes add one that the model never had.
    """
    embedding = getattr(model.get_input_embeddings(), "weight", None)
    if embedding is None:
        return
    rows, template = int(embedding.shape[0]), str(tokenizer.chat_template)
    idle = {token for token in tokenizer.all_special_tokens if token not in template} - {tokenizer.eos_token}
    if any(number >= rows for token, number in tokenizer.get_vocab().items() if token not in idle):
        raise DataError(
            f"{path}: its tokenizer has {len(tokenizer):,} tokens, its embedding {rows:,} rows",
            "Resize the embedding, or give the tokenizer that belongs to the model.",
        )


def first_line(error: BaseException) -> str:
    """The first line of an error's message, shortened."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(". ")
