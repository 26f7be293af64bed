"""What this machine must have for the stages that will run: an accelerator, cores, a model to start from, a folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentrm_models.errors import AgentRMError
from agentrm_models.loading import choose_device
from agentrm_models.packaged import folder_or_source
from agentrm_trainer.config_view import value_at
from agentrm_trainer.preflight.mistakes import Given, Mistake, Rule
from agentrm_trainer.workflow.registry import STAGES

SHARE_OF_CORES = 4
"""Processes and threads for each core beyond which a number is taken for a mistake."""

BYTES_A_PARAMETER = 16
"""The weight, its gradient and two moments, in 32 bits each."""

LEAST_ROOM = 64 << 20
"""Bytes that even the smallest pipeline needs."""

EXPORTABLE = ("LlamaForCausalLM", "Qwen2ForCausalLM")
"""Architectures that have a GGUF form here."""


def device(given: Given) -> Iterator[Mistake]:
    """The device exists, and there is one for each process that trains."""
    config = given.file.config
    using = [stage for stage in STAGES if stage.name in given.stages and "device" in stage.reads]
    if not using or config.device == "cpu":
        return
    try:
        choose_device(config.device)
    except AgentRMError:
        yield Mistake("device", f"{config.device} is not usable here", "Write device: cpu, or run it where it is.")
        return
    import torch

    for stage in using:
        count = int(value_at(config, stage.processes)) if stage.processes else 1
        if count > torch.cuda.device_count():
            yield Mistake(
                stage.processes,
                f"{count} processes need an accelerator each, and there are {torch.cuda.device_count()}",
                f"Take at most {torch.cuda.device_count()}.",
            )


def cores(given: Given) -> Iterator[Mistake]:
    """Numbers of processes and threads that this machine could carry."""
    most = SHARE_OF_CORES * (os.cpu_count() or 1)
    sections = [name for name in given.stages if hasattr(getattr(given.file.config, name, None), "processes")]
    for key in ("threads", *(f"{name}.processes" for name in sections)):
        count = int(value_at(given.file.config, key))
        if count > most:
            yield Mistake(key, f"{count} is too many for {os.cpu_count()} cores", f"Take at most {most}.")


def memory(given: Given) -> Iterator[Mistake]:
    """A model from scratch fits the machine with its gradients and the optimiser's moments."""
    config = given.file.config
    if config.sft.init_from or config.device != "cpu" or "sft" not in given.stages:
        return
    sizes = config.model
    attention = 2 * sizes.width**2 * (1 + sizes.key_value_heads / sizes.heads)
    layers = sizes.layers * (attention + 3 * sizes.width * sizes.feed_forward)
    needed = int(BYTES_A_PARAMETER * (layers + config.tokenizer.vocabulary * sizes.width))
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        yield Mistake(
            "model",
            f"training {sizes.layers} layers of width {sizes.width} needs {needed >> 30} GiB, the machine has "
            f"{there >> 30}",
            "Take fewer or narrower layers, or a smaller vocabulary.",
        )


def start(given: Given) -> Iterator[Mistake]:
    """The model that behaviour cloning starts from is there, and is one that can be trained and exported."""
    source = given.file.config.sft.init_from
    if not source or not {"sft", "export"} & set(given.stages):
        return
    try:
        described = _model_description(source)
    except _NotAModel as error:
        yield Mistake("sft.init_from", *error.args)
        return
    architecture = next(iter(described.get("architectures") or ()), str(described.get("model_type", "unknown")))
    if not architecture.endswith(("ForCausalLM", "LMHeadModel")):
        yield Mistake(
            "sft.init_from",
            f"{source}: {architecture} is no language model that writes",
            "Take a folder with a causal language model.",
        )
    longest, context = described.get("max_position_embeddings"), given.file.config.model.context
    if isinstance(longest, int) and context > longest:
        yield Mistake(
            "model.context",
            f"{context} is more than the {longest} tokens that {source} reads",
            f"Take at most {longest}.",
        )
    if "export" in given.stages and given.file.config.export.gguf and architecture not in EXPORTABLE:
        yield Mistake("export.gguf", f"true: {architecture} has no GGUF form here", "Set export.gguf: false.")


class _NotAModel(Exception):
    """Cause and remedy of a source that is no model."""


def _model_description(source: str) -> dict[str, Any]:
    """The `config.json` of a folder or of a model on the hub."""
    try:
        path = Path(folder_or_source(source)).expanduser()
    except AgentRMError as error:
        raise _NotAModel(error.cause, error.remedy) from error
    if path.is_dir():
        file = path / "config.json"
        if not file.is_file():
            raise _NotAModel(f"{source}: no config.json, so this is no model folder", "Name a Transformers folder.")
        if not any(path.glob("*.safetensors")):
            raise _NotAModel(f"{source}: no .safetensors weights", "Save the model with safe_serialization.")
        if not any((path / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")):
            raise _NotAModel(f"{source}: no tokenizer", "Save the model's tokenizer beside it.")
    elif path.exists() or source.startswith(("/", ".", "~")) or source.count("/") > 1:
        raise _NotAModel(f"{source}: there is no such model folder", "Name a Transformers folder or a hub model.")
    else:
        file = _from_hub(source)
    try:
        described = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        described = None
    if not isinstance(described, dict):
        raise _NotAModel(f"{file} is damaged", "Save the model again.")
    return described


def _from_hub(name: str) -> Path:
    """The description of a hub model: what is stored here, else what the hub says."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    try:
        stored = try_to_load_from_cache(name, "config.json")
        return Path(stored if isinstance(stored, str) else hf_hub_download(name, "config.json", etag_timeout=5))
    except Exception as error:
        line = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise _NotAModel(
            f"{name!r} is neither a folder nor a model that the hub gives: {line}", "Name a Transformers folder."
        ) from None


def packages(given: Given) -> Iterator[Mistake]:
    """What is imported only by a late stage."""
    if "export" in given.stages and given.file.config.export.gguf and find_spec("gguf") is None:
        yield Mistake("export.gguf", "true needs the package gguf", "pip install gguf, or set export.gguf: false.")


def out(given: Given) -> Iterator[Mistake]:
    """The folder of the results can be written."""
    where = given.out
    try:
        while not where.exists():
            where = where.parent
        if not where.is_dir():
            yield Mistake("--out", f"{given.out} cannot be made: {where} is a file", "Name another folder.")
            return
        if not os.access(where, os.W_OK | os.X_OK):
            yield Mistake("--out", f"{given.out} cannot be made: {where} is read-only", "Name another folder.")
            return
        with tempfile.TemporaryFile(dir=where):
            room = shutil.disk_usage(where).free
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        yield Mistake("--out", f"{str(given.out)[:200]} cannot be made: {cause}", "Name another folder.")
        return
    if room < LEAST_ROOM:
        yield Mistake("--out", f"{given.out}: {room >> 20} MiB are free", "Make room, or name another folder.")


RULES: tuple[Rule, ...] = (out, device, cores, memory, packages, start)
