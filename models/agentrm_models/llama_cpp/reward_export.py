"""Writes a reward model for llama.cpp: its layers as a GGUF file, its head as a small safetensors file beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from agentrm_models.errors import UsageError
from agentrm_models.folder_settings import read_settings
from agentrm_models.llama_cpp.gguf_export import GGUFType, ParityReport, export_gguf, parity_tokens, write_checked
from agentrm_models.llama_cpp.gguf_source import GGUFSource
from agentrm_models.load_options import LoadOptions
from agentrm_models.loading import load_folder
from agentrm_models.rewards.gguf import LANGUAGE
from agentrm_models.rewards.heads.choice import HeadChoice
from agentrm_models.rewards.heads.sidecar import ENDING, SidecarHead, read_sidecar, write_sidecar


def export_reward_gguf(folder: Path, out: Path, dtype: GGUFType = "f16") -> list[ParityReport]:
    """Write `NAME.gguf` and `NAME.head.safetensors`; `NAME.language.gguf` too, where the reward counts a likelihood.

    Args:
        folder: A Llama- or Qwen2-architecture classifier, or a language model with a value head.
        out: The GGUF file; all files appear only when their numbers were compared with Transformers'.
        dtype: How matrices are stored; vectors and the head are 32-bit.

    Returns:
        What was checked of each GGUF file.

    Raises:
        UsageError: Unknown `dtype`, or a model or head that cannot be exported.
        DataError: Files missing or damaged, a tokenizer that llama.cpp cannot reproduce, or rewards that differ.
    """
    settings = read_settings(folder)
    if settings.reference or (folder / "adapter_config.json").exists():
        kind = "an implicit reward model" if settings.reference else "an adapter"
        raise UsageError(f"{folder}: {kind} cannot be exported as GGUF", "Export a classifier.")
    # Which output is the reward is chosen when the file is loaded, so that any will do here.
    found = load_folder(folder, "reward", LoadOptions(device="cpu"), head=HeadChoice(output=0))
    head = found.head
    if head is None or head.step or any(head.place) or head.share:
        raise UsageError(f"{folder}: a head that compares tokens cannot be exported as GGUF", "Export a classifier.")
    weight, bias = _linear(found.model)
    weight = weight / head.normaliser.deviation
    if bias is not None or head.normaliser.mean:
        bias = ((0.0 if bias is None else bias) - head.normaliser.mean) / head.normaliser.deviation + weight.new_zeros(
            weight.shape[0]
        )
    chosen = None if settings.head is None or settings.head.kind == "value-head" else settings.head
    kept = msgspec.structs.replace(settings, likelihood_model=settings.language, head=chosen)
    names = found.model.config.id2label
    labels = [str(names.get(number, f"LABEL_{number}")) for number in range(weight.shape[0])]
    sidecar = out.with_name(out.name.removesuffix(".gguf") + ENDING)
    out.parent.mkdir(parents=True, exist_ok=True)
    new = sidecar.with_name(f".{sidecar.name}.new")
    try:
        write_sidecar(new, weight, bias, labels, kept)
        stored = read_sidecar(new)
        source = GGUFSource(folder)
        reports = [write_checked(source, out, dtype, lambda file: _difference(found.model, head, stored, file))]
        new.replace(sidecar)
    finally:
        new.unlink(missing_ok=True)
    if settings.language:
        reports.append(export_gguf(folder / settings.language, sidecar.with_name(out.stem + LANGUAGE), dtype))
    return reports


def _linear(model: Any) -> tuple[Any, Any]:
    score: Any = getattr(model, "score", None)
    if not hasattr(score, "in_features"):
        raise UsageError(f"{type(model).__name__} has no linear head, so it cannot be exported as GGUF")
    return score.weight.detach().float(), None if score.bias is None else score.bias.detach().float()


def _difference(model: Any, head: Any, sidecar: SidecarHead, file: Path) -> float:
    """Largest difference of rewards after each token of a seeded row, relative where they are larger than 1."""
    import numpy
    import torch

    from agentrm_models.llama_cpp.native import NativeContext, NativeModel

    native = NativeModel(file, device="cpu")
    tokens = parity_tokens(native)
    context = NativeContext(native, cells=len(tokens), threads=1, exact=True, hidden=True)
    hidden = context.decode(tokens, range(len(tokens)), [0] * len(tokens), [True] * len(tokens))
    context.close()
    native.close()
    if hidden is None:
        raise AssertionError("an empty context had no room for the parity check")
    with torch.inference_mode():
        states = model.base_model(torch.tensor([tokens])).last_hidden_state[0]
        raw = model.score(states).float().numpy()
    expected = (raw - head.normaliser.mean) / head.normaliser.deviation
    return float(numpy.abs(sidecar.outputs(hidden) - expected).max() / max(1.0, float(numpy.abs(expected).max())))
