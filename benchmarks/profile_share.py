"""Where does the remaining time go? Short beam episodes, with a stopwatch around the arithmetic and then profiled.

The stopwatch reads the time inside matrix products and attention, which any implementation has to do, in an episode
without profiler. Under PyTorch's profiler one more is played: norms, rotary positions and activations are the model's
arithmetic too, and their share is that of the profiled episode. *The rest* is neither: copies of states, bookkeeping,
Python.

The caches hold one episode. The first one of a process also pays for memory that was never touched before, which its
own column shows; the figures beside it are those of the episode after it, which has to evict what the first one left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import torch
from beam_episode import INSTRUCTION, OBSERVATION, REPLY, SAMPLES, WIDTH, play
from measuring import Settings
from subjects import policy, reward

QUESTION = "profile"
WATCHED = (
    (torch, "addmm"),
    (torch.nn.functional, "linear"),
    (torch.nn.functional, "scaled_dot_product_attention"),
)
"""Where products and attention are called from."""
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::linear", "aten::matmul")
ATTENTION = ("scaled_dot_product", "flash_attention")
ELEMENTWISE = ("norm", "silu", "mul", "add", "rsqrt", "mean", "pow", "cos", "sin", "neg", "exp", "softmax", "polar")


class Stopwatch:
    """Time spent inside the watched functions."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*args: Any, **named: Any) -> Any:
            began = perf_counter()
            try:
                return function(*args, **named)
            finally:
                self.seconds += perf_counter() - began

        return timed


@contextmanager
def watched() -> Iterator[Stopwatch]:
    """Put a stopwatch around products and attention."""
    watch, plain = Stopwatch(), [(home, name, getattr(home, name)) for home, name in WATCHED]
    for home, name, function in plain:
        setattr(home, name, watch.around(function))
    try:
        yield watch
    finally:
        for home, name, function in plain:
            setattr(home, name, function)


def cells(settings: Settings) -> list[dict[str, Any]]:
    """Profile the sizes of this scale."""
    wanted = settings.choose([("tiny", 2)], [("bundled", 5), ("110M", 3)], [("bundled", 10), ("110M", 5), ("0.5B", 2)])
    return [_cell(*given) for given in wanted]


def _cell(size: str, steps: int) -> dict[str, Any]:
    from torch.profiler import ProfilerActivity, profile

    writer, scorer = policy(size), reward(size)
    tokens = INSTRUCTION + steps * WIDTH * (SAMPLES * REPLY + OBSERVATION)
    caches = writer.backend(tokens), scorer.backend(tokens)
    shares, seconds = [], 0.0
    for episode in ("first", "second"):
        with watched() as watch:
            began = perf_counter()
            play(writer, *caches, steps, [], episode)
            seconds = perf_counter() - began
        shares.append(watch.seconds / seconds)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        began = perf_counter()
        play(writer, *caches, steps, [], "profiled")
        profiled = perf_counter() - began
    spent = sorted(((event.self_cpu_time_total / 1e6, event.key) for event in profiler.key_averages()), reverse=True)
    elementwise = sum(time for time, name in spent if not _is_arithmetic(name) and _is_elementwise(name)) / profiled
    found = {
        "model": size,
        "steps": steps,
        "seconds": seconds,
        "seconds_profiled": profiled,
        "share_products_and_attention": shares[-1],
        "share_elementwise": elementwise,
        "share_rest": 1 - shares[-1] - elementwise,
        "share_rest_first_episode": 1 - shares[0] - elementwise,
        "operations": [{"name": name, "seconds": time} for time, name in spent[:12]],
    }
    print(f"{QUESTION} {size} steps={steps}: {found['share_rest']:.1%} is not the model's arithmetic", flush=True)
    return found


def _is_arithmetic(name: str) -> bool:
    return name in PRODUCTS or any(part in name for part in ATTENTION)


def _is_elementwise(name: str) -> bool:
    return any(part in name.removeprefix("aten::").split("_") for part in ELEMENTWISE)
