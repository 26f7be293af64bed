"""How long do N candidates of one step take with llama.cpp, over the length of the history?

Both sides run the same GGUF file, exported here from the bundled policy: ours through sequences that share cells, the
peer through `create_completion`, one call for each candidate; it keeps the cells of the prompt between calls by itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from measuring import ONE_EACH, Part, Settings, cell, take_turns
from subjects import bundled_folder, grow, policy

QUESTION = "llama.cpp candidates"
TOKENS = 32
"""Of each reply."""


def cells(settings: Settings) -> list[dict[str, Any]]:
    """Measure the cells of this scale; none where llama-cpp-python is not installed."""
    if find_spec("llama_cpp") is None:
        print(f"{QUESTION}: not measured, llama-cpp-python is not installed", flush=True)
        return []
    wanted = settings.choose(
        [(64, 2)],
        [(250, 25), (1_000, 5), (1_000, 25)],
        [(length, n) for length in (250, 1_000, 1_900) for n in (1, 5, 25, 60)],
    )
    with tempfile.TemporaryDirectory() as folder:
        file = _export(Path(folder))
        return [_cell(settings, file, *given) for given in wanted]


def _export(folder: Path) -> Path:
    from agentrm_models.gguf_export import export_gguf

    file = folder / "policy.gguf"
    export_gguf(bundled_folder("policy"), file)
    return file


def _cell(settings: Settings, file: Path, length: int, count: int) -> dict[str, Any]:
    from llama_cpp import Llama

    from agentrm_models.prefix_cache.llama_backend import LlamaBackend
    from agentrm_models.prefix_cache.llama_native import NativeContext, NativeModel

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
        return cell(QUESTION, "bundled", {"history": length, "candidates": count}, turns, same=same)
    finally:
        if peer.cache_info().currsize:
            peer().close()
        model.close()
