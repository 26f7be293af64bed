"""Reading model folders: safetensors only, and one clear line for every way a folder can be wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agentrm_models.adapters import AS_NAMED, Adapter, AdapterChoice, find_adapter, merge_adapter, without_adapters
from agentrm_models.bundled import ModelRole
from agentrm_models.errors import DataError, MemoryExhaustedError, UsageError
from agentrm_models.folder_settings import FolderSettings, read_settings
from agentrm_models.load_options import LoadOptions
from agentrm_models.model_folder import check_causal, find_plan, weight_files
from agentrm_models.rewards.heads.choice import NO_CHOICE, HeadChoice
from agentrm_models.rewards.heads.files import put_value_head
from agentrm_models.rewards.heads.head import HeadPlan, RewardHead
from agentrm_models.rewards.heads.plan import AUTO_CLASSES
from agentrm_models.torch_environment import import_torch, prepare_torch
from agentrm_models.weight_files import check_finite


class LoadedModel(NamedTuple):
    """A model folder in memory.

    Attributes:
        model: A `transformers` model in evaluation mode, with its adapter and its value head in place.
        tokenizer: Its tokenizer.
        digest: First 16 hex digits of the SHA-256 of all files with weights, and of what else makes the number.
        settings: What the folder says about its use.
        head: How a reward is read; None of a policy.
        notice: What a person should know of how it was loaded; empty where there is nothing.
    """

    model: Any
    tokenizer: Any
    digest: str
    settings: FolderSettings
    head: RewardHead | None = None
    notice: str = ""


def load_folder(
    path: Path,
    purpose: ModelRole,
    options: LoadOptions,
    *,
    adapter: AdapterChoice = AS_NAMED,
    head: HeadChoice = NO_CHOICE,
) -> LoadedModel:
    """Load a folder as a causal language model (policy), or as what its reward head is read from (reward model).

    Args:
        adapter: What was chosen of the adapter in it.
        head: What was chosen of its reward head.

    Raises:
        DataError: The folder is missing, incomplete, cut off or of another kind.
        UsageError: There is no such device, its code may not run, or the reward among its outputs is not known.
        MemoryExhaustedError: The weights do not fit.
    """
    merged = find_adapter(path, adapter)
    base = path if merged is None else merged.fetch_base(options)
    weights = weight_files(base)
    settings = read_settings(path)
    plan = None
    if purpose == "policy":
        check_causal(base)
    else:
        plan = find_plan(path, None if merged is None else merged._replace(base=base), head)
        _check_code(path, plan, options)
    prepare_torch()
    import_torch()
    import torch

    if options.threads > 0:
        torch.set_num_threads(options.threads)
    target = choose_device(options.device)
    model = _read_model(base, plan, options.trust_remote_code, target, merged)
    tokenizer = read_tokenizer(path if _has_tokenizer(path) else base, options.trust_remote_code)
    _check_sizes(path, model, tokenizer)
    more = [] if merged is None else [merged.weights]
    if plan is not None and plan.tensors is not None and plan.tensors.file not in (*weights, *more):
        more.append(plan.tensors.file)
    return LoadedModel(
        model,
        tokenizer,
        _digest([*weights, *more], _identity(settings, plan, merged)),
        settings,
        None if plan is None else plan.bind(tokenizer, str(path)),
        _merged_notice(merged),
    )


def _merged_notice(adapter: Adapter | None) -> str:
    if adapter is None or adapter.folder != adapter.base:
        return ""
    return f"the adapter in {adapter.folder} was merged into the weights beside it (#adapter=no leaves it out)"


def _check_code(path: Path, plan: HeadPlan, options: LoadOptions) -> None:
    if plan.remote and not options.trust_remote_code:
        raise UsageError(f"{path} comes with its own code, which does not run", "If you trust it: --trust-remote-code.")


def _has_tokenizer(path: Path) -> bool:
    return any((path / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model"))


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


def _identity(settings: FolderSettings, plan: HeadPlan | None, adapter: Adapter | None) -> str:
    """What makes a model's numbers beside its weights; empty for a policy, and for a classifier's only output."""
    parts = [msgspec.json.encode(settings.likelihoods).decode()] if settings.likelihoods else []
    if plan is not None and plan != HeadPlan(plan.words, "classifier", outputs=1):
        number = (plan.loads, *plan.place, plan.columns, plan.compared, plan.share, plan.normaliser)
        parts.append(msgspec.json.encode(number).decode())
    if adapter is not None:
        config = msgspec.structs.replace(adapter.config, base_model_name_or_path=None)
        parts.append(msgspec.json.encode(config).decode())
    return f"{settings.likelihood or ''}{''.join(parts)}"


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


def _read_model(
    path: Path, plan: HeadPlan | None, trust_remote_code: bool, device: Any, adapter: Adapter | None
) -> Any:
    """The model of a base folder, with an adapter merged into it and a value head put on it."""
    config = _read_config(path, trust_remote_code)
    if plan is not None and plan.outputs and plan.loads != "causal" and config.num_labels != plan.outputs:
        config.num_labels = plan.outputs
    model, missing = _build_model(path, config, _class_of(plan, config), trust_remote_code, device)
    if adapter is not None:
        missing -= merge_adapter(model, adapter)
    if plan is not None and plan.tensors is not None:
        missing -= put_value_head(model, plan.tensors)
    if missing:
        first = sorted(missing)[0]
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        here = f"neither {path} nor the adapter {adapter.folder} holds" if adapter else f"{path}: the weights lack"
        raise DataError(f"{here} {first}{more}")
    check_finite(model, path)
    return model


def _class_of(plan: HeadPlan | None, config: Any) -> Any:
    """The library's class that loads the model; of a folder with code of its own, the one that this names."""
    import transformers

    loads = "causal" if plan is None else plan.loads
    name = AUTO_CLASSES[loads]
    if plan is not None and plan.remote and name not in (getattr(config, "auto_map", None) or {}):
        name = "AutoModel"
    return getattr(transformers, name)


def _build_model(path: Path, config: Any, auto: Any, trust_remote_code: bool, device: Any) -> tuple[Any, set[str]]:
    """The model, and the names of the parameters that its weights do not hold."""
    import torch
    from safetensors import SafetensorError

    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    try:
        with _quiet_library(), without_adapters():
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
    return model, set(report["missing_keys"])


@contextmanager
def _quiet_library() -> Iterator[None]:
    """Keep the library's reports and progress bars off the terminal."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def read_tokenizer(path: Path, trust_remote_code: bool) -> Any:
    """The tokenizer of a folder; raises DataError where there is none that can be used."""
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
    try:
        embedding = getattr(model.get_input_embeddings(), "weight", None)
    except (NotImplementedError, AttributeError):  # code that came with a model
        return
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
