"""Where does the remaining time go? A short beam episode under PyTorch's profiler: arithmetic, and everything else.

Matrix products and attention are what any implementation has to do; norms, rotary positions, activations and copies of
tensors are listed by name; *outside* is all that is neither of the first two, Python and profiler included.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from beam_episode import Step, play
from measuring import Settings
from subjects import policy, reward

QUESTION = "profile"
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::linear", "aten::matmul")
ATTENTION = ("scaled_dot_product", "flash_attention")
ELEMENTWISE = ("norm", "silu", "mul", "add", "rsqrt", "mean", "pow", "cos", "sin", "neg", "exp", "softmax", "polar")


def cells(settings: Settings) -> list[dict[str, Any]]:
    """Profile the sizes of this scale."""
    wanted = settings.choose([("tiny", 2)], [("bundled", 5), ("110M", 3)], [("bundled", 10), ("110M", 5), ("0.5B", 2)])
    return [_cell(*given) for given in wanted]


def _cell(size: str, steps: int) -> dict[str, Any]:
    from torch.profiler import ProfilerActivity, profile

    models = policy(size), reward(size)
    record: list[Step] = []
    play(*models, 1, record)
    began = perf_counter()
    play(*models, steps, record)
    seconds = perf_counter() - began
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        began = perf_counter()
        play(*models, steps, record)
        profiled = perf_counter() - began
    spent = sorted(((event.self_cpu_time_total / 1e6, event.key) for event in profiler.key_averages()), reverse=True)
    arithmetic = sum(time for time, name in spent if _is_arithmetic(name))
    elementwise = sum(time for time, name in spent if not _is_arithmetic(name) and _is_elementwise(name))
    # Both of one run: the profiler slows what surrounds the arithmetic, so the share outside is an upper limit.
    found = {
        "model": size,
        "steps": steps,
        "seconds": seconds,
        "seconds_profiled": profiled,
        "share_products_and_attention": arithmetic / profiled,
        "share_elementwise": elementwise / profiled,
        "share_outside": 1 - arithmetic / profiled,
        "operations": [{"name": name, "seconds": time} for time, name in spent[:12]],
    }
    print(f"{QUESTION} {size} steps={steps}: {found['share_outside']:.1%} outside products and attention", flush=True)
    return found


def _is_arithmetic(name: str) -> bool:
    return name in PRODUCTS or any(part in name for part in ATTENTION)


def _is_elementwise(name: str) -> bool:
    return any(part in name.removeprefix("aten::").split("_") for part in ELEMENTWISE)
