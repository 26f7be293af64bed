"""How long do N candidates of one step take with llama.cpp, over the length of the history?

Both sides run the same GGUF file, exported here: the bundled policy, or a model of 110M parameters with random weights
and the bundled tokenizer. Ours runs sequences that share cells, the peer `create_completion`, one call for each
candidate; it keeps the cells of the prompt between calls by itself. In a shared batch a token is compared with the
cells of all sequences before those of others are masked: so the tiny bundled model, whose weights cost little to read,
is as fast one candidate after another.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from measuring import ONE_EACH, Part, Settings, cell, take_turns
from subjects import SHAPES, bundled_folder, grow, policy

QUESTION = "llama.cpp candidates"
TOKENS = 32
"""Of each reply."""


def cells(settings: Settings) -> list[dict[str, Any]]:
    """Measure the cells of this scale; none where llama-cpp-python is not installed."""
    if find_spec("llama_cpp") is None:
        print(f"{QUESTION}: not measured, llama-cpp-python is not installed", flush=True)
        return []
    wanted = settings.choose(
        [("bundled", 64, 2)],
        [("bundled", 250, 25), ("bundled", 1_000, 5), ("bundled", 1_000, 25), ("110M", 500, 25)],
        [(size, length, n) for size in ("bundled", "110M") for length in (250, 1_000, 1_900) for n in (1, 5, 25, 60)],
    )
    with tempfile.TemporaryDirectory() as folder:
        files = {size: _export(Path(folder), size) for size in dict.fromkeys(size for size, _, _ in wanted)}
        return [_cell(settings, size, files[size], *given) for size, *given in wanted]


def _export(folder: Path, size: str) -> Path:
    from agentrm_models.llama_cpp.gguf_export import export_gguf

    source = bundled_folder("policy")
    if size != "bundled":
        source = _with_bundled_tokenizer(folder / size, size)
    file = folder / f"{size}.gguf"
    export_gguf(source, file)
    return file


def _with_bundled_tokenizer(folder: Path, size: str) -> Path:
    """A model of this size with random weights, and the tokenizer and chat template of the bundled policy."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(bundled_folder("policy"))
    bundled = LlamaConfig.from_pretrained(bundled_folder("policy"))
    shape = {**SHAPES[size], "vocab_size": bundled.vocab_size}
    layers, heads = shape.pop("layers"), shape.pop("heads")
    torch.manual_seed(0)
    config = LlamaConfig(
        **shape,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=2_048,
        tie_word_embeddings=True,
        bos_token_id=bundled.bos_token_id,
        eos_token_id=bundled.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _cell(settings: Settings, size: str, file: Path, length: int, count: int) -> dict[str, Any]:
    from llama_cpp import Llama

    from agentrm_models.llama_cpp.backend import LlamaBackend
    from agentrm_models.llama_cpp.native import NativeContext, NativeModel

    prompt = policy("bundled").text(length, f"history {length}")
    room = length + (count + 1) * TOKENS + 64
    model = NativeModel(file, device="cpu")

    def ours(temperature: float = 1.0, replies: int = count) -> Generator[float | Part, None, None]:
        context = NativeContext(model, cells=room, sequences=64, threads=settings.threads, exact=False)
        backend = LlamaBackend(context, 64)
        try:
            yield 1
            found = grow(backend, [prompt], [replies], TOKENS, "step", temperature)[0]
            yield Part(1, backend.computed, [branch.ids for branch in found])
        finally:
            context.close()

    @cache
    def peer() -> Any:
        return Llama(str(file), n_ctx=length + TOKENS + 64, n_threads=settings.threads, n_gpu_layers=0, verbose=False)

    def one_call_each() -> Generator[float | Part, None, None]:
        llama = peer()
        llama.reset()
        never = {int(token): -100.0 for token in model.stop_tokens()}
        yield count
        for number in range(count):
            answer = llama.create_completion(
                prompt, max_tokens=TOKENS, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=number, logit_bias=never
            )
            # It reads the prompt once and later only its last token again.
            usage = answer["usage"]
            tokens = (usage["prompt_tokens"] if number == 0 else 1) + usage["completion_tokens"] - 1
            yield Part(1, tokens, answer["choices"][0]["text"])

    try:
        turns = take_turns(ours, {ONE_EACH: one_call_each}, settings)
        *_, greedy = ours(0.0, 1)
        assert isinstance(greedy, Part)
        ids = greedy.result[0]
        ends = [place for place, token in enumerate(ids) if token in model.stop_tokens()]
        text = peer().detokenize(ids[: ends[0]] if ends else ids).decode("utf-8", "ignore")
        theirs = peer().create_completion(prompt, max_tokens=TOKENS, temperature=0.0)["choices"][0]["text"]
        same = {"greedy_text": float(text == theirs)}
        return cell(QUESTION, size, {"history": length, "candidates": count}, turns, same=same)
    finally:
        if peer.cache_info().currsize:
            peer().close()
        model.close()
